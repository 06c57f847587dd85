/**
 * Makes one call as one or more attempts at COS.
 */
import { sleep } from '../../concurrency/abortable-sleep.ts'
import type { CancelSignal } from '../../concurrency/cancel-signal.ts'
import { createInFlight } from '../../concurrency/in-flight.ts'
import type { Credentials } from '../../config/credentials.ts'
import { UpstreamError } from '../upstream-error.ts'
import type { FailureClass, Remedy } from '../upstream-error.ts'
import { createAttempt, isRead } from './attempt.ts'
import type { CosCall, Read } from './attempt.ts'
import type { CallClass, CallObserver } from './call-observer.ts'
import type { CosClock } from './clock.ts'
import type { ConcurrencyLimiter, Permit } from './concurrency-limiter.ts'
import type { RetryBudget } from './retry-budget.ts'
import { decideRetry } from './retry-policy.ts'
import type { Transport } from './transport.ts'

export interface Attempts {
  /**
   * Makes a call, with retries as {@link decideRetry} decides.
   *
   * @param read turns a success into the result; when it throws an {@link UpstreamError}, the attempt has failed
   * @throws {ServiceError} the error of the last attempt; its detail says when COS may have made the change
   */
  run<T> (cosCall: CosCall, read: Read<T>): Promise<T>
  /** Waits until no call is in flight. */
  settled (): Promise<void>
}

interface Dependencies {
  limiter: Pick<ConcurrencyLimiter, 'acquire'>
  budget: RetryBudget
  clock: CosClock
  observer: CallObserver
  transport: Pick<Transport, 'send'>
  /** Monotonic clock, in milliseconds. */
  now: () => number
  /** From 0 up to 1. */
  random?: () => number
  /** Waits for a number of milliseconds, or until the signal is canceled. */
  pause?: (ms: number, signal: CancelSignal | undefined) => Promise<void>
}

/** The state of a call after failed attempts. */
interface Progress {
  /** The latest failure. */
  failure: UpstreamError | undefined
  /** True when anything of the call was written to a socket. */
  wasSent: boolean
  /** True when COS may have made the change. */
  inDoubt: boolean
  used: Remedy[]
}

/** Failures after which COS may have carried out the request. */
const unsettled: ReadonlySet<FailureClass> = new Set(['timeout', 'unreachable', 'server', 'invalid', 'cancelled'])

/** Creates the function that makes calls to COS. */
export function createAttempts ({ maxAttempts }: { maxAttempts: number }, dependencies: Dependencies): Attempts {
  const { limiter, clock, budget, observer, now, pause = sleep } = dependencies
  const attempt = createAttempt(dependencies)
  const prepareRetry = createRetryPreparation({ maxAttempts }, dependencies)
  const inFlight = createInFlight()

  async function runAttempts<T> (cosCall: CosCall, read: Read<T>): Promise<T> {
    const { address: { host }, credentials, deadlineAt } = cosCall
    const place = { host, region: host.slice(host.indexOf('.') + 1) }
    const progress: Progress = { failure: undefined, wasSent: false, inDoubt: false, used: [] }
    budget.earn(host)
    let number = 0
    for (;;) {
      number += 1
      let keys: Credentials
      let permit: Permit
      try {
        // The credentials may have been replaced since the previous attempt.
        keys = await credentials.get(deadlineAt)
        const askedAt = now()
        permit = await limiter.acquire(place, deadlineAt, signalOf(cosCall, progress))
        observer.waited((now() - askedAt) / 1000)
      } catch (error) {
        // The failure that made a retry necessary says more than the error that prevents the retry.
        throw progress.failure === undefined ? error : concluded(progress.failure, cosCall, progress)
      }
      const clockOffsetMs = clock.offsetMs()
      const result = await attempt(cosCall, read, keys, number, permit)
      if ('value' in result) return result.value
      const { failure } = result
      const delayMs = await prepareRetry(cosCall, progress, { failure, number, keys, clockOffsetMs })
      if (delayMs === undefined) throw concluded(failure, cosCall, progress)
      const signal = signalOf(cosCall, progress)
      // The limiter rejects the call of a caller that disconnects during the pause.
      if (delayMs > 0 && signal?.aborted !== true) await pause(delayMs, signal)
    }
  }

  function recordEnd ({ operation }: CosCall, startedAt: number, ending: CallClass): void {
    inFlight.end()
    observer.called(operation, ending, (now() - startedAt) / 1000)
  }

  return {
    async run (cosCall, read) {
      const startedAt = now()
      inFlight.start()
      try {
        const value = await runAttempts(cosCall, read)
        recordEnd(cosCall, startedAt, 'ok')
        return value
      } catch (error) {
        recordEnd(cosCall, startedAt, error instanceof UpstreamError ? error.class : 'internal')
        throw error
      }
    },

    settled: inFlight.settled
  }
}

interface Failed {
  failure: UpstreamError
  /** 1 for the first attempt. */
  number: number
  keys: Credentials
  /** The offset of the clock when the attempt was signed, in milliseconds. */
  clockOffsetMs: number
}

/** Creates the function that carries out a decision. It returns the pause before the retry; undefined to give up. */
function createRetryPreparation (
  { maxAttempts }: { maxAttempts: number },
  { budget, clock, observer, now, random = Math.random }: Dependencies
) {
  async function delayMsOf (
    { method, address: { host }, credentials, deadlineAt }: CosCall, { used }: Progress, failed: Failed
  ): Promise<number | undefined> {
    const { failure, number, keys, clockOffsetMs } = failed
    const decision = decideRetry({
      failure,
      method,
      number,
      maxAttempts,
      used,
      remainingMs: deadlineAt - now(),
      hasBudget: budget.has(host),
      random: random()
    })
    used.push(failure.remedy)
    switch (decision.action) {
      case 'give-up':
        if (decision.denial !== undefined) observer.retryDenied(decision.denial)
        return undefined
      case 'retry':
        budget.spend(host)
        return decision.delayMs
      case 'correct-clock':
        return clock.correct(failure.cosTime, clockOffsetMs) && decision.thenRetry ? 0 : undefined
      case 'refresh-credentials': {
        const refreshed = credentials.renew(keys, deadlineAt)
        return decision.thenRetry && await refreshed !== undefined && now() < deadlineAt ? 0 : undefined
      }
    }
  }

  return async (cosCall: CosCall, progress: Progress, failed: Failed): Promise<number | undefined> => {
    recordFailure(progress, failed.failure, cosCall)
    const delayMs = await delayMsOf(cosCall, progress, failed)
    if (delayMs === undefined) return undefined
    const { operation, call } = cosCall
    const { failure, number } = failed
    observer.retried(operation, failure.class)
    call.log.debug({ operation, attempt: number, after: failure.cosCode ?? failure.code, delayMs }, 'retrying call to COS')
    return delayMs
  }
}

/** Returns the signal that ends a call. A change that was sent runs to its end: the audit records its outcome. */
function signalOf ({ method, call }: CosCall, { wasSent }: Progress): CancelSignal | undefined {
  return !isRead(method) && wasSent ? undefined : call.signal
}

function recordFailure (progress: Progress, failure: UpstreamError, { method }: CosCall): void {
  progress.failure = failure
  progress.wasSent ||= failure.wasSent
  progress.inDoubt ||= !isRead(method) && failure.wasSent && unsettled.has(failure.class)
}

/** Returns the last failure for the caller. Its detail says when an earlier attempt may have been carried out. */
function concluded (failure: UpstreamError, { method }: CosCall, { inDoubt }: Progress): UpstreamError {
  if (!inDoubt) return failure
  const doubt = method === 'POST'
    ? 'The outcome is not known. Send the same request again. DuplicateInventoryId then means that COS started the job, ' +
      'unless the id was used before.'
    : 'The outcome is not known. Read the configuration, or send the same request again.'
  return new UpstreamError(failure, `${failure.detail} ${doubt}`,
    { ...failure, cause: failure.cause, mayHaveTakenEffect: true })
}
