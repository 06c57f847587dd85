import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { CancelSource } from '../concurrency/cancel-signal.ts'
import type { CancelSignal } from '../concurrency/cancel-signal.ts'
import type { Metrics } from '../metrics.ts'
import type { RequestTrace, Tracer } from '../tracing.ts'
import { onExchangeEnd } from './connections/connection-registry.ts'
import { pathOf } from './path-of.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Attempts at COS so far. */
    attempts: number
    trace: RequestTrace
  }
}

/** What nginx writes of a caller that did not wait for its answer. */
const callerLeftStatus = 499

/** Counts, times and traces every request until it is answered or its caller has left; its log lines name its trace. */
export function addObservation (app: FastifyInstance, { metrics, tracer }: { metrics: Metrics, tracer: Tracer }): void {
  app.decorateRequest('attempts', 0)
  // Every request gets one before anything reads it.
  app.decorateRequest('trace', null as unknown as RequestTrace)
  app.addHook('onRequest', (request, reply, done) => {
    const { method, headers: { traceparent, tracestate } } = request
    const { url: route } = request.routeOptions
    const trace = tracer.startRequest({
      method,
      route,
      path: pathOf(request),
      address: request.clientAddress,
      requestId: request.id,
      traceparent: typeof traceparent === 'string' ? traceparent : undefined,
      tracestate: tracestate?.toString()
    })
    request.trace = trace
    if (trace.traceId !== undefined) request.log = reply.log = request.log.child({ traceId: trace.traceId })
    metrics.started()
    onExchangeEnd(request.exchange, () => {
      const isAnswered = reply.raw.writableFinished
      const status = isAnswered ? reply.statusCode : callerLeftStatus
      const [code, caller] = [request.problem?.code, request.caller?.name]
      metrics.answered({ method, route, status, code, caller, seconds: reply.elapsedTime / 1000 })
      trace.end({ status: isAnswered ? status : undefined, code, caller })
    })
    done()
  })
}

/** Tells when the caller has closed its connection before it had its answer. */
export function callerLeft (request: FastifyRequest, reply: FastifyReply): CancelSignal {
  const caller = new CancelSource()
  onExchangeEnd(request.exchange, () => { if (!reply.raw.writableFinished) caller.cancel() })
  return caller
}
