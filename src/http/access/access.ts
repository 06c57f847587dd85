import fp from 'fastify-plugin'
import type { Callers } from '../../callers/callers.ts'
import { ServiceError } from '../../errors.ts'
import type { AuditTrail } from '../audit-trail.ts'
import { authenticate } from './authentication.ts'
import { authorize, operationOf } from './authorization.ts'
import type { RegionOf } from './authorization.ts'
import type { RateLimiter } from './rate-limits.ts'

/** Longest segment that reaches validation, which then names the issue. */
const maxSegmentLength = 8192

interface Options {
  auditTrail: AuditTrail
  callers: Pick<Callers, 'identify'>
  rateLimiter: RateLimiter
  regionOf: RegionOf
}

/**
 * Authenticates and authorizes callers and limits their rate, before a body is read. Every route of the scope must name
 * its action. A route without one stops the start.
 *
 * @throws {ServiceError} AuditLogUnavailable, URITooLong, Unauthenticated, IssuerUnreachable, RateLimited,
 *   CallerNotAllowed
 */
export const access = fp<Options>(async (app, { auditTrail, callers, rateLimiter, regionOf }) => {
  app.addHook('onRoute', ({ url, config }) => {
    if (config?.action === undefined) throw new Error(`${url} names no action`)
  })
  app.addHook('onRequest', async (request, reply) => {
    const { context } = request
    context.operation = operationOf(request, regionOf)
    // The audit record comes first, because a rejected request was an attempt, too.
    auditTrail.begin(request)
    rejectLongSegments(request.params as Record<string, string>)
    context.caller = await authenticate(request, callers, rateLimiter.countFailure)
    await rateLimiter.limitCaller(request, reply)
    authorize(context)
  })
}, { name: 'access', dependencies: ['request-context', 'audit-trail'], fastify: '5.x' })

function rejectLongSegments (params: Record<string, string>): void {
  for (const value of Object.values(params)) {
    if (value.length > maxSegmentLength) throw new ServiceError('URITooLong', 'A segment of the path is too long. Check the bucket and the id.')
  }
}
