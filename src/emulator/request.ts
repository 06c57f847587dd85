import type { IncomingMessage } from 'node:http'
import { CosError } from './cos-error.ts'

/** The longest XML body, in bytes. COS has a limit but does not publish it. */
export const maxBodyBytes = 1024 * 1024

// The memory of a Buffer without its bytes. A body may arrive in chunks of one byte.
const chunkOverhead = 128

export interface Parameter { name: string, value: string }

/** A request as it arrived. Only the header names are changed: they are in lower case. */
export interface CosRequest {
  method: string
  target: string
  /** The Host as sent, with port, or the host of a target in absolute form; empty when missing. */
  host: string
  rawPath: string
  rawQuery: string
  headers: Record<string, string>
  /** Names of headers sent more than once. */
  repeatedHeaders: string[]
}

export interface Body {
  /** The first `maxBodyBytes`. */
  bytes: Buffer
  /** The number of bytes that arrived. */
  length: number
  /** False when there was no memory for the body; `bytes` is empty then. */
  isWhole: boolean
}

/**
 * Returns the head of a request. A target in absolute form overrides the Host header (RFC 9112, section 3.2.2). Clients
 * that use this server as an HTTP proxy send such targets.
 */
export function readHead (incoming: IncomingMessage): CosRequest {
  const { method, url: target } = incoming as IncomingMessage & { method: string, url: string }
  const headers: Record<string, string> = {}
  const repeatedHeaders: string[] = []
  for (const [name, values] of Object.entries(incoming.headersDistinct) as Array<[string, string[]]>) {
    headers[name] = values.join(', ')
    if (values.length > 1) repeatedHeaders.push(name)
  }
  const absolute = /^https?:\/\/([^/?#]*)(.*)$/i.exec(target)
  const host = absolute?.[1] ?? headers['host'] ?? ''
  const origin = absolute?.[2] ?? target
  const question = origin.indexOf('?')
  const rawPath = (question < 0 ? origin : origin.slice(0, question)) || '/'
  const rawQuery = question < 0 ? '' : origin.slice(question + 1)
  return { method, target, host, rawPath, rawQuery, headers, repeatedHeaders }
}

/**
 * Returns the body of a request; undefined when the client disconnects before its end.
 *
 * @param hold reserves memory for a chunk; returns false when there is none for that many bytes
 */
export async function readBody (
  incoming: IncomingMessage, hold: (bytes: number) => boolean
): Promise<Body | undefined> {
  const chunks: Buffer[] = []
  let length = 0
  let isWhole = true
  try {
    for await (const chunk of incoming as AsyncIterable<Buffer>) {
      const piece = chunk.subarray(0, Math.max(0, maxBodyBytes - length))
      length += chunk.length
      isWhole &&= piece.length === 0 || hold(piece.length + chunkOverhead)
      if (isWhole) chunks.push(piece)
      else chunks.length = 0
    }
  } catch {
    return undefined
  }
  return { bytes: Buffer.concat(chunks), length, isWhole }
}

/**
 * Returns the percent-decoded path.
 *
 * @throws CosError InvalidURI
 */
export function decodePath (rawPath: string): string {
  return decode(rawPath)
}

/**
 * Returns the percent-decoded query parameters in order. A bare plus means a blank. So a continuation token
 * that was not percent-encoded arrives changed.
 *
 * @throws CosError InvalidURI
 */
export function parseQuery (rawQuery: string): Parameter[] {
  if (rawQuery === '') return []
  return rawQuery.split('&').map(pair => {
    const equals = pair.indexOf('=')
    const name = equals < 0 ? pair : pair.slice(0, equals)
    const value = equals < 0 ? '' : pair.slice(equals + 1)
    return { name: decode(name.replaceAll('+', ' ')), value: decode(value.replaceAll('+', ' ')) }
  })
}

/** Returns a text with every byte of its UTF-8 percent-encoded, except A-Z a-z 0-9 - _ . ~ (COS document 7778). */
export function percentEncode (text: string): string {
  return encodeURIComponent(text)
    .replace(/[!'()*]/g, character => '%' + character.charCodeAt(0).toString(16).toUpperCase())
}

function decode (text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw new CosError('InvalidURI')
  }
}
