import { CosError } from './cos-error.ts'
import { sizeOf } from './content.ts'
import type { ObjectStore, StoredObject } from './objects.ts'
import { readMaxKeys } from './paging.ts'
import { percentEncode } from './request.ts'
import type { Reply } from './response.ts'
import { toXmlText } from './xml.ts'

/** The parameters of GET Bucket. */
export const listingParameters = ['prefix', 'marker', 'max-keys', 'delimiter', 'encoding-type']

const mostKeys = 1000

/** An object, or a common prefix of several. */
interface Entry { name: string, object?: StoredObject }

interface Listing { prefix: string, marker: string, delimiter: string, maxKeys: number, encode: boolean }

/**
 * Returns a page of GET Bucket (COS document 7734): objects and common prefixes in the byte order of UTF-8.
 *
 * @throws CosError InvalidArgument when max-keys is not 1 to 1,000, encoding-type is not url, or the delimiter has
 *   several characters
 */
export function listObjects (
  { bucket, region }: { bucket: string, region: string },
  parameters: Partial<Record<string, string>>,
  objects: ObjectStore,
  nowMs: number
): Reply {
  const listing = readListing(parameters)
  const { prefix, marker, delimiter, maxKeys } = listing
  const text = (name: string) => toXmlText(listing.encode ? percentEncode(name) : name)
  const entries = toEntries(objects.list(bucket, prefix, marker, nowMs), listing)
  const page = entries.slice(0, maxKeys)
  const isTruncated = entries.length > page.length
  const elements = [
    `<Name>${bucket}</Name>`,
    listing.encode ? '<EncodingType>url</EncodingType>' : '',
    `<Prefix>${text(prefix)}</Prefix><Marker>${text(marker)}</Marker><MaxKeys>${maxKeys}</MaxKeys>`,
    delimiter === '' ? '' : `<Delimiter>${text(delimiter)}</Delimiter>`,
    `<IsTruncated>${isTruncated}</IsTruncated>`,
    isTruncated ? `<NextMarker>${text((page.at(-1) as Entry).name)}</NextMarker>` : '',
    ...page.map(({ name, object }) => object === undefined
      ? `<CommonPrefixes><Prefix>${text(name)}</Prefix></CommonPrefixes>`
      : toContents(object, text(name)))
  ]
  return {
    status: 200,
    body: `<ListBucketResult>${elements.join('')}</ListBucketResult>`,
    headers: { 'x-cos-bucket-region': region }
  }
}

function readListing (parameters: Partial<Record<string, string>>): Listing {
  const { prefix = '', marker = '', delimiter = '', 'encoding-type': encoding = '' } = parameters
  if (encoding !== '' && encoding !== 'url') {
    throw new CosError('InvalidArgument', 'The parameter encoding-type must be url.')
  }
  if ([...delimiter].length > 1) {
    throw new CosError('InvalidArgument', 'The parameter delimiter must be one character.')
  }
  return { prefix, marker, delimiter, maxKeys: readMaxKeys(parameters['max-keys'], mostKeys), encode: encoding === 'url' }
}

function toEntries (objects: StoredObject[], { prefix, marker, delimiter }: Listing): Entry[] {
  const entries: Entry[] = []
  for (const object of objects) {
    const { key } = object
    const at = delimiter === '' ? -1 : key.indexOf(delimiter, prefix.length)
    if (at < 0) {
      entries.push({ name: key, object })
      continue
    }
    const name = key.slice(0, at + delimiter.length)
    // A common prefix as the marker stands for all its objects.
    if (name !== marker && name !== entries.at(-1)?.name) entries.push({ name })
  }
  return entries
}

function toContents ({ bucket, bytes, etag, lastModifiedMs, access }: StoredObject, key: string): string {
  const owner = bucket.slice(bucket.lastIndexOf('-') + 1)
  return `<Contents><Key>${key}</Key><LastModified>${new Date(lastModifiedMs).toISOString()}</LastModified>` +
    `<ETag>${etag.replaceAll('"', '&quot;')}</ETag><Size>${sizeOf(bytes)}</Size>` +
    `<Owner><ID>${owner}</ID><DisplayName>${owner}</DisplayName></Owner>` +
    `<StorageClass>${access === 'archived' ? 'ARCHIVE' : 'STANDARD'}</StorageClass></Contents>`
}
