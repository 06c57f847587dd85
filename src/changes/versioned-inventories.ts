/**
 * Changes of one configuration that look before they leap. COS has no conditional writes: what depends on the present
 * configuration is read, compared and written while nobody else changes it through this process. Between replicas, and
 * with whoever else holds keys, the moment between reading and writing remains.
 */
import { apply as mergePatch } from 'tiny-merge-patch'
import type { InventoryConfiguration } from '../contract/inventory.ts'
import { isNotFound } from '../cos/client/response-errors.ts'
import type { Call, Inventories, Outcome } from '../cos/inventories.ts'
import { normalise } from '../cos/xml/inventory-xml.ts'
import type { CosDocument } from '../cos/xml/cos-document.ts'
import { ServiceError } from '../errors.ts'
import type { Locks } from './locks.ts'
import { etagOf, failedPrecondition } from './version.ts'
import type { Preconditions } from './version.ts'

/** What an operation gives, with the entity tag of what COS now holds. */
export interface Versioned<T> extends Outcome<T> {
  etag: string
}

/** What a patch would make of a configuration. */
interface Merged extends Outcome<object> {
  current: CosDocument
}

/**
 * Judges what a patch makes of the present configuration, before it is written.
 *
 * @throws {ServiceError} which ends the patch
 */
export type Judge = (merged: object, current: InventoryConfiguration) => void

/**
 * All of them throw what {@link Inventories} throws; PreconditionFailed; Overloaded when others are changing the same
 * configuration for too long.
 */
export interface Changes {
  get (call: Call, id: string): Promise<Versioned<CosDocument>>
  /** Reads only when there is a precondition. */
  put (call: Call, id: string, input: object, preconditions: Preconditions): Promise<Versioned<undefined>>
  /** Reads only when there is a precondition. */
  delete (call: Call, id: string, preconditions: Preconditions): Promise<Outcome<undefined>>
  /**
   * A JSON merge patch (RFC 7396) of the configuration in the form GET answers. One read and, unless the patch changes
   * nothing, one write, which keeps the form of what the patch leaves alone. When COS rejects the write because of
   * another change (409, 412), both are retried once.
   */
  patch (
    call: Call, id: string, patch: unknown, preconditions: Preconditions, judge: Judge
  ): Promise<Versioned<InventoryConfiguration>>
  /** The XML that put would send. Sends nothing, but reads when there is a precondition. */
  previewPut (call: Call, id: string, input: object, preconditions: Preconditions): Promise<string>
  /** The XML that patch would send. */
  previewPatch (call: Call, id: string, patch: unknown, preconditions: Preconditions, judge: Judge): Promise<string>
}

interface Dependencies {
  inventories: Inventories
  locks: Locks
}

/** Builds the changes on the operations of COS. */
export function createChanges ({ inventories, locks }: Dependencies): Changes {
  const locked = <T>(call: Call, id: string, work: () => Promise<T>) => locks.run(lockKeyOf(call, id), call, work)

  async function check (call: Call, id: string, preconditions: Preconditions): Promise<void> {
    if (!isConditional(preconditions)) return
    refuseFailed(preconditions, await currentOf(call, id))
  }

  async function currentOf (call: Call, id: string): Promise<Outcome<CosDocument | undefined>> {
    try {
      return await inventories.get(call, id)
    } catch (error) {
      if (!isNotFound(error)) throw error
      return { value: undefined, cos: error.cos }
    }
  }

  async function merge (
    call: Call, id: string, patch: unknown, preconditions: Preconditions, judge: Judge
  ): Promise<Merged> {
    const { value: current, cos } = preconditions.ifMatch === undefined
      ? await inventories.get(call, id)
      : await currentOf(call, id)
    refuseFailed(preconditions, { value: current, cos })
    const stored = current as CosDocument
    const merged = mergePatch(stored.configuration, patch) as object
    judge(merged, stored.configuration)
    return { value: merged, current: stored, cos }
  }

  async function mergeAndWrite (
    call: Call, id: string, patch: unknown, preconditions: Preconditions, judge: Judge, isRepeat = false
  ): Promise<Versioned<InventoryConfiguration>> {
    const { value: merged, current, cos } = await merge(call, id, patch, preconditions, judge)
    const value = normalise(id, merged)
    const etag = etagOf(value)
    if (etag === current.etag()) return { value: current.configuration, cos, etag }
    try {
      const written = await inventories.put(call, id, merged, current.xml)
      return { value, cos: written.cos, etag }
    } catch (error) {
      if (isRepeat || !isConflict(error)) throw error
      return await mergeAndWrite(call, id, patch, preconditions, judge, true)
    }
  }

  return {
    async get (call, id) {
      const { value, cos } = await inventories.get(call, id)
      return { value, cos, etag: value.etag() }
    },

    put: (call, id, input, preconditions) => locked(call, id, async () => {
      // A configuration that cannot be sent is rejected before anything is read.
      if (isConditional(preconditions)) inventories.preview(call, id, input)
      await check(call, id, preconditions)
      // Before it is sent: afterwards nothing may fail any more.
      const etag = etagOf(normalise(id, input))
      const { value, cos } = await inventories.put(call, id, input)
      return { value, cos, etag }
    }),

    delete: (call, id, preconditions) => locked(call, id, async () => {
      await check(call, id, preconditions)
      return await inventories.delete(call, id)
    }),

    patch: (call, id, patch, preconditions, judge) =>
      locked(call, id, () => mergeAndWrite(call, id, patch, preconditions, judge)),

    async previewPut (call, id, input, preconditions) {
      const xml = inventories.preview(call, id, input)
      await check(call, id, preconditions)
      return xml
    },

    async previewPatch (call, id, patch, preconditions, judge) {
      const { value: merged, current } = await merge(call, id, patch, preconditions, judge)
      return inventories.preview(call, id, merged, current.xml)
    }
  }
}

/** Returns the key of the lock on a configuration. */
export function lockKeyOf ({ bucket }: Call, id: string): string {
  return `${bucket}/${id}`
}

function isConditional ({ ifMatch, ifNoneMatch }: Preconditions): boolean {
  return ifMatch !== undefined || ifNoneMatch !== undefined
}

/** Whether COS says that another change was in the way; after an attempt in doubt that could be our own. */
function isConflict (error: unknown): boolean {
  return error instanceof ServiceError && [409, 412].includes(error.status) && !error.mayHaveTakenEffect
}

function refuseFailed (
  preconditions: Preconditions, { value, cos }: Outcome<CosDocument | undefined>
): void {
  const failed = failedPrecondition(preconditions, value?.etag())
  if (failed === undefined) return
  const reason = value === undefined
    ? 'There is no such configuration.'
    : failed === 'if-match'
      ? 'The configuration is not the one that If-Match names: read it again, and decide anew.'
      : 'There is a configuration that If-None-Match names.'
  throw new ServiceError('PreconditionFailed', `${reason} Nothing was changed.`, { cos })
}
