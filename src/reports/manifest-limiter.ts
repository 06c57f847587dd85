/** Bounds the memory of manifests, which any client with access to a destination can make large. */
import { createConcurrencyLimiter } from '../cos/client/concurrency-limiter.ts'
import type { Call } from '../cos/inventories.ts'
import { UpstreamError } from '../cos/upstream-error.ts'

/** A manifest needs up to 50 MiB. While a destination does not respond, two of the four reads remain for others. */
const limits = { maxConcurrency: 4, maxPerHost: 2, queueLimit: 200, maxWaitMs: Infinity }

export interface ManifestLimiter {
  /**
   * Runs a read of a manifest when few others run. Destination buckets take turns.
   *
   * @param call a call to the destination bucket
   * @throws {UpstreamError} Overloaded; CallerLeft when the caller disconnected
   */
  run<T> (call: Pick<Call, 'bucket' | 'deadlineAt' | 'signal'>, read: () => Promise<T>): Promise<T>
}

/** Creates the limiter of a service. @param now monotonic clock, in milliseconds */
export function createManifestLimiter (now: () => number): ManifestLimiter {
  const limiter = createConcurrencyLimiter(limits, { now, onRejection () {} })
  return {
    async run ({ bucket, deadlineAt, signal }, read) {
      const permit = await limiter.acquire({ host: bucket, region: '' }, deadlineAt, signal)
        .catch((error: unknown) => { throw isOverloaded(error) ? overloaded(bucket, error) : error })
      try {
        return await read()
      } finally {
        // A read has several calls, whose own limiter knows whether the host responds.
        permit.release('other')
      }
    }
  }
}

function isOverloaded (error: unknown): error is UpstreamError {
  return error instanceof UpstreamError && error.code === 'Overloaded'
}

/** Returns the same error with a detail that names manifests, because the limiter speaks of calls. */
function overloaded (bucket: string, error: UpstreamError): UpstreamError {
  return new UpstreamError('Overloaded', `Too many manifests of reports are being read (${bucket}). Retry in 1 s.`, error)
}
