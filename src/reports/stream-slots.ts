import { ServiceError } from '../errors.ts'

/** The most streams of one caller. */
const maxPerCaller = 2

/** Limits how many streams are served at once. */
export interface StreamSlots {
  /**
   * Takes a slot and returns the function that gives it back, which must be called once.
   *
   * @throws {ServiceError} Overloaded
   */
  take (caller: string): () => void
  /** Returns the number of streams that are served. */
  taken (): number
}

/** Creates the slots. @param max streams in this process */
export function createStreamSlots (max: number): StreamSlots {
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
    taken: () => taken
  }
}

function overloaded (reason: string): ServiceError {
  return new ServiceError('Overloaded', `${reason} Retry in 10 s, or end another stream.`, { retryAfterSeconds: 10 })
}
