import { spawn, spawnSync } from 'node:child_process'
import type { ChildProcessWithoutNullStreams } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { endWithThisProcess } from '../child-guard.ts'

/** A command of a console block and what it prints; undefined where the block does not show it. */
export interface ShellExample {
  command: string
  output: string | undefined
}

/** Returns the commands of a console block, which follow `$ `, each with the output that is shown below it. */
export function parseConsole (text: string): ShellExample[] {
  const lines = text.replace(/\n$/, '').split('\n')
  const examples: ShellExample[] = []
  while (lines.length > 0) {
    const first = lines.shift() as string
    if (!first.startsWith('$ ')) throw new Error(`a console block begins with "$ ": ${first}`)
    let command = first.slice('$ '.length)
    while (lines.length > 0 && !isComplete(command)) command += `\n${lines.shift()}`
    const end = lines.findIndex(line => line.startsWith('$ '))
    examples.push({ command, output: lines.splice(0, end === -1 ? lines.length : end).join('\n') })
  }
  return examples
}

/** Tells whether bash would run a command without waiting for more lines. */
function isComplete (command: string): boolean {
  // An unfinished here-document is a warning only.
  const { status, stderr } = spawnSync('bash', ['-n', '-c', command], { encoding: 'utf8' })
  return status === 0 && stderr === '' && !command.endsWith('\\')
}

/** Returns whether output is what a page shows: `…` stands for any text of a line, alone in a line for any lines. */
export function isShown (shown: string, output: string): boolean {
  const pattern = shown.trimEnd().split('\n').map(line => line.trim() === '…'
    ? '(?:.*\\n)*?'
    : `${line.split('…').map(part => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('.*')}\\n`).join('')
  return new RegExp(`^${pattern}$`).test(`${output.trimEnd()}\n`)
}

/** A shell that keeps its variables from one command to the next. A command may take three minutes. */
export interface Shell {
  /** Runs commands to their end. */
  run (command: string): Promise<{ status: number, output: string }>
  /** Starts a program and waits until what it writes matches. */
  start (command: string, ready: RegExp): Promise<void>
  /** Ends the shell and all that it started. */
  end (): Promise<void>
}

const timeoutMs = 180_000

/** Starts bash in a folder with only this environment. */
export function startShell (cwd: string, environment: Record<string, string>): Shell {
  // Each in a process group of its own, which also ends what npm starts.
  const options = { cwd, env: environment, detached: true, stdio: 'pipe' } as const
  // tap adds its hooks for coverage to NODE_OPTIONS of each child.
  const withoutHooks = ['NODE_OPTIONS=', 'bash']
  const bash = spawn('env', [...withoutHooks, '--norc'], options)
  endWithThisProcess(bash, { isGroup: true })
  const shellOutput = collect(bash)
  const all = [bash]
  let count = 0

  return {
    async run (command) {
      const start = shellOutput.text().length
      count += 1
      bash.stdin.write(`{\n${command}\n} </dev/null 2>&1\nprintf '\\n--- end of command ${count}: %s\\n' $?\n`)
      const end = new RegExp(`\\n--- end of command ${count}: (\\d+)\\n$`)
      const [, status] = await shellOutput.until(end, command)
      return { status: Number(status), output: shellOutput.text().slice(start).replace(end, '') }
    },

    async start (command, ready) {
      const program = spawn('env', [...withoutHooks, '-c', command], options)
      endWithThisProcess(program, { isGroup: true })
      all.push(program)
      await collect(program).until(ready, command)
    },

    async end () {
      await Promise.all(all.filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null)
        .map(async program => {
          const closed = once(program, 'close')
          process.kill(-(program.pid as number), 'SIGKILL')
          await closed
        }))
    }
  }
}

/** Collects what a program writes to stdout and stderr. */
function collect (program: ChildProcessWithoutNullStreams) {
  let text = ''
  let isClosed = false
  const news = new EventEmitter()
  for (const stream of [program.stdout, program.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
      news.emit('news')
    })
  }
  program.once('close', () => {
    isClosed = true
    news.emit('news')
  })
  return {
    text: () => text,
    async until (pattern: RegExp, what: string): Promise<RegExpExecArray> {
      const signal = AbortSignal.timeout(timeoutMs)
      for (;;) {
        const found = pattern.exec(text)
        if (found !== null) return found
        if (isClosed) throw new Error(`ended: ${what}\n${text}`)
        await once(news, 'news', { signal })
          .catch(() => { throw new Error(`not done within ${timeoutMs} ms: ${what}\n${text}`) })
      }
    }
  }
}
