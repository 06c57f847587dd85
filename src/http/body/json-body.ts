import { Readable } from 'node:stream'
import { parse } from 'content-type'
import type { FastifyInstance, FastifyReply, FastifyRequest, RequestPayload } from 'fastify'
import { maxBodyValues } from '../../contract/requests.ts'
import { ServiceError } from '../../errors.ts'
import { nextIteration } from '../../concurrency/event-loop.ts'

type PreParsingDone = (error: Error | null, payload?: RequestPayload) => void

/** Of larger bodies one is parsed in each iteration of the event loop, so that probes are served in between. */
const largeBodyBytes = 32 * 1024

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
    const { mediaType = 'application/json', maxValues = maxBodyValues } = request.routeOptions.config
    if (!isPlain(mediaType, request.headers)) {
      throw new ServiceError('UnsupportedMediaType', `Send the body as ${mediaType} in UTF-8, not compressed.`)
    }
    if (body.length > largeBodyBytes) {
      await nextIteration()
      // Bodies whose callers disconnected while they were queued must not keep others waiting.
      if (request.raw.socket.destroyed) throw brokenOff()
    }
    if (hasMoreValues(body, maxValues)) throw tooManyValues(maxValues)
    try {
      return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body)) as unknown
    } catch (error) {
      throw new ServiceError('MalformedJSON', 'The body is not JSON in UTF-8.', { cause: error })
    }
  })
}

/** Returns the error for a body that holds more values than it may, or of which the part at a pointer does. */
export function tooManyValues (most: number, pointer = ''): ServiceError {
  const detail = `must hold ${most} values at most: objects, lists and everything in them`
  return new ServiceError('ValidationFailed', `The body is too large: it has more than ${most} values. Nothing was sent to COS.`,
    { errors: [{ in: 'body', pointer, detail }] })
}

/** The bytes of `"`, `,`, `[`, backslash and `{`. */
const [quote, comma, bracket, backslash, brace] = [0x22, 0x2C, 0x5B, 0x5C, 0x7B]

/**
 * Whether JSON text holds more values than it may. Each value follows a comma or the beginning of an object or list, so
 * these are counted, outside of strings: an empty object or list counts twice. To parse 500,000 nested lists takes
 * 400 ms, to find the 50,000th of them one.
 */
function hasMoreValues (json: Buffer, most: number): boolean {
  if (json.length <= most) return false
  let count = 0
  let isString = false
  for (let at = 0; at < json.length; at += 1) {
    const byte = json[at]
    if (byte === quote) isString = !isString
    else if (isString) at += byte === backslash ? 1 : 0
    else if (byte === comma || byte === bracket || byte === brace) count += 1
    if (count > most) return true
  }
  return false
}

function isPlain (mediaType: string, headers: FastifyRequest['headers']): boolean {
  const { type, parameters: { charset = 'utf-8' } } = parse(headers['content-type'] ?? '')
  const coding = headers['content-encoding'] ?? 'identity'
  return type === mediaType && coding === 'identity' && /^utf-?8$/i.test(charset)
}

/**
 * Rejects a body of an operation that takes none (preParsing hook). An empty body is none, however it is framed:
 * gateways and clients send empty requests with `Transfer-Encoding: chunked`.
 */
export function rejectBody (
  { headers }: FastifyRequest, _: FastifyReply, payload: RequestPayload, done: PreParsingDone
): void {
  const { 'content-length': length, 'transfer-encoding': coding } = headers
  if (Number(length ?? 0) > 0) done(bodyError())
  else if (coding === undefined) done(null, payload)
  else rejectFirstByte(payload, done)
}

/** Waits for the first byte or the end. Fastify reads an empty body in place of the one that has been read here. */
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
  // Without it the request would be in flight for ever.
  const onClose = () => { settle(brokenOff()) }
  payload.on('data', onData).on('end', onEnd).on('close', onClose)
}

function brokenOff (): ServiceError {
  return new ServiceError('MalformedRequest', 'The request was broken off.')
}

function bodyError (): ServiceError {
  const detail = 'This operation takes no body.'
  return new ServiceError('ValidationFailed', detail, { errors: [{ in: 'body', pointer: '', detail }] })
}
