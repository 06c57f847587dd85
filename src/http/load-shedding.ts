/**
 * Average delay that is tolerated. With a longer delay, attempts at COS would soon time out because of this service.
 */
const toleratedMs = 500
const sampleMs = 100
/** Weight of the latest sample. */
const weight = 0.2
/** Upper limit of a sample: one long response or a pause of the machine is not an overload. */
const maxSampleMs = 2 * toleratedMs

/** Measures the delay of the event loop. */
export interface EventLoopDelay {
  /** Returns the recent average delay, from 0 to 1,000 milliseconds. */
  ms (): number
  /** Ends the measurement. The measurement does not keep the process alive. */
  close (): void
}

/** Starts the measurement with a timer: its delay is that of the event loop. */
export function measureEventLoopDelay (): EventLoopDelay {
  let averageMs = 0
  let firedAt = performance.now()
  const timer = setInterval(() => {
    const now = performance.now()
    averageMs += weight * (Math.min(maxSampleMs, now - firedAt - sampleMs) - averageMs)
    firedAt = now
  }, sampleMs).unref()
  return { ms: () => Math.max(0, averageMs), close: () => { clearInterval(timer) } }
}

/**
 * Returns whether to reject a request because of the event loop delay. The share of rejected requests rises from 0 at
 * 500 ms to 1 at 1 s. So the service admits about as many requests as it can serve.
 *
 * @param delayMs milliseconds, as {@link EventLoopDelay.ms} returns it
 * @param random a number from 0 up to 1
 */
export function shouldReject (delayMs: number, random: number): boolean {
  return random < delayMs / toleratedMs - 1
}
