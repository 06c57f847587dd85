/** Smaller differences come from `Date`, which has whole seconds, and from the network. COS rejects a minute. */
const toleranceMs = 10_000

/** The time of COS. Requests are signed with it. */
export interface CosClock {
  /** Returns milliseconds since 1970. */
  now (): number
  /** Returns COS's clock minus the wall clock of this machine, in milliseconds; 0 before the first correction. */
  skewMs (): number
  /**
   * Returns {@link now} minus the monotonic clock, in milliseconds. It changes with each correction and, before the
   * first one, with each step of the wall clock.
   */
  offsetMs (): number
  /**
   * Adopts COS's time after COS has rejected a request because of its time.
   *
   * @param cosTime `Date` of the response, in milliseconds since 1970
   * @param offsetThenMs {@link offsetMs} when the rejected request was signed
   * @returns true when a request signed now has another time than the rejected one
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
 * Creates a clock that follows the wall clock until COS rejects a time. COS rejects a difference of 15 minutes (COS
 * document 7730). After a correction the clock follows the monotonic clock. So later steps of the wall clock have no
 * effect.
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
