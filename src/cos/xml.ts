import { isUtf8 } from 'node:buffer'
import { XMLParser, XMLValidator } from 'fast-xml-parser'
import { maxConfigurationBytes, maxErrorBytes, maxListBytes } from './operations.ts'

/** An element: its local name, its child elements in order, and its text when it has no children. */
export interface XmlElement {
  name: string
  children: XmlElement[]
  text: string
}

/** A document that is not well-formed, uses what this service refuses (DOCTYPE), or does not fit its purpose. */
export class XmlError extends Error {
  override readonly name = 'XmlError'
}

/** COS nests 6 deep; a document deeper than this is an attack on the stack, not an answer. */
const maxDepth = 32

/** How much markup a document may have. More would be well-formed, but hold the event loop. */
export interface Extent {
  /** Characters. */
  maxLength: number
  /** Tags, closing ones included. */
  maxTags: number
}

/** One configuration. What this service writes has 256 KiB and 10,000 tags at most. */
export const configurationExtent: Extent = { maxLength: maxConfigurationBytes, maxTags: 16_000 }

/** An error document. COS's has fewer than 20 tags. */
export const errorExtent: Extent = { maxLength: maxErrorBytes, maxTags: 1_000 }

/** A page of GET Service: 2,000 buckets of 10 tags each. */
export const bucketListExtent: Extent = { maxLength: 2 * 1024 * 1024, maxTags: 30_000 }

/** A page of configurations, of which each is parsed by itself: a thousand with fifty tags each have fewer. */
const pageExtent: Extent = { maxLength: maxListBytes, maxTags: 500_000 }

/** COS returns 100 configurations a page, and a bucket has 1,000 at most (COS document 30625). */
const maxPieces = 1_000

/** Attributes of a document. COS sends next to none. */
const maxAttributes = 1_000

/** Characters of one text. The library spends some 40 bytes on each of them. */
const maxTextLength = 512 * 1024

/** No XML name can begin with this: it is put before the names of elements, and names texts by itself. */
const nameMark = '#'

const predefinedEntities = new Map([['amp', '&'], ['lt', '<'], ['gt', '>'], ['quot', '"'], ['apos', "'"]])

/** The characters XML 1.0 forbids (section 2.2) in a text without lone surrogates, which decoded UTF-8 never has. */
const forbiddenCharacter = /[^\t\n\r\u0020-\uFFFD]/

const byteOrderMark = '\uFEFF'

const ignore = () => {}

const refuseDoctype = () => { throw new XmlError('a document type declaration is refused') }

/** A document as it is being read. */
class Reading {
  /** Has no name, and holds the root. */
  readonly document: XmlElement = { name: '', children: [], text: '' }
  /** What has been read so far, as it is written in the plainest way: tags without attributes, and text. */
  written = ''
  isPlain = true
  readonly #open = [this.document]

  begin (markedName: string, depth: number): void {
    this.#endBelow(depth)
    const plain = plainNames.get(markedName)
    if (plain === undefined) this.isPlain = false
    const element: XmlElement = { name: plain ?? localName(markedName), children: [], text: '' }
    this.#open.at(-1)?.children.push(element)
    this.#open.push(element)
    this.written += `<${element.name}>`
  }

  add (text: string, depth: number): void {
    this.#endBelow(depth + 1)
    const element = this.#open.at(-1) as XmlElement
    element.text += text
    this.written += text
  }

  end (): void {
    this.#endBelow(1)
  }

  #endBelow (depth: number): void {
    while (this.#open.length > depth) this.written += `</${this.#open.pop()?.name}>`
  }
}

const nothing = new Reading()

/** The document that {@link parser} is at. */
let reading = nothing

/**
 * Used for what it tells of elements and texts as it comes to them. The tree it would make has another form than ours
 * and costs as much as all the rest of its work, so it is told to keep nothing.
 */
const parser = new XMLParser({
  preserveOrder: true,
  ignoreAttributes: true,
  ignoreDeclaration: true,
  ignorePiTags: true,
  textNodeName: nameMark,
  parseTagValue: false,
  trimValues: false,
  maxNestedTags: maxDepth,
  // The library refuses elements named like JavaScript's own properties. With a mark in front they are just names.
  transformTagName: markedName,
  // Callbacks get the path itself, not a string made of it.
  jPath: false,
  updateTag (name, path) {
    reading.begin(name, depthOf(path))
    return false
  },
  tagValueProcessor (_, text, path) {
    reading.add(text, depthOf(path))
    return ''
  },
  // The library's own decoder leaves undefined entities in the text and numeric references undecoded.
  entityDecoder: {
    decode: decodeEntities,
    addInputEntities: refuseDoctype,
    setExternalEntities: ignore,
    reset: ignore,
    setXmlVersion: ignore
  }
})

/**
 * Parses a document and gives its root element. Text stays text: nothing is trimmed, guessed or expanded.
 * Namespace prefixes, attributes, comments and processing instructions are dropped.
 *
 * @throws {XmlError} when the bytes are not one well-formed UTF-8 document of at most 32 levels without DOCTYPE
 */
export function parseXml (bytes: Uint8Array, extent: Extent): XmlElement {
  return parseText(decodeUtf8(bytes), extent)
}

/**
 * The same for a document, or part of one, that is a text already.
 *
 * @throws {XmlError} as parseXml does
 */
export function parseText (untrimmed: string, extent: Extent): XmlElement {
  const document = readDocument(untrimmed.trimStart(), extent)
  const [root] = document.children
  if (root === undefined || document.children.length > 1 || document.text.trim() !== '') {
    throw new XmlError('it does not have exactly one root element')
  }
  return root
}

/** The nameless element that holds the root, or what stands in its place. */
function readDocument (text: string, extent: Extent): XmlElement {
  try {
    checkExtent(text, extent)
    if (forbiddenCharacter.test(text)) throw new XmlError('it holds characters XML forbids')
    // What follows a root of the form <a/> is seen neither by the parser nor by the validator.
    if (!text.trimEnd().endsWith('>')) throw new XmlError('it does not end with a tag')
    const own = new Reading()
    reading = own
    parser.parse(text)
    own.end()
    reading = nothing
    // The parser closes what was left open and ignores a mismatch: the validator is what refuses both.
    const validity = isPlainlyWellFormed(text, own) || XMLValidator.validate(text)
    if (validity !== true) throw new XmlError(`it is not well-formed (${validity.err.code}, line ${validity.err.line})`)
    return own.document
  } catch (error) {
    reading = nothing
    throw error instanceof XmlError ? error : new XmlError('it is not well-formed', { cause: error })
  }
}

/** A document in parts. */
interface Cut {
  /** The root without the elements that were cut out. */
  rest: XmlElement
  /** They, in their order; none has been parsed. */
  pieces: string[]
}

/**
 * Cuts the children of a name out of the root, so that they can be parsed one by one.
 *
 * @returns nothing when it is not plain where they begin and end: the document is to be parsed as a whole then
 * @throws {XmlError} for the rest, as {@link parseXml} does
 */
export function cutXml (bytes: Uint8Array, name: string): Cut | undefined {
  const text = decodeUtf8(bytes).trimStart()
  checkExtent(text, pageExtent)
  const [begin, end] = [`<${name}>`, `</${name}>`]
  // In a comment or a CDATA section a tag is none.
  if (/<[!?]/.test(text.slice(1))) return undefined
  const pieces: string[] = []
  /** With an empty element in place of each row of pieces, so that it is known where they were. */
  let rest = ''
  let rows = 0
  let from = 0
  for (let at = text.indexOf(begin); at !== -1; at = text.indexOf(begin, from)) {
    const closes = text.indexOf(end, at)
    if (closes === -1) return undefined
    if (at > from) {
      rest += text.slice(from, at) + begin + end
      rows += 1
    }
    from = closes + end.length
    pieces.push(text.slice(at, from))
    if (pieces.length > maxPieces) throw new XmlError('it holds too many configurations')
  }
  // One inside another is not counted yet, nor one with an attribute, a prefix, or without an end.
  if (text.match(new RegExp(`[<:]${name}\\b`, 'g'))?.length !== pieces.length) return undefined
  const root = parseText(rest + text.slice(from), errorExtent)
  const others = root.children.filter(child => child.name !== name)
  // One in something else is no child of the root.
  if (root.children.length - others.length !== rows) return undefined
  return { rest: { ...root, children: others }, pieces }
}

/** Text as the content of an element. A CR is written as a reference, or it would read back as LF (XML 1.0, 2.11). */
export function escapeText (text: string): string {
  return mustBeEscaped.test(text) ? text.replace(/[&<>\r]/g, char => escapes[char as keyof typeof escapes]) : text
}

const mustBeEscaped = /[&<>\r]/

const escapes = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '\r': '&#13;' }

/** How deep in the document the library is: 1 in the root. */
function depthOf (path: unknown): number {
  return (path as { getDepth (): number }).getDepth()
}

/** A declaration, and the tag of the root with nothing but the namespace it may have. */
const plainBeginning = /^(?:<\?xml [^<>?]*\?>\s*)?<[A-Za-z_][\w.-]*(?:\s+xmlns\s*=\s*(?:"[^"<&]*"|'[^'<&]*'))?>/

/** What is not a tag of an element or text. */
const notPlain = /&|<[!?]/

/**
 * Whether a document is what was read of it, byte for byte, as it is written in the plainest way. That is well-formed,
 * because it was written so. COS's documents are plain; for the others, which may be well-formed or not, there is the
 * validator, which takes several times as long to look.
 */
function isPlainlyWellFormed (text: string, { isPlain, written }: Reading): boolean {
  const beginning = plainBeginning.exec(text)?.[0]
  if (!isPlain || beginning === undefined) return false
  const rest = text.slice(beginning.length).trimEnd()
  return !notPlain.test(rest) && rest === written.slice(written.indexOf('>') + 1)
}

/**
 * Names as they come, and the marked ones. COS has some forty of them; to make each anew is an eighth of the work. What
 * something that is not COS fills them with is forgotten when they are full.
 */
const markedNames = new Map<string, string>()
const plainNames = new Map<string, string>()
const mostNames = 500
const plainName = /^[A-Za-z_][\w.-]{0,63}$/

function markedName (name: string): string {
  const known = markedNames.get(name)
  if (known !== undefined) return known
  const marked = nameMark + name
  if (plainName.test(name)) {
    if (markedNames.size === mostNames) for (const names of [markedNames, plainNames]) names.clear()
    // Made of the marked one: the name itself is part of a document, and would keep all of it.
    const plain = marked.slice(1)
    markedNames.set(plain, marked)
    plainNames.set(marked, plain)
  }
  return marked
}

/** Without the mark, which the library puts twice before the name of a self-closed element, and without a prefix. */
function localName (name: string): string {
  return name.slice(Math.max(name.lastIndexOf(nameMark), name.indexOf(':')) + 1)
}

/** Without a byte order mark. @throws {XmlError} when the bytes are not UTF-8 */
export function decodeUtf8 (bytes: Uint8Array): string {
  if (!isUtf8(bytes)) throw new XmlError('it is not UTF-8')
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString()
  return text.startsWith(byteOrderMark) ? text.slice(1) : text
}

/** @throws {XmlError} for more than the extent, more attributes, or a longer text */
function checkExtent (text: string, { maxLength, maxTags }: Extent): void {
  if (text.length > maxLength) throw new XmlError('it is too long')
  if (text.length <= Math.min(maxTags, maxAttributes)) return
  const tags = occurrences(text, '<')
  if (tags.count > maxTags || hasMoreAttributes(text)) throw new XmlError('it holds too much markup')
  if (tags.widestGap > maxTextLength) throw new XmlError('it holds too long a text')
}

function hasMoreAttributes (text: string): boolean {
  const attribute = /=\s*["']/g
  let count = 0
  while (count <= maxAttributes && attribute.test(text)) count += 1
  return count > maxAttributes
}

function occurrences (text: string, char: string): { count: number, widestGap: number } {
  let count = 0
  let widestGap = 0
  let from = 0
  for (let at = text.indexOf(char); at !== -1; at = text.indexOf(char, from)) {
    count++
    widestGap = Math.max(widestGap, at - from)
    from = at + 1
  }
  return { count, widestGap: Math.max(widestGap, text.length - from) }
}

// A loop, because replace() with a callback collects all matches first: 300 MB for a few million references.
function decodeEntities (text: string): string {
  let decoded = ''
  let from = 0
  for (let at = text.indexOf('&'); at !== -1; at = text.indexOf('&', from)) {
    const end = text.indexOf(';', at)
    if (end === -1) throw new XmlError('it holds an undefined entity')
    decoded += text.slice(from, at) + dereference(text.slice(at + 1, end))
    from = end + 1
  }
  return decoded + text.slice(from)
}

function dereference (reference: string): string {
  const named = predefinedEntities.get(reference)
  if (named !== undefined) return named
  const [, hex, decimal] = /^#(?:x([0-9A-Fa-f]{1,6})|([0-9]{1,7}))$/.exec(reference) ?? []
  const codePoint = hex === undefined ? Number(decimal ?? NaN) : parseInt(hex, 16)
  const isSurrogate = codePoint >= 0xD800 && codePoint <= 0xDFFF
  const char = codePoint <= 0x10FFFF && !isSurrogate ? String.fromCodePoint(codePoint) : ''
  if (char === '' || forbiddenCharacter.test(char)) throw new XmlError('it holds an undefined entity')
  return char
}
