import { CancelSource } from '../../concurrency/cancel-signal.ts'
import type { Config } from '../../config.ts'
import type { CosContext } from '../../errors.ts'
import { serviceAddress, serviceTarget } from '../client/endpoints.ts'
import { cosContext } from '../client/response-errors.ts'
import type { Attempts, CosCall } from '../client/retry.ts'
import type { CosAnswer } from '../client/transport.ts'
import { UpstreamError } from '../upstream-error.ts'
import { bucketListExtent, parseXml, XmlError } from '../xml/parser.ts'
import type { XmlElement } from '../xml/parser.ts'

/** Far more than an account has buckets: a page holds 2,000. */
const maxPages = 50

/** The region of every bucket of the account. */
export type BucketRegions = ReadonlyMap<string, string>

interface Dependencies {
  attempts: Pick<Attempts, 'run'>
  /** Monotonic clock, in milliseconds. */
  now: () => number
  /** Whether a bucket and a region may become part of a host name; entries of others are left out. */
  isPlace: (bucket: string, region: string) => boolean
}

interface Page {
  cos: CosContext
  buckets: Array<[name: string, region: string]>
  /** What the next page comes after; undefined for the last one. */
  next: string | undefined
}

/**
 * Lists the buckets of the account with GET Service (COS document 8291), all pages within one deadline. It goes on when
 * the caller has left: others may wait for the same list.
 *
 * @throws {UpstreamError} what GET Service fails with, whose detail says that it was GET Service;
 *   UpstreamInvalidResponse when it does not come to an end
 */
export function createBucketList (
  config: Pick<Config['cos'], 'deadlineMs' | 'endpoint' | 'scheme'>, { attempts, now, isPlace }: Dependencies
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
      for (const [name, region] of buckets) if (isPlace(name, region)) regions.set(name, region)
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

function readPage (answer: CosAnswer): Page {
  const cos = cosContext(answer)
  try {
    return { ...toPage(answer.body), cos }
  } catch (error) {
    throw new UpstreamError('UpstreamInvalidResponse',
      'COS answered something that is not the XML it should be. Try again; if it stays, tell the operator.',
      { class: 'invalid', remedy: 'repeat', cause: error, cos })
  }
}

function toPage (bytes: Uint8Array): Omit<Page, 'cos'> {
  const root = parseXml(bytes, bucketListExtent)
  if (root.name !== 'ListAllMyBucketsResult') throw new XmlError('its root element is not ListAllMyBucketsResult')
  const buckets = childrenOf([root], 'Buckets')
  const next = textOf(root, 'NextMarker')
  // Older answers, which are never truncated, do not say so.
  const isTruncated = /^true$/i.test(textOf(root, 'IsTruncated'))
  if (isTruncated && next === '') throw new XmlError('it is truncated without a marker')
  return {
    buckets: childrenOf(buckets, 'Bucket').map(bucket => [textOf(bucket, 'Name'), textOf(bucket, 'Location')]),
    next: isTruncated ? next : undefined
  }
}

function childrenOf (elements: XmlElement[], name: string): XmlElement[] {
  return elements.flatMap(({ children }) => children).filter(child => child.name === name)
}

function textOf ({ children }: XmlElement, name: string): string {
  return children.find(child => child.name === name)?.text.trim() ?? ''
}
