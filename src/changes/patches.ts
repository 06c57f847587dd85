/** JSON merge patches (RFC 7396) of stored configurations. */
import { apply as mergePatch } from 'tiny-merge-patch'
import type { InventoryConfiguration } from '../contract/inventory.ts'
import type { Call, Inventories, Outcome } from '../cos/inventories.ts'
import type { CosDocument } from '../cos/xml/cos-document.ts'
import { normalize } from '../cos/xml/inventory-xml.ts'
import { ServiceError } from '../errors.ts'
import { currentOf, rejectFailed } from './preconditions.ts'
import { etagOf } from './version.ts'
import type { Preconditions, Versioned } from './version.ts'

/** A patch of a configuration in the form that GET returns. */
export interface Patch {
  document: unknown
  preconditions: Preconditions
  /**
   * Checks the merged configuration before it is written.
   *
   * @throws {ServiceError} if it must not be written
   */
  check (merged: object, current: InventoryConfiguration): void
}

/** The merged configuration and the stored one. */
interface Merged extends Outcome<object> {
  current: CosDocument
}

/**
 * Reads the stored configuration and merges a patch into it.
 *
 * @throws {ServiceError} PreconditionFailed, and the errors of the read and the check
 */
export async function merge (
  inventories: Inventories, call: Call, id: string, { document, preconditions, check }: Patch
): Promise<Merged> {
  const { value, cos } = preconditions.ifMatch === undefined
    ? await inventories.get(call, id)
    : await currentOf(inventories, call, id)
  rejectFailed(preconditions, { value, cos })
  // Without a stored configuration, If-Match has failed.
  const current = value as CosDocument
  const merged = mergePatch(current.configuration, document) as object
  check(merged, current.configuration)
  return { value: merged, current, cos }
}

/**
 * Merges a patch and writes the result, unless the patch changes nothing. Retries once if COS rejects the write because
 * of another change.
 *
 * @throws {ServiceError} the errors of {@link merge} and of the write
 */
export async function applyPatch (
  inventories: Inventories, call: Call, id: string, patch: Patch, isRetry = false
): Promise<Versioned<InventoryConfiguration>> {
  const { value: merged, current, cos } = await merge(inventories, call, id, patch)
  const value = normalize(id, merged)
  const etag = etagOf(value)
  if (etag === current.etag()) return { value: current.configuration, cos, etag }
  try {
    const written = await inventories.put(call, id, merged, current.xml)
    return { value, cos: written.cos, etag }
  } catch (error) {
    if (isRetry || !isConflict(error)) throw error
    return await applyPatch(inventories, call, id, patch, true)
  }
}

/**
 * Tells whether COS rejected a write because of another change. After an attempt with an unknown outcome, the attempt
 * itself could be that change.
 */
function isConflict (error: unknown): boolean {
  return error instanceof ServiceError && [409, 412].includes(error.status) && !error.mayHaveTakenEffect
}
