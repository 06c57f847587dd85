import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'

/** A running program. */
export interface Running {
  pid: number
  /** The text that the ready pattern captured, such as its address. */
  captured: string
  /** Ends the program and resolves when it has ended. */
  stop (): Promise<void>
}

interface Program {
  command: string[]
  environment?: Record<string, string>
  /** Cores in the form of `taskset -c`; any core when undefined. */
  cores: string | undefined
  /** Pattern of the line that shows that the program is ready; its group is {@link Running.captured}. */
  ready: RegExp
  /** SIGTERM for programs that must end their own children. Other programs have nothing to save. */
  endBy?: 'SIGKILL' | 'SIGTERM'
}

const atExit = new Set<() => void>()
process.once('exit', () => { for (const act of atExit) act() })

/** Runs a synchronous function when this process exits, also after an error or a signal. */
export function onExit (act: () => void): void {
  atExit.add(act)
}

/**
 * Starts a program with only this environment and waits until it is ready. Later output is read and discarded, as by a
 * log collector. The program is ended when this process exits.
 *
 * @throws {Error} with the output of a program that ends before it is ready
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
  const captured = await Promise.race([
    untilReady(child, ready),
    ended.then(() => { throw new Error(`${command.join(' ')} ended before it was ready`) })
  ])
  // Its rejection was handled above; from here on only stop() waits for it.
  ended.catch(() => {})
  return {
    pid: child.pid as number,
    captured,
    async stop () {
      end()
      await ended
    }
  }
}

async function untilReady ({ stdout, stderr }: ChildProcess, ready: RegExp): Promise<string> {
  const streams = [stdout, stderr].filter(stream => stream !== null)
  let written = ''
  const found = await new Promise<RegExpExecArray>((resolve, reject) => {
    for (const stream of streams) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        written += text
        const found = ready.exec(written)
        if (found !== null) resolve(found)
      }).once('end', () => { reject(new Error(`a program ended before it was ready. Output:\n${written}`)) })
    }
  })
  for (const stream of streams) stream.removeAllListeners('data').resume()
  return found[1] ?? ''
}
