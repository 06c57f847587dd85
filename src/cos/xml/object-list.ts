/** Reads the response of GET Bucket (COS documents 7734 and 30614). */
import { nextIteration } from '../../concurrency/event-loop.ts'
import { maxObjectPageBytes } from '../operations.ts'
import { childText, decodeUtf8, parseInParts, XmlError } from './parser.ts'
import type { Extent, XmlElement } from './parser.ts'

/** An object as a page lists it. */
export interface ListedObject {
  /** The keys that the text of COS can stand for. A plus can stand for a blank. */
  keys: readonly string[]
  /** In double quotes, as in a header. */
  etag: string
  /** Bytes. */
  size: number
  /** Milliseconds since 1970. */
  modifiedAt: number
}

/** A page of objects in UTF-8 order of their keys. */
export interface ObjectList {
  objects: ListedObject[]
  /** The keys that the marker of the next page can stand for; undefined for the last page. */
  nextMarker: readonly string[] | undefined
}

/** A page: 1,000 objects of 9 elements each. */
const objectPageExtent: Extent = { maxLength: maxObjectPageBytes, maxElements: 15_000 }

/**
 * Reads a page whose keys are percent-encoded, as `encoding-type=url` asks for. An object whose key is malformed is
 * skipped, because reports have no such keys.
 *
 * @throws {XmlError} when the bytes are not such a page
 */
export async function fromObjectListXml (bytes: Uint8Array): Promise<ObjectList> {
  const objects: ListedObject[] = []
  const root = await parseInParts(decodeUtf8(bytes), objectPageExtent, element => {
    if (element.name !== 'Contents') return true
    const keys = keysOf(childText(element, 'Key'))
    if (keys.length > 0) objects.push(toObject(element, keys))
    return false
  }, nextIteration)
  if (root.name !== 'ListBucketResult') throw new XmlError('the root element is not ListBucketResult')
  const isTruncated = childText(root, 'IsTruncated').trim().toLowerCase()
  if (isTruncated !== 'true' && isTruncated !== 'false') throw new XmlError('IsTruncated is missing')
  if (isTruncated === 'false') return { objects, nextMarker: undefined }
  const nextMarker = keysOf(childText(root, 'NextMarker'))
  if (!nextMarker[0]) throw new XmlError('the document is truncated without a marker')
  return { objects, nextMarker }
}

function toObject (element: XmlElement, keys: string[]): ListedObject {
  const [size, modifiedAt] = [childText(element, 'Size').trim(), Date.parse(childText(element, 'LastModified').trim())]
  if (!/^[0-9]{1,15}$/.test(size) || Number.isNaN(modifiedAt)) throw new XmlError('an object has no size or no date')
  return {
    keys,
    etag: quoted(childText(element, 'ETag').trim()),
    size: Number(size),
    // Last-Modified of a response has seconds only.
    modifiedAt: Math.floor(modifiedAt / 1000) * 1000
  }
}

/** Returns an entity tag in quotes, which some responses of COS omit. */
export function quoted (etag: string): string {
  return etag.startsWith('"') ? etag : `"${etag}"`
}

/** Returns the keys that a percent-encoded text can stand for; none when it is malformed. */
function keysOf (encoded: string): string[] {
  try {
    return [encoded, encoded.replaceAll('+', '%20')].map(decodeURIComponent)
  } catch {
    return []
  }
}
