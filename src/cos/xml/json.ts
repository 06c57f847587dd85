/** A JSON value except null, because no element becomes null. */
export type Json = string | number | boolean | JsonObject | Json[]
export interface JsonObject { [name: string]: Json }

/** Returns the own member of a name. */
export function own (object: JsonObject, name: string): Json | undefined {
  return Object.hasOwn(object, name) ? object[name] : undefined
}

/** Assigns a member, also one named `__proto__`. */
export function set (object: JsonObject, name: string, value: Json): void {
  if (name !== '__proto__') object[name] = value
  else Object.defineProperty(object, name, { value, enumerable: true, configurable: true, writable: true })
}

/**
 * Returns the canonical form of a value. Two values are equivalent exactly when their canonical forms are
 * equal. The order of elements, fields and tags is ignored, also that of unknown elements. Names, values and the number
 * of equal elements count.
 */
export function canonicalForm (value: unknown): string {
  // The length in front replaces quotes and their escaping.
  if (typeof value === 'string') return `${value.length}:${value}`
  if (Array.isArray(value)) return `[${value.map(canonicalForm).sort().join()}]`
  if (typeof value !== 'object' || value === null) return String(value)
  let members = ''
  for (const name of Object.keys(value).sort()) {
    members += `${name.length}:${name}=${canonicalForm((value as JsonObject)[name])},`
  }
  return `{${members}}`
}

/** Tells whether two values have the same canonical form. An absent value equals only another absent one. */
export function isSame (one: Json | undefined, other: Json | undefined): boolean {
  return one === undefined || other === undefined ? one === other : canonicalForm(one) === canonicalForm(other)
}

/** Adds a member. If there is one with another canonical form, both become a list. */
export function merge (object: JsonObject, name: string, value: Json): void {
  const present = own(object, name)
  if (present === undefined) set(object, name, value)
  else if (canonicalForm(present) !== canonicalForm(value)) set(object, name, [present, value].flat())
}

/** Returns the characters of all texts in a value, names not included. The value may nest deeper than the stack. */
export function textLengthOf (value: unknown): number {
  let length = 0
  const places = [value]
  for (const each of places) {
    if (typeof each === 'string') length += each.length
    else if (typeof each === 'object' && each !== null) for (const member of Object.values(each)) places.push(member)
  }
  return length
}

/** Tells whether a value is an object. */
export function isObject (value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && !Array.isArray(value)
}

/** The function that changes a member, by the member's name. */
export type MemberChanges = ReadonlyMap<string, (value: Json) => Json>

/** Returns a copy of an object with some members changed. Order is kept. */
export function mapMembers (object: JsonObject, changes: MemberChanges): JsonObject {
  const mapped: JsonObject = {}
  for (const name of Object.keys(object)) {
    const value = object[name] as Json
    set(mapped, name, changes.get(name)?.(value) ?? value)
  }
  return mapped
}
