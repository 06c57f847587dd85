import type { FastifyInstance } from 'fastify'
import { pathOf } from './path-of.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Answers of this route are logged at debug: probes ask every few seconds. */
    quiet?: boolean
  }
}

/** The longest path that is right has about 220 characters. */
const longestPath = 512

/**
 * One line for each answer. The path is logged, the query is not: a continuation token is nobody's business,
 * and callers put into queries what they should not.
 */
export function addRequestLog (app: FastifyInstance): void {
  app.addHook('onRequest', async (request, reply) => {
    // Fastify tells of no answer then, though COS may have made the change.
    reply.raw.once('close', () => {
      if (!reply.raw.writableFinished) request.log.info({ method: request.method, path: pathOf(request).slice(0, longestPath) }, 'caller left')
    })
  })
  app.addHook('onResponse', async (request, reply) => {
    const { config, url } = request.routeOptions
    request.log[config.quiet === true ? 'debug' : 'info']({
      method: request.method,
      path: pathOf(request).slice(0, longestPath),
      route: url,
      status: reply.statusCode,
      code: request.problem?.code,
      caller: request.caller?.name,
      address: request.clientAddress,
      cosRequestId: reply.getHeader('x-cos-request-id'),
      durationMs: Math.round(reply.elapsedTime * 10) / 10
    }, 'answered')
  })
}
