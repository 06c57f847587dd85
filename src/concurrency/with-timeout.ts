import { timerDelay } from './timer-delay.ts'

const timedOut = Symbol('timed out')

/**
 * Waits for a promise, but no longer than a limit. The work behind the promise continues after the limit. The limit
 * alone does not keep the process alive.
 *
 * @param limitMs milliseconds
 * @param onTimeout returns the result, or throws the error, if the limit passes first
 */
export async function withTimeout<T, Late> (
  promise: Promise<T>, limitMs: number, onTimeout: () => Late
): Promise<T | Late> {
  let timer: NodeJS.Timeout | undefined
  const limit = new Promise<typeof timedOut>(resolve => {
    timer = setTimeout(resolve, timerDelay(limitMs), timedOut).unref()
  })
  try {
    const first = await Promise.race([promise, limit])
    return first === timedOut ? onTimeout() : first
  } finally {
    clearTimeout(timer)
  }
}
