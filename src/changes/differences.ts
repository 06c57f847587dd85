import { canonicalForm } from './version.ts'

/** A value that a change adds, replaces or removes. An added value has no `from`, a removed one no `to`. */
export interface Difference {
  /** RFC 6901 pointer into the configuration. */
  pointer: string
  from?: unknown
  to?: unknown
}

/**
 * Returns the differences between the canonical forms of two values. Lists are compared as a whole, regardless of their
 * order.
 */
export function differencesOf (from: unknown, to: unknown, pointer = ''): Difference[] {
  if (isObject(from) && isObject(to)) {
    const names = new Set([...Object.keys(from), ...Object.keys(to)])
    return [...names].flatMap(name => differencesOf(own(from, name), own(to, name), `${pointer}/${escapePointer(name)}`))
  }
  if (from !== undefined && to !== undefined && canonicalForm(from) === canonicalForm(to)) return []
  return [{ pointer, ...from !== undefined && { from }, ...to !== undefined && { to } }]
}

/** The most characters of a name in a pointer. Names of elements have at most 255. */
const maxTokenLength = 500

/**
 * Returns a name as a token of a JSON pointer (RFC 6901, section 3). Truncates a name of more than 500 characters and
 * appends "…". Escaping a megabyte of slashes would take 200 ms.
 */
export function escapePointer (name: string): string {
  const token = name.length > maxTokenLength ? `${name.slice(0, maxTokenLength)}…` : name
  return token.replaceAll('~', '~0').replaceAll('/', '~1')
}

function own (object: Record<string, unknown>, name: string): unknown {
  return Object.hasOwn(object, name) ? object[name] : undefined
}

function isObject (value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
