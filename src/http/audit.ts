import type { FastifyInstance, FastifyRequest } from 'fastify'
import { rejectUnaudited } from '../audit.ts'
import type { AuditLog, AuditOutcome, AuditRecord } from '../audit.ts'
import { destinationsOf } from '../callers/permissions.ts'
import type { Action } from '../contract/callers.ts'
import type { CosContext, ServiceError } from '../errors.ts'
import { bucketCallOf } from './authorization.ts'
import type { RegionOf } from './authorization.ts'
import type { Lifecycle } from './connections/graceful-shutdown.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** The configuration a patch comes to; null where the body itself is what is written. */
    configuration: object | null
    /** Audits the changes a request makes one by one, in place of the request. */
    auditEach (): BeginChange
  }
}

/** One of several changes of a request. */
export interface Change {
  action: Action
  id: string
  /** What is written, if anything is. */
  configuration?: object | undefined
}

/** Says that a change begins; what it gives is to be called with what came of it. */
export type BeginChange = (change: Change) => (ending: Ending) => void

interface Ending {
  problem: ServiceError | undefined
  cos: CosContext | undefined
}

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
 *
 * @throws {ServiceError} AuditLogUnavailable, before authentication: an attempt begins only while it can be recorded
 */
export function addAudit (app: FastifyInstance, { audit, lifecycle, regionOf }: Dependencies): void {
  /** What is told of each when it is cut, by the request or the change of several that it is. */
  const underWay = new Map<object, () => void>()
  type Result = Pick<AuditRecord, 'outcome' | 'status' | 'code' | 'cosRequestId'>
  const unknown: Result = { outcome: 'unknown', status: undefined, code: undefined, cosRequestId: undefined }

  function record (request: FastifyRequest, change: Partial<Change>, result: Result): void {
    const { action, bucket, region } = bucketCallOf(request, regionOf)
    const { id } = request.params as { id?: string }
    const { configuration = request.configuration ?? request.body } = change
    audit.record({
      requestId: request.id,
      caller: request.caller?.name ?? null,
      address: request.clientAddress,
      action: change.action ?? action,
      bucket: bucket.slice(0, longestName),
      id: change.id ?? id?.slice(0, longestName) ?? null,
      region,
      destinations: destinationsOf(configuration).slice(0, 10).map(each => each.slice(0, longestName)),
      ...result
    })
  }

  app.decorateRequest('configuration', null)
  app.decorateRequest('auditEach', function (this: FastifyRequest) {
    underWay.delete(this)
    return change => {
      // A deletion names no destination, whatever the body names.
      const what = { configuration: {}, ...change }
      underWay.set(change, () => { record(this, what, unknown) })
      return ({ problem, cos }) => {
        if (!underWay.delete(change)) return
        // As if it had been a request of its own.
        const status = problem?.status ?? 204
        record(this, what, { outcome: outcomeOf(problem), status, code: problem?.code, cosRequestId: cos?.requestId })
      }
    }
  })
  app.addHook('onRequest', (request, _, done) => {
    if (isChange(request)) {
      rejectUnaudited(audit)
      underWay.set(request, () => { record(request, {}, unknown) })
    }
    done()
  })
  app.addHook('onSend', (request, reply, _, done) => {
    if (underWay.delete(request)) {
      const { problem } = request
      const cosRequestId = reply.getHeader('x-cos-request-id')?.toString()
      const status = problem?.status ?? reply.statusCode
      record(request, {}, { outcome: outcomeOf(problem), status, code: problem?.code, cosRequestId })
    }
    done()
  })
  lifecycle.whenCut.push(() => { for (const tell of underWay.values()) tell() })
}

/** Whether a request asks for a change. Dry runs change nothing. */
export function isChange ({ query, routeOptions }: FastifyRequest): boolean {
  const { 'dry-run': dryRun } = query as { 'dry-run'?: unknown }
  const { action } = routeOptions.config
  if (action === 'cos:GetBucketInventory') return false
  // DELETE has no dry run: one that asks for it is refused, but was an attempt.
  return action === 'cos:DeleteBucketInventory' || dryRun !== 'true'
}

const denials = new Set(['Unauthenticated', 'CallerNotAllowed', 'RateLimited', 'ReadOnly'])

function outcomeOf (problem: ServiceError | null | undefined): AuditOutcome {
  if (problem === null || problem === undefined) return 'success'
  if (denials.has(problem.code)) return 'denied'
  return problem.mayHaveTakenEffect ? 'unknown' : 'failure'
}
