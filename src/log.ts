import { isatty } from 'node:tty'
import { pino } from 'pino'
import type { DestinationStream } from 'pino'

const stdoutDescriptor = 1

/**
 * Where logs go: JSON lines on stdout or, when that is a terminal, lines for people. Written at once, because lines
 * still on their way when a process exits are lost or come out of order.
 */
export async function logDestination (): Promise<DestinationStream> {
  const stdout = pino.destination({ dest: stdoutDescriptor, sync: true })
  if (!isatty(stdoutDescriptor)) return stdout
  // Loaded here, because a service without a terminal has no use for it. Its own stream would write later, not at once.
  const { prettyFactory } = await import('pino-pretty')
  const pretty = prettyFactory({
    translateTime: 'SYS:HH:MM:ss.l',
    ignore: 'pid,hostname',
    singleLine: true,
    customLevels: 'audit:35',
    useOnlyCustomProps: false
  })
  return { write: line => { stdout.write(withoutControls(pretty(line))) } }
}

/** A terminal takes some of these for commands, and a caller's path can hold them. pino-pretty leaves them in. */
function withoutControls (text: string): string {
  return text.replace(/[\x7F-\x9F]/g, char => `\\u00${char.charCodeAt(0).toString(16)}`)
}
