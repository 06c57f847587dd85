/**
 * One call of a caller as one or more attempts at COS: when another one is made, what is mended before it, and what the
 * caller is told in the end.
 */
import { sleep } from '../../concurrency/abortable-sleep.ts'
import type { Credentials } from '../../config/credentials.ts'
import type { CancelSignal } from '../../concurrency/cancel-signal.ts'
import type { AttemptTrace, RequestTrace } from '../../tracing.ts'
import type { Address } from './endpoints.ts'
import { cosContext, isErrorDocument, toUpstreamError } from './response-errors.ts'
import type { ConcurrencyLimiter, Permit } from './concurrency-limiter.ts'
import type { CosClock } from './clock.ts'
import type { CredentialProvider } from '../credentials/provider.ts'
import { successes } from '../operations.ts'
import type { Operation } from '../operations.ts'
import type { RetryBudget } from './retry-budget.ts'
import type { AttemptLog, CosAnswer, CosRequest, Transport } from './transport.ts'
import { UpstreamError } from '../upstream-error.ts'
import type { FailureClass, Remedy } from '../upstream-error.ts'

/** How an attempt or a call ended; `internal` is a fault of this service. */
export type CallClass = 'ok' | FailureClass | 'internal'

/** How an attempt ended, with the code of what went wrong. */
export interface Ending {
  class: CallClass
  code: string
}

/** Why a retry that could have helped was not made. */
export type RetryDenial = 'budget' | 'deadline'

/** What is counted and timed, in seconds. */
export interface CallObserver {
  attempted (operation: Operation, ending: Ending, seconds: number): void
  called (operation: Operation, ending: CallClass, seconds: number): void
  retried (operation: Operation, after: FailureClass): void
  retryDenied (reason: RetryDenial): void
  waited (seconds: number): void
}

/** What is to be sent, and the request of a caller it belongs to. */
export interface CosCall extends Pick<CosRequest, 'method' | 'target' | 'body' | 'deadlineAt'> {
  operation: Operation
  address: Address
  call: { log: AttemptLog, trace: RequestTrace, signal: CancelSignal, tally: { attempts: number } }
}

/** Makes of a success what is asked for. */
export type Read<T> = (answer: CosAnswer) => T | Promise<T>

export interface Attempts {
  /**
   * @param read makes of a success what is asked for; an {@link UpstreamError} of it is a failed attempt like others
   * @throws {ServiceError} of the last attempt, which says so when COS may have made a change all the same
   */
  run<T> (cosCall: CosCall, read: Read<T>): Promise<T>
  /** Waits until no call is under way. */
  settled (): Promise<void>
}

interface Dependencies {
  limiter: Pick<ConcurrencyLimiter, 'acquire'>
  budget: RetryBudget
  clock: CosClock
  credentials: Pick<CredentialProvider, 'get' | 'renew'>
  observer: CallObserver
  transport: Pick<Transport, 'send'>
  /** Monotonic clock, in milliseconds. */
  now: () => number
  /** From 0 up to 1. */
  random?: () => number
  /** Waits for so many milliseconds, or until the signal is aborted. */
  pause?: (ms: number, signal: CancelSignal | undefined) => Promise<void>
}

/** The longest wait before the first repeat; twice as long before each further one. */
const firstBackOffMs = 100
const longestBackOffMs = 2_000

/** Failures after which COS may have carried out what it was sent. */
const unsettled: ReadonlySet<FailureClass> = new Set(['timeout', 'unreachable', 'server', 'invalid', 'cancelled'])

/**
 * At most `maxAttempts`, with full jitter between them, or as long as COS asks with `Retry-After`, within the deadline
 * and the budget. A POST starts a job: it is not sent again once anything of it was, unless COS refused the key or the
 * time, which it looks at before anything else. Those two are mended first, once a call, and repeated at once.
 */
export function createAttempts (
  { maxAttempts }: { maxAttempts: number },
  dependencies: Dependencies
): Attempts {
  const { limiter, budget, clock, credentials, observer, transport } = dependencies
  const { now, random = Math.random, pause = sleep } = dependencies
  const secondsSince = (at: number) => (now() - at) / 1000

  async function attempt<T> (
    cosCall: CosCall, read: Read<T>, keys: Credentials, number: number, permit: Permit
  ): Promise<{ value: T } | { failure: UpstreamError }> {
    const { operation, method, target, address, body, deadlineAt, call } = cosCall
    const success = successes[operation]
    const startedAt = now()
    let span: AttemptTrace | undefined
    let answer: CosAnswer | undefined
    let result: { value: T } | { error: unknown }
    call.tally.attempts += 1
    try {
      span = call.trace.startAttempt({ operation, method, origin: address.origin, target, number })
      answer = await transport.send({
        method,
        address,
        target,
        body,
        deadlineAt,
        success,
        credentials: keys,
        number,
        traceHeaders: span.headers,
        signal: method === 'GET' ? call.signal : undefined,
        log: call.log
      })
      if (answer.status !== success.status || isErrorDocument(answer)) throw toUpstreamError(answer)
      result = { value: await read(answer) }
    } catch (error) {
      result = { error }
    }
    const failure = 'error' in result && result.error instanceof UpstreamError ? result.error : undefined
    permit.release(answer !== undefined ? 'responded' : failure?.isSilence === true ? 'unresponsive' : 'other')
    const ending: Ending = failure !== undefined
      ? { class: failure.class, code: failure.cosCode ?? failure.code }
      : 'value' in result ? { class: 'ok', code: '' } : { class: 'internal', code: 'InternalError' }
    observer.attempted(operation, ending, secondsSince(startedAt))
    span?.end({
      status: answer?.status,
      cosRequestId: answer && cosContext(answer).requestId,
      error: ending.class === 'ok' ? undefined : ending.code
    })
    if ('value' in result) return result
    if (failure === undefined) throw result.error
    return { failure }
  }

  async function repeatedly<T> (cosCall: CosCall, read: Read<T>): Promise<T> {
    const { operation, method, address: { host }, deadlineAt, call } = cosCall
    const place = { host, region: host.slice(host.indexOf('.') + 1) }
    const isChange = method !== 'GET'
    const tried = new Set<Remedy>()
    let last: UpstreamError | undefined
    let wasSent = false
    let inDoubt = false
    // A change that was sent is driven to its end, whether or not anybody waits: the audit will say what it was.
    const signal = () => isChange && wasSent ? undefined : call.signal
    budget.earn(host)

    async function msUntilRepeat (
      failure: UpstreamError, number: number, keys: Credentials, clockOffsetMs: number
    ): Promise<number | undefined> {
      const { remedy, cosTime, waitMs } = failure
      if (remedy === 'none' || (remedy !== 'repeat' && tried.has(remedy))) return undefined
      tried.add(remedy)
      const isLast = number >= maxAttempts
      if (remedy === 'correct-clock') return clock.correct(cosTime, clockOffsetMs) && !isLast ? 0 : undefined
      if (remedy === 'renew-key') {
        const renewal = credentials.renew(keys, deadlineAt)
        // Of no use to this call any more, but to the next.
        if (isLast) return undefined
        return await renewal === undefined || now() >= deadlineAt ? undefined : 0
      }
      if (isLast || (method === 'POST' && failure.wasSent)) return undefined
      const delayMs = waitMs + random() * Math.min(longestBackOffMs, firstBackOffMs * 2 ** (number - 1))
      const denial = now() + delayMs >= deadlineAt ? 'deadline' : budget.spend(host) ? undefined : 'budget'
      if (denial === undefined) return delayMs
      observer.retryDenied(denial)
      return undefined
    }

    let number = 0
    for (;;) {
      number += 1
      let keys: Credentials
      let permit: Permit
      try {
        // Anew for each attempt: while this one waited its turn they may have been replaced.
        keys = await credentials.get(deadlineAt)
        const askedAt = now()
        permit = await limiter.acquire(place, deadlineAt, signal())
        observer.waited(secondsSince(askedAt))
      } catch (error) {
        // What keeps a repeat from being made says less than what made one necessary.
        throw last === undefined ? error : concluded(last, method, inDoubt)
      }
      const clockOffsetMs = clock.offsetMs()
      const result = await attempt(cosCall, read, keys, number, permit)
      if ('value' in result) return result.value
      const { failure } = result
      last = failure
      wasSent ||= failure.wasSent
      inDoubt ||= isChange && failure.wasSent && unsettled.has(failure.class)
      const delayMs = await msUntilRepeat(failure, number, keys, clockOffsetMs)
      if (delayMs === undefined) throw concluded(failure, method, inDoubt)
      observer.retried(operation, failure.class)
      call.log.debug({ operation, attempt: number, after: failure.cosCode ?? failure.code, delayMs }, 'trying COS again')
      // Who has left, or leaves meanwhile, is met by the limiter.
      if (delayMs > 0 && signal()?.aborted !== true) await pause(delayMs, signal())
    }
  }

  async function observed<T> (cosCall: CosCall, read: Read<T>): Promise<T> {
    const startedAt = now()
    const observe = (ending: CallClass) => { observer.called(cosCall.operation, ending, secondsSince(startedAt)) }
    try {
      const value = await repeatedly(cosCall, read)
      observe('ok')
      return value
    } catch (error) {
      observe(error instanceof UpstreamError ? error.class : 'internal')
      throw error
    }
  }

  const underWay = new Set<Promise<unknown>>()

  return {
    run (cosCall, read) {
      const call = observed(cosCall, read)
      underWay.add(call)
      const leave = () => { underWay.delete(call) }
      call.then(leave, leave)
      return call
    },

    async settled () {
      while (underWay.size > 0) await Promise.allSettled(underWay)
    }
  }
}

/** What the caller is told of the last failure when an attempt may have been carried out. */
function concluded (failure: UpstreamError, method: string, inDoubt: boolean): UpstreamError {
  if (!inDoubt) return failure
  const doubt = method === 'POST'
    ? 'Whether COS has taken the job is not known. Sent again, DuplicateInventoryId means that it has, unless the id was used before.'
    : 'Whether the change was made is not known: read the configuration, or send the same request again.'
  return new UpstreamError(failure, `${failure.detail} ${doubt}`,
    { ...failure, cause: failure.cause, mayHaveTakenEffect: true })
}
