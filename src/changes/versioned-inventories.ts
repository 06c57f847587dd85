/**
 * The operations of the API on configurations. COS has no conditional writes: this service reads the present
 * configuration, compares and writes it under a lock. The lock is one of this process: between replicas, and with
 * other holders of keys, a moment between reading and writing remains.
 */
import { apply as mergePatch } from 'tiny-merge-patch'
import type { InventoryConfiguration, InventoryJob } from '../contract/inventory.ts'
import { isNotFound } from '../cos/client/response-errors.ts'
import type { Call, Inventories, Outcome } from '../cos/inventories.ts'
import type { Regions } from '../cos/regions/regions.ts'
import { normalise } from '../cos/xml/inventory-xml.ts'
import type { CosDocument, CosPage } from '../cos/xml/cos-document.ts'
import { ServiceError } from '../errors.ts'
import type { Locks } from './locks.ts'
import { preflight } from './preflight.ts'
import type { Warning } from './preflight.ts'
import { etagOf, failedPrecondition } from './version.ts'
import type { Preconditions } from './version.ts'

/** The result of an operation, with the entity tag of the stored configuration. */
export interface Versioned<T> extends Outcome<T> {
  etag: string
}

/** A merged configuration, and the stored one. */
interface Merged extends Outcome<object> {
  current: CosDocument
}

/**
 * Checks a merged configuration before it is written.
 *
 * @throws {ServiceError} which ends the patch
 */
export type PatchCheck = (merged: object, current: InventoryConfiguration) => void

/**
 * All operations throw what {@link Inventories} throws, and PreconditionFailed. Changes also throw Overloaded when
 * other changes of the configuration take too long.
 */
export interface VersionedInventories {
  get (call: Call, id: string): Promise<Versioned<CosDocument>>
  /** Returns one page, the first without a token. */
  list (call: Call, continuationToken: string | undefined): Promise<Outcome<CosPage>>
  /** Returns every page as one. */
  listAll (call: Call): Promise<Outcome<CosPage>>
  /** Reads only when there is a precondition. */
  put (call: Call, id: string, input: object, preconditions: Preconditions): Promise<Versioned<undefined>>
  /** Reads only when there is a precondition. */
  delete (call: Call, id: string, preconditions: Preconditions): Promise<Outcome<undefined>>
  /**
   * Applies a JSON merge patch (RFC 7396) to the configuration in the form GET returns. One read and, unless the patch
   * changes nothing, one write, which keeps the form of what the patch leaves alone. When COS rejects the write because
   * of another change (409, 412), both are retried once.
   */
  patch (
    call: Call, id: string, patch: unknown, preconditions: Preconditions, check: PatchCheck
  ): Promise<Versioned<InventoryConfiguration>>
  /** Starts a one-time job. */
  post (call: Call, id: string, input: object): Promise<Outcome<InventoryJob>>
  /** Returns the XML that put would send. Reads when there is a precondition. */
  previewPut (call: Call, id: string, input: object, preconditions: Preconditions): Promise<string>
  /** Returns the XML that patch would send. */
  previewPatch (
    call: Call, id: string, patch: unknown, preconditions: Preconditions, check: PatchCheck
  ): Promise<string>
  /** Returns the XML that post would send. */
  previewPost (call: Call, id: string, input: object): string
  /**
   * Finds what COS accepts, but makes no useful report of.
   *
   * @param isStrict whether a destination that cannot be looked up is an error
   * @throws {ServiceError} ValidationFailed for a configuration that cannot be sent, before anything is looked up
   */
  preflight (call: Call, id: string, input: object, isStrict: boolean): Promise<Warning[]>
}

interface Dependencies {
  inventories: Inventories
  locks: Locks
  regions: Pick<Regions, 'find'>
}

/** Creates the operations on those of COS. */
export function createVersionedInventories (
  { inventories, locks, regions }: Dependencies
): VersionedInventories {
  const locked = <T>(call: Call, id: string, work: () => Promise<T>) => locks.run(lockKeyOf(call, id), call, work)

  async function checkPreconditions (call: Call, id: string, preconditions: Preconditions): Promise<void> {
    if (!isConditional(preconditions)) return
    rejectFailed(preconditions, await currentOf(call, id))
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
    call: Call, id: string, patch: unknown, preconditions: Preconditions, check: PatchCheck
  ): Promise<Merged> {
    const { value: current, cos } = preconditions.ifMatch === undefined
      ? await inventories.get(call, id)
      : await currentOf(call, id)
    rejectFailed(preconditions, { value: current, cos })
    const stored = current as CosDocument
    const merged = mergePatch(stored.configuration, patch) as object
    check(merged, stored.configuration)
    return { value: merged, current: stored, cos }
  }

  async function mergeAndWrite (
    call: Call, id: string, patch: unknown, preconditions: Preconditions, check: PatchCheck, isRepeat = false
  ): Promise<Versioned<InventoryConfiguration>> {
    const { value: merged, current, cos } = await merge(call, id, patch, preconditions, check)
    const value = normalise(id, merged)
    const etag = etagOf(value)
    if (etag === current.etag()) return { value: current.configuration, cos, etag }
    try {
      const written = await inventories.put(call, id, merged, current.xml)
      return { value, cos: written.cos, etag }
    } catch (error) {
      if (isRepeat || !isConflict(error)) throw error
      return await mergeAndWrite(call, id, patch, preconditions, check, true)
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
      await checkPreconditions(call, id, preconditions)
      // Before it is sent: afterwards nothing may fail any more.
      const etag = etagOf(normalise(id, input))
      const { value, cos } = await inventories.put(call, id, input)
      return { value, cos, etag }
    }),

    delete: (call, id, preconditions) => locked(call, id, async () => {
      await checkPreconditions(call, id, preconditions)
      return await inventories.delete(call, id)
    }),

    patch: (call, id, patch, preconditions, check) =>
      locked(call, id, () => mergeAndWrite(call, id, patch, preconditions, check)),

    list: inventories.list,
    listAll: inventories.listAll,
    post: inventories.post,
    previewPost: inventories.preview,

    preflight (call, id, input, isStrict) {
      inventories.preview(call, id, input)
      return preflight(call, id, input, isStrict, regions)
    },

    async previewPut (call, id, input, preconditions) {
      const xml = inventories.preview(call, id, input)
      await checkPreconditions(call, id, preconditions)
      return xml
    },

    async previewPatch (call, id, patch, preconditions, check) {
      const { value: merged, current } = await merge(call, id, patch, preconditions, check)
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

function rejectFailed (
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
