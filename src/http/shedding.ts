import type { FastifyInstance } from 'fastify'
import { ServiceError } from '../errors.ts'

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
 * Refuses requests while the event loop is late, before anything is done for them: the more the later, from none at
 * 500 ms to all at 1 s, so that about as many are let in as can be served. Probes and metrics are always served: having
 * the process killed, or seeing nothing of it, would make matters worse.
 *
 * @param random from 0 up to 1
 * @throws {ServiceError} Overloaded
 */
export function shedLoad (app: FastifyInstance, lateness: Lateness, random = Math.random): void {
  app.addHook('onRequest', ({ routeOptions: { config } }, _, done) => {
    if (config.quiet === true || random() >= lateness.ms() / toleratedMs - 1) {
      done()
      return
    }
    throw new ServiceError('Overloaded', 'The service has more to do than it can. Nothing was sent to COS. ' +
      'Try again in 1 s or later.', { retryAfterSeconds: 1 })
  })
  app.addHook('onClose', async () => { lateness.close() })
}
