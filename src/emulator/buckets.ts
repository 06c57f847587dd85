import type { Reply } from './response.ts'
import { readMaxKeys } from './paging.ts'
import { escapeXml } from './xml.ts'

/** An existing bucket: its name with the APPID, and its region. */
export interface EmulatorBucket { name: string, region: string }

const maxKeys = 2000
const owner = '100000000001'
const createdAt = '2024-05-24T11:49:50Z'

/**
 * Returns a page of GET Service (COS document 8291): buckets sorted by name.
 *
 * @param buckets the buckets of the account
 * @param region from the host `cos.<region>.…`, which takes precedence over the parameter
 * @throws CosError InvalidArgument when max-keys is not 1 to 2,000
 */
export function listBuckets (
  buckets: EmulatorBucket[], parameters: Partial<Record<string, string>>, region = parameters['region']
): Reply {
  const marker = parameters['marker'] ?? ''
  const limit = readMaxKeys(parameters['max-keys'], maxKeys)
  const all = buckets
    .filter(bucket => bucket.name > marker && (!region || bucket.region === region))
    .sort((one, other) => one.name < other.name ? -1 : 1)
  const page = all.slice(0, limit)
  const isTruncated = all.length > page.length
  const items = page.map(({ name, region }) => `<Bucket><Name>${name}</Name><Location>${region}</Location>` +
    `<CreationDate>${createdAt}</CreationDate><BucketType>cos</BucketType></Bucket>`)
  return {
    status: 200,
    body: '<ListAllMyBucketsResult>' +
      `<Owner><ID>qcs::cam::uin/${owner}:uin/${owner}</ID><DisplayName>${owner}</DisplayName></Owner>` +
      `<Buckets>${items.join('')}</Buckets><IsTruncated>${isTruncated}</IsTruncated>` +
      `<Marker>${escapeXml(marker)}</Marker>` +
      `<NextMarker>${isTruncated ? page.at(-1)?.name : ''}</NextMarker></ListAllMyBucketsResult>`
  }
}
