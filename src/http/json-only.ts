import type { FastifyInstance, FastifyRequest } from 'fastify'
import { ServiceError } from '../errors.ts'

/**
 * Takes bodies as application/json in UTF-8 and nothing else. Fastify's own parser replaces invalid UTF-8
 * and refuses some property names; here the bytes are checked and JSON.parse makes plain properties of all names.
 */
export function acceptJsonOnly (app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, async (request: FastifyRequest, body: Buffer) => {
    const charset = /;\s*charset\s*=\s*"?([^\s;"]+)/i.exec(request.headers['content-type'] ?? '')?.[1]
    const coding = request.headers['content-encoding'] ?? 'identity'
    if (!/^utf-?8$/i.test(charset ?? 'utf-8') || coding !== 'identity') {
      throw new ServiceError('UnsupportedMediaType', 'Send the body as application/json in UTF-8, not compressed.')
    }
    if (body.length === 0 && request.routeOptions.schema?.body === undefined) return undefined
    try {
      return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body)) as unknown
    } catch (error) {
      throw new ServiceError('MalformedJSON', 'The body is not JSON in UTF-8.', { cause: error })
    }
  })
}

/** For operations without a body: one that comes all the same is refused rather than ignored (preHandler hook). */
export async function refuseBody (request: { headers: Record<string, unknown> }): Promise<void> {
  const { 'content-length': length, 'transfer-encoding': coding } = request.headers
  if (coding === undefined && Number(length ?? 0) === 0) return
  const detail = 'This operation takes no body.'
  throw new ServiceError('ValidationFailed', detail, { errors: [{ in: 'body', pointer: '', detail }] })
}
