/** Reads manifests of reports (COS document 30622). Undocumented forms that older pages show are accepted. */
import { hasMoreValues } from '../contract/json-extent.ts'
import { isDataFile } from '../cos/report-keys.ts'
import { ServiceError } from '../errors.ts'

/** A data file of a report. */
export interface DataFile {
  key: string
  /** Bytes of the compressed file; undefined when the manifest does not say. */
  size: number | undefined
  /** MD5 of the compressed file, in lower-case hex; undefined when the manifest does not say. */
  md5: string | undefined
}

/** The content of a manifest. Counts and sizes are undefined when the manifest does not have them. */
export interface Manifest {
  listObjectCount: number | undefined
  /** Bytes, which can exceed 2^53. */
  listStorageSize: string | undefined
  filterObjectCount: number | undefined
  filterStorageSize: string | undefined
  fileFormat: string
  /** Names of the columns. */
  fields: string[]
  files: DataFile[]
}

/** The most data files of a report. */
const maxFiles = 50_000

/** The most values of a manifest: eight for each data file. Parsing more would delay other requests. */
const maxValues = 8 * maxFiles

/** The most columns of a report, and the longest name of one. Rows have the names in each line. */
const maxColumns = 128
const maxColumnName = 128

/** Data files of buckets with metadata acceleration (COS document 74437). */
const acceleratedLayout = /(^|\/)[0-9]{4}-[0-9]{2}-[0-9]{2}-[0-9]{2}\/Data\//

/**
 * Reads a manifest.
 *
 * @param folder the folder of the reports, in which every data file must be
 * @throws {ServiceError} ReportCorrupt, ReportUnsupported, ReportTooLarge
 */
export function readManifest (bytes: Uint8Array, folder: string): Manifest {
  const { fileFormat = 'CSV', fileSchema, files, ...members } = parse(bytes)
  if (typeof fileFormat !== 'string' || fileFormat.toUpperCase() !== 'CSV') {
    throw unsupported('Its format is not CSV.')
  }
  if (!Array.isArray(files)) throw corrupt('it has no list of files')
  if (files.length > maxFiles) throw tooLarge(`more than ${maxFiles} data files`)
  return {
    listObjectCount: countOf(members['listObjectCount']),
    listStorageSize: digitsOf(members['listStorageSize']),
    filterObjectCount: countOf(members['filterObjectCount']),
    filterStorageSize: digitsOf(members['filterStorageSize']),
    fileFormat,
    fields: readFields(fileSchema),
    files: files.map(file => readFile(file, folder))
  }
}

/**
 * Reads the checksum of a manifest.
 *
 * @returns the MD5 in lower-case hex
 * @throws {ServiceError} ReportCorrupt
 */
export function readChecksum (bytes: Uint8Array): string {
  const [, md5] = /^\s*([0-9a-f]{32})\s*$/i.exec(Buffer.from(bytes).toString('latin1')) ?? []
  if (md5 === undefined) throw corrupt('manifest.checksum is not an MD5')
  return md5.toLowerCase()
}

/** Returns the error of a report that contradicts itself. */
export function corrupt (reason: string): ServiceError {
  return new ServiceError('ReportCorrupt', `The report cannot be used: ${reason}. Wait for the next report, ` +
    'or start a one-time job.')
}

/** Returns the error of a report that exceeds a limit. @param what what it has, without a subject */
export function tooLarge (what: string): ServiceError {
  return new ServiceError('ReportTooLarge', `The report has ${what}. Read the files from COS.`)
}

/** Returns the error of a report in a form that this service does not read. */
export function unsupported (reason: string): ServiceError {
  return new ServiceError('ReportUnsupported', `This service does not read the report. ${reason} Read the files from COS.`)
}

// A number above 2^53 would lose digits.
const bareNumbers = /("(?:listObjectCount|listStorageSize|filterObjectCount|filterStorageSize)"\s*:\s*)([0-9]+)/g

function parse (bytes: Uint8Array): Record<string, unknown> {
  if (hasMoreValues(bytes, maxValues)) throw tooLarge('a manifest with too many values')
  try {
    // The decoder drops a byte order mark.
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    const manifest = JSON.parse(text.replace(bareNumbers, '$1"$2"')) as unknown
    if (typeof manifest === 'object' && manifest !== null) return manifest as Record<string, unknown>
  } catch {
    // The same error as for JSON that is not an object.
  }
  throw corrupt('manifest.json is not a JSON object')
}

function readFields (schema: unknown): string[] {
  const fields = typeof schema === 'string' ? schema.split(',').map(each => each.trim()) : []
  if (fields.length > maxColumns) throw tooLarge(`more than ${maxColumns} columns`)
  if (fields.some(each => each.length > maxColumnName)) {
    throw tooLarge(`a column whose name has more than ${maxColumnName} characters`)
  }
  if (fields.length === 0 || fields.includes('') || new Set(fields).size < fields.length) {
    throw corrupt('fileSchema does not name the columns')
  }
  return fields
}

function readFile (file: unknown, folder: string): DataFile {
  const { key, size, md5Checksum, MD5checksum: olderName } = (file ?? {}) as Record<string, unknown>
  if (typeof key !== 'string') throw corrupt('a data file has no key')
  if (acceleratedLayout.test(key)) throw unsupported('It has the layout of buckets with metadata acceleration.')
  if (!isDataFile(key, folder)) throw corrupt('a data file is outside of the folder of the report')
  const md5 = md5Checksum ?? olderName
  if (md5 !== undefined && !(typeof md5 === 'string' && /^[0-9a-f]{32}$/i.test(md5))) throw corrupt('an MD5 is malformed')
  return { key, size: countOf(size), md5: md5?.toLowerCase() }
}

/** Returns an integer from a text of digits or a number; undefined for nothing. */
function countOf (value: unknown): number | undefined {
  const digits = digitsOf(value)
  if (digits === undefined) return undefined
  if (!Number.isSafeInteger(Number(digits))) throw corrupt('a number is too large')
  return Number(digits)
}

function digitsOf (value: unknown): string | undefined {
  if (value === undefined || value === null || value === '') return undefined
  const text = typeof value === 'number' ? String(value) : value
  if (typeof text !== 'string' || !/^[0-9]{1,30}$/.test(text)) throw corrupt('a number is malformed')
  return text
}
