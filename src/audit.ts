import { appendFileSync } from 'node:fs'
import { pino } from 'pino'
import type { DestinationStream, Logger } from 'pino'

/** How an attempted change ended; `unknown` when COS may have made it without saying so. */
export type AuditOutcome = 'success' | 'denied' | 'failure' | 'unknown'

/** One attempted change: who, what, where, and what came of it. No body and no secret is in it. */
export interface AuditRecord {
  requestId: string
  /** Name of the caller; null for one that is not known. */
  caller: string | null
  address: string
  action: string
  bucket: string
  /** Null for a set of configurations that was refused as a whole. */
  id: string | null
  region: string | undefined
  /** Buckets the body names as destinations of reports. */
  destinations: string[]
  outcome: AuditOutcome
  status: number | undefined
  /** Of the problem document, when it is one. */
  code: string | undefined
  cosRequestId: string | undefined
}

export type AuditLog = (record: AuditRecord) => void

/** Between pino's info (30) and warn (40). */
const auditLevel = 35

/**
 * A log of its own beside that of the service: LOG_LEVEL does not reach it. Lines in a file are appended one by one,
 * each with an open and a close, so that the file may be renamed or removed at any time.
 *
 * @param target `stdout` or the path of a file, which is made with mode 0600
 * @param log takes the lines that cannot be written
 * @throws {Error} of the file system when the file cannot be written to
 */
export function createAuditLog (target: string, stdout: DestinationStream, log: Pick<Logger, 'error'>): AuditLog {
  const lines = target === 'stdout' ? stdout : fileLines(target, log)
  const audit = pino({ level: 'audit', customLevels: { audit: auditLevel }, useOnlyCustomLevels: true, base: { type: 'audit' } }, lines)
  return record => { audit.audit(record, 'change') }
}

function fileLines (path: string, log: Pick<Logger, 'error'>): DestinationStream {
  const append = (text: string) => { appendFileSync(path, text, { mode: 0o600 }) }
  append('')
  return {
    write (line) {
      try {
        append(line)
      } catch (error) {
        // A full disk must not lose the trace of a change that has been made.
        const record = JSON.parse(line) as AuditRecord
        log.error({ code: (error as NodeJS.ErrnoException).code, record }, 'the audit log cannot be written: its line is here')
      }
    }
  }
}
