import { isIP } from 'node:net'
import { isDeepStrictEqual } from 'node:util'

/** Names of a client certificate as Node's `X509Certificate` gives them. */
export interface PresentedCertificate {
  /**
   * One relative name a line, escaped as RFC 4514, section 2.4, says: `O=corp\nCN=billing`. Node gives undefined where
   * it is empty, as in certificates that identify by subjectAltName alone.
   */
  subject: string | undefined
  /** `DNS:a.example, URI:spiffe://corp/billing`; a value with anything special in it is a JSON string. */
  subjectAltName: string | undefined
}

/** How a caller is recognized by its certificate; `san` may begin with the type of the name, such as `URI:`. */
export type CertificateRule = { readonly san: string } | { readonly subject: string }

/**
 * Whether a certificate that TLS has accepted is the one a rule means. `san` must equal type and value of one subject
 * alternative name (DNS, URI, email or IP address). A rule without a type has the one its value looks like: a DNS name
 * with the text of a URI, which an authority may issue to somebody else, does not match it. `subject` must have the
 * same attributes, all of them and no more, in any order. Values are compared as they are, letter case too, which is
 * stricter than RFC 5280, section 7.1.
 */
export function matchesCertificate (rule: CertificateRule, presented: PresentedCertificate): boolean {
  if ('san' in rule) return alternativeNames(presented.subjectAltName ?? '').includes(typedName(rule.san))
  const attributes = parseSubject(presented.subject ?? '')
  return attributes !== undefined && isDeepStrictEqual(attributes, parseSubject(rule.subject))
}

// Each piece ends where the next one can begin, so that no input is tried in two ways. Blanks around a value are
// removed afterwards: an expression for them takes quadratic time.
const attribute = /\s*([A-Za-z][A-Za-z0-9-]*|[0-9]+(?:\.[0-9]+)+) *=((?:\\.|[^\\,+\n])*)(?:[,+\n]|$)/gsy

/**
 * The attributes of a distinguished name, sorted, in a form that equal ones share; undefined when the text is none.
 * Reads what Node gives and what people write (RFC 4514): comma, plus sign and line feed separate unless escaped.
 */
export function parseSubject (text: string): string[] | undefined {
  const found = [...text.matchAll(attribute)]
  if (found.length === 0 || found.map(([whole]) => whole).join('') !== text) return undefined
  return found.map(([, type = '', value = '']) => `${type.toUpperCase()}=${unescaped(trimmed(value))}`).sort()
}

/** Removes the blanks around a value, but not one that a backslash escapes. */
function trimmed (value: string): string {
  const start = value.search(/[^ ]|$/)
  let end = value.length
  while (end > start && value[end - 1] === ' ') end -= 1
  let backslashes = 0
  while (value[end - backslashes - 1] === '\\') backslashes += 1
  return value.slice(start, backslashes % 2 === 0 ? end : end + 1)
}

/** RFC 4514, section 3: a backslash before a character stands for it, and before two hex digits for a byte of UTF-8. */
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
 * The alternative names of a certificate as type and value. Node writes a value that could be taken for more than
 * itself as a JSON string, comma included (CVE-2021-44532): what stands in quotes is one value, whatever it says.
 */
function alternativeNames (text: string): string[] {
  return [...text.matchAll(alternativeName)]
    .map(([, type = '', value = '']) => `${type}:${value.startsWith('"') ? JSON.parse(value) as string : value}`)
}
