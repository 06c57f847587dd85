import { isUtf8 } from 'node:buffer'
import { SaxesParser } from 'saxes'
import { createPauses } from '../../concurrency/event-loop.ts'
import { maxConfigurationBytes, maxErrorBytes, maxListBytes } from '../operations.ts'

/** An element: its child elements in order, and its text. White space between child elements is part of the text. */
export interface XmlElement {
  /** Without the namespace prefix. */
  name: string
  /** As the document has it. */
  qualifiedName: string
  /** By name as the document has it; undefined when there are none. */
  attributes: Readonly<Record<string, string>> | undefined
  children: XmlElement[]
  text: string
}

/** A document is not well-formed, has a document type declaration, or has the wrong elements for its purpose. */
export class XmlError extends Error {
  override readonly name = 'XmlError'
}

/** COS nests 6 deep. Code that walks elements is recursive. */
const maxDepth = 32

/** The largest document that is read. */
export interface Extent {
  /** Characters. */
  maxLength: number
  /** Elements. */
  maxElements: number
}

/** One configuration. This service writes 256 KiB and 5,000 elements at most. */
export const configurationExtent: Extent = { maxLength: maxConfigurationBytes, maxElements: 8_000 }

/** An error document. COS's has fewer than 10 elements. */
export const errorExtent: Extent = { maxLength: maxErrorBytes, maxElements: 500 }

/** A page of GET Service: 2,000 buckets of 5 elements each. */
export const bucketListExtent: Extent = { maxLength: 2 * 1024 * 1024, maxElements: 15_000 }

/** A page of configurations, each of which has an extent of its own: a thousand of 250 elements each. */
export const pageExtent: Extent = { maxLength: maxListBytes, maxElements: 250_000 }

/** The most attributes of a document. COS sends almost none. */
const maxAttributes = 1_000

const byteOrderMark = '\uFEFF'

/** Declared encodings in which ASCII has other bytes than in UTF-8. */
const wideEncoding = /^(utf-?16|utf-?32|utf-?7|iso-10646|ucs|ebcdic|cp037|ibm037)/i

/** Encodings that may be declared for any text in UTF-8. */
const utf8Encoding = /^utf-?8$/i

/** Characters that the parser is given at once. */
const chunkLength = 16 * 1024

interface Handlers {
  /**
   * Called at the end of each child of the root. The root keeps the child when this returns true.
   *
   * @param xml the child as the document has it
   * @param size the number of its elements, itself included
   */
  onChild: (child: XmlElement, xml: string, size: number) => boolean
}

const keepChildren: Handlers = { onChild: () => true }

/**
 * Parses a document and returns its root element. Text stays as it is: nothing is trimmed or guessed. Comments and
 * processing instructions are dropped.
 *
 * @throws {XmlError} when the bytes are not one well-formed UTF-8 document (XML 1.0) of at most 32 levels and of this
 *   extent, without document type declaration
 */
export function parseXml (bytes: Uint8Array, extent: Extent): XmlElement {
  return parseText(decodeUtf8(bytes), extent)
}

/**
 * Parses a document that is a text already.
 *
 * @throws {XmlError} as {@link parseXml} does
 */
export function parseText (text: string, extent: Extent): XmlElement {
  const { write, end } = createParser(text, extent, keepChildren)
  while (write()) { /* The next chunk. */ }
  return end()
}

/**
 * Parses a document as {@link parseText} does, with iterations of the event loop in between.
 *
 * @param onChild is given the children of the root one by one, and decides which of them the root keeps
 * @param wait waits for the next iteration
 */
export async function parseInParts (
  text: string, extent: Extent, onChild: Handlers['onChild'], wait: () => Promise<void>
): Promise<XmlElement> {
  const { write, end } = createParser(text, extent, { onChild })
  const pause = createPauses(wait)
  while (write()) await pause()
  return end()
}

function createParser (untrimmed: string, { maxLength, maxElements }: Extent, { onChild }: Handlers) {
  if (untrimmed.length > maxLength) throw new XmlError('the document is too long')
  // Some gateways put blank lines before the declaration, which XML does not allow.
  const text = untrimmed.replace(/^[\t\n\r ]+/, '')
  const parser = new SaxesParser({ xmlns: false, position: false, defaultXMLVersion: '1.0', forceXMLVersion: true })
  const open: XmlElement[] = []
  let root: XmlElement | undefined
  let [elements, attributes, at] = [0, 0, 0]
  let childBegin = { at: 0, elements: 0 }

  parser.on('doctype', () => { throw new XmlError('a document type declaration is rejected') })
  parser.on('xmldecl', ({ encoding = 'UTF-8' }) => { checkEncoding(encoding, text) })
  parser.on('attribute', () => {
    attributes += 1
    if (attributes > maxAttributes) throw new XmlError('the document has too much markup')
  })
  parser.on('opentag', ({ name: qualifiedName, attributes: found }) => {
    elements += 1
    if (elements > maxElements || open.length === maxDepth) throw new XmlError('the document has too much markup')
    const element: XmlElement = {
      name: qualifiedName.slice(qualifiedName.indexOf(':') + 1),
      qualifiedName,
      attributes: Object.keys(found).length === 0 ? undefined : found,
      children: [],
      text: ''
    }
    if (open.length === 0) root = element
    else if (open.length > 1) open.at(-1)?.children.push(element)
    else childBegin = { at: text.lastIndexOf('<', parser.position - 1), elements }
    open.push(element)
  })
  const addText = (content: string) => {
    const element = open.at(-1)
    if (element !== undefined) element.text += content
  }
  parser.on('text', addText)
  parser.on('cdata', addText)
  parser.on('closetag', () => {
    const element = open.pop() as XmlElement
    if (open.length !== 1) return
    const xml = text.slice(childBegin.at, parser.position)
    if (onChild(element, xml, elements - childBegin.elements + 1)) root?.children.push(element)
  })

  return {
    /** Parses the next chunk; false when there is none. */
    write (): boolean {
      if (at >= text.length) return false
      asXmlError(() => parser.write(text.slice(at, at + chunkLength)))
      at += chunkLength
      return true
    },
    end (): XmlElement {
      asXmlError(() => parser.close())
      return root as XmlElement
    }
  }
}

function asXmlError (work: () => void): void {
  try {
    work()
  } catch (error) {
    throw error instanceof XmlError ? error : new XmlError('the document is not well-formed', { cause: error })
  }
}

/** @throws {XmlError} for an encoding in which the text would be another one (XML 1.0, section 4.3.3) */
function checkEncoding (encoding: string, text: string): void {
  if (utf8Encoding.test(encoding)) return
  const isAscii = /^[\0-\x7F]*$/.test(text)
  if (!isAscii || wideEncoding.test(encoding)) throw new XmlError('the declared encoding is not UTF-8')
}

/** Decodes UTF-8, without a byte order mark. @throws {XmlError} when the bytes are not UTF-8 */
export function decodeUtf8 (bytes: Uint8Array): string {
  if (!isUtf8(bytes)) throw new XmlError('the document is not UTF-8')
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString()
  return text.startsWith(byteOrderMark) ? text.slice(1) : text
}

/** Returns the child elements with a name, in order. */
export function childrenNamed ({ children }: XmlElement, name: string): XmlElement[] {
  return children.filter(child => child.name === name)
}

/** Returns the text of the first child element with a name, or an empty string. */
export function childText ({ children }: XmlElement, name: string): string {
  return children.find(child => child.name === name)?.text ?? ''
}
