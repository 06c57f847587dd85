import fp from 'fastify-plugin'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Metrics } from '../metrics.ts'
import type { Tracer } from '../tracing/tracing.ts'
import { onExchangeEnd } from './connections/connection.ts'
import { pathOf } from './context/path-of.ts'

/** Status of a request whose client disconnected before its response, as in nginx. */
const clientClosedRequest = 499

/** Longest path in the log. The longest valid path has about 220 characters. */
const maxPathLength = 512

/** Longest bucket name in the log. Valid ones have 63 characters, but a path can contain any text. */
const maxBucketLength = 100

interface Options {
  metrics: Metrics
  tracer: Tracer
}

/**
 * Counts, times, traces and logs every request until its response has been sent or its client disconnected. The log
 * contains the path without its query. A query can contain continuation tokens and misplaced secrets.
 */
export const instrumentation = fp<Options>(async (app, { metrics, tracer }) => {
  app.addHook('onRequest', (request, reply, done) => {
    startTrace(tracer, request, reply)
    metrics.started()
    onExchangeEnd(request.context.exchange, () => { end(metrics, request, reply) })
    done()
  })
}, { name: 'instrumentation', dependencies: ['exchanges'], fastify: '5.x' })

function startTrace (tracer: Tracer, request: FastifyRequest, reply: FastifyReply): void {
  const { method, context, headers: { traceparent, tracestate } } = request
  const trace = tracer.startRequest({
    method,
    route: request.routeOptions.url,
    path: pathOf(request),
    address: context.clientAddress,
    requestId: request.id,
    traceparent: typeof traceparent === 'string' ? traceparent : undefined,
    tracestate: tracestate?.toString()
  })
  context.trace = trace
  if (trace.traceId !== undefined) request.log = reply.log = request.log.child({ traceId: trace.traceId })
}

function end (metrics: Metrics, request: FastifyRequest, reply: FastifyReply): void {
  const { method, context, routeOptions: { url: route } } = request
  const isSent = reply.raw.writableFinished
  const durationMs = reply.elapsedTime
  const [code, caller] = [context.problem?.code, context.caller?.name]
  const status = isSent ? reply.statusCode : brokenStatusOf(request, reply)
  metrics.finished({ method, route, status, code, caller, seconds: durationMs / 1000 })
  context.trace.end({ status: isSent ? reply.statusCode : undefined, code, caller })
  log(request, reply, isSent, durationMs)
}

/** Returns the status of a response that was not sent completely. A problem after a success head broke it. */
function brokenStatusOf ({ context: { problem } }: FastifyRequest, { statusCode }: FastifyReply): number {
  return problem !== undefined && statusCode < 400 ? problem.status : clientClosedRequest
}

function log (request: FastifyRequest, reply: FastifyReply, isSent: boolean, elapsedMs: number): void {
  const { method, context, routeOptions: { url: route, schema, config: { isProbe } } } = request
  const { bucket } = request.params as { bucket?: string }
  const fields = {
    method,
    path: pathOf(request).slice(0, maxPathLength),
    operation: (schema as { operationId?: string } | undefined)?.operationId,
    bucket: bucket?.slice(0, maxBucketLength),
    caller: context.caller?.name,
    attempts: context.tally.attempts
  }
  // Rounds to a tenth of a millisecond.
  const durationMs = Math.round(elapsedMs * 10) / 10
  if (!isSent) {
    if (brokenStatusOf(request, reply) === clientClosedRequest) request.log.info({ ...fields, durationMs }, 'caller disconnected')
    else request.log.info({ ...fields, code: context.problem?.code, durationMs }, 'response broken')
    return
  }
  // A spread is slower. Node 20 creates a new hidden class for each property behind one: 2 KB of long-lived garbage per
  // line.
  request.log[isProbe === true ? 'debug' : 'info'](Object.assign(fields, {
    route,
    status: reply.statusCode,
    code: context.problem?.code,
    address: context.clientAddress,
    cosRequestId: reply.getHeader('x-cos-request-id'),
    durationMs
  }), 'request completed')
}
