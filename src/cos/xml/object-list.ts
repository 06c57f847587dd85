/** Reads the response of GET Bucket (COS documents 7734 and 30614). */
import { nextIteration } from '../../concurrency/event-loop.ts'
import { maxObjectPageBytes } from '../operations.ts'
import { childText, decodeUtf8, parseInParts, XmlError } from './parser.ts'
import type { Extent, XmlElement } from './parser.ts'

/** An object as a page lists it. */
export interface ListedObject {
  /** Percent-decoded. A plus is kept: it may stand for a blank. */
  key: string
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
  /** The marker of the next page, in the form of a key; undefined for the last one. */
  nextMarker: string | undefined
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
    const key = decodeKey(childText(element, 'Key'))
    if (key !== undefined) objects.push(toObject(element, key))
    return false
  }, nextIteration)
  if (root.name !== 'ListBucketResult') throw new XmlError('the root element is not ListBucketResult')
  const isTruncated = childText(root, 'IsTruncated').trim().toLowerCase()
  if (isTruncated !== 'true' && isTruncated !== 'false') throw new XmlError('IsTruncated is missing')
  if (isTruncated === 'false') return { objects, nextMarker: undefined }
  const nextMarker = decodeKey(childText(root, 'NextMarker'))
  if (!nextMarker) throw new XmlError('the document is truncated without a marker')
  return { objects, nextMarker }
}

function toObject (element: XmlElement, key: string): ListedObject {
  const [size, modifiedAt] = [childText(element, 'Size').trim(), Date.parse(childText(element, 'LastModified').trim())]
  if (!/^[0-9]{1,15}$/.test(size) || Number.isNaN(modifiedAt)) throw new XmlError('an object has no size or no date')
  return {
    key,
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

/** Returns undefined when the text is not percent-encoded. */
function decodeKey (encoded: string): string | undefined {
  try {
    return decodeURIComponent(encoded)
  } catch {
    return undefined
  }
}
