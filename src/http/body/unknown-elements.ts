/** Validation with `allow-unknown=true`: elements that this service does not know, and values that COS may store. */
import { escapePointer } from '../../changes/differences.ts'
import { isXmlText, textMember } from '../../contract/xml-text.ts'
import type { ValidationIssue } from '../../errors.ts'
import { isOfSet, toIssue } from './validation-issues.ts'
import type { SchemaError } from './validation-issues.ts'

const destination = '/Destination/COSBucketDestination'
const marker = `${destination}/Encryption/SSECOS`

/**
 * The rules that allow-unknown=true lifts, by place. COS may store and return values that are not documented. The index
 * 0 stands for any index.
 */
const liftedRules: ReadonlyMap<string, readonly string[]> = new Map([
  ['/Id', ['pattern']],
  ['/IncludedObjectVersions', ['enum']],
  ['/Schedule', ['required']],
  ['/Schedule/Frequency', ['enum']],
  ['/Schedule/MonthlyDate', ['not', 'minimum', 'maximum']],
  ['/OptionalFields', ['uniqueItems']],
  ['/OptionalFields/0', ['pattern']],
  ['/OptionalFields/Field', ['uniqueItems']],
  ['/OptionalFields/Field/0', ['pattern']],
  ['/Filter/Period/StartTime', ['minimum']],
  ['/Filter/Period/EndTime', ['minimum']],
  [`${destination}/Format`, ['enum']],
  [`${destination}/Bucket`, ['pattern', 'maxLength']],
  [`${destination}/AccountId`, ['pattern']],
  [marker, ['maxLength']]
])

/**
 * Returns whether COS can contain this id. Other clients may create ids that are too long for paths of this service.
 */
function isStoredId (id: unknown): boolean {
  return typeof id === 'string' && /^[A-Za-z0-9._-]{1,255}$/.test(id)
}

/** Returns no issue if the value can become an element. Otherwise returns its own issue. */
export function issuesOfUnknown (error: SchemaError, body: unknown): ValidationIssue[] {
  const { keyword, params, instancePath, data } = error
  const isText = (value: unknown) => typeof value === 'string' && isXmlText(value)
  if (keyword === 'additionalProperties' && !isOfSet(error)) {
    const name = String(params['additionalProperty'])
    const object = valueAt(body, instancePath) as Record<string, unknown>
    const isTextOfMarker = instancePath === marker && name === textMember && Object.keys(object).length === 1
    if (isTextOfMarker && isText(object[name])) return []
    return elementIssues(name, object[name], `${instancePath}/${escapePointer(name)}`)
  }
  if (liftedRules.get(instancePath.replace(/\/[0-9]+$/, '/0'))?.includes(keyword) === true) {
    const isLifted = keyword === 'required'
      ? params['missingProperty'] === 'MonthlyDate'
      : instancePath !== '/Id' || isStoredId(data)
    if (isLifted && (typeof data !== 'string' || isXmlText(data))) return []
  }
  // COS may store several of this element, although the documentation has one. Responses then contain an array.
  const several = instancePath === '/Filter/StorageClass' && keyword === 'type' && Array.isArray(data) && data.length > 0
  if (several && data.every(isText)) return []
  return [toIssue(error, 'body')]
}

// XML 1.0, section 2.3, without the colon. A colon would separate a namespace prefix.
const xmlName = /^[A-Z_a-z\u00C0-\u00D6\u00D8-\u00F6\u00F8-\u02FF\u0370-\u037D\u037F-\u1FFF\u{200C}-\u{200D}\u2070-\u218F\u2C00-\u2FEF\u3001-\uD7FF\uF900-\uFDCF\uFDF0-\uFFFD\u{10000}-\u{EFFFF}][-.0-9A-Z_a-z\u00B7\u00C0-\u00D6\u00D8-\u00F6\u00F8-\u037D\u037F-\u1FFF\u{200C}-\u{200D}\u{203F}-\u{2040}\u2070-\u218F\u2C00-\u2FEF\u3001-\uD7FF\uF900-\uFDCF\uFDF0-\uFFFD\u{10000}-\u{EFFFF}]*$/u

/** Deepest nesting of a body. COS nests 6 levels, and the parser of responses accepts 32. */
export const maxDepth = 20

/**
 * Longest name of an element. The longest name of COS has 24 characters. In XML each value of a list has the name
 * again.
 */
const maxNameLength = 255
const tooLongName = `is a name of more than ${maxNameLength} characters, so it cannot become an element`

function elementIssues (name: string, value: unknown, pointer: string, depth = 0): ValidationIssue[] {
  const issue = (detail: string): ValidationIssue[] => [{ in: 'body', pointer, detail }]
  if (name.length > maxNameLength) return issue(tooLongName)
  if (!xmlName.test(name)) return issue('is not an XML name, so it cannot become an element')
  if (depth > maxDepth) return issue('is nested too deep')
  if (typeof value === 'string') return isXmlText(value) ? [] : issue('contains characters that XML 1.0 does not allow')
  if (typeof value === 'boolean') return []
  if (typeof value === 'number') {
    // JSON.parse has already rounded such a number, so that COS would get a different one.
    const exact = Number.isFinite(value) && (!Number.isInteger(value) || Number.isSafeInteger(value))
    return exact ? [] : issue('is too large to be exact; send it as a string')
  }
  if (Array.isArray(value)) {
    if (value.length === 0) return issue('is an empty array, which has no form in XML; leave it out')
    const nested = value.some(Array.isArray) ? issue('must not contain an array in an array') : []
    return nested.concat(value.flatMap((each, index) =>
      Array.isArray(each) ? [] : elementIssues(name, each, `${pointer}/${index}`, depth + 1)))
  }
  if (typeof value === 'object' && value !== null) {
    return Object.entries(value).flatMap(([inner, each]) =>
      elementIssues(inner, each, `${pointer}/${escapePointer(inner)}`, depth + 1))
  }
  return issue('must be a string, number, boolean, object or array')
}

/** Returns the value at a JSON pointer (RFC 6901). */
export function valueAt (document: unknown, pointer: string): unknown {
  return pointer.split('/').slice(1).reduce<unknown>((value, token) =>
    (value as Record<string, unknown> | undefined)?.[token.replaceAll('~1', '/').replaceAll('~0', '~')], document)
}
