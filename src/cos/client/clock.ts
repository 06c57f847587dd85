/** Smaller differences are those of `Date`, which has whole seconds, and of the way. COS rejects from a minute on. */
const toleranceMs = 10_000

/** The time as COS sees it, by which requests are signed. */
export interface CosClock {
  /** Milliseconds since 1970. */
  now (): number
  /** Returns COS's clock minus the wall clock of this machine, in milliseconds; 0 before the first correction. */
  skewMs (): number
  /**
   * Returns {@link now} minus the monotonic clock, in milliseconds. It changes with each correction and, before the
   * first one, with each step of the wall clock.
   */
  offsetMs (): number
  /**
   * Takes over COS's time after COS has rejected a request for its time.
   *
   * @param cosTime `Date` of the answer, in milliseconds since 1970
   * @param offsetThenMs {@link offsetMs} when the rejected request was signed
   * @returns whether a request signed now has another time than the rejected one
   */
  correct (cosTime: number | undefined, offsetThenMs: number): boolean
}

interface Dependencies {
  /** Wall clock, in milliseconds since 1970. */
  now: () => number
  /** Monotonic clock, in milliseconds. */
  steadyNow: () => number
  log: { warn (fields: object, message: string): void }
}

/**
 * A clock that trusts the machine's until COS objects, from 15 minutes on (COS document 7730). Each correction ties it
 * to the monotonic clock, so that a later step of the wall clock does not make it wrong again.
 */
export function createCosClock ({ now, steadyNow, log }: Dependencies): CosClock {
  let correctedOffsetMs: number | undefined
  const wallOffsetMs = () => now() - steadyNow()
  const offsetMs = () => correctedOffsetMs ?? wallOffsetMs()
  const cosNow = () => steadyNow() + offsetMs()
  const skewMs = () => correctedOffsetMs === undefined ? 0 : Math.round(correctedOffsetMs - wallOffsetMs())
  return {
    now: cosNow,
    skewMs,
    offsetMs,
    correct (cosTime, offsetThenMs) {
      if (cosTime !== undefined && Math.abs(cosTime - cosNow()) > toleranceMs) {
        correctedOffsetMs = cosTime - steadyNow()
        log.warn({ skewMs: skewMs() }, 'clock skew detected, signing with COS time')
      }
      return Math.abs(offsetMs() - offsetThenMs) > toleranceMs
    }
  }
}
