import { hash } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import type { FastifyReply, FastifyRequest } from 'fastify'

/** A document that is the same for every request: its bytes are made once and shared by all responses. */
export interface SharedDocument {
  readonly mediaType: string
  readonly bytes: Buffer
  /** The same bytes, compressed once: a client that does not read holds a tenth. */
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
 * Sends a document, compressed if the client accepts gzip, or 304 if it has the document already. The entity tag
 * differs between the two codings (RFC 9110, section 8.8.3.3).
 */
export function sendSharedDocument (
  request: FastifyRequest, reply: FastifyReply, document: SharedDocument
): FastifyReply {
  const { headers } = request
  const isCompressed = acceptsGzip(headers['accept-encoding'])
  const etag = `"${document.tag}${isCompressed ? '-gzip' : ''}"`
  reply.headers({ etag, vary: 'accept-encoding' })
  if (isNamed(etag, headers['if-none-match'])) return reply.code(304).send()
  reply.type(document.mediaType)
  return isCompressed
    ? reply.header('content-encoding', 'gzip').send(document.compressed)
    : reply.send(document.bytes)
}

/** Tells whether gzip is accepted by name. A weight of zero rejects it (RFC 9110, section 12.5.3). */
function acceptsGzip (header: string | string[] | undefined): boolean {
  return String(header ?? '').split(',').some(each => {
    const [coding, weight = ''] = each.toLowerCase().split(';').map(part => part.trim())
    return coding === 'gzip' && !/^q=0(\.0*)?$/.test(weight)
  })
}

/** Compares weakly, as RFC 9110, section 13.1.2, says for If-None-Match. */
function isNamed (etag: string, header: string | undefined): boolean {
  return (header ?? '').split(',').some(each => each.trim().replace(/^W\//, '') === etag || each.trim() === '*')
}
