import fp from 'fastify-plugin'
import type { Callers } from '../../callers/callers.ts'
import { ServiceError } from '../../errors.ts'
import type { AuditTrail } from '../audit-trail.ts'
import { authenticate } from './authentication.ts'
import { authorize, operationOf } from './authorization.ts'
import type { RegionOf } from './authorization.ts'
import type { RateLimiter } from './rate-limits.ts'

/** Validation says what is wrong with a parameter of the path up to this length. */
const maxSegmentLength = 8192

interface Options {
  auditTrail: AuditTrail
  callers: Pick<Callers, 'identify'>
  rateLimiter: RateLimiter
  regionOf: RegionOf
}

/**
 * Serves known callers only, within their rate limit and what their statements allow, before a body is read. Every
 * route of the scope must name its action: a route without one stops the start.
 *
 * @throws {ServiceError} AuditLogUnavailable, URITooLong, Unauthenticated, IssuerUnreachable, RateLimited,
 *   CallerNotAllowed
 */
export const access = fp<Options>(async (app, { auditTrail, callers, rateLimiter, regionOf }) => {
  app.addHook('onRoute', ({ url, config }) => {
    if (config?.action === undefined) throw new Error(`${url} does not say which action it is`)
  })
  app.addHook('onRequest', async (request, reply) => {
    const { context } = request
    context.operation = operationOf(request, regionOf)
    // First: a rejected request was an attempt, too.
    auditTrail.begin(request)
    rejectLongSegments(request.params as Record<string, string>)
    context.caller = await authenticate(request, callers, rateLimiter.countFailure)
    await rateLimiter.limitCaller(request, reply)
    authorize(context)
  })
}, { name: 'access', dependencies: ['request-context', 'audit-trail'], fastify: '5.x' })

function rejectLongSegments (params: Record<string, string>): void {
  for (const value of Object.values(params)) {
    if (value.length > maxSegmentLength) throw new ServiceError('URITooLong', 'A segment of the path is too long.')
  }
}
