/** How late timers may be, on average: beyond, attempts would soon time out for this service's own lateness. */
const toleratedMs = 500
const sampleMs = 100
/** What the latest sample counts for, and at most is: one long answer, or a pause of the machine, is no overload. */
const weight = 0.2
const mostMs = 2 * toleratedMs

/** How late the event loop is. */
export interface Lateness {
  /** Milliseconds on average of late, up to 1,000. */
  ms (): number
  /** Ends the measurement, which does not keep the process alive. */
  close (): void
}

/** Measures by how much a timer is late. */
export function measureLateness (): Lateness {
  let averageMs = 0
  let firedAt = performance.now()
  const timer = setInterval(() => {
    const now = performance.now()
    averageMs += weight * (Math.min(mostMs, now - firedAt - sampleMs) - averageMs)
    firedAt = now
  }, sampleMs).unref()
  return { ms: () => Math.max(0, averageMs), close: () => { clearInterval(timer) } }
}

/**
 * Tells whether a request is rejected for the lateness of the event loop: from none at 500 ms to all at 1 s, so that
 * about as many are admitted as can be served.
 *
 * @param lateMs as {@link Lateness.ms} returns it
 * @param random from 0 up to 1
 */
export function isShed (lateMs: number, random: number): boolean {
  return random < lateMs / toleratedMs - 1
}
