import type { Config } from '../../config/config.ts'
import { ServiceError } from '../../errors.ts'
import { regionOf } from '../client/endpoints.ts'
import type { AccountBuckets, LookUp } from './account-buckets.ts'

export type { LookUp }

/** The region of a bucket, and its source. */
export interface Place {
  /** Undefined when no region is known. */
  region: string | undefined
  /** True when region discovery was used. The bucket may later be created, or move to another region. */
  isLookedUp: boolean
}

/**
 * The regions of buckets. The requested region comes first, then the configured one of the bucket. Next are the region
 * that discovery found and the default region.
 */
export interface Regions {
  /** Returns the region if it is known without a call of COS; undefined if {@link Regions.resolve} would call COS. */
  known (bucket: string, requested: string | undefined): string | undefined
  /**
   * Returns the region, with a call of COS if necessary.
   *
   * @throws {ServiceError} AccountUnknown (404) when there is no account to call COS with. Only without a default
   *   region: NoSuchBucket (404) when the account has no such bucket, or the failure of GET Service, unless an older
   *   list contains the bucket
   */
  resolve (bucket: string, requested: string | undefined, call: LookUp): Promise<Place>
  /**
   * Returns another region of a bucket that COS did not find in the region of a look-up; undefined when none is known.
   */
  moved (bucket: string, from: string, call: LookUp): Promise<string | undefined>
  /**
   * Returns the region of any bucket, such as a destination, independent of the configuration. Returns undefined when
   * the account has no such bucket. The function is undefined without discovery.
   *
   * @throws {ServiceError} AccountUnknown, or the failure of GET Service, unless an older list contains the bucket
   */
  find: ((bucket: string, call: LookUp) => Promise<string | undefined>) | undefined
  /** Tells whether the APPID of a bucket has an account of its own. Its list then has all buckets of that APPID. */
  hasOwnAccount (bucket: string): boolean
}

interface Account {
  /** An APPID or `default`. */
  name: string
  buckets: AccountBuckets
}

interface Dependencies {
  accounts: {
    /** @throws {ServiceError} AccountUnknown */
    of (bucket: string): Account
    find (bucket: string): Account | undefined
  }
}

/** Creates the look-up of regions. It starts with the configuration only. */
export function createRegions (
  config: Pick<Config['cos'], 'bucketRegions' | 'endpoint' | 'region' | 'regionDiscovery'>, { accounts }: Dependencies
): Regions {
  const { region: defaultRegion, regionDiscovery } = config
  /** The configuration without the default region, if discovery precedes it. */
  const stated = { ...config, ...regionDiscovery && { region: undefined } }

  /** Returns the region that discovery found; else the default region, even after a failed look-up. */
  async function findOrAssume (bucket: string, call: LookUp): Promise<string | undefined> {
    const { buckets } = accounts.of(bucket)
    if (defaultRegion === undefined) return await buckets.find(bucket, call)
    if (buckets.isUnavailableFor(bucket)) return defaultRegion
    try {
      return await buckets.find(bucket, call) ?? defaultRegion
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error
      call.log.debug({ bucket, code: error.code }, 'list of buckets failed, using the default region')
      return defaultRegion
    }
  }

  return {
    known (bucket, requested) {
      const region = regionOf(stated, bucket, requested)
      if (region !== undefined || !regionDiscovery) return region
      const found = accounts.find(bucket)?.buckets.known(bucket)
      return found === undefined ? undefined : found.region ?? defaultRegion
    },

    async resolve (bucket, requested, call) {
      const given = regionOf(stated, bucket, requested)
      if (given !== undefined || !regionDiscovery) return { region: given, isLookedUp: false }
      const region = await findOrAssume(bucket, call)
      if (region === undefined) throw noSuchBucket(bucket)
      return { region, isLookedUp: true }
    },

    async moved (bucket, from, call) {
      const region = await accounts.find(bucket)?.buckets.findMoved(bucket, call)
      return region === from ? undefined : region
    },

    find: regionDiscovery ? async (bucket, call) => await accounts.of(bucket).buckets.find(bucket, call) : undefined,

    hasOwnAccount: bucket => bucket.endsWith(`-${accounts.find(bucket)?.name}`)
  }
}

function noSuchBucket (bucket: string): ServiceError {
  return new ServiceError({ code: 'NoSuchBucket', status: 404, title: 'Not Found' },
    `Region discovery found no bucket ${bucket} in the account of this service. Check its name. For a bucket of another ` +
    'account set the query parameter region, or ask the operator to set COS_BUCKET_REGIONS. A new bucket is found within ' +
    '30 s.')
}
