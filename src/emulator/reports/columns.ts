import { percentEncode } from '../request.ts'
import type { InventoryObject } from './inventory-object.ts'
import type { ReportJob } from './job.ts'
import type { ReportForm } from './knobs.ts'

/** A column of a report. */
export interface Column {
  name: string
  /** Returns the text of a value; an empty one when the object lacks it. */
  text: (object: InventoryObject) => string
}

/** Where the objects are: the parts of a bucket name. */
export interface SourceBucket { name: string, appid: string }

const metaWildcard = 'x-cos-meta-*'

/**
 * Returns the columns of a report in the order of COS document 30622: fixed ones, those of versions, then optional ones
 * that the job names in any letter case. Fields that COS does not know have no column.
 *
 * @param metadataNames the headers behind `x-cos-meta-*`
 */
export function toColumns (
  job: ReportJob, form: ReportForm, source: SourceBucket, metadataNames: readonly string[]
): Column[] {
  const versions = job.allVersions ? versionColumns(form) : []
  const columns: Column[] = [
    { name: 'Appid', text: () => source.appid },
    { name: 'Bucket', text: () => source.name },
    { name: 'Key', text: ({ Key }) => toKey(Key, form) },
    ...form.versionColumns === 'after-key' ? versions : [],
    ...optionalColumns(job, form),
    ...metaColumns(job, form, metadataNames),
    ...form.versionColumns === 'end' ? versions : []
  ]
  return arrange(columns, form)
}

function toKey (key: string, { keys, slash, blank }: ReportForm): string {
  // Most keys need no encoding, which takes more time than all else.
  if (keys === 'raw' || (slash === '/' && /^[\w./~-]*$/.test(key))) return key
  const encoded = percentEncode(key)
  const withSlash = slash === '/' ? encoded.replaceAll('%2F', '/') : encoded
  return blank === '+' ? withSlash.replaceAll('%20', '+') : withSlash
}

function versionColumns (form: ReportForm): Column[] {
  return [
    { name: 'VersionId', text: ({ VersionId = '' }) => VersionId },
    { name: 'IsLatest', text: ({ IsLatest }) => toBoolean(IsLatest, form) },
    { name: form.deleteMarker, text: ({ IsDeleteMarker }) => toBoolean(IsDeleteMarker, form) }
  ]
}

// LastModifiedDate is in every report.
function optionalColumns ({ fields }: ReportJob, form: ReportForm): Column[] {
  const asked = new Set(['lastmodifieddate', ...fields.map(field => field.toLowerCase())])
  const all: Column[] = [
    { name: 'Size', text: ({ Size = '' }) => String(Size) },
    { name: 'LastModifiedDate', text: ({ lastModifiedMs }) => toTime(lastModifiedMs, form) },
    { name: 'ETag', text: ({ ETag }) => ETag !== undefined && form.etag === 'quoted' ? `"${ETag}"` : ETag ?? '' },
    { name: 'StorageClass', text: ({ StorageClass = '' }) => toWord(StorageClass, form) },
    {
      name: 'IsMultipartUploaded',
      text: ({ IsMultipartUploaded: isSo }) => isSo === undefined ? '' : toBoolean(isSo, form)
    },
    { name: 'ReplicationStatus', text: ({ ReplicationStatus = '' }) => toWord(ReplicationStatus, form) },
    { name: 'Tag', text: ({ Tag = {} }) => toTags(Tag, form) },
    { name: 'Crc64', text: ({ Crc64 = '' }) => Crc64 }
  ]
  return all.filter(({ name }) => asked.has(name.toLowerCase()))
}

function metaColumns ({ fields }: ReportJob, form: ReportForm, metadataNames: readonly string[]): Column[] {
  const asked = fields.map(field => field.toLowerCase()).filter(field => field.startsWith('x-cos-meta-'))
  const columns = asked.flatMap(field => field === metaWildcard && form.metaColumns === 'each' ? metadataNames : [field])
  return [...new Set(columns)].map(name => ({
    name,
    text: ({ Metadata = {} }) => name === metaWildcard ? toJson(Metadata) : Metadata[name] ?? ''
  }))
}

function arrange (columns: Column[], { columns: arrangement }: ReportForm): Column[] {
  const unknown = (name: string): Column => ({ name, text: () => 'unknown' })
  const middle = columns.length >> 1
  switch (arrangement) {
    case 'documented':
      return columns
    case 'reordered':
      return columns.toReversed()
    case 'unknown':
      return [...columns.slice(0, middle), unknown('NewColumn'), ...columns.slice(middle)]
    case 'many':
      return [...columns, ...Array.from({ length: 200 }, (_, index) => unknown(`NewColumn${index}`))]
  }
}

function toBoolean (value: boolean, { booleans }: ReportForm): string {
  const word = String(value)
  if (booleans === 'true') return word
  return booleans === 'TRUE' ? word.toUpperCase() : capitalize(word)
}

function toWord (word: string, { words }: ReportForm): string {
  if (words === 'given') return word
  return words === 'lower' ? word.toLowerCase() : capitalize(word)
}

function capitalize (word: string): string {
  return word.slice(0, 1).toUpperCase() + word.slice(1).toLowerCase()
}

function toTime (ms: number | undefined, { dates }: ReportForm): string {
  if (ms === undefined) return ''
  if (dates === 'seconds') return String(Math.floor(ms / 1000))
  const isUtc = dates === 'iso-ms' || dates === 'iso'
  const iso = new Date(isUtc ? ms : ms + 8 * 60 * 60 * 1000).toISOString()
  switch (dates) {
    case 'iso-ms':
      return iso
    case 'iso':
      return `${iso.slice(0, 19)}Z`
    case 'offset':
      return `${iso.slice(0, 19)}+08:00`
    case 'local':
      return iso.slice(0, 19).replace('T', ' ')
  }
}

function toTags (tags: Readonly<Record<string, string>>, form: ReportForm): string {
  if (form.tags === 'json') return toJson(tags)
  return Object.entries(tags).map(pair => pair.map(percentEncode).join('=')).join('&')
}

function toJson (values: Readonly<Record<string, string>>): string {
  return Object.keys(values).length === 0 ? '' : JSON.stringify(values)
}
