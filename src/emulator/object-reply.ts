import { type Bytes, partOf, sizeOf } from './content.ts'
import { CosError } from './cos-error.ts'
import type { StoredObject } from './objects.ts'
import { percentEncode } from './request.ts'
import type { Reply } from './response.ts'

/** The parts of a GET or HEAD of an object that decide its response. */
export interface ObjectRequest {
  method: string
  /** By names in lower case. */
  headers: Record<string, string>
  parameters: Partial<Record<string, string>>
}

/** The end is the position after the last byte. */
interface Range { start: number, end: number }

// COS document 7753. The parameter sets the header of the response.
const overrides: Record<string, string> = {
  'response-cache-control': 'Cache-Control',
  'response-content-disposition': 'Content-Disposition',
  'response-content-encoding': 'Content-Encoding',
  'response-content-language': 'Content-Language',
  'response-content-type': 'Content-Type',
  'response-expires': 'Expires'
}

/** The parameters of GET Object. */
export const objectParameters = Object.keys(overrides)

/**
 * Returns the reply to GET Object (COS document 7753) or HEAD Object (7745). The sender drops the body for HEAD.
 *
 * @param object undefined when there is none with that key
 * @throws CosError NoSuchKey, InvalidObjectState, PreconditionFailed, InvalidRange, InvalidArgument
 */
export function toObjectReply (object: StoredObject | undefined, request: ObjectRequest): Reply {
  if (object === undefined) throw new CosError('NoSuchKey')
  const { bytes, etag, lastModifiedMs, access } = object
  // A bucket that pulls missing objects from an origin sends clients there (COS document 7753).
  if (access === 'redirect') return { status: 302, body: '', headers: { Location: locationOf(object) } }
  if (access === 'archived' && request.method === 'GET') throw new CosError('InvalidObjectState')

  const validators = { ETag: etag, 'Last-Modified': new Date(lastModifiedMs).toUTCString() }
  if (!checkPreconditions(request.headers, etag, lastModifiedMs)) return { status: 304, headers: validators }
  const { body, ...partial } = toPart(bytes, request)
  return {
    status: partial.range === undefined ? 200 : 206,
    body,
    headers: {
      'Content-Type': 'application/octet-stream',
      'Accept-Ranges': 'bytes',
      ...validators,
      ...(partial.range !== undefined && { 'Content-Range': partial.range }),
      ...(access === 'archived' && { 'x-cos-storage-class': 'ARCHIVE' }),
      ...toOverrides(request.parameters)
    }
  }
}

function locationOf ({ key }: StoredObject): string {
  return `http://origin.example/${percentEncode(key)}`
}

/**
 * Tells whether the object is sent: false means 304. The precedence of the headers is that of RFC 9110, section 13.2.2.
 *
 * @throws CosError PreconditionFailed
 */
function checkPreconditions (headers: Record<string, string>, etag: string, lastModifiedMs: number): boolean {
  const { 'if-match': match, 'if-none-match': noneMatch } = headers
  const modifiedAfter = (date: string | undefined) => {
    const ms = Date.parse(date ?? '')
    // An invalid date is ignored. The header has seconds, so the time of the object is rounded down.
    return Number.isNaN(ms) ? undefined : Math.floor(lastModifiedMs / 1000) * 1000 > ms
  }
  const isChanged = match === undefined
    ? modifiedAfter(headers['if-unmodified-since']) === true
    : !listsTag(match, etag)
  if (isChanged) throw new CosError('PreconditionFailed')
  return noneMatch === undefined
    ? modifiedAfter(headers['if-modified-since']) !== false
    : !listsTag(noneMatch, etag)
}

// Clients also send tags without quotes.
function listsTag (list: string, etag: string): boolean {
  const plain = (tag: string) => tag.trim().replace(/^W\//, '').replaceAll('"', '')
  return list.split(',').some(tag => tag.trim() === '*' || plain(tag) === plain(etag))
}

function toPart (bytes: Bytes, { method, headers }: ObjectRequest): { body: Bytes, range?: string } {
  const size = sizeOf(bytes)
  // Only GET has ranges (RFC 9110, section 14.2).
  const range = method === 'GET' ? readRange(headers['range'] ?? '', size) : undefined
  if (range === undefined) return { body: bytes }
  return { body: partOf(bytes, range.start, range.end), range: `bytes ${range.start}-${range.end - 1}/${size}` }
}

/**
 * Returns the range of a Range header; undefined for a header that RFC 9110 lets a server ignore: a malformed one, and
 * one with several ranges.
 *
 * @throws CosError InvalidRange when the object has none of the bytes
 */
function readRange (header: string, size: number): Range | undefined {
  const [, first, last] = /^bytes=(\d{0,15})-(\d{0,15})$/i.exec(header) ?? []
  if (first === undefined || last === undefined || first + last === '') return undefined
  if (first !== '' && last !== '' && Number(first) > Number(last)) return undefined
  const start = first === '' ? Math.max(0, size - Number(last)) : Number(first)
  const end = first === '' || last === '' ? size : Math.min(size, Number(last) + 1)
  if (start >= end) throw new CosError('InvalidRange')
  return { start, end }
}

function toOverrides (parameters: Partial<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(overrides).flatMap(([name, header]) => {
    const value = parameters[name]
    if (value === undefined) return []
    if (!/^[\x20-\x7e]*$/.test(value)) {
      throw new CosError('InvalidArgument', `The parameter ${name} must be printable ASCII.`)
    }
    return [[header, value]]
  }))
}
