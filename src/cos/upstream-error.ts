import { callerLeft, ServiceError } from '../errors.ts'
import type { ProblemCode, ServiceErrorOptions } from '../errors.ts'

/**
 * The cause of a failed call. `caller` is the request; `credentials` is the key, signature or clock of the service.
 * `overloaded` is the load of the service; `cancelled` is a caller that disconnected. Others are COS or the network.
 */
export type FailureClass = 'caller' | 'credentials' | 'throttled' | 'server' | 'invalid' | 'unreachable' | 'timeout' |
  'overloaded' | 'cancelled'

/** The remedy of a failure. `retry-once` permits a single retry; the last two precede a retry. */
export type Remedy = 'none' | 'retry' | 'retry-once' | 'refresh-credentials' | 'correct-clock'

/** Ends the detail of an error that a retry may fix. */
export const retryAdvice = 'Retry; if it persists, contact the operator.'

interface UpstreamErrorOptions extends ServiceErrorOptions {
  class: FailureClass
  remedy?: Remedy
  /** False when nothing of the request has been written to a socket. */
  wasSent?: boolean
  /** True when the attempt had its full time and no response began. */
  isUnresponsive?: boolean
  /** The status of the response if callers do not get it. */
  cosStatus?: number | undefined
  /** The wait that COS asks for before another attempt, in milliseconds. */
  waitMs?: number | undefined
  /** The time of COS's clock in the response, in milliseconds since 1970. */
  cosTime?: number | undefined
}

/** A failed call to COS, with its remedy. */
export class UpstreamError extends ServiceError {
  readonly class: FailureClass
  readonly remedy: Remedy
  readonly wasSent: boolean
  readonly isUnresponsive: boolean
  readonly cosStatus: number | undefined
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
    this.cosStatus = options.cosStatus
    this.waitMs = options.waitMs ?? 0
    this.cosTime = options.cosTime
  }
}

/**
 * Creates the error of a call whose caller disconnected.
 *
 * @param wasSent whether anything of the call was written to a socket
 */
export function canceled (wasSent = false): UpstreamError {
  return new UpstreamError(callerLeft, 'The caller disconnected before the response.', { class: 'cancelled', wasSent })
}
