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
  /** Says in words why the service cannot serve; undefined while it can. */
  fault: () => string | undefined
}

/** `/livez` says that the process answers; `/readyz` whether it should be sent requests. Neither calls COS. */
export async function probeRoutes (app: FastifyInstance, { lifecycle, fault }: Options): Promise<void> {
  app.get('/livez', {
    config: { isProbe: true },
    schema: {
      operationId: 'getLiveness',
      tags: ['probes'],
      summary: 'Whether the process lives',
      security: [],
      response: { 200: ok('It does.'), ...problemResponses([]) }
    }
  }, async () => ({ status: 'ok' }))

  app.get('/readyz', {
    config: { isProbe: true },
    schema: {
      operationId: 'getReadiness',
      tags: ['probes'],
      summary: 'Whether the service should be sent requests',
      security: [],
      response: { 200: ok('It should.'), ...problemResponses(['UpstreamCredentialsUnavailable']) }
    }
  }, async () => {
    if (lifecycle.phase !== 'serving') {
      throw new ServiceError('ShuttingDown', 'This replica is about to stop.', { retryAfterSeconds: 1 })
    }
    const cause = fault()
    if (cause === undefined) return { status: 'ok' }
    throw new ServiceError('UpstreamCredentialsUnavailable', `There are no valid credentials for COS: ${cause}.`,
      { retryAfterSeconds: 1 })
  })
}
