import fp from 'fastify-plugin'
import { ServiceError } from '../errors.ts'
import { rejectForeignPage } from './access/allowed-hosts.ts'
import type { Lifecycle } from './connections/graceful-shutdown.ts'
import { malformation } from './connections/protocol-errors.ts'
import { createNotFound } from './errors/not-found.ts'
import { isShed } from './load-shedding.ts'
import type { Lateness } from './load-shedding.ts'

interface Options {
  lifecycle: Pick<Lifecycle, 'phase'>
  /** Hosts that are served besides loopback; undefined serves any. */
  allowedHosts: readonly string[] | undefined
  /** Closed with the application. */
  lateness: Lateness
  /** From 0 up to 1. */
  random?: () => number
}

/**
 * Rejects requests that are not served, whoever sends them, before anything is done for them: while the service is
 * closing, malformed ones, those of pages of other sites, those without a route, and some while the event loop is late.
 * Probes and metrics are served under any name and however late the loop is.
 *
 * @throws {ServiceError} ShuttingDown, MalformedRequest and others of HTTP, HostNotAllowed, RouteNotFound,
 *   MethodNotAllowed, Overloaded
 */
export const admission = fp<Options>(async (app, { lifecycle, allowedHosts, lateness, random = Math.random }) => {
  const rejectNotFound = createNotFound(app)
  app.addHook('onClose', async () => { lateness.close() })
  app.addHook('onRequest', (request, reply, done) => {
    const { isProbe = false } = request.routeOptions.config
    if (lifecycle.phase === 'closing') throw shuttingDown()
    const malformed = malformation(request.raw)
    if (malformed !== undefined) throw malformed
    if (allowedHosts !== undefined && !isProbe) rejectForeignPage(request, allowedHosts)
    if (request.is404) rejectNotFound(request, reply)
    if (!isProbe && isShed(lateness.ms(), random())) throw overloaded()
    done()
  })
}, { name: 'admission', dependencies: ['request-context'], fastify: '5.x' })

function shuttingDown (): ServiceError {
  return new ServiceError('ShuttingDown', 'This replica is stopping. Send the request again.', { retryAfterSeconds: 1 })
}

function overloaded (): ServiceError {
  return new ServiceError('Overloaded', 'The service has more to do than it can. Nothing was sent to COS. ' +
    'Try again in 1 s or later.', { retryAfterSeconds: 1 })
}
