/** Preconditions that are checked against the stored configuration (RFC 9110, section 13). */
import { isNotFound } from '../cos/client/response-errors.ts'
import type { Call, Inventories, Outcome } from '../cos/inventories.ts'
import type { CosDocument } from '../cos/xml/cos-document.ts'
import { ServiceError } from '../errors.ts'
import { failedPrecondition } from './version.ts'
import type { Preconditions } from './version.ts'

/** Tells whether a request has a precondition. */
export function isConditional ({ ifMatch, ifNoneMatch }: Preconditions): boolean {
  return ifMatch !== undefined || ifNoneMatch !== undefined
}

/**
 * Checks the preconditions. Reads the configuration only if there is one.
 *
 * @throws {ServiceError} PreconditionFailed, and the errors of the read
 */
export async function checkPreconditions (
  inventories: Inventories, call: Call, id: string, preconditions: Preconditions
): Promise<void> {
  if (!isConditional(preconditions)) return
  rejectFailed(preconditions, await currentOf(inventories, call, id))
}

/** Returns the stored configuration; undefined if there is none. */
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
 * Rejects a change if a precondition is not met.
 *
 * @throws {ServiceError} PreconditionFailed
 */
export function rejectFailed (
  preconditions: Preconditions, { value, cos }: Outcome<CosDocument | undefined>
): void {
  const failed = failedPrecondition(preconditions, value?.etag())
  if (failed === undefined) return
  const reason = value === undefined
    ? 'The bucket has no configuration with this id. Nothing was changed; check the id.'
    : failed === 'if-match'
      ? 'The stored configuration does not match If-Match. Nothing was changed; read the configuration again.'
      : 'The stored configuration matches If-None-Match. Nothing was changed; read the configuration first.'
  throw new ServiceError('PreconditionFailed', reason, { cos })
}
