import type { CancelSignal } from '../../concurrency/cancel-signal.ts'
import type { Credentials } from '../../config/credentials.ts'
import type { Success } from '../operations.ts'
import type { Address } from './endpoints.ts'

/** Where attempts are logged. Headers and bodies never are. */
export interface AttemptLog {
  debug (fields: object, message: string): void
}

/** One attempt at COS. */
export interface CosRequest {
  method: 'GET' | 'PUT' | 'POST' | 'DELETE'
  address: Address
  /** Request target, see {@link assertAllowed}. */
  target: string
  /** XML body of PUT and POST. */
  body?: string | undefined
  /** Signs the request. */
  credentials: Credentials
  /** 1 for the first attempt. A header tells COS about retries. */
  number: number
  /** Headers of the trace that the request belongs to; not signed. */
  traceHeaders: Readonly<Record<string, string>>
  /** Describes a response that is not an error. */
  success: Success
  /** Instant of the monotonic clock at which the caller's whole request must be over, in milliseconds. */
  deadlineAt: number
  /** Ends the attempt when it is canceled. */
  signal?: CancelSignal | undefined
  log: AttemptLog
}

/** A whole response of COS, or of a gateway in its place. */
export interface CosResponse {
  status: number
  headers: Readonly<Record<string, string | string[] | undefined>>
  body: Uint8Array
  /** What was sent and must not be passed on, in case the response quotes it. */
  confidential: readonly string[]
}
