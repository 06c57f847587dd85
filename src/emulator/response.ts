import { randomBytes } from 'node:crypto'
import { STATUS_CODES } from 'node:http'
import { type Bytes, sizeOf } from './content.ts'
import { toXmlText } from './xml.ts'

const prolog = "<?xml version='1.0' encoding='utf-8' ?>\n"

/** The result of an operation. */
export interface Reply {
  status: number
  /** An XML document or the bytes of an object; '' for an empty body; undefined for no body. */
  body?: string | Bytes
  headers?: Record<string, string>
  /** Makes the change of the operation. */
  effect?: () => void
}

/** The content of an error document. A CosError has this form. */
export interface Rejection { status: number, code: string, message: string, details?: Record<string, string> }

/** A response as it is sent. */
export interface CosResponse {
  status: number
  headers: Record<string, string>
  body: Bytes
}

/**
 * Returns the response for a reply, with the headers that every response of COS has (COS document 7729). The XML has no
 * declaration, because the SDK for C reads nothing after one.
 */
export function toResponse ({ status, body, headers }: Reply, nowMs: number): CosResponse {
  const bytes = typeof body === 'object' ? body : Buffer.from(body ?? '')
  const entity = { 'Content-Type': 'application/xml', 'Content-Length': String(sizeOf(bytes)) }
  return {
    status,
    headers: {
      ...(body !== undefined && entity),
      Date: new Date(nowMs).toUTCString(),
      Server: 'tencent-cos',
      'x-cos-request-id': makeId(nowMs),
      ...headers
    },
    body: bytes
  }
}

/**
 * Returns the response for a rejection: the error document of COS (document 7730), with its tabs and single quotes.
 *
 * @param resource host and path of the request, without scheme
 */
export function toErrorResponse (rejection: Rejection, resource: string, nowMs: number): CosResponse {
  const { status, code, message, details } = rejection
  const ids = { RequestId: makeId(nowMs), TraceId: makeId(nowMs) }
  const elements = { Code: code, Message: message, ...details, Resource: resource, ...ids }
  const lines = Object.entries(elements)
    .map(([name, text]) => `\t<${name}>${toXmlText(text)}</${name}>\n`)
  const headers = { 'x-cos-request-id': ids.RequestId, 'x-cos-trace-id': ids.TraceId }
  return toResponse({ status, body: `${prolog}<Error>\n${lines.join('')}</Error>\n`, headers }, nowMs)
}

/** Returns a response to HEAD: the headers, of which Content-Length is that of GET, and no body. */
export function toHeadResponse (response: CosResponse): CosResponse {
  return { ...response, body: Buffer.alloc(0) }
}

/** Returns status line and headers of a response that ends its connection, as bytes. */
export function toClosingHead ({ status, headers }: CosResponse): Buffer {
  const lines = Object.entries({ ...headers, Connection: 'close' })
    .map(([name, value]) => `${name}: ${value}\r\n`)
  return Buffer.from(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join('')}\r\n`)
}

// An id of COS is the Base64 of four hexadecimal numbers. The first is the time.
function makeId (nowMs: number): string {
  const seconds = Math.floor(nowMs / 1000).toString(16)
  const random = [4, 2, 3].map(length => randomBytes(length).toString('hex'))
  return Buffer.from([seconds, ...random].join('_')).toString('base64')
}
