import type { FastifyInstance, FastifyRequest } from 'fastify'
import { ServiceError } from '../errors.ts'

/**
 * Takes bodies as application/json in UTF-8 and nothing else. Fastify's own parser replaces invalid UTF-8
 * and refuses some property names; here the bytes are checked and JSON.parse makes plain properties of all names.
 */
export function acceptJsonOnly (app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'buffer' }, async (request: FastifyRequest, body: Buffer) => {
    // No body is no fault here: some clients send a type all the same, and validation says where there must be one.
    if (body.length === 0) return undefined
    if (!isPlainJson(request.headers)) {
      throw new ServiceError('UnsupportedMediaType', 'Send the body as application/json in UTF-8, not compressed.')
    }
    try {
      return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body)) as unknown
    } catch (error) {
      throw new ServiceError('MalformedJSON', 'The body is not JSON in UTF-8.', { cause: error })
    }
  })
}

function isPlainJson (headers: FastifyRequest['headers']): boolean {
  const [type, ...parameters] = String(headers['content-type']).split(';').map(each => each.trim().toLowerCase())
  const charset = parameters.find(each => each.startsWith('charset'))
  const coding = headers['content-encoding'] ?? 'identity'
  return type === 'application/json' && coding === 'identity' && /^(charset\s*=\s*"?utf-?8"?)?$/.test(charset ?? '')
}

/** For operations without a body: one that comes all the same is refused unread, not ignored (onRequest hook). */
export async function refuseBody (request: FastifyRequest): Promise<void> {
  const { 'content-length': length, 'transfer-encoding': coding } = request.headers
  if (coding === undefined && Number(length ?? 0) === 0) return
  const detail = 'This operation takes no body.'
  throw new ServiceError('ValidationFailed', detail, { errors: [{ in: 'body', pointer: '', detail }] })
}
