import { createHash } from 'node:crypto'
import type { Column } from './columns.ts'
import type { ReportForm } from './knobs.ts'

/** A data file as the manifest lists it. */
export interface ListedFile {
  key: string
  /** The number of compressed bytes. */
  size: number
  /** Hexadecimal, of the compressed bytes. */
  md5: string
}

/** Counts and bytes of a report. */
export interface ReportTotals {
  listObjectCount: number
  listStorageSize: bigint
  filterObjectCount: number
  filterStorageSize: bigint
}

/** The content of a manifest. Buckets have their APPID. */
export interface ManifestContent {
  source: string
  destination: string
  /** The folder of the data files, with a slash at its end. */
  folder: string
  totals: ReportTotals
  columns: Column[]
  files: ListedFile[]
}

const manyFiles = 50_001
const padding = 9 * 1024 * 1024

/** Returns manifest.json (COS document 30622) as bytes. */
export function writeManifest (content: ManifestContent, form: ReportForm): Buffer {
  switch (form.manifest) {
    case 'empty':
      return Buffer.alloc(0)
    case 'not-json':
      return Buffer.from('<manifest>not JSON</manifest>')
    default: {
      const json = toJson(content, form)
      return Buffer.from(`${form.manifest === 'bom' ? '\ufeff' : ''}${json}` +
        ' '.repeat(form.manifest === 'huge' ? padding : 0))
    }
  }
}

function toJson (content: ManifestContent, form: ReportForm): string {
  const { source, destination, totals, columns } = content
  const wrong = form.counts === 'wrong' ? 1 : 0
  const number = (value: number | bigint) => form.numbers === 'numbers' ? Number(value) : String(value)
  return JSON.stringify({
    ...partsOf(source, 'source'),
    ...partsOf(destination, 'destination'),
    fileFormat: form.fileFormat,
    listObjectCount: number(totals.listObjectCount),
    listStorageSize: number(totals.listStorageSize),
    filterObjectCount: number(totals.filterObjectCount + wrong),
    filterStorageSize: number(totals.filterStorageSize + BigInt(wrong)),
    fileSchema: columns.map(({ name }) => name).join(form.schema === 'comma' ? ',' : ', '),
    files: listFiles(content, form).map(({ key, size, md5 }) => ({
      key,
      size: number(size),
      [form.md5Member]: form.md5Case === 'upper' ? md5.toUpperCase() : md5,
      ...toUnknown(form)
    })),
    ...toUnknown(form)
  })
}

function partsOf (bucket: string, role: 'source' | 'destination'): Record<string, string> {
  const { name, appid } = splitBucket(bucket)
  return { [`${role}Appid`]: appid, [`${role}Bucket`]: name }
}

/** Splits a bucket name into its parts. */
export function splitBucket (bucket: string): { name: string, appid: string } {
  const dash = bucket.lastIndexOf('-')
  return { name: bucket.slice(0, dash), appid: bucket.slice(dash + 1) }
}

function toUnknown ({ members }: ReportForm): Record<string, unknown> {
  return members === 'unknown' ? { newMember: { of: ['a', 'later', 'version'] } } : {}
}

function listFiles ({ folder, files }: ManifestContent, form: ReportForm): ListedFile[] {
  const listed = form.files === 'none' ? [] : files.map(file => ({ ...file, key: moveKey(file.key, form) }))
  if (form.files !== '50001') return listed
  return Array.from({ length: manyFiles }, (_, index) => listed[index] ?? {
    key: `${folder}${md5Of(Buffer.from(String(index)))}.csv.gz`, size: 20, md5: md5Of(Buffer.alloc(0))
  })
}

function moveKey (key: string, { fileKeys }: ReportForm): string {
  const slash = key.lastIndexOf('/')
  switch (fileKeys) {
    case 'inside':
      return key
    case 'outside':
      return `elsewhere${key.slice(slash)}`
    case 'dots':
      return `${key.slice(0, slash)}/../secret${key.slice(slash)}`
  }
}

/** Returns the bytes of manifest.checksum; undefined when it is not written. COS documents no form of it. */
export function writeChecksum (manifest: Buffer, { checksum }: ReportForm): Buffer | undefined {
  const md5 = md5Of(manifest)
  switch (checksum) {
    case 'plain':
      return Buffer.from(md5)
    case 'upper':
      return Buffer.from(md5.toUpperCase())
    case 'newline':
      return Buffer.from(`${md5}\n`)
    case 'missing':
      return undefined
    case 'wrong':
      return Buffer.from(md5Of(Buffer.from(md5)))
    case 'huge':
      return Buffer.from(md5.repeat(32 * 1024))
  }
}

/** Returns the MD5 of bytes in hexadecimal. */
export function md5Of (bytes: Buffer): string {
  return createHash('md5').update(bytes).digest('hex')
}
