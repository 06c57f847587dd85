import type { CancelSignal } from './cancel-signal.ts'
import { timerDelay } from './timer-delay.ts'

/**
 * Waits for some milliseconds, or until the signal is canceled. Never rejects: the caller checks the signal.
 *
 * @param signal not canceled yet; undefined if nothing else ends the wait
 */
export function sleep (ms: number, signal: CancelSignal | undefined): Promise<void> {
  return new Promise(resolve => {
    const wake = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', wake)
      resolve()
    }
    const timer = setTimeout(wake, timerDelay(ms))
    signal?.addEventListener('abort', wake)
  })
}
