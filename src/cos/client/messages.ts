import type { Readable } from 'node:stream'
import type { CancelSignal } from '../../concurrency/cancel-signal.ts'
import type { Credentials } from '../../config/credentials.ts'
import type { Success } from '../operations.ts'
import type { Address } from './endpoints.ts'

/** The log of attempts. No line contains headers or bodies. */
export interface AttemptLog {
  debug (fields: object, message: string): void
}

/** One attempt at COS. */
export interface CosRequest {
  method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE'
  address: Address
  /** Request target, see `assertAllowed`. */
  target: string
  /** XML body of PUT and POST. */
  body?: string | undefined
  /** The folder of reports that the request reads; undefined for any other request. */
  reportFolder?: string | undefined
  /** Bytes of an object to read, as the `Range` header names them. */
  range?: string | undefined
  /** The key that signs the request. */
  credentials: Credentials
  /** 1 for the first attempt. A header tells COS about retries. */
  number: number
  /** Headers of the trace that the request belongs to; not signed. */
  traceHeaders: Readonly<Record<string, string>>
  /** Describes a response that is not an error. */
  success: Success
  /** The deadline of the caller's whole request, as an instant of the monotonic clock in milliseconds. */
  deadlineAt: number
  /** The signal that ends the attempt when it is canceled. */
  signal?: CancelSignal | undefined
  log: AttemptLog
}

/** A whole response of COS or of a gateway. */
export interface CosResponse {
  status: number
  headers: Readonly<Record<string, string | string[] | undefined>>
  /** Empty when the response is a stream. */
  body: Uint8Array
  /** The body of a data file, which is read while it arrives. */
  stream?: Readable
  /** Secrets of the request. Texts of the response that quote them must not be passed on. */
  confidential: readonly string[]
}
