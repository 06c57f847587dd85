/** Node runs a timer with a longer delay after 1 ms. */
const longestDelayMs = 2 ** 31 - 1

/**
 * Returns a delay that `setTimeout` accepts.
 *
 * @param ms milliseconds; less than 0 becomes 0, more than 24 days become 24 days
 */
export function timerDelay (ms: number): number {
  return Math.max(0, Math.min(ms, longestDelayMs))
}
