/** Most parameters of a query. No operation has as many. The limit keeps the work per query small. */
export const maxQueryParameters = 50

/** Counts the parameters of a query, up to one more than {@link maxQueryParameters}. */
export function countParameters (query: string): number {
  if (query === '') return 0
  let count = 1
  for (let at = query.indexOf('&'); at !== -1 && count <= maxQueryParameters; at = query.indexOf('&', at + 1)) count += 1
  return count
}

/**
 * Parses a query. A plus stays a plus, unlike in HTML forms, because continuation tokens are Base64.
 *
 * @returns a list for a parameter that occurs several times, which no schema accepts. The result is empty for more than
 *   {@link maxQueryParameters} parameters. Such a request is rejected before its query is read.
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
