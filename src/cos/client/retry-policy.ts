import type { Remedy, UpstreamError } from '../upstream-error.ts'
import type { CosRequest } from './messages.ts'

/** The reason for which a useful retry was not made. */
export type RetryDenial = 'budget' | 'deadline'

/** The decision after a failed attempt. */
export type RetryDecision =
  | { action: 'give-up', denial: RetryDenial | undefined }
  | { action: 'retry', delayMs: number }
  /** The correction helps later calls even when this call has no attempt left. */
  | { action: 'refresh-credentials' | 'correct-clock', thenRetry: boolean }

/** A failed attempt, with the time and the budget that remain. */
export interface FailedAttempt {
  failure: Pick<UpstreamError, 'remedy' | 'wasSent' | 'waitMs'>
  method: CosRequest['method']
  /** 1 for the first attempt. */
  number: number
  maxAttempts: number
  /** Remedies of earlier attempts of the call. */
  used: readonly Remedy[]
  /** Time until the deadline, in milliseconds. */
  remainingMs: number
  /** True when the retry budget permits a retry. */
  hasBudget: boolean
  /** From 0 up to 1. */
  random: number
}

/** The longest wait before the first retry. Each further retry doubles it. */
const firstBackOffMs = 100
const longestBackOffMs = 2_000

/**
 * Decides whether a call is retried. A call has at most `maxAttempts`, within the deadline and the budget. The wait is
 * that of `Retry-After`, plus an exponential back-off with full jitter. A POST starts a job, so it is not retried after
 * any of it was sent. Rejected credentials and a rejected time are exceptions, because COS checks them first. Each is
 * corrected once for each call, and the retry follows immediately.
 */
export function decideRetry (
  { failure, method, number, maxAttempts, used, remainingMs, hasBudget, random }: FailedAttempt
): RetryDecision {
  const { remedy, wasSent, waitMs } = failure
  if (remedy === 'none' || (remedy !== 'retry' && used.includes(remedy))) return giveUp()
  const isLast = number >= maxAttempts
  if (remedy === 'correct-clock' || remedy === 'refresh-credentials') return { action: remedy, thenRetry: !isLast }
  if (isLast || (method === 'POST' && wasSent)) return giveUp()
  const delayMs = waitMs + random * Math.min(longestBackOffMs, firstBackOffMs * 2 ** (number - 1))
  if (delayMs >= remainingMs) return giveUp('deadline')
  return hasBudget ? { action: 'retry', delayMs } : giveUp('budget')
}

function giveUp (denial?: RetryDenial): RetryDecision {
  return { action: 'give-up', denial }
}
