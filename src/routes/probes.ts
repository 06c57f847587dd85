import { Type } from '@sinclair/typebox'
import type { FastifyInstance } from 'fastify'
import { problemResponses } from '../http/errors/problem-responses.ts'
import { StringEnum } from '../contract/schema.ts'
import { ServiceError } from '../errors.ts'
import type { Lifecycle } from '../http/connections/graceful-shutdown.ts'

const ok = (description: string) => ({
  description,
  content: { 'application/json': { schema: Type.Object({ status: StringEnum(['ok']) }, { examples: [{ status: 'ok' }] }) } }
})

interface Options {
  lifecycle: Lifecycle
  /** Returns the reason why there are no valid credentials; undefined while there are. */
  credentialsError: () => string | undefined
}

/**
 * Adds the probes, which do not call COS. `/livez` shows that the process responds. `/readyz` shows whether the service
 * should receive requests.
 */
export async function probeRoutes (app: FastifyInstance, { lifecycle, credentialsError }: Options): Promise<void> {
  app.get('/livez', {
    config: { isProbe: true },
    schema: {
      operationId: 'getLiveness',
      tags: ['probes'],
      summary: 'Check whether the process is alive',
      security: [],
      response: { 200: ok('The process is alive.'), ...problemResponses([]) }
    }
  }, async () => ({ status: 'ok' }))

  app.get('/readyz', {
    config: { isProbe: true },
    schema: {
      operationId: 'getReadiness',
      tags: ['probes'],
      summary: 'Check whether the service is ready',
      security: [],
      response: { 200: ok('The service is ready.'), ...problemResponses(['UpstreamCredentialsUnavailable']) }
    }
  }, async () => {
    if (lifecycle.phase !== 'serving') {
      throw new ServiceError('ShuttingDown', 'This replica is stopping. Send requests to another replica.',
        { retryAfterSeconds: 1 })
    }
    const cause = credentialsError()
    if (cause === undefined) return { status: 'ok' }
    throw new ServiceError('UpstreamCredentialsUnavailable',
      `There are no valid credentials for COS: ${cause}. Retry in 1 s; if the error persists, check the credentials.`,
      { retryAfterSeconds: 1 })
  })
}
