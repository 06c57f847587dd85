/**
 * Where buckets are: as a caller or the operator says, else, with COS_REGION_DISCOVERY=true, as COS does. One list
 * names all buckets of the account, so that it is fetched once for all of them; the last one is all that is remembered.
 */
import { withTimeout } from '../../concurrency/with-timeout.ts'
import type { Config } from '../../config/config.ts'
import { ServiceError } from '../../errors.ts'
import { regionOf } from '../client/endpoints.ts'
import type { CosCall } from '../client/attempt.ts'
import type { BucketRegions } from './bucket-list.ts'

/** How long a bucket is taken to be where a list has it. */
const freshMs = 600_000
/** How long a bucket that a list does not have is taken to be none of the account's. */
const absentMs = 30_000
/** How long a list is believed against a bucket host that does not know a bucket of the list. */
const undisputedMs = 5_000
/** How long after a list that failed the one before serves without another attempt. */
const failedMs = 30_000

/** The request of a caller that needs to know where a bucket is, and when it must be over. */
export type LookUp = CosCall['call'] & Pick<CosCall, 'deadlineAt'>

export interface Place {
  /** Undefined when nobody knows it. */
  region: string | undefined
  /** Whether the bucket was looked for; it may be created, or deleted and created elsewhere. */
  isLookedUp: boolean
}

export interface Regions {
  /**
   * What is known without asking COS: the requested region, else the one configured for the bucket, else the one that
   * was found, else that of all. Undefined also where {@link Regions.resolve} would ask.
   */
  known (bucket: string, requested: string | undefined): string | undefined
  /**
   * The same, but asks COS where necessary.
   *
   * @throws {ServiceError} where there is no region of all: NoSuchBucket (404) when it is no bucket of the account, or
   *   what GET Service fails with, unless an older list has the bucket
   */
  resolve (bucket: string, requested: string | undefined, call: LookUp): Promise<Place>
  /**
   * Where a bucket is of which COS has just said that it is not in the region that a look-up led to. Undefined when
   * nothing else is known, or can be learnt.
   */
  moved (bucket: string, from: string, call: LookUp): Promise<string | undefined>
  /**
   * Where any other bucket is, such as a destination, whatever is configured; undefined when it is none of the
   * account's. Undefined itself without discovery.
   *
   * @throws {ServiceError} what GET Service fails with, unless an older list has the bucket
   */
  find: ((bucket: string, call: LookUp) => Promise<string | undefined>) | undefined
}

interface Dependencies {
  listBuckets: (call: CosCall['call']) => Promise<BucketRegions>
  log: { warn (fields: object, message: string): void }
  /** Monotonic clock, in milliseconds. */
  now: () => number
}

/** Nothing is known but what is configured. There is one list under way at a time, for whoever asks meanwhile. */
export function createRegions (
  config: Pick<Config['cos'], 'bucketRegions' | 'endpoint' | 'region' | 'regionDiscovery'>,
  { listBuckets, log, now }: Dependencies
): Regions {
  const { region: regionOfAll, regionDiscovery } = config
  /** What was found comes before the region of all. */
  const stated = { ...config, ...regionDiscovery && { region: undefined } }
  let last: { buckets: BucketRegions, at: number } = { buckets: new Map(), at: -Infinity }
  let failedAt = -Infinity
  let underWay: Promise<BucketRegions> | undefined

  /** What the last list says; undefined when it is too old to say anything. */
  function remembered (bucket: string): { region: string | undefined } | undefined {
    const region = last.buckets.get(bucket)
    return now() - last.at < (region === undefined ? absentMs : freshMs) ? { region } : undefined
  }

  const hasJustFailed = () => now() - failedAt < failedMs

  async function renew (call: LookUp): Promise<BucketRegions> {
    // What is made meanwhile may not be in it.
    const at = now()
    const buckets = await listBuckets(call)
    last = { buckets, at }
    failedAt = -Infinity
    return buckets
  }

  function list (call: LookUp): Promise<BucketRegions> {
    underWay ??= renew(call)
      .catch((error: unknown) => {
        failedAt = now()
        // Calls may go on without it, so that nobody else would tell the operator.
        if (error instanceof ServiceError) log.warn({ code: error.code }, `region discovery failed: ${error.detail}`)
        throw error
      })
      .finally(() => { underWay = undefined })
    return withTimeout(underWay, call.deadlineAt - now(), lookUpTimedOut)
  }

  async function find (bucket: string, call: LookUp): Promise<string | undefined> {
    const known = remembered(bucket)
    if (known !== undefined) return known.region
    const before = last.buckets.get(bucket)
    if (before !== undefined && hasJustFailed()) return before
    try {
      return (await list(call)).get(bucket)
    } catch (error) {
      if (before === undefined || !(error instanceof ServiceError)) throw error
      call.log.debug({ bucket, code: error.code }, 'no new list of buckets; the old one serves')
      return before
    }
  }

  /** Where a bucket was found, else the region of all, also when it could not be looked for. */
  async function findOrAssume (bucket: string, call: LookUp): Promise<string | undefined> {
    if (regionOfAll === undefined) return await find(bucket, call)
    if (!last.buckets.has(bucket) && hasJustFailed()) return regionOfAll
    try {
      return await find(bucket, call) ?? regionOfAll
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error
      call.log.debug({ bucket, code: error.code }, 'no list of buckets; the region of all serves')
      return regionOfAll
    }
  }

  return {
    known (bucket, requested) {
      const region = regionOf(stated, bucket, requested)
      if (region !== undefined || !regionDiscovery) return region
      const found = remembered(bucket)
      return found === undefined ? undefined : found.region ?? regionOfAll
    },

    async resolve (bucket, requested, call) {
      const given = regionOf(stated, bucket, requested)
      if (given !== undefined || !regionDiscovery) return { region: given, isLookedUp: false }
      const region = await findOrAssume(bucket, call)
      if (region !== undefined) return { region, isLookedUp: true }
      throw new ServiceError({ code: 'NoSuchBucket', status: 404, title: 'Not Found' },
        `Region discovery found no bucket ${bucket} in the account of this service. Check its name. For a bucket of another ` +
        'account give the query parameter region, or have the operator set COS_BUCKET_REGIONS. A bucket that was just ' +
        'made is found within 30 s.')
    },

    async moved (bucket, from, call) {
      if (hasJustFailed()) return undefined
      try {
        const believedMs = last.buckets.has(bucket) ? undisputedMs : absentMs
        const buckets = now() - last.at < believedMs ? last.buckets : await list(call)
        const region = buckets.get(bucket)
        return region === from ? undefined : region
      } catch (error) {
        if (!(error instanceof ServiceError)) throw error
        call.log.debug({ bucket, code: error.code }, 'no new list of buckets; whether the bucket has moved is not known')
        return undefined
      }
    },

    find: regionDiscovery ? find : undefined
  }
}

/** Throws what a caller is told whose time is over before the list has come. The list continues for other callers. */
function lookUpTimedOut (): never {
  throw new ServiceError('UpstreamTimeout', "The look-up of the bucket's region (GET Service) did not end in time.")
}
