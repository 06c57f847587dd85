import Fastify from 'fastify'
import type { FastifyInstance, FastifyServerOptions } from 'fastify'
import { ConnectionRegistry } from '../src/http/connections/connection-registry.ts'
import { requestContext } from '../src/http/context/request-context.ts'
import { problemReplies } from '../src/http/errors/problem-replies.ts'

/** Creates an application with the context of requests and problem documents, and nothing else of the service. */
export async function createBareApp (
  t: { teardown (end: () => Promise<unknown>): unknown }, options: Pick<FastifyServerOptions, 'trustProxy'> = {}
): Promise<FastifyInstance> {
  const app = Fastify(options) as FastifyInstance
  t.teardown(() => app.close())
  await app.register(requestContext, { connections: new ConnectionRegistry({ onClosed () {} }), isTls: false })
  await app.register(problemReplies)
  return app
}
