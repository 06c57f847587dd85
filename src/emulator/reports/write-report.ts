import { createHash } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { type Bytes, type Content, chunksOf, partOf } from '../content.ts'
import { type ObjectAccess, type ObjectStore, listedFrom } from '../objects.ts'
import { type Column, toColumns } from './columns.ts'
import { type FileRows, writeFile } from './csv.ts'
import { toDate } from './day.ts'
import type { BucketContents } from './inventory-object.ts'
import type { ReportJob } from './job.ts'
import type { ReportDelivery, ReportForm } from './knobs.ts'
import { type ListedFile, md5Of, splitBucket, writeChecksum, writeManifest } from './manifest.ts'
import { survey } from './survey.ts'

/** A report that can be made. */
export interface ReportRequest {
  /** The source bucket. */
  bucket: string
  id: string
  job: ReportJob
  contents: BucketContents
  /** The day of the scan, in days since 1970. */
  day: number
  form: ReportForm
  delivery: ReportDelivery
  /** The time of the delivery, in milliseconds since 1970. */
  lastModifiedMs: number
  /** The present, in milliseconds since 1970. */
  nowMs: number
  /** Distinguishes the data files of all reports. */
  number: number
}

/** A report after its delivery. */
export interface DeliveredReport {
  /** The destination bucket. */
  bucket: string
  /** The day of the scan as YYYYMMDD. */
  date: string
  /** The key of manifest.json, also when it was not written. */
  manifest: string
  /** The key of manifest.checksum, also when it was not written. */
  checksum: string
  /** The keys of the data files, also of one that was not written. */
  files: string[]
  /** The keys that were written, in this order. */
  keys: string[]
  listObjectCount: number
  /** Bytes, as a decimal number. */
  listStorageSize: string
  filterObjectCount: number
  /** Bytes, as a decimal number. */
  filterStorageSize: string
}

interface Measured extends Content { md5: string }

const truncatedBytes = 10
const addedBytes = Buffer.from('16 bytes longer.')

/**
 * Makes a report and puts it into the destination bucket: data files, manifest, checksum. A data file of generated
 * objects is not kept. One pass through its bytes finds their number and MD5, and each GET makes them again.
 *
 * @throws the reason of the signal when it is aborted
 */
export async function writeReport (
  request: ReportRequest, objects: ObjectStore, signal: AbortSignal
): Promise<DeliveredReport> {
  const { bucket, job, contents, day, form, delivery } = request
  const folder = folderOf(request)
  const date = toDate(day)
  const { totals, files } = await survey(contents, job, form.rowsPerFile, signal)
  const rows = files.length === 0 && form.emptyReport === 'empty-file' ? [{ count: 0, read: () => [] }] : files
  const isEmpty = files.length === 0 && form.emptyReport === 'no-report'
  const writes = isEmpty ? 'nothing' : delivery.writes

  const keys: string[] = []
  const put = (key: string, bytes: Bytes, md5: string, access: ObjectAccess) => {
    signal.throwIfAborted()
    const { lastModifiedMs, nowMs } = request
    const listedFromMs = listedFrom(nowMs, delivery.listLagMs)
    objects.put({ bucket: job.destination.bucket, key, bytes, etag: `"${md5}"`, lastModifiedMs, listedFromMs, access })
    keys.push(key)
  }

  const manifest = `${folder}${date}/manifest.json`
  const checksum = `${folder}${date}/manifest.checksum`
  const columns = toColumns(job, form, splitBucket(bucket), contents.metadataNames)
  const listed = writes === 'nothing' ? [] : await writeFiles({ rows, columns, folder }, request, put, signal)
  if (writes === 'everything' || writes === 'manifest') {
    const content = { source: bucket, destination: job.destination.bucket, folder, totals, columns, files: listed }
    const json = writeManifest(content, form)
    const state = delivery.manifest
    if (state !== 'missing') put(manifest, json, md5Of(json), state === 'right' ? 'readable' : state)
    const digest = writes === 'everything' ? writeChecksum(json, form) : undefined
    if (digest !== undefined) put(checksum, digest, md5Of(digest), 'readable')
  }
  return {
    bucket: job.destination.bucket,
    date,
    manifest,
    checksum,
    files: listed.map(({ key }) => key),
    keys,
    ...totals,
    listStorageSize: String(totals.listStorageSize),
    filterStorageSize: String(totals.filterStorageSize)
  }
}

// COS document 30622. The prefix of the destination gets a slash at its end.
function folderOf ({ bucket, id, job, form }: ReportRequest): string {
  const { name, appid } = splitBucket(bucket)
  const { prefix } = job.destination
  const isClosed = prefix === '' || (prefix.endsWith('/') && form.prefixSlash === 'once')
  return `${prefix}${isClosed ? '' : '/'}${appid}/${name}/${id}/`
}

type Put = (key: string, bytes: Bytes, md5: string, access: ObjectAccess) => void

async function writeFiles (
  { rows, columns, folder }: { rows: FileRows[], columns: Column[], folder: string },
  { contents, form, delivery, number }: ReportRequest,
  put: Put,
  signal: AbortSignal
): Promise<ListedFile[]> {
  const listed: ListedFile[] = []
  for (const [index, each] of rows.entries()) {
    const key = `${folder}${md5Of(Buffer.from(`${folder} ${number} ${index}`))}.csv.gz`
    const file = await measure(() => writeFile(each, columns, form), signal)
    const state = index === rows.length - 1 ? delivery.file : 'right'
    listed.push({ key, size: file.size, md5: state === 'wrong-md5' ? md5Of(Buffer.from(file.md5)) : file.md5 })
    if (state === 'missing') continue
    const stored = await change(file, state, signal)
    // Listed objects would be kept for as long as the file. The store limits bytes only.
    const bytes = contents.isGenerated ? stored : await toBuffer(stored)
    put(key, bytes, stored.md5, state === 'archived' || state === 'redirect' ? state : 'readable')
  }
  return listed
}

async function change (file: Measured, state: ReportDelivery['file'], signal: AbortSignal): Promise<Measured> {
  switch (state) {
    case 'truncated':
      return await measure(() => chunksOf(partOf(file, 0, file.size - truncatedBytes)), signal)
    case 'longer':
      return await measure(() => append(file), signal)
    default:
      return file
  }
}

async function toBuffer (content: Content): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of content.read()) chunks.push(chunk)
  return Buffer.concat(chunks)
}

async function * append (file: Content): AsyncGenerator<Buffer> {
  yield * file.read()
  yield addedBytes
}

async function measure (read: Content['read'], signal: AbortSignal): Promise<Measured> {
  const hash = createHash('md5')
  let size = 0
  for await (const chunk of read()) {
    signal.throwIfAborted()
    hash.update(chunk)
    size += chunk.length
    await nextTurn()
  }
  return { size, read, md5: hash.digest('hex') }
}
