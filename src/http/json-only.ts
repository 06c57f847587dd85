import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { ServiceError } from '../errors.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The media type of this route's body, when it is not application/json. */
    mediaType?: string
  }
}

/**
 * Takes bodies as application/json in UTF-8, or the type that the route names, and nothing else. Fastify's own parser
 * replaces invalid UTF-8 and refuses some property names; here the bytes are checked and JSON.parse makes plain
 * properties of all names.
 */
export function acceptJsonOnly (app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'buffer' }, async (request: FastifyRequest, body: Buffer) => {
    // No body is no fault here: some clients send a type all the same, and validation says where there must be one.
    if (body.length === 0) return undefined
    const { mediaType = 'application/json' } = request.routeOptions.config
    if (!isPlain(mediaType, request.headers)) {
      throw new ServiceError('UnsupportedMediaType', `Send the body as ${mediaType} in UTF-8, not compressed.`)
    }
    try {
      return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body)) as unknown
    } catch (error) {
      throw new ServiceError('MalformedJSON', 'The body is not JSON in UTF-8.', { cause: error })
    }
  })
}

function isPlain (mediaType: string, headers: FastifyRequest['headers']): boolean {
  const [type, ...parameters] = String(headers['content-type']).split(';').map(each => each.trim().toLowerCase())
  const charset = parameters.find(each => each.startsWith('charset'))
  const coding = headers['content-encoding'] ?? 'identity'
  return type === mediaType && coding === 'identity' && /^(charset\s*=\s*"?utf-?8"?)?$/.test(charset ?? '')
}

/** For operations without a body: one that comes all the same is refused unread, not ignored (onRequest hook). */
export function refuseBody (request: FastifyRequest, _: FastifyReply, done: () => void): void {
  const { 'content-length': length, 'transfer-encoding': coding } = request.headers
  if (coding === undefined && Number(length ?? 0) === 0) {
    done()
    return
  }
  const detail = 'This operation takes no body.'
  throw new ServiceError('ValidationFailed', detail, { errors: [{ in: 'body', pointer: '', detail }] })
}
