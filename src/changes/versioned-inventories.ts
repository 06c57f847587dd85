/**
 * The operations of the API on configurations. COS has no conditional writes: this service reads the stored
 * configuration, compares and writes it under a lock. The lock is one of this process. Other replicas and other clients
 * of COS can still change the configuration between the read and the write.
 */
import type { InventoryConfiguration, InventoryJob } from '../contract/inventory.ts'
import type { Call, Inventories, Outcome } from '../cos/inventories.ts'
import type { Regions } from '../cos/regions/regions.ts'
import type { CosDocument, CosPage } from '../cos/xml/cos-document.ts'
import { normalize } from '../cos/xml/inventory-xml.ts'
import { lockKeyOf } from './locks.ts'
import type { Locks } from './locks.ts'
import { applyPatch, merge } from './patches.ts'
import type { Patch } from './patches.ts'
import { checkPreconditions, isConditional } from './preconditions.ts'
import { preflight } from './preflight.ts'
import type { Warning } from './preflight.ts'
import { etagOf } from './version.ts'
import type { Preconditions, Versioned } from './version.ts'

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
   * Applies a patch with one read and, unless the patch changes nothing, one write. The write keeps the form of what
   * the patch does not change. A conflict with another change is retried once.
   */
  patch (call: Call, id: string, patch: Patch): Promise<Versioned<InventoryConfiguration>>
  /** Starts a one-time job. */
  post (call: Call, id: string, input: object): Promise<Outcome<InventoryJob>>
  /** Returns the XML that put would send. Reads when there is a precondition. */
  previewPut (call: Call, id: string, input: object, preconditions: Preconditions): Promise<string>
  /** Returns the XML that patch would send. */
  previewPatch (call: Call, id: string, patch: Patch): Promise<string>
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

  return {
    async get (call, id) {
      const { value, cos } = await inventories.get(call, id)
      return { value, cos, etag: value.etag() }
    },

    put: (call, id, input, preconditions) => locked(call, id, async () => {
      // A configuration that cannot be sent is rejected before anything is read.
      if (isConditional(preconditions)) inventories.preview(call, id, input)
      await checkPreconditions(inventories, call, id, preconditions)
      // Computed before the write, after which nothing may fail.
      const etag = etagOf(normalize(id, input))
      const { value, cos } = await inventories.put(call, id, input)
      return { value, cos, etag }
    }),

    delete: (call, id, preconditions) => locked(call, id, async () => {
      await checkPreconditions(inventories, call, id, preconditions)
      return await inventories.delete(call, id)
    }),

    patch: (call, id, patch) => locked(call, id, () => applyPatch(inventories, call, id, patch)),

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
      await checkPreconditions(inventories, call, id, preconditions)
      return xml
    },

    async previewPatch (call, id, patch) {
      const { value: merged, current } = await merge(inventories, call, id, patch)
      return inventories.preview(call, id, merged, current.xml)
    }
  }
}
