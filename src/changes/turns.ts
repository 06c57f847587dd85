import { canceled } from '../cos/upstream-error.ts'
import type { Departure } from '../concurrency/cancel-signal.ts'
import { ServiceError } from '../errors.ts'

/** The instant of the monotonic clock at which the work must be over, and the signal that cancels it. */
export interface Patience {
  deadlineAt: number
  signal: Departure
}

export interface Turns {
  /**
   * Does the work when everybody who came earlier with the same key is done. Nothing is kept of a key nobody uses.
   *
   * @throws {ServiceError} Overloaded when its turn does not come while there is time for the work, or too many wait;
   *   CallerLeft when the signal ended the waiting. The work is not begun then
   */
  take<T> (key: string, patience: Patience, work: () => Promise<T>): Promise<T>
  /** Keys in use. */
  size (): number
}

interface Dependencies {
  /** The most that wait, over all keys. */
  queueLimit: number
  /** What must be left before the deadline when the work begins, in milliseconds. */
  reserveMs: number
  /** Monotonic clock, in milliseconds. */
  now: () => number
}

/** One at a time for each key, in the order they came. */
export function createTurns ({ queueLimit, reserveMs, now }: Dependencies): Turns {
  /** Those who wait, in order, by key; a key somebody has is there even if nobody waits. */
  const waiting = new Map<string, Set<() => void>>()
  let waitingInAll = 0

  function untilCalled (waiters: Set<() => void>, { deadlineAt, signal }: Patience): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (act: () => void) => () => {
        waitingInAll -= 1
        waiters.delete(come)
        clearTimeout(timer)
        signal.removeEventListener('abort', leave)
        act()
      }
      const come = settle(resolve)
      const leave = settle(() => { reject(canceled()) })
      const timer = setTimeout(settle(() => { reject(overloaded()) }), Math.max(0, deadlineAt - reserveMs - now()))
      waitingInAll += 1
      waiters.add(come)
      signal.addEventListener('abort', leave)
    })
  }

  function passOn (key: string, [next]: Set<() => void>): void {
    if (next === undefined) waiting.delete(key)
    else next()
  }

  return {
    async take (key, patience, work) {
      if (patience.signal.aborted) throw canceled()
      const present = waiting.get(key)
      const waiters = present ?? new Set()
      if (present === undefined) waiting.set(key, waiters)
      else if (waitingInAll >= queueLimit) throw overloaded()
      else await untilCalled(waiters, patience)
      return await work().finally(() => { passOn(key, waiters) })
    },
    size: () => waiting.size
  }
}

function overloaded (): ServiceError {
  return new ServiceError('Overloaded', 'Others are changing this at the moment, and the turn of this request has not ' +
    'come in time. Nothing was sent. Try again in 1 s or later.', { retryAfterSeconds: 1 })
}
