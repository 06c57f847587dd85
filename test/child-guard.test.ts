import { spawn } from 'node:child_process'
import { once } from 'node:events'
import t from 'tap'
import type { Test } from 'tap'

const guardUrl = new URL('child-guard.ts', import.meta.url).href
const programUrl = new URL('e2e/program.ts', import.meta.url).href

/** Ends a process with a signal and checks that its child ends too. */
async function checkEnd (t: Test, signal: 'SIGKILL' | 'SIGTERM', code: string): Promise<void> {
  // Parent and child write to one pipe, which closes when both have ended.
  const parent = spawn(process.execPath, [...process.execArgv, '--input-type=module', '--eval', code], {
    stdio: ['ignore', 'pipe', 'inherit']
  })
  const closed = once(parent, 'close', { signal: AbortSignal.timeout(60_000) }).then(() => true, () => false)
  const [pid] = await once(parent.stdout.setEncoding('utf8'), 'data') as [string]
  parent.kill(signal)
  const isEnded = await closed
  if (!isEnded) process.kill(Number(pid), 'SIGKILL')
  t.ok(isEnded, 'the child ends')
  t.equal(parent.signalCode, signal)
}

for (const [name, options, guardOptions] of [
  ['a child', {}, {}],
  ['a process group', { detached: true }, { isGroup: true }],
  ['a child that gets SIGTERM', {}, { signal: 'SIGTERM' }]
] as const) {
  for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
    t.test(`${name} ends when ${signal} ends its parent`, async t => {
      await checkEnd(t, signal, `import { spawn } from 'node:child_process'
        import { endWithThisProcess } from ${JSON.stringify(guardUrl)}
        const stdio = ['ignore', 'inherit', 'ignore']
        const child = spawn('sleep', ['600'], { stdio, ...${JSON.stringify(options)} })
        endWithThisProcess(child, ${JSON.stringify(guardOptions)})
        console.log(child.pid)`)
    })
  }
}

t.test('a built program ends when SIGKILL ends its parent', async t => {
  await checkEnd(t, 'SIGKILL', `import { startProgram } from ${JSON.stringify(programUrl)}
    const program = startProgram({ teardown () {} }, 'emulator/main', { EMULATOR_PORT: '0' }, 1)
    console.log(program.process.pid)`)
})

t.test('a guard does not keep its process running', async t => {
  const code = `import { spawn } from 'node:child_process'
    import { endWithThisProcess } from ${JSON.stringify(guardUrl)}
    const child = spawn('sleep', ['600'], { stdio: 'ignore' })
    endWithThisProcess(child)
    child.unref()`
  const parent = spawn(process.execPath, [...process.execArgv, '--input-type=module', '--eval', code], { stdio: 'inherit' })
  t.strictSame(await once(parent, 'exit'), [0, null])
})
