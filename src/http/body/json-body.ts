import { Readable } from 'node:stream'
import { parse } from 'content-type'
import type { FastifyInstance, FastifyReply, FastifyRequest, RequestPayload } from 'fastify'
import { hasMoreValues } from '../../contract/json-extent.ts'
import { maxBodyValues } from '../../contract/requests.ts'
import { ServiceError } from '../../errors.ts'
import { nextIteration } from '../../concurrency/event-loop.ts'
import { placeOfError } from './json-error.ts'

const jsonMediaTypes = ['application/json'] as const

/** Media types of a JSON merge patch (RFC 7396). Many generated clients send application/json only. */
export const patchMediaTypes = [...jsonMediaTypes, 'application/merge-patch+json'] as const

type PreParsingDone = (error: Error | null, payload?: RequestPayload) => void

/** Size above which one body is parsed per iteration of the event loop. Probes are served in between. */
const largeBodyBytes = 32 * 1024

/**
 * Accepts only JSON in UTF-8, as application/json or the media type of the route. The parser of Fastify replaces
 * invalid UTF-8 and rejects some property names. This one checks the bytes, and JSON.parse keeps every name as a plain
 * property.
 */
export function acceptJsonOnly (app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'buffer' }, async (request: FastifyRequest, body: Buffer) => {
    // An empty body is valid here, because some clients send Content-Type without one. Validation rejects a missing
    // body.
    if (body.length === 0) return undefined
    const { isPatch = false, maxValues = maxBodyValues } = request.routeOptions.config
    const mediaTypes = isPatch ? patchMediaTypes : jsonMediaTypes
    if (!isPlain(mediaTypes, request.headers)) {
      throw new ServiceError('UnsupportedMediaType', `Send the body as ${mediaTypes.join(' or ')} in UTF-8, not compressed.`)
    }
    if (body.length > largeBodyBytes) {
      await nextIteration()
      // A queued body of a disconnected caller must not delay other bodies.
      if (request.raw.socket.destroyed) throw incomplete()
    }
    if (hasMoreValues(body, maxValues)) throw tooManyValues(maxValues)
    const text = decode(body)
    try {
      return JSON.parse(text) as unknown
    } catch (error) {
      throw malformed(`JSON${await placeOfError(text)}`, error)
    }
  })
}

function decode (body: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(body)
  } catch (error) {
    throw malformed('UTF-8', error)
  }
}

function malformed (what: string, cause: unknown): ServiceError {
  return new ServiceError('MalformedJSON', `The body is not valid ${what}. Correct it and send it again.`, { cause })
}

/**
 * Returns the error for a body with too many values.
 *
 * @param most the limit
 * @param pointer the part of the body that exceeds the limit
 */
export function tooManyValues (most: number, pointer = ''): ServiceError {
  const detail = `must contain at most ${most} values: objects, lists and everything in them`
  return new ServiceError('ValidationFailed', `The body has more than ${most} values. Send fewer; nothing was sent to COS.`,
    { errors: [{ in: 'body', pointer, detail }] })
}

function isPlain (mediaTypes: readonly string[], headers: FastifyRequest['headers']): boolean {
  const { type, parameters: { charset = 'utf-8' } } = parse(headers['content-type'] ?? '')
  const coding = headers['content-encoding'] ?? 'identity'
  return mediaTypes.includes(type) && coding === 'identity' && /^utf-?8$/i.test(charset)
}

/**
 * Rejects the body of an operation without a body. This is a preParsing hook. An empty body is accepted with any
 * framing: gateways and clients send empty requests with `Transfer-Encoding: chunked`.
 */
export function rejectBody (
  { headers }: FastifyRequest, _: FastifyReply, payload: RequestPayload, done: PreParsingDone
): void {
  const { 'content-length': length, 'transfer-encoding': coding } = headers
  if (Number(length ?? 0) > 0) done(bodyError())
  else if (coding === undefined) done(null, payload)
  else rejectFirstByte(payload, done)
}

/** Waits for the first byte or the end. Then Fastify reads an empty body in place of the original. */
function rejectFirstByte (payload: RequestPayload, done: PreParsingDone): void {
  const settle = (error: Error | null, body?: RequestPayload) => {
    payload.off('data', onData).off('end', onEnd).off('close', onClose)
    done(error, body)
  }
  const onData = () => {
    payload.pause()
    settle(bodyError())
  }
  const onEnd = () => { settle(null, Readable.from([])) }
  // Without this listener the request would stay in flight forever.
  const onClose = () => { settle(incomplete()) }
  payload.on('data', onData).on('end', onEnd).on('close', onClose)
}

function incomplete (): ServiceError {
  return new ServiceError('MalformedRequest', 'The client disconnected before the request was complete. Send it again.')
}

function bodyError (): ServiceError {
  const detail = 'This operation accepts no body. Send the request without one.'
  return new ServiceError('ValidationFailed', detail, { errors: [{ in: 'body', pointer: '', detail }] })
}
