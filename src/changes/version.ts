import { hash } from 'node:crypto'
import type { InventoryConfiguration } from '../contract/inventory.ts'
import { meaningOf } from '../cos/element-json.ts'

export { meaningOf }

/**
 * The strong entity tag of a configuration (RFC 9110, section 8.8.3): a SHA-256 of its meaning.
 *
 * @param configuration as COS answered it, or normalised
 */
export function etagOf (configuration: InventoryConfiguration): string {
  const known = tags.get(configuration)
  if (known !== undefined) return known
  const tag = `"${hash('sha256', meaningOf(configuration), 'base64url')}"`
  // The reader keeps what it has frozen, and gives it again.
  if (Object.isFrozen(configuration)) tags.set(configuration, tag)
  return tag
}

const tags = new WeakMap<InventoryConfiguration, string>()

/** What a request makes its effect depend on: entity tags, or `*` for any there is. */
export interface Preconditions {
  ifMatch: '*' | readonly string[] | undefined
  ifNoneMatch: '*' | readonly string[] | undefined
}

/** Which precondition does not hold, in the order of RFC 9110, section 13.2.2. */
export function failedPrecondition (
  { ifMatch, ifNoneMatch }: Preconditions, etag: string | undefined
): 'if-match' | 'if-none-match' | undefined {
  if (ifMatch !== undefined && !names(ifMatch, etag)) return 'if-match'
  if (ifNoneMatch !== undefined && names(ifNoneMatch, etag)) return 'if-none-match'
  return undefined
}

function names (tags: '*' | readonly string[], etag: string | undefined): boolean {
  return etag !== undefined && (tags === '*' || tags.includes(etag))
}
