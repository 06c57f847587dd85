/** Node runs a timer with a longer delay after 1 ms. */
const longestDelayMs = 2 ** 31 - 1

/**
 * Returns a delay that `setTimeout` accepts: from 0 to about 24 days.
 *
 * @param ms milliseconds
 */
export function timerDelay (ms: number): number {
  return Math.max(0, Math.min(ms, longestDelayMs))
}
