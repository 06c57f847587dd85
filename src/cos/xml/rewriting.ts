/**
 * Rewriting a stored document. Unchanged elements keep their form, their place and their attributes.
 */
import { canonicalForm, isObject, isSame, own } from './json.ts'
import type { Json, JsonObject } from './json.ts'
import { escapeText, readElement, readMembers, writeContent, writeElement } from './mapping.ts'
import type { Members } from './mapping.ts'
import type { XmlElement } from './parser.ts'

type Kind = Parameters<typeof readElement>[1]

/** A child element of the new document. */
interface Written {
  name: string
  xml: string
}

/**
 * Returns the XML of an element with new children.
 *
 * @param next the new children in the form that {@link readMembers} returns
 */
export function rewriteElement (element: XmlElement, kind: Members | undefined, next: JsonObject): string {
  const children = rewriteChildren(element, kind, next)
  return tagged(element, children.map(({ xml }) => xml).join(''))
}

function rewriteChildren (element: XmlElement, kind: Members | undefined, next: JsonObject): Written[] {
  const before = readMembers(element, kind)
  const children: Written[] = []
  // Values are compared once for each name, because a list has thousands of elements of one name.
  const changed = new Map<string, boolean>()
  const unwritten = byName(element.children)
  for (const child of element.children) {
    const { name } = child
    const [from, to] = [own(before, name), own(next, name)]
    const candidates = unwritten.get(name)
    unwritten.delete(name)
    if (candidates !== undefined) changed.set(name, !isSame(from, to))
    if (changed.get(name) === false) {
      children.push({ name, xml: serialize(child) })
    } else if (candidates !== undefined && to !== undefined) {
      children.push({ name, xml: rewriteEach(name, candidates, kind?.order.get(name), to) })
    }
  }
  insertOthers(children, kind, next)
  return children
}

function byName (elements: XmlElement[]): Map<string, XmlElement[]> {
  const named = new Map<string, XmlElement[]>()
  for (const each of elements) append(named, each.name, each)
  return named
}

function append (lists: Map<string, XmlElement[]>, key: string, element: XmlElement): void {
  const list = lists.get(key)
  if (list === undefined) lists.set(key, [element])
  else list.push(element)
}

/** Returns one element for each value: the stored one if there is one with the same canonical form. */
function rewriteEach (name: string, candidates: XmlElement[], kind: Kind, value: Json): string {
  if (!Array.isArray(value) && candidates.length === 1) return rewriteOne(candidates[0] as XmlElement, kind, value)
  const unused = new Map<string, XmlElement[]>()
  for (const candidate of candidates) append(unused, canonicalForm(readElement(candidate, kind)), candidate)
  return [value].flat().map((each: Json) => {
    const found = unused.get(canonicalForm(each))?.shift()
    return found === undefined ? writeElement(name, each, kind) : serialize(found)
  }).join('')
}

function rewriteOne (element: XmlElement, kind: Kind, value: Json): string {
  const isContainer = typeof kind === 'object' || (kind !== 'marker' && element.children.length > 0)
  return isObject(value) && isContainer
    ? rewriteElement(element, typeof kind === 'object' ? kind : undefined, value)
    : tagged(element, writeContent(value, kind))
}

/** Inserts the members for which there is no element yet: known ones in canonical order, unknown ones at the end. */
function insertOthers (children: Written[], kind: Members | undefined, next: JsonObject): void {
  const present = new Set(children.map(({ name }) => name))
  const order = [...kind?.order.keys() ?? []]
  for (const name of Object.keys(next).filter(each => !present.has(each))) {
    const xml = writeElement(name, next[name] as Json, kind?.order.get(name))
    const before = order.slice(0, Math.max(0, order.indexOf(name)))
    const at = order.includes(name) ? children.findLastIndex(each => before.includes(each.name)) + 1 : children.length
    children.splice(at, 0, { name, xml })
  }
}

function serialize (element: XmlElement): string {
  const { children, text } = element
  return tagged(element, children.length === 0 ? escapeText(text) : children.map(serialize).join(''))
}

function tagged ({ qualifiedName, attributes }: XmlElement, content: string): string {
  let tag = qualifiedName
  for (const [name, value] of Object.entries(attributes ?? {})) tag += ` ${name}="${escapeAttribute(value)}"`
  return `<${tag}>${content}</${qualifiedName}>`
}

/** White space becomes a reference, because parsers read it as a space (XML 1.0, section 3.3.3). */
function escapeAttribute (value: string): string {
  return value.replace(/[&<"\t\n\r]/g, char => `&#${char.charCodeAt(0)};`)
}
