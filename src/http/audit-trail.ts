import fp from 'fastify-plugin'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { rejectUnaudited } from '../logging/audit-log.ts'
import type { AuditLog, AuditOutcome, AuditRecord } from '../logging/audit-log.ts'
import { destinationsOf } from '../callers/permissions.ts'
import type { Action } from '../contract/callers.ts'
import type { CosContext, ServiceError } from '../errors.ts'
import type { Lifecycle } from './connections/graceful-shutdown.ts'
import type { BucketOperation } from './context/request-context.ts'

/** One of the changes of a request for a set. */
export interface Change {
  action: Action
  id: string
  /** The configuration to write; undefined for a deletion. */
  configuration?: object | undefined
}

/** The progress of a response with rows. */
export interface Stream {
  /** Day of the report. */
  date: string
  progress: Readonly<{ rows: number, bytes: number }>
}

/** The result of a change. */
export interface ChangeResult {
  problem: ServiceError | undefined
  cos: CosContext | undefined
}

/**
 * Longest name in a record. Names that COS accepts are shorter, but a rejected request can contain thousands of
 * characters.
 */
const maxNameLength = 128

const maxDestinations = 10

/**
 * Writes one record for each attempted change, and for each read of rows, once its result is known, whether or not the
 * client is still connected. Changes in flight at the end of the grace period are recorded as unknown.
 */
export interface AuditTrail {
  /**
   * Begins the record of a request that asks for a change or for rows.
   *
   * @throws {ServiceError} AuditLogUnavailable, because what cannot be recorded must not begin
   */
  begin (request: FastifyRequest): void
  /** Ends the record of a request with its response. */
  end (request: FastifyRequest, status: number, cosRequestId: string | undefined): void
  /** Lets the record end with the last byte instead of the head of the response. */
  beginStream (request: FastifyRequest, stream: Stream): void
  /** Ends the record of a response with rows. */
  endStream (request: FastifyRequest, reply: FastifyReply): void
  /** Records the changes of a request one by one instead of the request. */
  split (request: FastifyRequest): void
  /** Begins the record of one change of a request. */
  beginChange (request: FastifyRequest, change: Change): void
  /** Ends the record of a change, as for a separate request. */
  endChange (request: FastifyRequest, change: Change, result: ChangeResult): void
}

type Result = Pick<AuditRecord, 'outcome' | 'status' | 'code' | 'cosRequestId' | 'date' | 'rows' | 'bytes'>

const unknown: Result = { outcome: 'unknown', status: undefined, code: undefined, cosRequestId: undefined }

const failed: Result = { ...unknown, outcome: 'failure' }

function sentOf ({ date, progress: { rows, bytes } }: Stream): Pick<AuditRecord, 'date' | 'rows' | 'bytes'> {
  return { date, rows, bytes }
}

/** Creates the functions that write records of requests and of single changes. */
function createRecorder (audit: AuditLog) {
  function record (
    request: FastifyRequest, destinations: readonly string[], result: Result, change?: Change
  ): void {
    const { context } = request
    const { bucket, region, ...operation } = context.operation as BucketOperation
    audit.record({
      requestId: request.id,
      caller: context.caller?.name ?? null,
      address: context.clientAddress,
      action: change?.action ?? operation.action,
      bucket: bucket.slice(0, maxNameLength),
      id: (change?.id ?? operation.id)?.slice(0, maxNameLength) ?? null,
      region,
      destinations: destinations.slice(0, maxDestinations).map(each => each.slice(0, maxNameLength)),
      ...result
    })
  }

  return {
    recordRequest (request: FastifyRequest, result: Result): void {
      // A rejected request may not have come as far as authorization of its body.
      record(request, request.context.destinations ?? destinationsOf(request.body), result)
    },
    recordChange (request: FastifyRequest, change: Change, result: Result): void {
      record(request, destinationsOf(change.configuration), result, change)
    }
  }
}

/** Returns the result of a response with rows that has ended. */
function resultOf (stream: Stream, { context: { problem } }: FastifyRequest, reply: FastifyReply): Result {
  const isSent = reply.raw.writableFinished && reply.statusCode < 400
  return {
    outcome: isSent ? 'success' : 'failure',
    status: isSent ? reply.statusCode : problem?.status,
    code: problem?.code,
    cosRequestId: reply.getHeader('x-cos-request-id')?.toString(),
    ...sentOf(stream)
  }
}

/** Creates the audit trail of a service. */
export function createAuditTrail (audit: AuditLog, lifecycle: Lifecycle): AuditTrail {
  /** Functions that write the records in flight when the service stops, by request or by change of a set. */
  const inFlight = new Map<object, () => void>()
  const streams = new WeakMap<FastifyRequest, Stream>()
  const { recordRequest, recordChange } = createRecorder(audit)
  lifecycle.whenAborted.push(() => { for (const write of inFlight.values()) write() })

  return {
    begin (request) {
      const { operation } = request.context
      if (operation?.isChange !== true && operation?.action !== 'reports:ReadRows') return
      rejectUnaudited(audit)
      inFlight.set(request, () => { recordRequest(request, unknown) })
    },
    end (request, responseStatus, cosRequestId) {
      if (streams.has(request) || !inFlight.delete(request)) return
      const { problem } = request.context
      const status = problem?.status ?? responseStatus
      recordRequest(request, { outcome: outcomeOf(problem), status, code: problem?.code, cosRequestId })
    },
    beginStream (request, stream) {
      streams.set(request, stream)
      inFlight.set(request, () => { recordRequest(request, { ...failed, ...sentOf(stream) }) })
    },
    endStream (request, reply) {
      inFlight.delete(request)
      recordRequest(request, resultOf(streams.get(request) as Stream, request, reply))
    },
    split (request) {
      inFlight.delete(request)
    },
    beginChange (request, change) {
      inFlight.set(change, () => { recordChange(request, change, unknown) })
    },
    endChange (request, change, { problem, cos }) {
      inFlight.delete(change)
      const [status, code] = [problem?.status ?? 204, problem?.code]
      recordChange(request, change, { outcome: outcomeOf(problem), status, code, cosRequestId: cos?.requestId })
    }
  }
}

/** Ends the record of each request when its response is known. */
export const auditResponses = fp<{ auditTrail: AuditTrail }>(async (app, { auditTrail }) => {
  app.addHook('onSend', (request, reply, _, done) => {
    auditTrail.end(request, reply.statusCode, reply.getHeader('x-cos-request-id')?.toString())
    done()
  })
}, { name: 'audit-trail', dependencies: ['request-context'], fastify: '5.x' })

const denials = new Set(['Unauthenticated', 'CallerNotAllowed', 'RateLimited', 'ReadOnly'])

function outcomeOf (problem: ServiceError | undefined): AuditOutcome {
  if (problem === undefined) return 'success'
  if (denials.has(problem.code)) return 'denied'
  return problem.mayHaveTakenEffect ? 'unknown' : 'failure'
}
