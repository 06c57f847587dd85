import { XMLParser, XMLValidator } from 'fast-xml-parser'
import { CosError } from './cos-error.ts'

/** An element with either text or children. Attributes, comments and instructions are dropped. */
export interface XmlElement { name: string, text: string, children: XmlElement[] }

type ParsedNode = Record<string, ParsedNode[] | string>

const declaration =
  /^<\?xml\s+version\s*=\s*(["'])1\.0\1(\s+encoding\s*=\s*(["'])utf-8\3)?(\s+standalone\s*=\s*(["'])(yes|no)\5)?\s*\?>/i
const sectionStart = /<!--|<!\[CDATA\[|<\?/g
const sectionEnds: Record<string, string> = { '<!--': '-->', '<![CDATA[': ']]>', '<?': '?>' }
const tag = /<[^<>]*>/g
const reference = /&(?:(amp|lt|gt|quot|apos)|#([0-9]{1,7})|#x([0-9a-fA-F]{1,6}));/g
const forbiddenCharacter = /[^\t\n\r\u0020-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/u
const named: Partial<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }

const parser = new XMLParser({
  preserveOrder: true,
  trimValues: false,
  parseTagValue: false,
  // This module decodes references, because the parser keeps numeric and undefined ones.
  processEntities: false,
  cdataPropName: '#cdata',
  // The library rejects element names that are properties of every JavaScript object. COS accepts them, so each name
  // gets a mark in front.
  transformTagName: name => nameMark + name
})

/** No XML name begins with this character. */
const nameMark = '$'

/**
 * Returns the root element of a document in UTF-8, with or without byte order mark and declaration. It is stricter
 * than parser and validator, which accept document types, undefined entities, forbidden characters and a second root.
 *
 * @throws CosError MalformedXML
 */
export function parseXml (bytes: Buffer): XmlElement {
  const text = decodeUtf8(bytes)
  checkWellFormed(text)
  const roots = toElements(parse(text))
  const [root] = roots
  if (root === undefined || roots.length > 1) throw malformed('there must be one root element')
  return root
}

/** Returns an element as XML, without declaration or blanks between elements. */
export function writeXml ({ name, text, children }: XmlElement): string {
  return `<${name}>${escapeXml(text)}${children.map(writeXml).join('')}</${name}>`
}

/** Escapes a text. A carriage return becomes a reference, because parsers read it as a line feed. */
export function escapeXml (text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('\r', '&#13;')
}

/** Escapes a text of any characters, such as a percent-decoded name. A question mark replaces those XML forbids. */
export function toXmlText (text: string): string {
  return escapeXml(text.replace(/[^\t\n\r\u0020-\uFFFD]/g, '?'))
}

/** Returns the elements at a path of names below an element, in order. */
export function elementsAt (element: XmlElement, ...path: string[]): XmlElement[] {
  return path.reduce((elements, name) =>
    elements.flatMap(({ children }) => children.filter(child => child.name === name)), [element])
}

/** Returns the text of the first element at a path of names below an element. */
export function textAt (element: XmlElement, ...path: string[]): string | undefined {
  return elementsAt(element, ...path)[0]?.text
}

function decodeUtf8 (bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw malformed('it is not UTF-8')
  }
}

function checkWellFormed (text: string): void {
  if (forbiddenCharacter.test(text)) throw malformed('it has a character XML does not allow')
  if (/^<\?xml\s/.test(text) && !declaration.test(text)) throw malformed('it does not declare XML 1.0 in UTF-8')
  const content = withoutSections(text)
  if (content.includes('<!')) throw malformed('it has a document type')
  if (content.includes(']]>')) throw malformed('it has ]]> in its text')
  if (content.replace(tag, '').includes('<')) throw malformed('it has a tag that does not end')
  if (content.replace(reference, '').includes('&')) throw malformed('it has an undefined entity')
  if (XMLValidator.validate(text) !== true) throw malformed('its tags do not match')
}

/**
 * Returns a document with a blank in place of each comment, CDATA section and instruction. Without the blank the parts
 * around it could form a reference. A regular expression would take quadratic time on sections without an end.
 */
function withoutSections (text: string): string {
  const pieces: string[] = []
  let from = 0
  for (const { 0: start, index } of text.matchAll(sectionStart)) {
    if (index < from) continue
    const end = sectionEnds[start] as string
    const endsAt = text.indexOf(end, index + start.length)
    if (endsAt < 0) throw malformed('it has a section that does not end')
    if (start === '<!--' && text.indexOf('--', index + start.length) < endsAt) {
      throw malformed('it has two dashes in a comment')
    }
    pieces.push(text.slice(from, index))
    from = endsAt + end.length
  }
  return [...pieces, text.slice(from)].join(' ')
}

function parse (text: string): ParsedNode[] {
  try {
    return parser.parse(text) as ParsedNode[]
  } catch {
    throw malformed('it could not be read')
  }
}

function toElements (nodes: ParsedNode[]): XmlElement[] {
  return nodes.flatMap(node => {
    const name = Object.keys(node)[0] as string
    const content = node[name]
    if (!Array.isArray(content) || name.startsWith('#') || name.startsWith('?')) return []
    const children = toElements(content)
    const text = textOf(content)
    if (children.length > 0 && text.trim() !== '') throw malformed('an element has both text and elements')
    // The library marks the name of a self-closed element twice.
    return [{ name: name.replace(/^\$+/, ''), text: children.length > 0 ? '' : text, children }]
  })
}

function textOf (nodes: ParsedNode[]): string {
  return nodes.map(node => {
    const section = node['#cdata']
    if (Array.isArray(section)) return section.map(part => part['#text']).join('')
    return typeof node['#text'] === 'string' ? node['#text'].replace(reference, decodeReference) : ''
  }).join('')
}

function decodeReference (_match: string, name?: string, decimal?: string, hexadecimal?: string): string {
  if (name !== undefined) return named[name] as string
  const codePoint = decimal === undefined ? Number.parseInt(hexadecimal as string, 16) : Number(decimal)
  const character = codePoint > 0x10ffff ? '\0' : String.fromCodePoint(codePoint)
  if (forbiddenCharacter.test(character)) throw malformed('it refers to a character XML does not allow')
  return character
}

function malformed (issue: string): CosError {
  return new CosError('MalformedXML', `The XML you provided was not well-formed: ${issue}.`)
}
