import type { Outcome } from '../cos/inventories.ts'

export { etagOf } from '../cos/xml/cos-document.ts'
export { canonicalForm } from '../cos/xml/json.ts'

/** The result of an operation with the entity tag of the stored configuration. */
export interface Versioned<T> extends Outcome<T> {
  etag: string
}

/** The preconditions of a request: entity tags, or `*` for any configuration. */
export interface Preconditions {
  ifMatch: '*' | readonly string[] | undefined
  ifNoneMatch: '*' | readonly string[] | undefined
}

/** Returns the first precondition that is not met (RFC 9110, section 13.2.2); undefined if both are met. */
export function failedPrecondition (
  { ifMatch, ifNoneMatch }: Preconditions, etag: string | undefined
): 'if-match' | 'if-none-match' | undefined {
  if (ifMatch !== undefined && !matches(ifMatch, etag)) return 'if-match'
  if (ifNoneMatch !== undefined && matches(ifNoneMatch, etag)) return 'if-none-match'
  return undefined
}

function matches (tags: '*' | readonly string[], etag: string | undefined): boolean {
  return etag !== undefined && (tags === '*' || tags.includes(etag))
}
