import type { FastifyReply } from 'fastify'
import type { Outcome } from '../cos/inventories.ts'
import type { ProblemCode } from '../errors.ts'
import { cosHeaders } from '../http/errors/problem-replies.ts'
import { rateLimitHeaders } from '../http/errors/problem-responses.ts'

/** The problems every operation on a bucket can meet. */
export const problemsOfAll: ProblemCode[] = [
  'ValidationFailed', 'Unauthenticated', 'CallerNotAllowed', 'URITooLong', 'RateLimited', 'InternalError',
  'UpstreamCredentialsRejected', 'UpstreamInvalidResponse', 'UpstreamUnreachable', 'IssuerUnreachable',
  'UpstreamCredentialsUnavailable', 'UpstreamTimeout'
]
/** The problems of operations that take a body. */
export const problemsOfBodies: ProblemCode[] = ['MalformedJSON', 'PayloadTooLarge', 'UnsupportedMediaType']

const answerHeaders = {
  'x-request-id': { type: 'string', description: "This service's id of the request." },
  'x-cos-request-id': { type: 'string', description: "COS's id of the exchange." },
  ...rateLimitHeaders
}

/** A header of answers about one configuration. */
export const etagHeader = {
  etag: { type: 'string', description: 'The version of the configuration: a hash of what it means, whatever its order and spelling.' }
}

/** An answer without a body, as a route's schema has it. */
export function noBody (description: string, headers: object = {}): object {
  return { description, headers: { ...answerHeaders, ...headers }, type: 'null' }
}

/** An answer with a body, by media type. */
export function content (description: string, schemas: Record<string, object>, headers: object = {}): object {
  const byType = Object.entries(schemas).map(([type, schema]) => [type, { schema }])
  return { description, headers: { ...answerHeaders, ...headers }, content: Object.fromEntries(byType) as object }
}

/** A JSON answer. */
export function json (description: string, schema: object, headers: object = {}): object {
  return content(description, { 'application/json': schema }, headers)
}

/** The XML of a configuration, of which OpenAPI can only say so much. */
export const xmlSchema = {
  type: 'object',
  properties: { Id: { type: 'string' } },
  xml: { name: 'InventoryConfiguration' },
  examples: [{ Id: 'daily-report' }]
}

/** Sends what an operation gave, with COS's ids and the entity tag there is. */
export function answer<T> (reply: FastifyReply, { value, cos, etag }: Outcome<T> & { etag?: string }): FastifyReply {
  cosHeaders(reply, cos)
  if (etag !== undefined) reply.header('etag', etag)
  return reply.send(value)
}

/** Sends what a dry run gave. */
export function sendXml (reply: FastifyReply, xml: string): FastifyReply {
  return reply.type('application/xml').send(xml)
}
