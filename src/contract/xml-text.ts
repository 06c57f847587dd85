import { PatternText } from './schema.ts'

/** The characters of XML 1.0 (section 2.2). It excludes lone surrogates and controls other than tab, LF and CR. */
const xmlTextPattern = '^[\\t\\n\\r\\u0020-\\uD7FF\\uE000-\\uFFFD\\u{10000}-\\u{10FFFF}]*$'

const xmlText = new RegExp(xmlTextPattern, 'u')

/** Tells whether an XML 1.0 document can contain a text. */
export function isXmlText (text: string): boolean {
  return xmlText.test(text)
}

/**
 * The member that is the text of SSECOS. COS documents SSE-COS as empty, but some clients store a text in it. No XML
 * name begins with `#`.
 */
export const textMember = '#text'

/** Nearly the same in the syntax that all languages share. The rest are lone surrogates, U+FFFE and U+FFFF. */
const portablePattern = '^[^\\x00-\\x08\\x0B\\x0C\\x0E-\\x1F]*$'

/** Creates the schema of a text that becomes XML. */
export function XmlText (description: string, example: string) {
  return PatternText(xmlTextPattern, {
    description: `${description} Control characters other than tab, LF and CR are not allowed.`,
    examples: [example]
  }, portablePattern)
}
