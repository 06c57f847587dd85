import type { CancelSignal } from './cancel-signal.ts'
import { timerDelay } from './timer-delay.ts'

/** Reason for which the queue itself ends a wait: its signal was canceled, or its time limit passed. */
export type WaitEnd = 'canceled' | 'timeout'

/** Waits that end in the order in which they started, unless one is rejected earlier. */
export interface AbortableQueue<T, Reason extends string = never> {
  /** Returns the number of waiting callers. */
  size (): number
  /**
   * Waits until the queue admits this caller.
   *
   * @param signal not canceled yet; undefined if nothing else ends the wait
   * @param limitMs milliseconds; undefined for no limit
   * @throws {Error} that `toError` returns for the reason
   */
  wait (signal: CancelSignal | undefined, limitMs: number | undefined): Promise<T>
  /** Admits the first caller with a value. Returns false if no caller waits. */
  admitFirst (value: T): boolean
  /** Rejects the wait that started last, if there is one. */
  rejectLast (reason: Reason): void
  /** Rejects every wait. */
  rejectAll (reason: Reason): void
}

interface Options<Reason extends string> {
  /** Returns the error of a wait that ends without being admitted. */
  toError: (reason: WaitEnd | Reason) => Error
  /** Called once for each wait, when it ends and before its promise settles. */
  onLeave?: () => void
}

interface Entry<T, Reason extends string> {
  admit (value: T): void
  reject (reason: WaitEnd | Reason): void
}

/** Creates an empty queue. */
export function createAbortableQueue<T, Reason extends string = never> (
  { toError, onLeave }: Options<Reason>
): AbortableQueue<T, Reason> {
  const entries = new Set<Entry<T, Reason>>()

  return {
    size: () => entries.size,

    wait: (signal, limitMs) => new Promise((resolve, reject) => {
      let timer: NodeJS.Timeout | undefined
      const leave = () => {
        entries.delete(entry)
        clearTimeout(timer)
        signal?.removeEventListener('abort', cancel)
        onLeave?.()
      }
      const entry: Entry<T, Reason> = {
        admit (value) {
          leave()
          resolve(value)
        },
        reject (reason) {
          leave()
          reject(toError(reason))
        }
      }
      const cancel = () => { entry.reject('canceled') }
      entries.add(entry)
      signal?.addEventListener('abort', cancel)
      if (limitMs !== undefined) {
        // The limit alone does not keep the process alive.
        timer = setTimeout(() => { entry.reject('timeout') }, timerDelay(limitMs)).unref()
      }
    }),

    admitFirst (value) {
      const [first] = entries
      first?.admit(value)
      return first !== undefined
    },

    rejectLast (reason) {
      [...entries].at(-1)?.reject(reason)
    },

    rejectAll (reason) {
      for (const entry of entries) entry.reject(reason)
    }
  }
}
