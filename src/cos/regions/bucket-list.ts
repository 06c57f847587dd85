import { CancelSource } from '../../concurrency/cancel-signal.ts'
import type { Config } from '../../config/config.ts'
import { serviceAddress, serviceTarget } from '../client/endpoints.ts'
import type { CosCall } from '../client/attempt.ts'
import { reading } from '../client/results.ts'
import type { Attempts } from '../client/retry.ts'
import { UpstreamError } from '../upstream-error.ts'
import { bucketListExtent, childrenNamed, childText, parseXml, XmlError } from '../xml/parser.ts'

/** More pages than any account has; a page has 2,000 buckets. */
const maxPages = 50

/** The regions of all buckets of the account. */
export type BucketRegions = ReadonlyMap<string, string>

interface Dependencies {
  attempts: Pick<Attempts, 'run'>
  /** The credentials of the account. */
  credentials: CosCall['credentials']
  /** Monotonic clock, in milliseconds. */
  now: () => number
  /** Tells whether a bucket and a region may become part of a host name. The list has no others. */
  isBucketAndRegion: (bucket: string, region: string) => boolean
}

interface Page {
  buckets: Array<[name: string, region: string]>
  /** The marker of the next page; undefined for the last one. */
  next: string | undefined
}

/**
 * Creates the function that lists the buckets of the account with GET Service (COS document 8291). All pages share one
 * deadline. The list continues when the caller disconnects, because other callers may wait for it.
 *
 * @throws {UpstreamError} the failure of GET Service, with a detail that names GET Service; UpstreamInvalidResponse
 *   when the list has no end
 */
export function createBucketList (
  config: Pick<Config['cos'], 'deadlineMs' | 'endpoint' | 'scheme'>, { attempts, credentials, now, isBucketAndRegion }: Dependencies
): (call: CosCall['call']) => Promise<BucketRegions> {
  const address = serviceAddress(config)

  async function list (call: CosCall['call']): Promise<BucketRegions> {
    const deadlineAt = now() + config.deadlineMs
    const regions = new Map<string, string>()
    const markers = new Set<string>()
    let marker: string | undefined
    do {
      const target = serviceTarget(marker)
      const { value: { buckets, next }, cos } = await attempts.run(
        { operation: 'GetService', method: 'GET', address, credentials, target, body: undefined, deadlineAt, call }, readPage)
      for (const [name, region] of buckets) if (isBucketAndRegion(name, region)) regions.set(name, region)
      if (next !== undefined && (markers.has(next) || markers.add(next).size === maxPages)) {
        throw new UpstreamError('UpstreamInvalidResponse',
          'COS returned a list without an end: a page occurs twice, or there are more than 100,000 buckets. ' +
          'Set the query parameter region.',
          { class: 'invalid', cos })
      }
      marker = next
    } while (marker !== undefined)
    return regions
  }

  return async ({ log, trace, tally }) => {
    try {
      return await list({ log, trace, tally, signal: new CancelSource() })
    } catch (error) {
      throw error instanceof UpstreamError ? attributed(error) : error
    }
  }
}

/** Returns the failure with a detail that names GET Service, which the caller did not request. */
function attributed (failure: UpstreamError): UpstreamError {
  return new UpstreamError(failure, `${failure.detail} This was the look-up of the bucket's region (GET Service), ` +
    'which needs cos:GetService.', { ...failure, cause: failure.cause })
}

function toPage (bytes: Uint8Array): Page {
  const root = parseXml(bytes, bucketListExtent)
  if (root.name !== 'ListAllMyBucketsResult') throw new XmlError('the root element is not ListAllMyBucketsResult')
  const next = childText(root, 'NextMarker').trim()
  // Older responses are never truncated and have no IsTruncated.
  const isTruncated = /^true$/i.test(childText(root, 'IsTruncated').trim())
  if (isTruncated && next === '') throw new XmlError('the document is truncated without a marker')
  return {
    buckets: childrenNamed(root, 'Buckets')
      .flatMap(buckets => childrenNamed(buckets, 'Bucket'))
      .map(bucket => [childText(bucket, 'Name').trim(), childText(bucket, 'Location').trim()]),
    next: isTruncated ? next : undefined
  }
}

const readPage = reading(toPage)
