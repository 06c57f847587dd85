import { once } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { secret } from '../secrets.ts'
import { at, bucket, configuration, secrets, startTestEmulator } from '../start.ts'
import type { Test } from '../start.ts'
import { startProgram } from './program.ts'
import type { Program } from './program.ts'

interface Line { level: number, msg: string, [field: string]: unknown }

const hidden = secret('hHiIdDdDeEnNiInNeErRrRoOrR012345')

/** Uncaught errors with their expected log. Stacks contain the script, which must not contain the secret. */
const crashes: Array<[title: string, script: string, logged: object]> = [
  ['an exception', `const error = new RangeError('thrown by the test')
    throw Object.assign(error, { code: 'E_TEST', answer: process.env.HIDDEN, cause: new Error(process.env.HIDDEN) })`,
  { name: 'RangeError', code: 'E_TEST', stack: /^RangeError: thrown by the test\n +at / }],
  ['a rejection', `const error = new TypeError('rejected by the test')
    Promise.reject(Object.assign(error, { headers: { authorization: process.env.HIDDEN } }))`,
  { name: 'TypeError', stack: /^TypeError: rejected by the test\n +at / }],
  ['a rejection without an error', 'Promise.reject(process.env.HIDDEN)', {}],
  ['a rejection without a reason', 'Promise.reject()', {}],
  ['an exception that is null', 'throw null', {}]
]

for (const [title, script, logged] of crashes) {
  t.test(`process exits with 1, fatal and audit lines after ${title}`, async t => {
    const emulator = await startTestEmulator(t)
    emulator.addFault({ kind: 'hang' })
    const service = await startService(t, emulator.address, {
      NODE_OPTIONS: preload(`process.on('SIGUSR2', () => { ${script} })`),
      HIDDEN: hidden,
      COS_TIMEOUT_MS: '60000',
      COS_DEADLINE_MS: '60000'
    })
    const aborted = [
      t.rejects(put(service, 'first')), t.rejects(put(service, 'second')), t.rejects(fetch(service.url + at('read')))
    ]
    while (emulator.requests.length < 3) await new Promise(resolve => { setImmediate(resolve) })
    service.process.kill('SIGUSR2')
    t.equal(await service.exit, 1)
    await Promise.all(aborted)
    const lines = linesOf(service)
    const fatal = lines.filter(({ level }) => level === 60)
    t.match(fatal, [{ msg: 'unexpected error, exiting', error: logged }])
    t.equal(fatal.length, 1)
    const { error } = fatal[0] as unknown as { error: object }
    t.ok(Object.keys(error).every(name => ['name', 'code', 'stack'].includes(name)), 'only these properties are logged')
    const audits = lines.filter(({ type }) => type === 'audit')
    t.strictSame(audits.map(line => [line['action'], line['id'], line['outcome']]).sort(), [
      ['cos:PutBucketInventory', 'first', 'unknown'], ['cos:PutBucketInventory', 'second', 'unknown']
    ])
    t.equal(service.stderr(), '')
    for (const each of [hidden, secrets.secretKey, secrets.token]) t.notOk(service.stdout().includes(each))
  })
}

t.test('process exits with 1 and a fatal line when it fails before it listens', async t => {
  const program = startProgram(t, 'server', {
    ...environment,
    COS_CONNECT_TO: '127.0.0.1:1',
    // newListener is the first event after the error handlers are installed.
    NODE_OPTIONS: preload("process.on('newListener', name => { if (name === 'SIGTERM') throw new Error('too early') })")
  })
  t.equal(await program.exit, 1)
  t.match(linesOf(program).filter(({ level }) => level === 60),
    [{ msg: 'unexpected error, exiting', error: { name: 'Error', stack: /^Error: too early\n/ } }])
  t.equal(program.stderr(), '')
})

t.test('second signal ends the process and records changes in flight as unknown', async t => {
  const emulator = await startTestEmulator(t)
  emulator.addFault({ kind: 'hang' })
  const service = await startService(t, emulator.address, { SHUTDOWN_DELAY_MS: '60000' })
  const aborted = t.rejects(put(service, 'daily'))
  while (emulator.requests.length < 1) await new Promise(resolve => { setImmediate(resolve) })
  service.process.kill('SIGTERM')
  await service.until(/"msg":"stopping"/)
  service.process.kill('SIGTERM')
  t.equal(await service.exit, 1)
  await aborted
  const lines = linesOf(service)
  t.match(lines.filter(({ type }) => type === 'audit'), [{ id: 'daily', bucket, outcome: 'unknown', requestId: /./ }])
  t.notOk(lines.some(({ msg }) => msg === 'stopped'))
})

t.test('process exits with 1 before it listens when the metrics port is taken', async t => {
  const taken = createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  t.teardown(() => taken.close())
  const { port } = taken.address() as AddressInfo
  const program = startProgram(t, 'server', { ...environment, METRICS_PORT: String(port) })
  t.equal(await program.exit, 1)
  const lines = linesOf(program)
  t.match(lines, [{ level: 60, code: 'EADDRINUSE', cause: `listen EADDRINUSE: address already in use 127.0.0.1:${port}`, msg: 'cannot start' }])
  t.strictSame([lines.length, program.stderr()], [1, ''])
})

const environment = {
  COS_SECRET_ID: secrets.secretId,
  COS_SECRET_KEY: secrets.secretKey,
  COS_TOKEN: secrets.token,
  AUTH: 'none',
  PORT: '0',
  COS_SCHEME: 'http',
  COS_REGION: 'ap-guangzhou'
}

/** Starts the service as a process and waits until it listens. */
async function startService (
  t: Test, connectTo: string, more: Record<string, string>
): Promise<Program & { url: string }> {
  const program = startProgram(t, 'server', { ...environment, COS_CONNECT_TO: connectTo, ...more })
  const [, url = ''] = await program.until(/listening at (http:[^"]+)"/i)
  return { ...program, url }
}

/** Returns NODE_OPTIONS that run a script before the program. */
function preload (script: string): string {
  return `--import=data:text/javascript,${encodeURIComponent(script)}`
}

async function put ({ url }: { url: string }, id: string): Promise<Response> {
  const headers = { 'content-type': 'application/json' }
  return await fetch(url + at(id), { method: 'PUT', headers, body: JSON.stringify(configuration) })
}

function linesOf ({ stdout }: Pick<Program, 'stdout'>): Line[] {
  return stdout().split('\n').filter(line => line !== '').map(line => JSON.parse(line) as Line)
}
