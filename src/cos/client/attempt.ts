import type { CancelSignal } from '../../concurrency/cancel-signal.ts'
import type { Credentials } from '../../config/credentials.ts'
import type { AttemptTrace, RequestTrace } from '../../tracing/tracing.ts'
import type { CredentialProvider } from '../credentials/provider.ts'
import { successes } from '../operations.ts'
import type { Operation, Success } from '../operations.ts'
import { UpstreamError } from '../upstream-error.ts'
import type { CallObserver, Ending } from './call-observer.ts'
import type { Permit } from './concurrency-limiter.ts'
import type { Address } from './endpoints.ts'
import { isErrorDocument } from './error-document.ts'
import type { AttemptLog, CosRequest, CosResponse } from './messages.ts'
import { toUpstreamError } from './response-errors.ts'
import { cosContext } from './response-headers.ts'
import type { Transport } from './transport.ts'

/** A call to COS, and the request of a caller that it belongs to. */
export interface CosCall extends
  Pick<CosRequest, 'method' | 'target' | 'body' | 'reportFolder' | 'range' | 'deadlineAt'> {
  operation: Operation
  address: Address
  /** The credentials of the account that the call is for. */
  credentials: Pick<CredentialProvider, 'get' | 'renew'>
  /** The success response, if not that of the operation. */
  success?: Success
  call: { log: AttemptLog, trace: RequestTrace, signal: CancelSignal, tally: { attempts: number } }
}

/** Turns a success into the result of a call. */
export type Read<T> = (response: CosResponse) => T | Promise<T>

/** Returns the result of one attempt, or its failure. Throws any error that is not an {@link UpstreamError}. */
export type Attempt = <T>(
  cosCall: CosCall, read: Read<T>, keys: Credentials, number: number, permit: Permit
) => Promise<{ value: T } | { failure: UpstreamError }>

interface Dependencies {
  observer: Pick<CallObserver, 'attempted'>
  transport: Pick<Transport, 'send'>
  /** Monotonic clock, in milliseconds. */
  now: () => number
}

/** Creates the function that makes one attempt. It sends, reads, releases the permit, counts and traces. */
export function createAttempt ({ observer, transport, now }: Dependencies): Attempt {
  return async <T>(cosCall: CosCall, read: Read<T>, keys: Credentials, number: number, permit: Permit) => {
    const { operation, method, target, address, deadlineAt, call, success = successes[operation] } = cosCall
    const startedAt = now()
    let span: AttemptTrace | undefined
    let response: CosResponse | undefined
    let result: { value: T } | { error: unknown }
    call.tally.attempts += 1
    try {
      span = call.trace.startAttempt({ operation, method, origin: address.origin, target, number })
      response = await transport.send({
        method,
        address,
        target,
        body: cosCall.body,
        reportFolder: cosCall.reportFolder,
        range: cosCall.range,
        deadlineAt,
        success,
        credentials: keys,
        number,
        traceHeaders: span.headers,
        signal: isRead(method) ? call.signal : undefined,
        log: call.log
      })
      if (response.status !== success.status || isErrorDocument(response)) throw toUpstreamError(response)
      result = { value: await read(response) }
    } catch (error) {
      result = { error }
    }
    const failure = 'error' in result && result.error instanceof UpstreamError ? result.error : undefined
    permit.release(response !== undefined ? 'responded' : failure?.isUnresponsive === true ? 'unresponsive' : 'other')
    const ending = endingOf('value' in result, failure)
    observer.attempted(operation, ending, (now() - startedAt) / 1000)
    span?.end({
      status: response?.status,
      cosRequestId: response && cosContext(response).requestId,
      error: ending.class === 'ok' ? undefined : ending.code
    })
    if ('value' in result) return result
    if (failure === undefined) throw result.error
    return { failure }
  }
}

/** Tells whether a method changes nothing. */
export function isRead (method: CosRequest['method']): boolean {
  return method === 'GET' || method === 'HEAD'
}

function endingOf (isSuccess: boolean, failure: UpstreamError | undefined): Ending {
  if (failure !== undefined) return { class: failure.class, code: failure.cosCode ?? failure.code }
  return isSuccess ? { class: 'ok', code: '' } : { class: 'internal', code: 'InternalError' }
}
