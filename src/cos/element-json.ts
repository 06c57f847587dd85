/**
 * XML elements as JSON and back, by a table of the elements that are known. What the table does not know is carried
 * along: in the same parent, after the same neighbour, in the same order.
 */
import { escapeText, XmlError } from './xml.ts'
import type { XmlElement } from './xml.ts'

/** What an element can be in JSON. */
export type Json = string | number | boolean | JsonObject | Json[]
export interface JsonObject { [name: string]: Json }

/** How an element's content reads in JSON. */
type Kind = 'text' | 'boolean' | 'integer' | Members

/** The children of a known element. */
export interface Members {
  /** Child elements in the order they are written (canonical form). */
  order: ReadonlyMap<string, Kind>
  /** Children that are an array in JSON even when there is one. */
  lists: ReadonlySet<string>
  /** An empty element of this kind means something, where others are treated as absent. */
  marker: boolean
}

/** An element with these children. */
export function members (children: Record<string, Kind>, { lists = [] as string[], marker = false } = {}): Members {
  return { order: new Map(Object.entries(children)), lists: new Set(lists), marker }
}

const unknownElement = members({}, { marker: true })

/**
 * An element's children as an object.
 *
 * @throws {XmlError} for text beside elements, which has no form in JSON
 */
export function readMembers (element: XmlElement, { order, lists }: Members): JsonObject {
  // In a container white space is layout; other text beside elements has no form in JSON.
  if (element.text.trim() !== '') throw new XmlError('an element holds text beside elements')
  const object: JsonObject = {}
  for (const child of element.children) {
    const value = readElement(child, order.get(child.name))
    if (value !== undefined) add(object, child.name, value, lists.has(child.name))
  }
  return object
}

/**
 * An element as JSON; nothing, where it is empty and that means nothing.
 *
 * @throws {XmlError} as {@link readMembers} does
 */
export function readElement (element: XmlElement, kind: Kind = unknownElement): Json | undefined {
  const isContainer = typeof kind === 'object' && !kind.marker
  if (element.children.length === 0 && !isContainer) return readText(element.text, kind)
  const object = readMembers(element, typeof kind === 'object' ? kind : unknownElement)
  return isContainer && !hasMembers(object) ? undefined : object
}

/** What the text of an element without children is in JSON; nothing, where it would be an empty container. */
function readText (text: string, kind: Kind): Json | undefined {
  if (kind === 'text') return text
  const trimmed = text.trim()
  if (typeof kind === 'object') {
    if (kind === unknownElement || trimmed !== '') return text
    return kind.marker ? {} : undefined
  }
  if (kind === 'boolean' && /^(true|false)$/i.test(trimmed)) return trimmed.toLowerCase() === 'true'
  // Only what writes back to the same text becomes a number: nothing is lost to rounding or leading zeros.
  if (kind === 'integer' && Number.isSafeInteger(Number(trimmed)) && String(Number(trimmed)) === trimmed) return Number(trimmed)
  return text
}

function add (object: JsonObject, name: string, value: Json, list: boolean): void {
  const present = Object.hasOwn(object, name) ? object[name] : undefined
  if (present === undefined) set(object, name, list ? [value] : value)
  else if (Array.isArray(present)) present.push(value)
  else set(object, name, [present, value])
}

/** Assignment that makes `__proto__` a property like any other. */
export function set (object: JsonObject, name: string, value: Json): void {
  if (name !== '__proto__') object[name] = value
  else Object.defineProperty(object, name, { value, enumerable: true, configurable: true, writable: true })
}

/** An object as it reads once it has been written: what {@link readMembers} makes of {@link writeElement}'s. */
export function asRead (object: JsonObject, { order, lists }: Members): JsonObject {
  const read: JsonObject = {}
  for (const name of Object.keys(object)) {
    const value = object[name] as Json
    const [kind, isList] = [order.get(name), lists.has(name)]
    for (const each of Array.isArray(value) ? value : [value]) {
      const inJson = valueAsRead(each, kind)
      if (inJson !== undefined) add(read, name, inJson, isList)
    }
  }
  return read
}

function valueAsRead (value: Json, kind: Kind = unknownElement): Json | undefined {
  if (!isObject(value)) return readText(String(value), kind)
  const object = asRead(value, typeof kind === 'object' ? kind : unknownElement)
  return hasMembers(object) ? object : readText('', kind)
}

function hasMembers (object: JsonObject): boolean {
  return Object.keys(object).length > 0
}

/** A value as an element, or as several where it is an array. An empty one that means nothing is left out. */
export function writeElement (name: string, value: Json, kind: Kind = unknownElement): string {
  if (Array.isArray(value)) return value.map(each => writeElement(name, each, kind)).join('')
  if (typeof value !== 'object') {
    const text = kind === 'boolean' ? String(value).toLowerCase() : String(value)
    return `<${name}>${escapeText(text)}</${name}>`
  }
  const content = writeMembers(value, typeof kind === 'object' ? kind : unknownElement)
  return content === '' && typeof kind === 'object' && !kind.marker ? '' : `<${name}>${content}</${name}>`
}

function writeMembers (object: JsonObject, { order }: Members): string {
  const followers = unknownMembers(object, order)
  let xml = followers?.get('') ?? ''
  for (const [name, kind] of order) {
    const value = Object.hasOwn(object, name) ? object[name] : undefined
    if (value !== undefined) xml += writeElement(name, value, kind) + (followers?.get(name) ?? '')
  }
  return xml
}

/** What is to be written after each known member, and first under the empty name; nothing, where all are known. */
function unknownMembers (object: JsonObject, order: Members['order']): Map<string, string> | undefined {
  let followers: Map<string, string> | undefined
  let neighbour = ''
  for (const name of Object.keys(object)) {
    if (order.has(name)) {
      neighbour = name
      continue
    }
    followers ??= new Map()
    followers.set(neighbour, (followers.get(neighbour) ?? '') + writeElement(name, object[name] as Json))
  }
  return followers
}

/**
 * What may be said in several ways, said in one: two values mean the same exactly when these are equal. Order never
 * counts: neither that of elements, nor that of fields and tags, nor that of elements this service does not know. Every
 * name, value and repetition does.
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

/** What is said twice is one; when it means something else each time, both are kept. */
export function merge (object: JsonObject, name: string, value: Json): void {
  const present = Object.hasOwn(object, name) ? object[name] : undefined
  if (present === undefined) set(object, name, value)
  else if (meaningOf(present) !== meaningOf(value)) set(object, name, [present, value].flat())
}

/** Whether a value is neither text nor a list. */
export function isObject (value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && !Array.isArray(value)
}

/** What becomes of members, by their names. */
export type MemberChanges = ReadonlyMap<string, (value: Json) => Json>

/** The same object with some members changed. Order is kept. */
export function mapMembers (object: JsonObject, changes: MemberChanges): JsonObject {
  const mapped: JsonObject = {}
  for (const name of Object.keys(object)) {
    const value = object[name] as Json
    set(mapped, name, changes.get(name)?.(value) ?? value)
  }
  return mapped
}

/** The same object with other names. Two members that come to one name are merged. */
export function mapNames (object: JsonObject, rename: (name: string) => string): JsonObject {
  const mapped: JsonObject = {}
  for (const name of Object.keys(object)) merge(mapped, rename(name), object[name] as Json)
  return mapped
}
