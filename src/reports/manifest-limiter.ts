/** Bounds the memory of manifests, which any client with access to a destination can make large. */
import { createHash } from 'node:crypto'
import { createKeyedMutex } from '../concurrency/keyed-mutex.ts'
import type { KeyedMutex } from '../concurrency/keyed-mutex.ts'
import type { Call } from '../cos/inventories.ts'
import { canceled } from '../cos/upstream-error.ts'
import { ServiceError } from '../errors.ts'

/** Manifests that are read and parsed at once. One needs up to 50 MiB. */
const lanes = 4

/** Most reads that may wait. */
const queueLimit = 200

/** Runs reads of manifests. */
export interface ManifestLocks {
  /**
   * Runs a read when few others run. Reads of the same folder run one after another, so that a destination that does
   * not respond delays few others.
   *
   * @throws {ServiceError} Overloaded; CallerLeft when the caller disconnected
   */
  run<T> (call: Call, folder: string, read: () => Promise<T>): Promise<T>
}

/** Creates the locks. @param now monotonic clock, in milliseconds */
export function createManifestLocks (now: () => number): ManifestLocks {
  const mutex: KeyedMutex = createKeyedMutex({
    queueLimit,
    reserveMs: 0,
    now,
    toError: reason => reason === 'canceled'
      ? canceled()
      : new ServiceError('Overloaded', 'The service reads too many manifests at present. Retry in 1 s.', { retryAfterSeconds: 1 })
  })
  return {
    run: (call, folder, read) => mutex.run(laneOf(folder), call, read)
  }
}

function laneOf (folder: string): string {
  return String(createHash('md5').update(folder).digest().readUInt32BE() % lanes)
}
