import type { FastifyReply } from 'fastify'
import type { Outcome } from '../cos/inventories.ts'
import type { ProblemCode } from '../errors.ts'
import { cosHeaders } from '../http/errors/problem-replies.ts'
import { rateLimitHeaders } from '../http/errors/problem-responses.ts'

/** The tag of the operations in the OpenAPI document. */
export const tags = ['inventories']

/** Problems of every operation on a bucket. */
export const problemsOfAll: ProblemCode[] = [
  'ValidationFailed', 'Unauthenticated', 'CallerNotAllowed', 'URITooLong', 'RateLimited', 'InternalError',
  'UpstreamCredentialsRejected', 'UpstreamInvalidResponse', 'UpstreamUnreachable', 'IssuerUnreachable',
  'UpstreamCredentialsUnavailable', 'UpstreamTimeout'
]
/** Problems of every operation that changes a bucket. */
export const problemsOfChanges: ProblemCode[] = [...problemsOfAll, 'ReadOnly', 'AuditLogUnavailable']
/** Problems of operations with a body. */
export const problemsOfBodies: ProblemCode[] = ['MalformedJSON', 'PayloadTooLarge', 'UnsupportedMediaType']

const responseHeaders = {
  'x-request-id': { type: 'string', description: "This service's id of the request." },
  'x-cos-request-id': { type: 'string', description: 'The request id that COS returned.' },
  ...rateLimitHeaders
}

/** The header of responses about one configuration. */
export const etagHeader = {
  etag: { type: 'string', description: 'The version of the configuration: a hash of its canonical form.' }
}

/** Returns the schema of a response without a body. */
export function noBody (description: string, headers: object = {}): object {
  return { description, headers: { ...responseHeaders, ...headers }, type: 'null' }
}

/** Returns the schema of a response with a body, by media type. */
export function content (description: string, schemas: Record<string, object>, headers: object = {}): object {
  const byType = Object.entries(schemas).map(([type, schema]) => [type, { schema }])
  return { description, headers: { ...responseHeaders, ...headers }, content: Object.fromEntries(byType) as object }
}

/** Returns the schema of a JSON response. */
export function json (description: string, schema: object, headers: object = {}): object {
  return content(description, { 'application/json': schema }, headers)
}

/** The XML of a configuration, as far as OpenAPI can describe it. */
export const xmlSchema = {
  type: 'object',
  properties: { Id: { type: 'string' } },
  xml: { name: 'InventoryConfiguration' },
  examples: [{ Id: 'daily-report' }]
}

/** Sends the result of an operation with the ids that COS returned and the entity tag, if any. */
export function sendResult<T> (
  reply: FastifyReply, { value, cos, etag }: Outcome<T> & { etag?: string }
): FastifyReply {
  cosHeaders(reply, cos)
  if (etag !== undefined) reply.header('etag', etag)
  return reply.send(value)
}

/** Sends the XML of a dry run. */
export function sendXml (reply: FastifyReply, xml: string): FastifyReply {
  return reply.type('application/xml').send(xml)
}
