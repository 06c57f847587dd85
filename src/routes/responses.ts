import type { FastifyReply } from 'fastify'
import type { Outcome } from '../cos/inventories.ts'
import { cosHeaders } from '../http/errors/problem-replies.ts'
import { bucketHeaders } from '../http/openapi/headers.ts'
import type { HeaderName } from '../http/openapi/headers.ts'

/** The tag of the operations in the OpenAPI document. */
export const tags = ['inventories']

/** Responses by status, for the schema of a route. */
export type Responses = Record<number, object>

/** The document replaces the values by references to its headers. */
function headersOf (names: readonly HeaderName[]): object {
  return Object.fromEntries(names.map(name => [name, {}]))
}

/** Returns the schema of a response without a body. */
export function noBody (description: string, headers: readonly HeaderName[] = []): object {
  return { description, headers: headersOf([...headers, ...bucketHeaders]), type: 'null' }
}

/** Returns the schema of a response with a body. */
export function content (
  description: string, mediaType: string, schema: object, headers: readonly HeaderName[] = []
): object {
  return { description, headers: headersOf([...headers, ...bucketHeaders]), content: { [mediaType]: { schema } } }
}

/** Returns the schema of a JSON response. */
export function json (description: string, schema: object, headers: readonly HeaderName[] = []): object {
  return content(description, 'application/json', schema, headers)
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
