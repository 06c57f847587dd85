import { createKeyedMutex } from '../concurrency/keyed-mutex.ts'
import type { KeyedMutex, LockFailure } from '../concurrency/keyed-mutex.ts'
import type { Call } from '../cos/inventories.ts'
import { canceled } from '../cos/upstream-error.ts'
import { ServiceError } from '../errors.ts'

/** Locks on configurations and buckets. They cover the changes of this process only. */
export type Locks = KeyedMutex

/**
 * Creates the locks. A change that does not get its lock fails with a {@link ServiceError}, and nothing is sent to COS.
 * Its code is Overloaded if the wait is too long or the queue is full. It is CallerLeft if the caller disconnected.
 */
export function createLocks (options: Omit<Parameters<typeof createKeyedMutex>[0], 'toError'>): Locks {
  return createKeyedMutex({ ...options, toError })
}

/** Returns the key of the lock on a configuration. */
export function lockKeyOf ({ bucket }: Call, id: string): string {
  return `${bucket}/${id}`
}

function toError (reason: LockFailure): ServiceError {
  return reason === 'canceled'
    ? canceled()
    : new ServiceError('Overloaded', 'Another change to this configuration or bucket is still in progress. Nothing was sent to COS; ' +
      'retry in 1 s.', { retryAfterSeconds: 1 })
}
