import { createAbortableQueue } from './abortable-queue.ts'
import type { AbortableQueue, WaitEnd } from './abortable-queue.ts'
import type { CancelSignal } from './cancel-signal.ts'

/** Limits of a wait for a lock. */
export interface LockWait {
  /** Instant of the monotonic clock at which the work must have ended, in milliseconds. */
  deadlineAt: number
  signal: CancelSignal
}

/** Reason for which the mutex did not start the work: the wait ended, or too many callers wait already. */
export type LockFailure = WaitEnd | 'queue_full'

/** Runs one piece of work at a time for each key, in order of arrival. */
export interface KeyedMutex {
  /**
   * Runs the work when all earlier work with the same key has ended.
   *
   * @throws {Error} that `toError` returns if the wait failed; the work was not started then
   */
  run<T> (key: string, wait: LockWait, work: () => Promise<T>): Promise<T>
  /** Returns the number of locked keys. The mutex stores nothing for other keys. */
  size (): number
}

interface Dependencies {
  /** Most callers that may wait, over all keys. */
  queueLimit: number
  /** Time that must remain until the deadline when the work starts, in milliseconds. */
  reserveMs: number
  /** Monotonic clock, in milliseconds. */
  now: () => number
  toError: (reason: LockFailure) => Error
}

/** Creates a mutex with no key locked. */
export function createKeyedMutex ({ queueLimit, reserveMs, now, toError }: Dependencies): KeyedMutex {
  /** The locked keys. A key gets a queue only when a second caller waits for it. */
  const queues = new Map<string, AbortableQueue<void> | undefined>()
  let waiting = 0
  const onLeave = () => { waiting -= 1 }

  function queueOf (key: string): AbortableQueue<void> {
    const queue = queues.get(key) ?? createAbortableQueue<void>({ toError, onLeave })
    queues.set(key, queue)
    return queue
  }

  async function lock (key: string, { deadlineAt, signal }: LockWait): Promise<void> {
    if (waiting >= queueLimit) throw toError('queue_full')
    waiting += 1
    await queueOf(key).wait(signal, deadlineAt - reserveMs - now())
  }

  function unlock (key: string): void {
    if (queues.get(key)?.admitFirst() !== true) queues.delete(key)
  }

  return {
    async run (key, wait, work) {
      if (wait.signal.aborted) throw toError('canceled')
      if (queues.has(key)) await lock(key, wait)
      else queues.set(key, undefined)
      try {
        return await work()
      } finally {
        unlock(key)
      }
    },
    size: () => queues.size
  }
}
