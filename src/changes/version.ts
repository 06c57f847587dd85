export { etagOf } from '../cos/xml/cos-document.ts'
export { meaningOf } from '../cos/xml/json.ts'

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
