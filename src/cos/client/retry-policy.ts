import type { Remedy, UpstreamError } from '../upstream-error.ts'
import type { CosRequest } from './messages.ts'

/** Why a retry that could have helped was not made. */
export type RetryDenial = 'budget' | 'deadline'

/** What to do after a failed attempt. */
export type RetryDecision =
  | { action: 'give-up', denial: RetryDenial | undefined }
  | { action: 'retry', delayMs: number }
  /** The correction helps later calls even when this call has no attempt left. */
  | { action: 'refresh-credentials' | 'correct-clock', thenRetry: boolean }

/** A failed attempt, and what is left for another one. */
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
  /** Whether the retry budget has a retry left. */
  hasBudget: boolean
  /** From 0 up to 1. */
  random: number
}

/** The longest wait before the first retry. Each further retry doubles it. */
const firstBackOffMs = 100
const longestBackOffMs = 2_000

/**
 * Decides whether a call is retried. There are at most `maxAttempts`, with full jitter between them, on top of what COS
 * asks for with `Retry-After`, within the deadline and the budget. A POST starts a job: it is not retried once anything
 * of it was sent. Rejected credentials or a rejected time are the exception, because COS checks them before anything
 * else. Each of those two is corrected once a call, and the retry follows at once.
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
