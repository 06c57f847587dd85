import { appendFileSync, closeSync, openSync } from 'node:fs'
import { pino } from 'pino'
import type { Logger } from 'pino'
import { ServiceError } from '../errors.ts'
import type { Outputs } from './log.ts'
import type { Output } from './output.ts'

/** The result of an attempted change. `unknown`: COS may have made the change without confirming it. */
export type AuditOutcome = 'success' | 'denied' | 'failure' | 'unknown'

/** One attempted change, or one read of rows, and its result. It contains no body, no object name and no secret. */
export interface AuditRecord {
  requestId: string
  /** Name of the caller; null if it is unknown. */
  caller: string | null
  address: string
  action: string
  bucket: string
  /** Null for a set of configurations that was rejected as a whole. */
  id: string | null
  region: string | undefined
  /** Buckets that the body names as destinations of reports, or from which rows are read. */
  destinations: string[]
  /** Day of the report whose rows are read. */
  date?: string | undefined
  /** Rows that were sent. */
  rows?: number | undefined
  /** Bytes of rows or of a data file that were sent. */
  bytes?: number | undefined
  outcome: AuditOutcome
  status: number | undefined
  /** Code of the problem document; undefined if the response is not one. */
  code: string | undefined
  cosRequestId: string | undefined
}

/** A log of attempted changes and of reads of rows. */
export interface AuditLog {
  record (record: AuditRecord): void
  /** Returns whether the last write succeeded and the reader of stdout or stderr keeps up. */
  isWritable (): boolean
  /** Writes the lines that the file rejected before. This is also tried each second. */
  flush (): void
  /** Returns the number of lines that the file rejected at first. The log contains them. */
  failedWrites (): number
}

/** Between pino's info (30) and warn (40). */
const auditLevel = 35

/** The state of the file must not depend on requests, because alerts wait for it. */
const retryMs = 1_000

/**
 * Creates the audit log. It is separate from the log of the service, and LOG_LEVEL does not affect it. Each line in a
 * file is appended with an open and a close of its own. So the file may be renamed or removed at any time.
 *
 * @param target `stdout`, `stderr` or the path of a file, which is created with mode 0600
 * @param log receives the lines that cannot be written to a file
 * @throws {Error} of the file system if the file cannot be written
 */
export function createAuditLog (target: string, outputs: Outputs, log: Pick<Logger, 'error'>): AuditLog {
  const { writeAudit: write, takesAudit, flush, failedWrites } = target === 'stdout' || target === 'stderr'
    ? { ...outputs[target], flush () {}, failedWrites: () => 0 }
    : openAuditFile(target, log)
  const audit = pino({ level: 'audit', customLevels: { audit: auditLevel }, useOnlyCustomLevels: true, base: { type: 'audit' } }, { write })
  return {
    record (record) { audit.audit(record, record.action.startsWith('reports:') ? 'read' : 'change') },
    isWritable: takesAudit,
    flush,
    failedWrites
  }
}

/**
 * Rejects a change or a read of rows that could not be recorded. Must be called before anything is sent to COS.
 *
 * @throws {ServiceError} AuditLogUnavailable
 */
export function rejectUnaudited (audit: AuditLog): void {
  audit.flush()
  if (audit.isWritable()) return
  throw new ServiceError('AuditLogUnavailable', 'The audit log cannot be written, so nothing was sent to COS. ' +
    'Retry in 1 s; if it persists, contact the operator.', { retryAfterSeconds: 1 })
}

/** Keeps lines that could not be written, and writes them before a further change is accepted. */
function openAuditFile (
  path: string, log: Pick<Logger, 'error'>
): Pick<Output, 'writeAudit' | 'takesAudit'> & Pick<AuditLog, 'flush' | 'failedWrites'> {
  const open = () => openSync(path, 'a', 0o600)
  const unwritten: string[] = []
  let [hasFailed, isCut, failures] = [false, false, 0]
  let timer: NodeJS.Timeout | undefined
  closeSync(open())

  /** Returns the code of the error, if there is one. Lines before it are not written again. */
  function appendUnwritten (): string | undefined {
    try {
      append(open())
      hasFailed = false
      return undefined
    } catch (error) {
      hasFailed = true
      timer ??= setTimeout(() => {
        timer = undefined
        flush()
      }, retryMs).unref()
      return (error as NodeJS.ErrnoException).code
    }
  }

  function append (descriptor: number): void {
    try {
      // After an error of a write the file can end within a line. The line feed ends that line.
      if (isCut) appendFileSync(descriptor, '\n')
      isCut = true
      while (unwritten[0] !== undefined) {
        appendFileSync(descriptor, unwritten[0])
        unwritten.shift()
      }
      isCut = false
    } finally {
      closeSync(descriptor)
    }
  }

  function flush (): void {
    // The lines themselves are appended, because a full disk accepts an empty text.
    if (hasFailed) appendUnwritten()
  }

  return {
    writeAudit (line) {
      unwritten.push(line)
      const code = appendUnwritten()
      if (code === undefined) return
      failures++
      // The process can end before the file accepts lines again.
      log.error({ code, record: JSON.parse(line) as AuditRecord }, 'audit log write failed, the record is in this line')
    },
    takesAudit: () => !hasFailed,
    flush,
    failedWrites: () => failures
  }
}
