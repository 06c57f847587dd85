import { setTimeout as sleep } from 'node:timers/promises'
import { nextIteration } from '../concurrency/event-loop.ts'
import { ServiceError } from '../errors.ts'

/** The most streams of one caller. */
const maxPerCaller = 2

/**
 * The pause of a stream before each piece while other requests are in flight, in milliseconds for each stream. A piece
 * takes about half of one, so that all streams together take a quarter to a third of the time. Without the pause, each
 * step of another request would wait for a piece: p99 of a GET beside four streams would double.
 */
const yieldMs = 1.5

/** Limits how many streams are served at once, and the time that they take from other requests. */
export interface StreamSlots {
  /**
   * Takes a slot and returns the function that gives it back, which must be called once.
   *
   * @throws {ServiceError} Overloaded
   */
  take (caller: string): () => void
  /** Returns the number of streams that are served. */
  taken (): number
  /** Waits before a piece of a stream is made, longer while other requests are in flight. */
  pause (): Promise<void>
}

/**
 * Creates the slots.
 *
 * @param max streams in this process
 * @param inFlight returns the number of all requests in flight, streams included
 */
export function createStreamSlots (max: number, inFlight: () => number): StreamSlots {
  const byCaller = new Map<string, number>()
  let taken = 0
  return {
    take (caller) {
      const ofCaller = byCaller.get(caller) ?? 0
      if (taken >= max) throw overloaded(`This replica serves ${max} streams of reports already.`)
      if (ofCaller >= maxPerCaller) throw overloaded(`The caller has ${maxPerCaller} streams of reports already.`)
      taken += 1
      byCaller.set(caller, ofCaller + 1)
      return () => {
        taken -= 1
        const left = byCaller.get(caller) as number - 1
        if (left === 0) byCaller.delete(caller)
        else byCaller.set(caller, left)
      }
    },
    taken: () => taken,
    async pause () {
      if (inFlight() > taken) await sleep(taken * yieldMs)
      await nextIteration()
    }
  }
}

function overloaded (reason: string): ServiceError {
  return new ServiceError('Overloaded', `${reason} Retry in 10 s, or end another stream.`, { retryAfterSeconds: 10 })
}
