import { buffer } from 'node:stream/consumers'
import { gunzipSync } from 'node:zlib'
import type { DeliveredReport, Emulator, ReportOrder, ReportedObject } from '../../src/emulator/server.ts'
import { type Endpoint, type ReceivedResponse, type Sent, bucketName, send, sendHead, toDocument, toPut } from './client.ts'

export const reportsHost = 'reports-1250000000.cos.ap-guangzhou.myqcloud.com'

/** A document whose report has every object and every documented field, but no versions. */
export const everyField: Record<string, string> = {
  IncludedObjectVersions: '<IncludedObjectVersions>Current</IncludedObjectVersions>',
  Filter: '',
  OptionalFields: toFields(
    'Size', 'LastModifiedDate', 'ETag', 'StorageClass', 'IsMultipartUploaded', 'ReplicationStatus', 'Tag', 'Crc64',
    'x-cos-meta-*')
}

export function toFields (...fields: string[]): string {
  return `<OptionalFields>${fields.map(field => `<Field>${field}</Field>`).join('')}</OptionalFields>`
}

/** Stores a configuration with some parts of the document replaced. */
export async function putJob (emulator: Endpoint, id: string, parts: Record<string, string> = {}): Promise<void> {
  const { status, body } = await send(emulator, toPut(id, toDocument(id, parts)))
  if (status !== 200) throw new Error(`PUT ${id}: ${status} ${body}`)
}

/** Returns an order for an object list, or of a number of generated objects. */
export function toOrder (contents: ReportedObject[] | number, parts: Partial<ReportOrder> = {}): ReportOrder {
  const of = typeof contents === 'number' ? { count: contents } : { objects: contents }
  return { bucket: bucketName, id: 'daily', ...of, ...parts }
}

/** Returns the response to a GET of an object of the reports bucket. */
export async function readObject (
  emulator: Endpoint, key: string, sent: Partial<Sent> = {}
): Promise<{ status: number, headers: ReceivedResponse['headers'], bytes: Buffer }> {
  const target = `/${encodeURIComponent(key).replaceAll('%2F', '/')}`
  const incoming = await sendHead(emulator, { target, host: reportsHost, ...sent })
  return { status: incoming.statusCode ?? 0, headers: incoming.headers, bytes: await buffer(incoming) }
}

export interface ReadReport {
  /** The text of manifest.json. */
  json: string
  // Tests access any member; an absent one makes the comparison fail.

  manifest: any
  checksum: string
  /** The compressed bytes of each data file. */
  files: Buffer[]
  /** The text of each data file. */
  csv: string[]
}

/** Reads a report that has no defects, and its data files by the keys of the emulator. */
export async function readReport (emulator: Endpoint, report: DeliveredReport): Promise<ReadReport> {
  const text = async (key: string) => (await readObject(emulator, key)).bytes.toString()
  const files: Buffer[] = []
  for (const key of report.files) files.push((await readObject(emulator, key)).bytes)
  const json = await text(report.manifest)
  return {
    json,
    manifest: JSON.parse(json),
    checksum: await text(report.checksum),
    files,
    csv: files.map(file => gunzipSync(file).toString())
  }
}

/** Delivers a report and reads it. */
export async function deliverAndRead (
  emulator: Emulator, order: ReportOrder
): Promise<ReadReport & { report: DeliveredReport }> {
  const report = await emulator.deliverReport(order)
  return { report, ...await readReport(emulator, report) }
}

/** Returns the values of a CSV in which all values are quoted. */
export function toRows (csv: string): string[][] {
  return csv.trimEnd().split('\n').map(line =>
    [...line.matchAll(/"((?:[^"]|"")*)"(?:,|$)/g)].map(([, text = '']) => text.replaceAll('""', '"')))
}
