import type { CancelSignal } from './cancel-signal.ts'
import { timerDelay } from './timer-delay.ts'

/**
 * Waits for so many milliseconds, or until the signal is canceled. Never rejects: the caller checks the signal.
 *
 * @param signal a signal that is not canceled yet; undefined when nothing ends the wait
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
