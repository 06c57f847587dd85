import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'

/** A program that listens. */
export interface Running {
  pid: number
  /** What its line said, such as where it listens. */
  said: string
  /** Ends it, and resolves once it has. */
  stop (): Promise<void>
}

interface Program {
  command: string[]
  environment?: Record<string, string>
  /** As `taskset -c` takes them; anywhere when undefined. */
  cores: string | undefined
  /** The line that says it is ready; the group in it is what {@link Running.said} is. */
  ready: RegExp
  /** SIGTERM where it has children of its own to end. What is measured has nothing to save. */
  endBy?: 'SIGKILL' | 'SIGTERM'
}

const atExit = new Set<() => void>()
process.once('exit', () => { for (const act of atExit) act() })

/** Runs an act, which cannot wait for anything, when this process ends: also by an error or a signal. */
export function whenEverythingEnds (act: () => void): void {
  atExit.add(act)
}

/**
 * Starts a program with this environment and nothing else of ours, and waits until it says that it is ready. What it
 * writes later is read and thrown away, as a log collector would read it. It does not outlive this process.
 *
 * @throws {Error} with all it has written when it ends before it is ready
 */
export async function start (
  { command, environment = {}, cores, ready, endBy = 'SIGKILL' }: Program
): Promise<Running> {
  const [name = '', ...args] = cores === undefined ? command : ['taskset', '-c', cores, ...command]
  const child = spawn(name, args, {
    env: { ...environment, NODE_ENV: 'production', PATH: process.env['PATH'] },
    stdio: ['ignore', 'pipe', 'pipe']
  })
  const end = () => { child.kill(endBy) }
  atExit.add(end)
  const ended = once(child, 'close').finally(() => { atExit.delete(end) })
  const said = await Promise.race([
    untilItSays(child, ready),
    ended.then(() => { throw new Error(`${command.join(' ')} ended before it was ready`) })
  ])
  // It was waited for above; from here on only stop() waits for it.
  ended.catch(() => {})
  return {
    pid: child.pid as number,
    said,
    async stop () {
      end()
      await ended
    }
  }
}

async function untilItSays ({ stdout, stderr }: ChildProcess, ready: RegExp): Promise<string> {
  const streams = [stdout, stderr].filter(stream => stream !== null)
  let written = ''
  const found = await new Promise<RegExpExecArray>((resolve, reject) => {
    for (const stream of streams) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        written += text
        const found = ready.exec(written)
        if (found !== null) resolve(found)
      }).once('end', () => { reject(new Error(`a program ended before it was ready. It wrote:\n${written}`)) })
    }
  })
  for (const stream of streams) stream.removeAllListeners('data').resume()
  return found[1] ?? ''
}
