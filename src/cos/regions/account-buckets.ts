import { withTimeout } from '../../concurrency/with-timeout.ts'
import { ServiceError } from '../../errors.ts'
import type { CosCall } from '../client/attempt.ts'
import type { BucketRegions } from './bucket-list.ts'

/** Milliseconds for which a list is valid for a bucket that it contains. */
const freshMs = 600_000
/** Milliseconds for which a list is valid for a bucket that it does not contain. */
const absentMs = 30_000
/** Milliseconds for which a list is valid although the region that it states does not know the bucket. */
const undisputedMs = 5_000
/** Milliseconds after a failure in which the previous list is used without another attempt. */
const failedMs = 30_000

/** The request that needs a region, and its deadline as an instant of the monotonic clock. */
export type LookUp = CosCall['call'] & Pick<CosCall, 'deadlineAt'>

interface Dependencies {
  listBuckets: (call: CosCall['call']) => Promise<BucketRegions>
  log: { warn (fields: object, message: string): void }
  /** Monotonic clock, in milliseconds. */
  now: () => number
}

/**
 * Keeps the latest list of the buckets of the account, with their regions. Only one list is in flight at a time; all
 * callers share it.
 */
export class AccountBuckets {
  readonly #dependencies: Dependencies
  #latest: { regions: BucketRegions, at: number } = { regions: new Map(), at: -Infinity }
  #failedAt = -Infinity
  #inFlight: Promise<BucketRegions> | undefined

  constructor (dependencies: Dependencies) {
    this.#dependencies = dependencies
  }

  /** Returns the region of a bucket, which is undefined if the account has none; undefined when the list is too old. */
  known (bucket: string): { region: string | undefined } | undefined {
    const region = this.#latest.regions.get(bucket)
    return this.#age() < (region === undefined ? absentMs : freshMs) ? { region } : undefined
  }

  /** Tells whether the latest list does not contain a bucket and a newer one has just failed. */
  isUnavailableFor (bucket: string): boolean {
    return !this.#latest.regions.has(bucket) && this.#hasJustFailed()
  }

  /**
   * Returns the region of a bucket; undefined when the account has no such bucket.
   *
   * @throws {ServiceError} the failure of GET Service, unless an older list contains the bucket
   */
  async find (bucket: string, call: LookUp): Promise<string | undefined> {
    const known = this.known(bucket)
    if (known !== undefined) return known.region
    const previous = this.#latest.regions.get(bucket)
    if (previous !== undefined && this.#hasJustFailed()) return previous
    try {
      return (await this.#list(call)).get(bucket)
    } catch (error) {
      if (previous === undefined || !(error instanceof ServiceError)) throw error
      call.log.debug({ bucket, code: error.code }, 'list of buckets failed, using the previous list')
      return previous
    }
  }

  /** Returns the region of a bucket that COS did not find in its known one; undefined when the list fails. */
  async findMoved (bucket: string, call: LookUp): Promise<string | undefined> {
    if (this.#hasJustFailed()) return undefined
    const { regions } = this.#latest
    if (this.#age() < (regions.has(bucket) ? undisputedMs : absentMs)) return regions.get(bucket)
    try {
      return (await this.#list(call)).get(bucket)
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error
      call.log.debug({ bucket, code: error.code }, 'list of buckets failed, new region of the bucket unknown')
      return undefined
    }
  }

  /** Returns a new list, or throws UpstreamTimeout at the deadline. The list continues for other callers. */
  #list (call: LookUp): Promise<BucketRegions> {
    this.#inFlight ??= this.#refresh(call).finally(() => { this.#inFlight = undefined })
    return withTimeout(this.#inFlight, call.deadlineAt - this.#dependencies.now(), () => {
      throw new ServiceError('UpstreamTimeout', "The look-up of the bucket's region (GET Service) did not end in time. Retry.")
    })
  }

  async #refresh (call: LookUp): Promise<BucketRegions> {
    const { listBuckets, log, now } = this.#dependencies
    // The list may lack a bucket that is created during the call, so its age counts from the start.
    const at = now()
    try {
      const regions = await listBuckets(call)
      this.#latest = { regions, at }
      this.#failedAt = -Infinity
      return regions
    } catch (error) {
      this.#failedAt = now()
      // Calls may succeed without the list. Then this line is the only sign for the operator.
      if (error instanceof ServiceError) log.warn({ code: error.code, detail: error.detail }, 'region discovery failed')
      throw error
    }
  }

  #age (): number {
    return this.#dependencies.now() - this.#latest.at
  }

  #hasJustFailed (): boolean {
    return this.#dependencies.now() - this.#failedAt < failedMs
  }
}
