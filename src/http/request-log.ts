import type { FastifyInstance } from 'fastify'

/**
 * One line for each answer. The path is logged, the query is not: a continuation token is nobody's business,
 * and callers put into queries what they should not.
 */
export function addRequestLog (app: FastifyInstance): void {
  app.addHook('onResponse', async (request, reply) => {
    request.log.info({
      method: request.method,
      path: request.url.split('?', 1)[0],
      route: request.routeOptions.url,
      status: reply.statusCode,
      cosRequestId: reply.getHeader('x-cos-request-id'),
      durationMs: Math.round(reply.elapsedTime * 10) / 10
    }, 'answered')
  })
}
