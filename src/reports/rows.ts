/** Translates rows of a report to JSON (COS document 30622). */
import { corrupt } from './manifest.ts'

/** Columns whose values are true or false, in the spellings of COS's pages. */
const booleans = new Set(['IsMultipartUploaded', 'IsLatest', 'IsDeleteMarker', 'DeleteMarker'])

/** The rows and columns that a caller wants. */
export interface RowSelection {
  /** Names of columns; undefined for all. */
  fields: readonly string[] | undefined
  /** The begin of the decoded Key; undefined for any. */
  keyPrefix: string | undefined
}

/** Translates a row to JSON; undefined when the caller does not want it. */
export type RowMapper = (values: readonly string[]) => string | undefined

/**
 * Creates the translation for the columns of a report.
 *
 * @param columns names in the order of the values, of which each row has as many
 * @throws {ServiceError} ReportCorrupt, from the returned function, for a malformed Size
 */
export function createRowMapper (columns: readonly string[], { fields, keyPrefix }: RowSelection): RowMapper {
  const keyAt = columns.indexOf('Key')
  const members = columns.flatMap((name, at) => fields?.includes(name) === false
    ? []
    : [{ at, name: `${JSON.stringify(name)}:`, toJson: conversionOf(name) }])

  return values => {
    if (keyPrefix !== undefined && !decodeKey(values[keyAt] as string).key.startsWith(keyPrefix)) return undefined
    let json = ''
    for (const { at, name, toJson } of members) json += `${json === '' ? '{' : ','}${name}${toJson(values[at] as string)}`
    return `${json}}`
  }
}

/** Tells whether a row has the names of the columns, as a header line does. */
export function isHeader (values: readonly string[], columns: readonly string[]): boolean {
  return values.length === columns.length && values.every((value, at) => value.trim() === columns[at])
}

function conversionOf (column: string): (value: string) => string {
  if (column === 'Key') return keyToJson
  if (column === 'Size') return sizeToJson
  return booleans.has(column) ? booleanToJson : textToJson
}

/** Tells whether a number or a boolean is missing. COS does not document how it writes that. */
function isMissing (value: string): boolean {
  return value === '' || value.toLowerCase() === 'null'
}

function textToJson (value: string): string {
  return value === '' ? 'null' : JSON.stringify(value)
}

function sizeToJson (value: string): string {
  if (isMissing(value)) return 'null'
  if (!/^[0-9]{1,15}$/.test(value)) throw corrupt('a Size is not a number')
  return String(Number(value))
}

function booleanToJson (value: string): string {
  if (isMissing(value)) return 'null'
  const word = value.toLowerCase()
  return word === 'true' || word === 'false' ? word : JSON.stringify(value)
}

/** Returns the key, and the member EncodedKey when the key may have meant something else. */
function keyToJson (value: string): string {
  const { key, isAmbiguous } = decodeKey(value)
  return isAmbiguous ? `${JSON.stringify(key)},"EncodedKey":${JSON.stringify(value)}` : JSON.stringify(key)
}

/** Decodes a key. A plus may stand for a blank, and malformed percent-encoding is kept. */
function decodeKey (value: string): { key: string, isAmbiguous: boolean } {
  if (!value.includes('%')) return { key: value, isAmbiguous: value.includes('+') }
  try {
    return { key: decodeURIComponent(value), isAmbiguous: value.includes('+') }
  } catch {
    return { key: value, isAmbiguous: true }
  }
}
