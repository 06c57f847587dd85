import { randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { FastifyInstance } from 'fastify'

/** A caller's x-request-id is taken when it looks like this; anything else could forge log lines. */
const requestIdPattern = /^[A-Za-z0-9._-]{1,128}$/

/** A new id: a random UUID. */
export function newRequestId (): string {
  return randomUUID()
}

/** The id of a request: the caller's own x-request-id if it is well-formed, else a new one. */
export function requestIdOf (request: Pick<IncomingMessage, 'headers'>): string {
  const given = request.headers['x-request-id']
  return typeof given === 'string' && requestIdPattern.test(given) ? given : newRequestId()
}

/** Puts the id on every answer. */
export function addRequestIds (app: FastifyInstance): void {
  // The one hook of this service that waits without need: what arrived with the head of the request has been read then,
  // so that a refusal knows whether the request is whole, and need not end its connection.
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-request-id', request.id)
  })
}
