/**
 * The mapping between XML elements and JSON, by a table of the known elements. Unknown elements are kept: in the same
 * parent, after the same neighbor, in the same order.
 */
import { XmlError } from './parser.ts'
import type { XmlElement } from './parser.ts'

/** What an element can be in JSON. */
export type Json = string | number | boolean | JsonObject | Json[]
export interface JsonObject { [name: string]: Json }

/**
 * How the content of an element reads in JSON. An empty `identifier` or `integer` is absent, an empty `text` is a text.
 * A `marker` is an element whose presence counts: an object, with its text as {@link textMember} where it has one.
 */
type Kind = 'text' | 'identifier' | 'boolean' | 'integer' | 'marker' | Members

/** The children of a known element. */
export interface Members {
  /** Child elements in the order in which they are written (canonical form). */
  order: ReadonlyMap<string, Kind>
  /** Children that may occur several times and are an array in JSON even when there is one. */
  lists: ReadonlySet<string>
  /** Children that may occur several times and are an array in JSON only then. */
  repeatable: ReadonlySet<string>
  /** Children without which the element has no meaning. */
  required: readonly string[]
}

interface Cardinality {
  lists?: string[]
  repeatable?: string[]
  required?: string[]
}

/** The member of a marker that is its text, as contract/inventory.ts documents it. No XML name begins with `#`. */
export const textMember = '#text'

/** Returns an element with these children. */
export function members (
  children: Record<string, Kind>, { lists = [], repeatable = [], required = [] }: Cardinality = {}
): Members {
  return { order: new Map(Object.entries(children)), lists: new Set(lists), repeatable: new Set(repeatable), required }
}

const unknownElements = members({})

/**
 * Returns the children of an element as an object.
 *
 * @throws {XmlError} for text beside elements, a known element that occurs too often, is missing, or has a content that
 *   does not fit
 */
export function readMembers (element: XmlElement, kind: Members = unknownElements): JsonObject {
  // In a container white space is layout; other text beside elements has no form in JSON.
  if (element.text.trim() !== '') throw new XmlError('an element holds text beside elements')
  const object: JsonObject = {}
  for (const child of element.children) {
    const value = readElement(child, kind.order.get(child.name))
    if (value !== undefined) add(object, child.name, value, kind)
  }
  return checkRequired(object, kind)
}

/**
 * Returns an element as JSON, or undefined where it is empty and that means nothing.
 *
 * @param kind undefined for an unknown element
 * @throws {XmlError} as {@link readMembers} does
 */
export function readElement (element: XmlElement, kind: Kind | undefined): Json | undefined {
  const { children, text } = element
  if (kind === undefined) return children.length === 0 ? text : readMembers(element)
  if (typeof kind === 'object') return emptyAsAbsent(readMembers(element, kind))
  if (children.length === 0) return readText(text, kind)
  if (kind !== 'marker') throw new XmlError(`${element.name} holds elements`)
  return readMembers(element)
}

function readText (text: string, kind: Exclude<Kind, Members>): Json | undefined {
  const trimmed = text.trim()
  switch (kind) {
    case 'text': return text
    case 'identifier': return trimmed === '' ? undefined : text
    case 'marker': return trimmed === '' ? {} : { [textMember]: text }
    case 'boolean': return readBoolean(trimmed)
    case 'integer': return trimmed === '' ? undefined : readInteger(trimmed)
  }
}

function readBoolean (text: string): boolean {
  if (!/^(true|false)$/i.test(text)) throw new XmlError('it holds something else where a boolean belongs')
  return text.toLowerCase() === 'true'
}

function readInteger (text: string): number {
  const value = /^[+-]?[0-9]+$/.test(text) ? Number(text) : NaN
  if (!Number.isSafeInteger(value)) throw new XmlError('it holds something else where an integer belongs')
  // Zero without its sign, which JSON would lose.
  return value + 0
}

function add (object: JsonObject, name: string, value: Json, { order, lists, repeatable }: Members): void {
  const present = own(object, name)
  if (present === undefined) set(object, name, lists.has(name) ? [value] : value)
  else if (order.has(name) && !lists.has(name) && !repeatable.has(name)) throw new XmlError(`${name} occurs more than once`)
  else if (Array.isArray(present)) present.push(value)
  else set(object, name, [present, value])
}

function emptyAsAbsent (object: JsonObject): JsonObject | undefined {
  return Object.keys(object).length === 0 ? undefined : object
}

/** @throws {XmlError} unless an object that has members has the required ones */
function checkRequired (object: JsonObject, { required }: Members): JsonObject {
  if (required.length === 0 || emptyAsAbsent(object) === undefined) return object
  const missing = required.find(name => !Object.hasOwn(object, name))
  if (missing !== undefined) throw new XmlError(`${missing} is missing`)
  return object
}

/** Returns the own member of a name. */
export function own (object: JsonObject, name: string): Json | undefined {
  return Object.hasOwn(object, name) ? object[name] : undefined
}

/** Assigns a member, also one named `__proto__`. */
export function set (object: JsonObject, name: string, value: Json): void {
  if (name !== '__proto__') object[name] = value
  else Object.defineProperty(object, name, { value, enumerable: true, configurable: true, writable: true })
}

/** Returns an object as it reads once it has been written: what {@link readMembers} makes of {@link writeElement}'s. */
export function asRead (object: JsonObject, kind: Members): JsonObject {
  const read: JsonObject = {}
  for (const name of Object.keys(object)) {
    const value = object[name] as Json
    for (const each of Array.isArray(value) ? value : [value]) {
      const inJson = valueAsRead(each, kind.order.get(name))
      if (inJson !== undefined) add(read, name, inJson, kind)
    }
  }
  return checkRequired(read, kind)
}

function valueAsRead (value: Json, kind: Kind | undefined): Json | undefined {
  if (isObject(value)) {
    if (kind === 'marker') return readMarker(value)
    if (typeof kind === 'object') return emptyAsAbsent(asRead(value, kind))
    return emptyAsAbsent(asRead(value, unknownElements)) ?? ''
  }
  return kind === undefined || typeof kind === 'object' ? String(value) : readText(String(value), kind)
}

function readMarker (value: JsonObject): Json | undefined {
  const text = own(value, textMember)
  return text === undefined ? asRead(value, unknownElements) : readText(String(text), 'marker')
}

/** Returns a value as an element, or as several where it is an array. An empty one that means nothing is left out. */
export function writeElement (name: string, value: Json, kind: Kind | undefined): string {
  if (Array.isArray(value)) return value.map(each => writeElement(name, each, kind)).join('')
  const content = writeContent(value, kind)
  return content === '' && typeof kind === 'object' ? '' : `<${name}>${content}</${name}>`
}

/** Returns the content of the element that a value is, which is not an array. */
export function writeContent (value: Json, kind: Kind | undefined): string {
  if (isObject(value)) {
    const text = kind === 'marker' ? own(value, textMember) : undefined
    return text === undefined ? writeMembers(value, typeof kind === 'object' ? kind : unknownElements) : escapeText(String(text))
  }
  return escapeText(kind === 'boolean' ? String(value).toLowerCase() : String(value))
}

function writeMembers (object: JsonObject, { order }: Members): string {
  const followers = unknownMembers(object, order)
  let xml = followers?.get('') ?? ''
  for (const [name, kind] of order) {
    const value = own(object, name)
    if (value !== undefined) xml += writeElement(name, value, kind) + (followers?.get(name) ?? '')
  }
  return xml
}

/** Returns the XML that follows each known member, and the first under the empty name; undefined if all are known. */
function unknownMembers (object: JsonObject, order: Members['order']): Map<string, string> | undefined {
  let followers: Map<string, string> | undefined
  let neighbor = ''
  for (const name of Object.keys(object)) {
    if (order.has(name)) {
      neighbor = name
      continue
    }
    followers ??= new Map()
    followers.set(neighbor, (followers.get(neighbor) ?? '') + writeElement(name, object[name] as Json, undefined))
  }
  return followers
}

/** Returns text as the content of an element. A CR is a reference, or it would read back as LF (XML 1.0, 2.11). */
export function escapeText (text: string): string {
  if (!mustBeEscaped.test(text)) return text
  // Not one replacement with a function: its calls take 100 ms for a text of 250,000 ampersands.
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('\r', '&#13;')
}

const mustBeEscaped = /[&<>\r]/

/**
 * Returns the canonical form of a value: two values mean the same exactly when these are equal. Order never counts:
 * neither that of elements, nor that of fields and tags, nor that of unknown elements. Every name, value and repetition
 * does.
 */
export function meaningOf (value: unknown): string {
  // With its length in front a text needs no quotes, and none within it to be escaped.
  if (typeof value === 'string') return `${value.length}:${value}`
  if (Array.isArray(value)) return `[${value.map(meaningOf).sort().join()}]`
  if (typeof value !== 'object' || value === null) return String(value)
  let members = ''
  for (const name of Object.keys(value).sort()) {
    members += `${name.length}:${name}=${meaningOf((value as JsonObject)[name])},`
  }
  return `{${members}}`
}

/** Whether two values have the same canonical form. Absent values have that of nothing else. */
export function isSame (one: Json | undefined, other: Json | undefined): boolean {
  return one === undefined || other === undefined ? one === other : meaningOf(one) === meaningOf(other)
}

/** Adds a member. The same value twice is one; when the values differ, both are kept. */
export function merge (object: JsonObject, name: string, value: Json): void {
  const present = own(object, name)
  if (present === undefined) set(object, name, value)
  else if (meaningOf(present) !== meaningOf(value)) set(object, name, [present, value].flat())
}

/** Whether a value is neither text nor a list. */
export function isObject (value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && !Array.isArray(value)
}

/** What becomes of members, by their names. */
export type MemberChanges = ReadonlyMap<string, (value: Json) => Json>

/** Returns the same object with some members changed. Order is kept. */
export function mapMembers (object: JsonObject, changes: MemberChanges): JsonObject {
  const mapped: JsonObject = {}
  for (const name of Object.keys(object)) {
    const value = object[name] as Json
    set(mapped, name, changes.get(name)?.(value) ?? value)
  }
  return mapped
}
