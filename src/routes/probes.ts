import { Type } from '@sinclair/typebox'
import type { TProperties } from '@sinclair/typebox'
import type { FastifyInstance } from 'fastify'
import { ComponentSchema } from '../contract/readiness.ts'
import type { Component } from '../contract/readiness.ts'
import { refTo, StringEnum } from '../contract/schema.ts'
import { ServiceError } from '../errors.ts'
import type { Lifecycle } from '../http/connections/graceful-shutdown.ts'

const ok = (description: string, members: TProperties = {}) => ({
  description,
  headers: { 'x-request-id': {} },
  content: {
    'application/json': { schema: Type.Object({ status: StringEnum(['ok']), ...members }, { examples: [{ status: 'ok' }] }) }
  }
})

interface Options {
  lifecycle: Lifecycle
  /** Returns the components of the service with their present states. */
  components: () => Component[]
  /** Returns the reason why no account has valid credentials; undefined while one has. */
  credentialsError: () => string | undefined
}

/**
 * Adds the probes, which do not call COS. `/livez` shows that the process responds. `/readyz` shows whether the service
 * should receive requests, and with `verbose` the state of each component.
 */
export async function probeRoutes (
  app: FastifyInstance, { lifecycle, components, credentialsError }: Options
): Promise<void> {
  app.get('/livez', {
    config: { isProbe: true, statuses: [400] },
    schema: {
      operationId: 'getLiveness',
      tags: ['probes'],
      summary: 'Check whether the process is alive',
      description: 'Does not depend on COS.',
      security: [],
      response: { 200: ok('The process is alive.') }
    }
  }, async () => ({ status: 'ok' }))

  app.get('/readyz', {
    config: { isProbe: true, statuses: [400, 503] },
    schema: {
      operationId: 'getReadiness',
      tags: ['probes'],
      summary: 'Check whether the service is ready',
      description: 'The status depends on shutdown and on the credentials for COS only: 503 if no account has any.',
      security: [],
      // Any value is accepted, because load balancers append parameters.
      querystring: Type.Object({
        verbose: Type.Optional(Type.Unknown({ description: 'With any value or none: the response lists the components.' }))
      }),
      response: { 200: ok('The service is ready.', { components: Type.Optional(Type.Array(refTo(ComponentSchema))) }) }
    }
  }, async ({ query }) => {
    const listed = Object.hasOwn(query as object, 'verbose') ? { components: components() } : {}
    if (lifecycle.phase !== 'serving') {
      throw new ServiceError('ShuttingDown', 'This replica is stopping. Send requests to another replica.',
        { retryAfterSeconds: 1, ...listed })
    }
    const cause = credentialsError()
    if (cause === undefined) return { status: 'ok', ...listed }
    throw new ServiceError('UpstreamCredentialsUnavailable',
      `There are no valid credentials for COS: ${cause}. Retry in 1 s; if the error persists, check the credentials.`,
      { retryAfterSeconds: 1, ...listed })
  })
}
