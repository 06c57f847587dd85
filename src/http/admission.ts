import fp from 'fastify-plugin'
import { ServiceError } from '../errors.ts'
import { rejectForeignPage } from './access/allowed-hosts.ts'
import type { Lifecycle } from './connections/graceful-shutdown.ts'
import { malformation } from './connections/protocol-errors.ts'
import { createNotFound } from './errors/not-found.ts'
import { shouldReject } from './load-shedding.ts'
import type { EventLoopDelay } from './load-shedding.ts'

interface Options {
  lifecycle: Pick<Lifecycle, 'phase'>
  /** Host names that are served besides loopback names; undefined serves any. */
  allowedHosts: readonly string[] | undefined
  /** Measures the delay of the event loop. Closed with the application. */
  eventLoopDelay: EventLoopDelay
  /** Returns a number from 0 up to 1. */
  random?: () => number
}

/**
 * Rejects requests that are not served to any caller, before other work is done for them. While the service is closing,
 * these are all requests. At other times these are malformed requests and requests without a route. Without
 * authentication, requests for other hosts and from pages of other sites are rejected, too. While the event loop is
 * delayed, a share of all requests is rejected.
 *
 * Probes and metrics are served under any host name and at any delay.
 *
 * @throws {ServiceError} ShuttingDown, MalformedRequest and other HTTP errors, HostNotAllowed, RouteNotFound,
 *   MethodNotAllowed, Overloaded
 */
export const admission = fp<Options>(async (app, { lifecycle, allowedHosts, eventLoopDelay, random = Math.random }) => {
  const rejectNotFound = createNotFound(app)
  app.addHook('onClose', async () => { eventLoopDelay.close() })
  app.addHook('onRequest', (request, reply, done) => {
    const { isProbe = false } = request.routeOptions.config
    if (lifecycle.phase === 'closing') throw shuttingDown()
    const malformed = malformation(request.raw)
    if (malformed !== undefined) throw malformed
    if (allowedHosts !== undefined && !isProbe) rejectForeignPage(request, allowedHosts)
    if (request.is404) rejectNotFound(request, reply)
    if (!isProbe && shouldReject(eventLoopDelay.ms(), random())) throw overloaded()
    done()
  })
}, { name: 'admission', dependencies: ['problem-replies'], fastify: '5.x' })

function shuttingDown (): ServiceError {
  return new ServiceError('ShuttingDown', 'This replica is stopping. Retry in 1 s.', { retryAfterSeconds: 1 })
}

function overloaded (): ServiceError {
  return new ServiceError('Overloaded', 'The service is overloaded. Nothing was sent to COS. ' +
    'Retry in 1 s or later.', { retryAfterSeconds: 1 })
}
