import type { InventoryError } from './error.ts'

/** A failed attempt of a request. */
export interface FailedAttempt {
  method: string
  /** Whether the request has If-Match or If-None-Match. */
  isConditional: boolean
  /** 1 for the first attempt. */
  count: number
  /** The response. Undefined if it was lost. */
  error: InventoryError | undefined
}

/**
 * Returns the pause before the next attempt in milliseconds, or undefined if the request is not retried.
 *
 * - 429 and 503 are retried as Retry-After says, unless the change may have been made.
 * - A lost response is retried if a second request has the effect of one: GET, HEAD, and PUT and DELETE without a
 *   condition. A 429 or 503 of a gateway counts as lost, because only the service says whether a change was made.
 * - POST starts a job and is never retried.
 */
export function retryPauseMs (
  { method, isConditional, count, error }: FailedAttempt, maxAttempts: number
): number | undefined {
  if (method === 'POST' || count >= maxAttempts) return undefined
  if (error && error.status !== 429 && error.status !== 503) return undefined
  const mayRetry = error?.problem
    ? error.problem.outcome !== 'unknown'
    : /^(GET|HEAD)$/.test(method) || (method !== 'PATCH' && !isConditional)
  return mayRetry ? error?.retryAfterMs ?? backoffMs(count) : undefined
}

/** Returns a random pause in milliseconds that doubles with each attempt: 100 to 200, 200 to 400, and so on. */
export function backoffMs (count: number): number {
  return 100 * 2 ** (count - 1) * (1 + Math.random())
}

/** Waits, in milliseconds. Rejects with the reason of the signal when it aborts. */
export async function pause (ms: number, signal: AbortSignal | undefined): Promise<void> {
  await new Promise<void>(resolve => {
    const end = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', end)
      resolve()
    }
    const timer = setTimeout(end, ms)
    signal?.addEventListener('abort', end)
  })
  signal?.throwIfAborted()
}
