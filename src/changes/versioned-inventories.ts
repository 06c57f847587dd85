/**
 * The operations of the API on configurations. COS has no conditional writes. The service therefore reads the stored
 * configuration, compares it and writes the new one under a lock. The lock covers this process only. Other replicas and
 * other clients of COS can still change the configuration between the read and the write.
 */
import type { InventoryConfiguration, InventoryJob } from '../contract/inventory.ts'
import type { PreflightWarning as Warning } from '../contract/preflight.ts'
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
import { etagOf } from './version.ts'
import type { Preconditions, Versioned } from './version.ts'

/**
 * The operations of the API. All of them throw the errors of {@link Inventories}, and PreconditionFailed. Changes also
 * throw Overloaded if other changes of the configuration take too long.
 */
export interface VersionedInventories {
  get (call: Call, id: string): Promise<Versioned<CosDocument>>
  /** Returns one page. Without a token this is the first page. */
  list (call: Call, continuationToken: string | undefined): Promise<Outcome<CosPage>>
  /** Returns all pages as one. */
  listAll (call: Call): Promise<Outcome<CosPage>>
  /** Creates or replaces a configuration. Reads the stored one only if there is a precondition. */
  put (call: Call, id: string, input: object, preconditions: Preconditions): Promise<Versioned<undefined>>
  /** Deletes a configuration. Reads the stored one only if there is a precondition. */
  delete (call: Call, id: string, preconditions: Preconditions): Promise<Outcome<undefined>>
  /**
   * Applies a patch with one read and, unless the patch changes nothing, one write. The write keeps the stored form of
   * values that the patch does not change. A conflict with another change is retried once.
   */
  patch (call: Call, id: string, patch: Patch): Promise<Versioned<InventoryConfiguration>>
  /** Starts a one-time job. */
  post (call: Call, id: string, input: object): Promise<Outcome<InventoryJob>>
  /** Returns the XML that put would send. Reads the stored configuration only if there is a precondition. */
  previewPut (call: Call, id: string, input: object, preconditions: Preconditions): Promise<string>
  /** Returns the XML that patch would send. */
  previewPatch (call: Call, id: string, patch: Patch): Promise<string>
  /** Returns the XML that put or post would send, without preconditions. */
  preview (call: Call, id: string, input: object): string
  /**
   * Returns the reasons why COS would accept a configuration but create no useful report.
   *
   * @param isStrict whether a failed lookup of the destination is an error instead of a warning
   * @throws {ServiceError} ValidationFailed for a configuration that cannot be sent, before any lookup
   */
  preflight (call: Call, id: string, input: object, isStrict: boolean): Promise<Warning[]>
}

interface Dependencies {
  inventories: Inventories
  locks: Locks
  regions: Pick<Regions, 'find' | 'hasOwnAccount'>
}

/** Creates the operations of the API from those of COS. */
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
      // A configuration that cannot be sent is rejected before the read.
      if (isConditional(preconditions)) inventories.preview(call, id, input)
      await checkPreconditions(inventories, call, id, preconditions)
      // The tag is computed before the write, because no step may fail after it.
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
    preview: inventories.preview,

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
