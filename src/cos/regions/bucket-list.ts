import { CancelSource } from '../../concurrency/cancel-signal.ts'
import type { Config } from '../../config/config.ts'
import type { CosContext } from '../../errors.ts'
import { serviceAddress, serviceTarget } from '../client/endpoints.ts'
import { cosContext } from '../client/response-headers.ts'
import type { CosCall } from '../client/attempt.ts'
import type { Attempts } from '../client/retry.ts'
import type { CosResponse } from '../client/messages.ts'
import { UpstreamError } from '../upstream-error.ts'
import { bucketListExtent, childrenNamed, childText, parseXml, XmlError } from '../xml/parser.ts'

/** Far more than an account has buckets: a page holds 2,000. */
const maxPages = 50

/** The region of every bucket of the account. */
export type BucketRegions = ReadonlyMap<string, string>

interface Dependencies {
  attempts: Pick<Attempts, 'run'>
  /** Monotonic clock, in milliseconds. */
  now: () => number
  /** Whether a bucket and a region may become part of a host name; entries of others are left out. */
  isBucketAndRegion: (bucket: string, region: string) => boolean
}

interface Page {
  cos: CosContext
  buckets: Array<[name: string, region: string]>
  /** What the next page comes after; undefined for the last one. */
  next: string | undefined
}

/**
 * Lists the buckets of the account with GET Service (COS document 8291), all pages within one deadline. The list
 * continues when the caller disconnects, because other callers may wait for it.
 *
 * @throws {UpstreamError} what GET Service fails with, whose detail says that it was GET Service;
 *   UpstreamInvalidResponse when it does not come to an end
 */
export function createBucketList (
  config: Pick<Config['cos'], 'deadlineMs' | 'endpoint' | 'scheme'>, { attempts, now, isBucketAndRegion }: Dependencies
): (call: CosCall['call']) => Promise<BucketRegions> {
  const address = serviceAddress(config)

  async function list (call: CosCall['call']): Promise<BucketRegions> {
    const deadlineAt = now() + config.deadlineMs
    const regions = new Map<string, string>()
    const markers = new Set<string>()
    let marker: string | undefined
    do {
      const target = serviceTarget(marker)
      const { buckets, next, cos } = await attempts.run(
        { operation: 'GetService', method: 'GET', address, target, body: undefined, deadlineAt, call }, readPage)
      for (const [name, region] of buckets) if (isBucketAndRegion(name, region)) regions.set(name, region)
      if (next !== undefined && (markers.has(next) || markers.add(next).size === maxPages)) {
        throw new UpstreamError('UpstreamInvalidResponse',
          'COS does not come to an end of the list: it repeats a page, or lists more than 100,000 buckets.',
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

/** The same failure, which the caller can tell from one of the call it asked for. */
function attributed (failure: UpstreamError): UpstreamError {
  return new UpstreamError(failure, `${failure.detail} This was the look-up of the bucket's region (GET Service), ` +
    'which needs cos:GetService.', { ...failure, cause: failure.cause })
}

function readPage (response: CosResponse): Page {
  const cos = cosContext(response)
  try {
    return { ...toPage(response.body), cos }
  } catch (error) {
    throw new UpstreamError('UpstreamInvalidResponse',
      'COS answered something that is not the XML it should be. Try again; if it stays, tell the operator.',
      { class: 'invalid', remedy: 'retry', cause: error, cos })
  }
}

function toPage (bytes: Uint8Array): Omit<Page, 'cos'> {
  const root = parseXml(bytes, bucketListExtent)
  if (root.name !== 'ListAllMyBucketsResult') throw new XmlError('its root element is not ListAllMyBucketsResult')
  const next = childText(root, 'NextMarker').trim()
  // Older responses are never truncated and do not say so.
  const isTruncated = /^true$/i.test(childText(root, 'IsTruncated').trim())
  if (isTruncated && next === '') throw new XmlError('it is truncated without a marker')
  return {
    buckets: childrenNamed(root, 'Buckets')
      .flatMap(buckets => childrenNamed(buckets, 'Bucket'))
      .map(bucket => [childText(bucket, 'Name').trim(), childText(bucket, 'Location').trim()]),
    next: isTruncated ? next : undefined
  }
}
