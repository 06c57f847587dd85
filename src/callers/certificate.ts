import { isIP } from 'node:net'
import { isDeepStrictEqual } from 'node:util'

/** Names of a client certificate, as the `X509Certificate` of Node returns them. */
export interface PresentedCertificate {
  /**
   * One relative name per line, escaped per RFC 4514, section 2.4: `O=corp\nCN=billing`. Undefined when it is empty:
   * some certificates identify by subjectAltName alone.
   */
  subject: string | undefined
  /** `DNS:a.example, URI:spiffe://corp/billing`. A value with special characters is a JSON string. */
  subjectAltName: string | undefined
}

/** A rule that recognizes a certificate. `san` may begin with the type of the name, such as `URI:`. */
export type CertificateRule = { readonly san: string } | { readonly subject: string }

/**
 * Returns whether a certificate that TLS accepted matches a rule. The comparison is case-sensitive, which is stricter
 * than RFC 5280, section 7.1.
 *
 * `san` must equal type and value of one subject alternative name (DNS, URI, email or IP address). A rule without a
 * type gets the type that its value looks like. A DNS name with the text of a URI does not match such a rule. An
 * authority may issue that name to another client.
 *
 * `subject` must have the same attributes in any order, and no others.
 */
export function matchesCertificate (rule: CertificateRule, presented: PresentedCertificate): boolean {
  if ('san' in rule) return alternativeNames(presented.subjectAltName ?? '').includes(typedName(rule.san))
  const attributes = parseSubject(presented.subject ?? '')
  return attributes !== undefined && isDeepStrictEqual(attributes, parseSubject(rule.subject))
}

// Each piece ends where the next one can begin, so that no input is matched in two ways. Spaces around a value are
// removed afterwards, because an expression for them takes quadratic time.
const attribute = /\s*([A-Za-z][A-Za-z0-9-]*|[0-9]+(?:\.[0-9]+)+) *=((?:\\.|[^\\,+\n])*)(?:[,+\n]|$)/gsy

/**
 * Returns the attributes of a distinguished name, sorted and normalized; undefined if the text is not one. Accepts the
 * form of Node and the usual form (RFC 4514): comma, plus sign and line feed separate unless escaped.
 */
export function parseSubject (text: string): string[] | undefined {
  const found = [...text.matchAll(attribute)]
  if (found.length === 0 || found.map(([whole]) => whole).join('') !== text) return undefined
  return found.map(([, type = '', value = '']) => `${type.toUpperCase()}=${unescaped(trimmed(value))}`).sort()
}

/** Removes the spaces around a value, except one that a backslash escapes. */
function trimmed (value: string): string {
  const start = value.search(/[^ ]|$/)
  let end = value.length
  while (end > start && value[end - 1] === ' ') end -= 1
  let backslashes = 0
  while (value[end - backslashes - 1] === '\\') backslashes += 1
  return value.slice(start, backslashes % 2 === 0 ? end : end + 1)
}

/**
 * Decodes escapes (RFC 4514, section 3). A backslash escapes the next character. Before two hex digits it stands for a
 * byte of UTF-8.
 */
function unescaped (value: string): string {
  return value.replace(/((?:\\[0-9A-Fa-f]{2})+)|\\(.)/gs, (_, bytes: string | undefined, character: string) =>
    bytes === undefined ? character : Buffer.from(bytes.replaceAll('\\', ''), 'hex').toString())
}

const alternativeName = /([^:,"]+):("(?:[^"\\]|\\.)*"|[^,"]*(?:"(?:[^"\\]|\\.)*")?)(?:, |$)/gsy
const typeAndValue = /^(?:DNS|URI|email|IP Address):/
/** RFC 3986, section 3.1. */
const scheme = /^[A-Za-z][A-Za-z0-9+.-]*:/

/** Returns the name of a rule as type and value, such as `URI:spiffe://corp/billing`. */
function typedName (name: string): string {
  if (typeAndValue.test(name)) return name
  if (isIP(name) !== 0) return `IP Address:${name}`
  if (scheme.test(name)) return `URI:${name}`
  return name.includes('@') ? `email:${name}` : `DNS:${name}`
}

/**
 * Returns the alternative names of a certificate as type and value. Node writes an ambiguous value as a JSON string,
 * including its commas (CVE-2021-44532). A quoted text is therefore one value.
 */
function alternativeNames (text: string): string[] {
  return [...text.matchAll(alternativeName)]
    .map(([, type = '', value = '']) => `${type}:${value.startsWith('"') ? JSON.parse(value) as string : value}`)
}
