import type { FastifyInstance } from 'fastify'
import type { Metrics } from '../metrics.ts'

/** Adds `GET /metrics`, which returns the text format of Prometheus. */
export async function metricsRoute (app: FastifyInstance, { metrics }: { metrics: Metrics }): Promise<void> {
  app.get('/metrics', {
    config: { isProbe: true, statuses: [400] },
    schema: {
      operationId: 'getMetrics',
      tags: ['probes'],
      summary: 'Metrics for Prometheus',
      description: 'With METRICS_PORT, this path is on that port only.',
      security: [],
      response: {
        200: {
          description: 'The text format 0.0.4.',
          headers: { 'x-request-id': {} },
          content: { 'text/plain': { schema: { type: 'string' } } }
        }
      }
    }
  }, async (_, reply) => {
    reply.type(metrics.contentType)
    return await metrics.scrape()
  })
}
