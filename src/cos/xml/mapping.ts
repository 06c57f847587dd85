/**
 * The mapping between XML elements and JSON, by a table of the known elements. Unknown elements are kept: in the same
 * parent, after the same neighbor, in the same order.
 */
import { isObject, own, set } from './json.ts'
import type { Json, JsonObject } from './json.ts'
import { XmlError } from './parser.ts'
import type { XmlElement } from './parser.ts'

/**
 * The form of an element's content in JSON. An empty `identifier` or `integer` is absent, an empty `text` is a text.
 * A `marker` is an element whose presence counts. It is an object, with its text, if any, as {@link textMember}.
 */
type Kind = 'text' | 'identifier' | 'boolean' | 'integer' | 'marker' | Members

/** The children of a known element. */
export interface Members {
  /** Child elements in the order in which they are written (canonical form). */
  order: ReadonlyMap<string, Kind>
  /** Children that are always an array in JSON. */
  lists: ReadonlySet<string>
  /** Children that are an array in JSON only when there are several. */
  repeatable: ReadonlySet<string>
  /** Children that the element must have unless it is empty. */
  required: readonly string[]
}

interface Cardinality {
  lists?: string[]
  repeatable?: string[]
  required?: string[]
}

/** The member of a marker that is its text, as contract/inventory.ts documents it. No XML name begins with `#`. */
const textMember = '#text'

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
 * @throws {XmlError} for text beside elements, and for a known element that occurs too often, is missing, or has
 *   malformed content
 */
export function readMembers (element: XmlElement, kind: Members = unknownElements): JsonObject {
  // White space beside elements is layout. Other text beside them has no form in JSON.
  if (element.text.trim() !== '') throw new XmlError('an element has text beside elements')
  const object: JsonObject = {}
  for (const child of element.children) {
    const value = readElement(child, kind.order.get(child.name))
    if (value !== undefined) add(object, child.name, value, kind)
  }
  return checkRequired(object, kind)
}

/**
 * Returns an element as JSON; undefined when it is empty and an empty element counts as absent.
 *
 * @param kind undefined for an unknown element
 * @throws {XmlError} as {@link readMembers} does
 */
export function readElement (element: XmlElement, kind: Kind | undefined): Json | undefined {
  const { children, text } = element
  if (kind === undefined) return children.length === 0 ? text : readMembers(element)
  if (typeof kind === 'object') return emptyAsAbsent(readMembers(element, kind))
  if (children.length === 0) return readText(text, kind)
  if (kind !== 'marker') throw new XmlError(`${element.name} has elements in place of text`)
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
  if (!/^(true|false)$/i.test(text)) throw new XmlError('an element has other text than true or false')
  return text.toLowerCase() === 'true'
}

function readInteger (text: string): number {
  const value = /^[+-]?[0-9]+$/.test(text) ? Number(text) : NaN
  if (!Number.isSafeInteger(value)) throw new XmlError('an element has other text than an integer')
  // The sum turns -0 into 0, because JSON has no -0.
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

/** @throws {XmlError} when an object that has members does not have the required ones */
function checkRequired (object: JsonObject, { required }: Members): JsonObject {
  if (required.length === 0 || emptyAsAbsent(object) === undefined) return object
  const missing = required.find(name => !Object.hasOwn(object, name))
  if (missing !== undefined) throw new XmlError(`${missing} is missing`)
  return object
}

/** Returns the object that {@link readMembers} returns for the XML of {@link writeElement}. */
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

/** Returns a value as an element, or an array as several. An empty element that counts as absent is omitted. */
export function writeElement (name: string, value: Json, kind: Kind | undefined): string {
  if (Array.isArray(value)) return value.map(each => writeElement(name, each, kind)).join('')
  const content = writeContent(value, kind)
  return content === '' && typeof kind === 'object' ? '' : `<${name}>${content}</${name}>`
}

/** Returns a value, which must not be an array, as the content of an element. */
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

/** Returns the XML of unknown members by the known member before them, or by an empty name; undefined if none. */
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

/** Returns text as the content of an element. A CR becomes a reference: parsers read it as LF (XML 1.0, 2.11). */
export function escapeText (text: string): string {
  if (!mustBeEscaped.test(text)) return text
  // A single replacement with a function takes 100 ms for a text of 250,000 ampersands.
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('\r', '&#13;')
}

const mustBeEscaped = /[&<>\r]/
