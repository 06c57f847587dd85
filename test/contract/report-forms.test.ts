/** Every form in which the emulator can write and deliver a report: the right rows or the documented error. */
import t from 'tap'
import { reportKnobs } from '../../src/emulator/reports/knobs.ts'
import type { ReportOrder } from '../../src/emulator/reports/order.ts'
import { bucket, start } from '../start.ts'

const path = `/buckets/${bucket}/inventories/daily`
const date = '20261120'

const objects = [
  { Key: 'p/a b+c/"x",y.txt', Size: 10, ETag: '5d41402abc4b2a76b9719d911017c592', IsMultipartUploaded: false, Tag: { a: '1', b: '2' }, Metadata: { 'x-cos-meta-owner': 'a' } },
  { Key: 'p/清单.txt', Size: 9_007_199_254, StorageClass: 'ARCHIVE', IsMultipartUploaded: true, ReplicationStatus: 'COMPLETED', Metadata: { 'x-cos-meta-z': 'b' } },
  { Key: 'p/%41', Size: 0, IsDeleteMarker: true, IsLatest: false, VersionId: 'MTg0' },
  { Key: 'p/z' }
]

const stored = {
  IsEnabled: true,
  IncludedObjectVersions: 'All',
  Schedule: { Frequency: 'Daily' },
  OptionalFields: { Field: ['Size', 'LastModifiedDate', 'ETag', 'StorageClass', 'IsMultipartUploaded', 'ReplicationStatus', 'Tag', 'Crc64', 'x-cos-meta-*'] },
  Destination: { COSBucketDestination: { Bucket: 'qcs::cos:ap-guangzhou::reports-1250000000', Format: 'CSV', Prefix: 'a b' } }
}

interface Expected {
  /** Codes; `ok` where there is none, and `other` for other rows. */
  list?: 'ok' | string
  one?: 'ok' | string
  /** One of several where it depends on the moment whether the first rows were sent already. */
  rows?: 'ok' | 'other' | 'broken' | string
}

const corrupt = { one: 'ReportCorrupt', rows: 'ReportCorrupt' }
const none = { list: 'none', one: 'ReportNotFound', rows: 'ReportNotFound' }
const incomplete = { one: 'ReportIncomplete', rows: 'ReportIncomplete' }

/** The differences to a list, a report and the right rows. */
const expectations: Record<string, Expected> = {
  // A key that is not encoded cannot be told from an encoded one.
  'keys=raw': { rows: 'other' },
  'columns=many': { one: 'ReportTooLarge', rows: 'ReportTooLarge' },
  'row=short': { rows: 'ReportCorrupt' },
  'row=long': { rows: 'ReportCorrupt' },
  'row=unclosed-quote': { rows: 'ReportCorrupt' },
  'row=huge': { rows: 'ReportTooLarge broken' },
  'compression=none': { rows: 'ReportUnsupported' },
  'compression=truncated': { rows: 'ReportCorrupt broken' },
  'compression=trailing-bytes': { rows: 'ReportCorrupt broken' },
  'compression=zero-padding': { rows: 'ReportCorrupt broken' },
  // EncodedKey then says what the report has.
  'blank=+': { rows: 'other' },
  'compression=bomb': { rows: 'ReportTooLarge broken' },
  'fileFormat=ORC': { one: 'ReportUnsupported', rows: 'ReportUnsupported' },
  'fileFormat=Parquet': { one: 'ReportUnsupported', rows: 'ReportUnsupported' },
  'manifest=not-json': corrupt,
  'manifest=empty': corrupt,
  'manifest=huge': { one: 'ReportTooLarge', rows: 'ReportTooLarge' },
  'files=none': { rows: 'other' },
  'files=50001': { one: 'ReportTooLarge', rows: 'ReportTooLarge' },
  'fileKeys=outside': corrupt,
  'fileKeys=dots': corrupt,
  'checksum=missing': incomplete,
  'checksum=wrong': corrupt,
  'checksum=huge': { one: 'ReportTooLarge', rows: 'ReportTooLarge' },
  'writes=nothing': none,
  'writes=files': none,
  'writes=manifest': incomplete,
  'file=missing': { rows: 'ReportIncomplete' },
  'file=truncated': { rows: 'ReportCorrupt' },
  'file=longer': { rows: 'ReportCorrupt' },
  'file=wrong-md5': { rows: 'ReportCorrupt' },
  'file=archived': { rows: 'InvalidObjectState' },
  'file=redirect': { rows: 'ReportIncomplete' },
  'manifest=missing': none,
  'manifest=archived': { one: 'InvalidObjectState', rows: 'InvalidObjectState' },
  'manifest=redirect': none,
  'listLagMs=60000': { list: 'none' }
}

t.test('every form of a report gives the right rows or its documented error', async t => {
  const { call, emulator } = await start(t, {
    buckets: [{ name: bucket, region: 'ap-guangzhou' }, { name: 'reports-1250000000', region: 'ap-guangzhou' }],
    environment: { REPORTS: 'true' }
  })
  async function outcomes (order: Partial<ReportOrder>) {
    await emulator.deliverReport({ bucket, id: 'daily', date, objects, ...order })
    const list = await call('GET', `${path}/reports?from=${date}`)
    const one = await call('GET', `${path}/reports/${date}`)
    const rows = await call('GET', `${path}/reports/${date}/rows`).catch(() => undefined)
    const codeOf = (answer: { status: number, json: { code?: string } }) => answer.status < 300 ? 'ok' : String(answer.json.code)
    const keysOf = (text: string) => text.split('\n').filter(line => line !== '').map(line => {
      const { Key, Size, IsMultipartUploaded, IsLatest } = JSON.parse(line) as Record<string, unknown>
      return { Key, Size, IsMultipartUploaded, IsLatest }
    })
    return {
      list: list.status === 200 && list.json.Reports.length === 0 ? 'none' : codeOf(list),
      one: codeOf(one),
      rows: rows === undefined ? 'broken' : rows.status === 200 ? keysOf(rows.text) : codeOf(rows)
    }
  }

  const right = objects.map(({ Key, Size = null, IsMultipartUploaded = null, IsLatest = true }) =>
    ({ Key, Size, IsMultipartUploaded, IsLatest }))
  const all = Object.entries(reportKnobs).flatMap(([group, knobs]) =>
    Object.entries(knobs).flatMap(([name, { values }]) =>
      (values as readonly unknown[]).map(value => ({ group, name, value }))))
  t.ok(all.length > 80)
  for (const { group, name, value } of all) {
    emulator.reset()
    await call('PUT', path, stored)
    const key = `${name}=${value}`
    const { list = 'ok', one = 'ok', rows = 'ok' }: Expected = expectations[key] ?? {}
    const seen = await outcomes({ [group]: { [name]: value } })
    t.equal(seen.list, list, `list with ${key}`)
    t.equal(seen.one, one, `one with ${key}`)
    if (rows === 'ok') t.strictSame(seen.rows, right, `rows with ${key}`)
    else if (rows === 'other') t.ok(Array.isArray(seen.rows), `rows with ${key}`)
    else t.ok(rows.split(' ').includes(String(seen.rows)), `rows with ${key}`, { rows: seen.rows })
  }
})
