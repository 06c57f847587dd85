/** Preconditions that are checked against the stored configuration (RFC 9110, section 13). */
import { isNotFound } from '../cos/client/response-errors.ts'
import type { Call, Inventories, Outcome } from '../cos/inventories.ts'
import type { CosDocument } from '../cos/xml/cos-document.ts'
import { ServiceError } from '../errors.ts'
import { failedPrecondition } from './version.ts'
import type { Preconditions } from './version.ts'

/** Tells whether there is a precondition. */
export function isConditional ({ ifMatch, ifNoneMatch }: Preconditions): boolean {
  return ifMatch !== undefined || ifNoneMatch !== undefined
}

/**
 * Checks the preconditions. Reads only when there is one.
 *
 * @throws {ServiceError} PreconditionFailed; of the read
 */
export async function checkPreconditions (
  inventories: Inventories, call: Call, id: string, preconditions: Preconditions
): Promise<void> {
  if (!isConditional(preconditions)) return
  rejectFailed(preconditions, await currentOf(inventories, call, id))
}

/** Reads the stored configuration; undefined when there is none. */
export async function currentOf (
  inventories: Inventories, call: Call, id: string
): Promise<Outcome<CosDocument | undefined>> {
  try {
    return await inventories.get(call, id)
  } catch (error) {
    if (!isNotFound(error)) throw error
    return { value: undefined, cos: error.cos }
  }
}

/**
 * Rejects a change whose preconditions do not hold.
 *
 * @throws {ServiceError} PreconditionFailed
 */
export function rejectFailed (
  preconditions: Preconditions, { value, cos }: Outcome<CosDocument | undefined>
): void {
  const failed = failedPrecondition(preconditions, value?.etag())
  if (failed === undefined) return
  const reason = value === undefined
    ? 'There is no such configuration.'
    : failed === 'if-match'
      ? 'The stored configuration does not match If-Match: read it again before you change it.'
      : 'There is a configuration that If-None-Match names.'
  throw new ServiceError('PreconditionFailed', `${reason} Nothing was changed.`, { cos })
}
