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
 * Opens stdout and stderr, which take JSON lines or, on a terminal, lines for people. What is buffered when the process
 * exits is written then, as far as the reader takes it. Audit lines that stdout does not take go to stderr.
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
  // The stream itself is not written to. It puts a pipe or a socket into non-blocking mode until the process exits.
  const { fd } = process[name]
  if (!isatty(fd)) return createOutput(fd)
  const terminal = createOutput(openTerminal(fd))
  // Loaded here, because a service without a terminal has no use for it. Its own stream would write later, not at once.
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
 * Opens a terminal once more, because its first descriptor blocks while the operator has stopped the output (Ctrl+S).
 *
 * @returns the first descriptor where that is not possible
 */
export function openTerminal (descriptor: number): number {
  try {
    return openSync(`/proc/self/fd/${descriptor}`, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY)
  } catch {
    // A terminal can belong to another user, and there is no /proc outside Linux.
    return descriptor
  }
}

/** A terminal takes some of these for commands, and a caller's path can hold them. pino-pretty leaves them in. */
function withoutControls (text: string): string {
  return text.replace(/[\x7F-\x9F]/g, char => `\\u00${char.charCodeAt(0).toString(16)}`)
}
