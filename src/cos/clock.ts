/** Smaller differences are those of `Date`, which has whole seconds, and of the way. COS rejects from a minute on. */
const toleranceMs = 10_000

/** The time as COS sees it, by which requests are signed. */
export interface CosClock {
  /** Milliseconds since 1970. */
  now (): number
  /** What COS's clock is ahead of this machine's, in milliseconds, as far as COS has had cause to say. */
  skewMs (): number
  /**
   * Takes over COS's time after COS has rejected a request for its time.
   *
   * @param cosTime `Date` of the answer, in milliseconds since 1970
   * @param skewThenMs {@link skewMs} when the rejected request was signed
   * @returns whether a request signed now has another time than the rejected one
   */
  correct (cosTime: number | undefined, skewThenMs: number): boolean
}

interface Dependencies {
  /** This machine's clock: milliseconds since 1970. */
  now: () => number
  log: { warn (fields: object, message: string): void }
}

/** A clock that trusts the machine's until COS objects, from 15 minutes on (COS document 7730). */
export function createCosClock ({ now, log }: Dependencies): CosClock {
  let skewMs = 0
  return {
    now: () => now() + skewMs,
    skewMs: () => skewMs,
    correct (cosTime, skewThenMs) {
      const measuredMs = cosTime === undefined ? skewMs : cosTime - now()
      if (Math.abs(measuredMs - skewMs) > toleranceMs) {
        skewMs = measuredMs
        log.warn({ skewMs }, 'the clock of this machine is not that of COS: requests are signed by the time of COS from now on')
      }
      return Math.abs(skewMs - skewThenMs) > toleranceMs
    }
  }
}
