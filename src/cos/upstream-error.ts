import { ServiceError } from '../errors.ts'
import type { ProblemCode, ServiceErrorOptions } from '../errors.ts'

/**
 * The cause of a failed call: the request (`caller`), the service's key, signature or clock (`credentials`), COS or the
 * network in five ways, the service's own load (`overloaded`), or a caller that disconnected (`cancelled`).
 */
export type FailureClass = 'caller' | 'credentials' | 'throttled' | 'server' | 'invalid' | 'unreachable' | 'timeout' |
  'overloaded' | 'cancelled'

/**
 * What can help after a failure: a retry, a single retry, or a retry with refreshed credentials or a corrected clock.
 */
export type Remedy = 'none' | 'retry' | 'retry-once' | 'refresh-credentials' | 'correct-clock'

/** Ends the detail of an error that a retry may fix. */
export const retryAdvice = 'Retry; if it persists, contact the operator.'

interface UpstreamErrorOptions extends ServiceErrorOptions {
  class: FailureClass
  remedy?: Remedy
  /** False when nothing of the request has been written to a socket. */
  wasSent?: boolean
  /** Whether no response had begun in all the time that an attempt can have. */
  isUnresponsive?: boolean
  /** How long COS asks to wait before another attempt, in milliseconds. */
  waitMs?: number | undefined
  /** What COS's clock showed in the response, in milliseconds since 1970. */
  cosTime?: number | undefined
}

/** A call to COS that failed, and what can be done about it. */
export class UpstreamError extends ServiceError {
  readonly class: FailureClass
  readonly remedy: Remedy
  readonly wasSent: boolean
  readonly isUnresponsive: boolean
  readonly waitMs: number
  readonly cosTime: number | undefined

  constructor (
    kind: ProblemCode | { code: string, status: number, title: string }, detail: string, options: UpstreamErrorOptions
  ) {
    super(kind, detail, options)
    this.name = 'UpstreamError'
    this.class = options.class
    this.remedy = options.remedy ?? 'none'
    this.wasSent = options.wasSent ?? true
    this.isUnresponsive = options.isUnresponsive ?? false
    this.waitMs = options.waitMs ?? 0
    this.cosTime = options.cosTime
  }
}

/**
 * Creates the error of a call whose caller disconnected. Only the log, the metrics and the audit show it.
 *
 * @param wasSent whether anything of the call was written to a socket
 */
export function canceled (wasSent = false): UpstreamError {
  return new UpstreamError({ code: 'CallerLeft', status: 499, title: 'Client Closed Request' },
    'The caller disconnected before the response.', { class: 'cancelled', wasSent })
}
