import { randomBytes } from 'node:crypto'
import { STATUS_CODES } from 'node:http'
import { escapeXml } from './xml.ts'

// Percent-decoded names and paths come back in messages, and may hold anything.
const notInXml = /[^\t\n\r\u0020-\uFFFD]/g
const prolog = "<?xml version='1.0' encoding='utf-8' ?>\n"

/** What an operation answers. */
export interface Reply {
  status: number
  /** An XML document; '' for an empty body, undefined for none at all. */
  body?: string
  headers?: Record<string, string>
  /** The change the operation makes. */
  effect?: () => void
}

/** What an error document says; a CosError is one. */
export interface Rejection { status: number, code: string, message: string, details?: Record<string, string> }

/** An answer as it goes over the wire. */
export interface CosResponse {
  status: number
  headers: Record<string, string>
  body: Buffer
  /** How many times the body is sent; once when absent. */
  repeat?: number
}

/**
 * The answer for a reply, with the headers COS gives to every answer (COS document 7729). Its document has no XML
 * declaration: the SDK for C, tested against COS, reads nothing when there is one.
 */
export function toResponse ({ status, body, headers }: Reply, nowMs: number): CosResponse {
  const bytes = Buffer.from(body ?? '')
  const entity = { 'Content-Type': 'application/xml', 'Content-Length': String(bytes.length) }
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
 * The answer for a rejection: the error document of COS (document 7730), its tabs and single quotes included.
 * @param resource host and path of the request, without scheme
 */
export function toErrorResponse (rejection: Rejection, resource: string, nowMs: number): CosResponse {
  const { status, code, message, details } = rejection
  const ids = { RequestId: makeId(nowMs), TraceId: makeId(nowMs) }
  const elements = { Code: code, Message: message, ...details, Resource: resource, ...ids }
  const lines = Object.entries(elements)
    .map(([name, text]) => `\t<${name}>${escapeXml(text.replace(notInXml, '?'))}</${name}>\n`)
  const headers = { 'x-cos-request-id': ids.RequestId, 'x-cos-trace-id': ids.TraceId }
  return toResponse({ status, body: `${prolog}<Error>\n${lines.join('')}</Error>\n`, headers }, nowMs)
}

/** Status line and headers of an answer as bytes, for an answer that ends its connection. */
export function toClosingHead ({ status, headers }: CosResponse): Buffer {
  const lines = Object.entries({ ...headers, Connection: 'close' })
    .map(([name, value]) => `${name}: ${value}\r\n`)
  return Buffer.from(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join('')}\r\n`)
}

// COS's ids are Base64 of four hexadecimal numbers, the first of them the time.
function makeId (nowMs: number): string {
  const seconds = Math.floor(nowMs / 1000).toString(16)
  const random = [4, 2, 3].map(length => randomBytes(length).toString('hex'))
  return Buffer.from([seconds, ...random].join('_')).toString('base64')
}
