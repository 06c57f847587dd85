import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { AuditLog, AuditOutcome, AuditRecord } from '../audit.ts'
import { destinationsOf } from '../callers/permissions.ts'
import { bucketCallOf } from './authorization.ts'
import type { RegionOf } from './authorization.ts'
import type { Lifecycle } from './shutdown.ts'

/** Names that COS takes are shorter; what was sent in their place may be thousands of characters. */
const longestName = 128

interface Dependencies {
  audit: AuditLog
  lifecycle: Lifecycle
  regionOf: RegionOf
}

/**
 * One audit record for each attempted change, as soon as it is known what came of it, whether or not the caller is
 * still there to hear it; those that are cut when the service stops are recorded as unknown. Reads and dry runs change
 * nothing.
 */
export function addAudit (app: FastifyInstance, { audit, lifecycle, regionOf }: Dependencies): void {
  const underWay = new Set<FastifyRequest>()
  const record = (request: FastifyRequest, rest: Pick<AuditRecord, 'outcome' | 'status' | 'cosRequestId'>) => {
    const { id } = request.params as { id: string }
    const { action, bucket, region } = bucketCallOf(request, regionOf)
    audit({
      requestId: request.id,
      caller: request.caller?.name ?? null,
      address: request.clientAddress,
      action,
      bucket: bucket.slice(0, longestName),
      id: id.slice(0, longestName),
      region,
      destinations: destinationsOf(request.body).slice(0, 10).map(each => each.slice(0, longestName)),
      code: request.problem?.code,
      ...rest
    })
  }
  app.addHook('onRequest', async request => {
    if (isChange(request)) underWay.add(request)
  })
  app.addHook('onSend', async (request, reply) => {
    if (!underWay.delete(request)) return
    const cosRequestId = reply.getHeader('x-cos-request-id')?.toString()
    const status = request.problem?.status ?? reply.statusCode
    record(request, { outcome: outcomeOf(request), status, cosRequestId })
  })
  lifecycle.whenCut.push(() => {
    for (const request of underWay) record(request, { outcome: 'unknown', status: undefined, cosRequestId: undefined })
  })
}

function isChange ({ query, routeOptions }: FastifyRequest): boolean {
  const { 'dry-run': dryRun } = query as { 'dry-run'?: unknown }
  const { action } = routeOptions.config
  if (action === 'cos:GetBucketInventory') return false
  // DELETE has no dry run: one that asks for it is refused, but was an attempt.
  return action === 'cos:DeleteBucketInventory' || dryRun !== 'true'
}

const denials = new Set(['Unauthenticated', 'CallerNotAllowed', 'RateLimited', 'ReadOnly'])

function outcomeOf ({ problem }: FastifyRequest): AuditOutcome {
  if (problem === null) return 'success'
  if (denials.has(problem.code)) return 'denied'
  return problem.mayHaveTakenEffect ? 'unknown' : 'failure'
}
