import { hash } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import type { FastifyReply, FastifyRequest } from 'fastify'
import Negotiator from 'negotiator'

/** A document that is the same for every request. All responses share its bytes. */
export interface SharedDocument {
  readonly mediaType: string
  readonly bytes: Buffer
  /** The same bytes, compressed once. A client that does not read occupies a tenth of the memory. */
  readonly compressed: Buffer
  /** Strong entity tag of the bytes, without quotes. */
  readonly tag: string
}

/** Creates a document from its text. */
export function createSharedDocument (text: string, mediaType: string): SharedDocument {
  const bytes = Buffer.from(text)
  return { mediaType, bytes, compressed: gzipSync(bytes), tag: hash('sha256', bytes, 'base64url') }
}

/**
 * Sends a document, compressed if the client accepts gzip. Sends 304 if the client has the document. The entity tag
 * differs between the two codings (RFC 9110, section 8.8.3.3).
 */
export function sendSharedDocument (
  request: FastifyRequest, reply: FastifyReply, document: SharedDocument
): FastifyReply {
  const { headers } = request
  const isCompressed = new Negotiator(request.raw).encoding(['gzip', 'identity']) === 'gzip'
  const etag = `"${document.tag}${isCompressed ? '-gzip' : ''}"`
  reply.headers({ etag, vary: 'accept-encoding' })
  if (isNamed(etag, headers['if-none-match'])) return reply.code(304).send()
  reply.type(document.mediaType)
  return isCompressed
    ? reply.header('content-encoding', 'gzip').send(document.compressed)
    : reply.send(document.bytes)
}

/** Returns whether If-None-Match names a tag, by weak comparison (RFC 9110, section 13.1.2). */
function isNamed (etag: string, header: string | undefined): boolean {
  return (header ?? '').split(',').some(each => each.trim().replace(/^W\//, '') === etag || each.trim() === '*')
}
