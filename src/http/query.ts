/** More parameters than any operation has, so that the work for each of them stays small. */
export const maxQueryParameters = 50

/** Counts the parameters of a query, up to one more than {@link maxQueryParameters}. */
export function countParameters (query: string): number {
  if (query === '') return 0
  let count = 1
  for (let at = query.indexOf('&'); at !== -1 && count <= maxQueryParameters; at = query.indexOf('&', at + 1)) count += 1
  return count
}

/**
 * Parses a query. Continuation tokens are Base64: a plus is a plus here, not a blank as in HTML forms.
 *
 * @returns a list for a parameter that occurs several times, which no schema takes; nothing for more parameters than
 *   {@link maxQueryParameters}, which are rejected before the query is read
 */
export function parseQuery (query: string): Record<string, string | string[]> {
  if (query === '' || countParameters(query) > maxQueryParameters) return {}
  const values = new Map<string, string | string[]>()
  for (const [name, value] of new URLSearchParams(query.replaceAll('+', '%2B'))) {
    const present = values.get(name)
    if (present === undefined) values.set(name, value)
    else if (typeof present === 'string') values.set(name, [present, value])
    else present.push(value)
  }
  return Object.fromEntries(values)
}
