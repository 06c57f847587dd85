import type { FastifyInstance, FastifyRequest } from 'fastify'
import { onExchangeEnd } from './connections/connection-registry.ts'
import { pathOf } from './path-of.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Answers of this route are logged at debug: probes ask every few seconds. */
    quiet?: boolean
  }
}

/** The longest path that is right has about 220 characters. */
const longestPath = 512

/** Bucket names have 63 characters; what stands in their place may be anything. */
const longestBucket = 100

/**
 * One line for each answer. The path is logged, the query is not: a continuation token is nobody's business,
 * and callers put into queries what they should not.
 */
export function addRequestLog (app: FastifyInstance): void {
  app.addHook('onRequest', (request, reply, done) => {
    // Fastify tells of no answer then, though COS may have made the change.
    onExchangeEnd(request.exchange, () => {
      if (!reply.raw.writableFinished) {
        request.log.info(Object.assign(fieldsOf(request), { durationMs: inMs(reply.elapsedTime) }), 'caller left')
      }
    })
    done()
  })
  app.addHook('onResponse', (request, reply, done) => {
    const { url: route, config: { quiet } } = request.routeOptions
    // Not a spread: Node 20 makes a new hidden class for each property behind one, 2 KB a line of long-lived garbage.
    request.log[quiet === true ? 'debug' : 'info'](Object.assign(fieldsOf(request), {
      route,
      status: reply.statusCode,
      code: request.problem?.code,
      address: request.clientAddress,
      cosRequestId: reply.getHeader('x-cos-request-id'),
      durationMs: inMs(reply.elapsedTime)
    }), 'answered')
    done()
  })
}

function fieldsOf (request: FastifyRequest): object {
  const { operationId: operation } = (request.routeOptions.schema ?? {}) as { operationId?: string }
  const { bucket } = request.params as { bucket?: string }
  return {
    method: request.method,
    path: pathOf(request).slice(0, longestPath),
    operation,
    bucket: bucket?.slice(0, longestBucket),
    caller: request.caller?.name,
    attempts: request.attempts
  }
}

/** Down to a tenth of a millisecond. */
function inMs (elapsed: number): number {
  return Math.round(elapsed * 10) / 10
}
