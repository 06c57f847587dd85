import { constants, openSync } from 'node:fs'
import { isatty } from 'node:tty'
import { createOutput } from './output.ts'
import type { Output } from './output.ts'

/** The two outputs of a process. */
export interface Outputs {
  stdout: Output
  stderr: Output
}

/**
 * Opens stdout and stderr. They get JSON lines, or readable lines on a terminal. Buffered lines are written when the
 * process exits, as far as the reader accepts them. Audit lines that stdout does not accept go to stderr.
 */
export async function openOutputs (): Promise<Outputs> {
  const [stdout, stderr] = await Promise.all([openOutput('stdout'), openOutput('stderr')])
  process.on('exit', () => {
    for (const line of stdout.drain()) stderr.write(line)
    stderr.drain()
  })
  return { stdout, stderr }
}

async function openOutput (name: 'stdout' | 'stderr'): Promise<Output> {
  // The stream of Node is not used. It puts a pipe or a socket into non-blocking mode until the process exits.
  const { fd } = process[name]
  if (!isatty(fd)) return createOutput(fd)
  const terminal = createOutput(openTerminal(fd))
  // Loaded on demand: a service without a terminal does not need it. Its own stream would write later, not at once.
  const { prettyFactory } = await import('pino-pretty')
  const pretty = prettyFactory({
    translateTime: 'SYS:HH:MM:ss.l',
    ignore: 'pid,hostname',
    singleLine: true,
    customLevels: 'audit:35',
    useOnlyCustomProps: false
  })
  const format = (line: string) => withoutControls(pretty(line))
  return {
    ...terminal,
    write: line => { terminal.write(format(line)) },
    writeAudit: line => { terminal.writeAudit(format(line)) }
  }
}

/**
 * Opens a terminal a second time, in non-blocking mode. Its first descriptor blocks while the operator has stopped the
 * output (Ctrl+S).
 *
 * @returns the first descriptor if that is not possible
 */
export function openTerminal (descriptor: number): number {
  try {
    return openSync(`/proc/self/fd/${descriptor}`, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY)
  } catch {
    // A terminal can belong to another user, and there is no /proc outside Linux.
    return descriptor
  }
}

/**
 * Escapes control characters that pino-pretty does not escape. The path of a request can contain them, and a terminal
 * would execute them.
 */
function withoutControls (text: string): string {
  return text.replace(/[\x7F-\x9F]/g, char => `\\u00${char.charCodeAt(0).toString(16)}`)
}
