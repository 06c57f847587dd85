import { createHash } from 'node:crypto'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { gunzipSync } from 'node:zlib'
import t from 'tap'
import { deliverExampleReport, exampleBuckets } from '../../src/emulator/examples.ts'
import type { Emulator, Fault, ReportOrder, ReportedObject } from '../../src/emulator/server.ts'
import {
  type Sent, bucketName, element, errorOf, send, sendHead, startForTest, toDestination, toDocument, toJob, toPut
} from './client.ts'
import {
  deliverAndRead, everyField, putJob, readObject, readReport, reportsHost, toFields, toOrder, toRows
} from './report-client.ts'

const folder = 'list1/1250000000/examplebucket/daily/'
const full: ReportedObject = {
  Key: 'myPrefix/a b+c.txt',
  Size: 5,
  LastModifiedDate: '2026-11-01T10:00:00.5Z',
  ETag: '"d41d8cd98f00b204e9800998ecf8427e"',
  StorageClass: 'STANDARD',
  IsMultipartUploaded: false,
  ReplicationStatus: 'COMPLETED',
  Tag: { team: 'a b', 'x&y': '1' },
  Crc64: '18446744073709551615',
  Metadata: { 'x-cos-meta-Owner': 'me, "you"' }
}
const md5Of = (bytes: Buffer | string) => createHash('md5').update(bytes).digest('hex')

/** Returns the keys of all rows, as the CSV has them. */
function keysOf (csv: string[]): string[] {
  return csv.join('').split('\n').slice(0, -1).map(line => line.split('","')[2] ?? '')
}

/** Sends an admin request with JSON and returns status and value of the response. */
async function ask (emulator: Emulator, target: string, value: unknown): Promise<[number, unknown]> {
  const { status, body } = await send(emulator, {
    method: 'POST', target, host: 'localhost', credential: null, body: JSON.stringify(value)
  })
  return [status, JSON.parse(body)]
}

t.test('POST of a report writes data file, manifest and checksum in this order', async t => {
  const emulator = await startForTest(t)
  await putJob(emulator, 'daily', everyField)
  const order = toOrder([full, { Key: '报告' }], { date: '20261120' })
  const [status, value] = await ask(emulator, '/_emulator/reports', order)
  const report = value as Awaited<ReturnType<Emulator['deliverReport']>>
  t.equal(status, 201)
  t.strictSame(report, {
    bucket: 'reports-1250000000',
    date: '20261120',
    manifest: `${folder}20261120/manifest.json`,
    checksum: `${folder}20261120/manifest.checksum`,
    files: report.files,
    keys: [...report.files, `${folder}20261120/manifest.json`, `${folder}20261120/manifest.checksum`],
    listObjectCount: 2,
    listStorageSize: '5',
    filterObjectCount: 2,
    filterStorageSize: '5'
  })
  t.match(report.files, [/^list1\/1250000000\/examplebucket\/daily\/[0-9a-f]{32}\.csv\.gz$/])

  const { json, manifest, checksum, files, csv } = await readReport(emulator, report)
  const [file] = files as [Buffer]
  t.strictSame(manifest, {
    sourceAppid: '1250000000',
    sourceBucket: 'examplebucket',
    destinationAppid: '1250000000',
    destinationBucket: 'reports',
    fileFormat: 'CSV',
    listObjectCount: '2',
    listStorageSize: '5',
    filterObjectCount: '2',
    filterStorageSize: '5',
    fileSchema: 'Appid, Bucket, Key, Size, LastModifiedDate, ETag, StorageClass, IsMultipartUploaded, ' +
      'ReplicationStatus, Tag, Crc64, x-cos-meta-owner',
    files: [{ key: report.files[0], size: String(file.length), md5Checksum: md5Of(file) }]
  })
  t.equal(checksum, md5Of(json))
  t.strictSame(csv, [
    '"1250000000","examplebucket","myPrefix/a%20b%2Bc.txt","5","2026-11-01T10:00:00.500Z",' +
    '"d41d8cd98f00b204e9800998ecf8427e","STANDARD","false","COMPLETED","team=a%20b&x%26y=1","18446744073709551615",' +
    '"me, ""you"""\n' +
    '"1250000000","examplebucket","%E6%8A%A5%E5%91%8A","","","","","","","","",""\n'
  ])
})

t.test('second report of a day replaces manifest and checksum, and keeps old data files', async t => {
  const emulator = await startForTest(t)
  await putJob(emulator, 'daily', everyField)
  const first = await deliverAndRead(emulator, toOrder([{ Key: 'a' }]))
  const second = await deliverAndRead(emulator, toOrder([{ Key: 'a' }]))
  t.equal(first.report.manifest, second.report.manifest)
  t.not(first.report.files[0], second.report.files[0])
  t.equal(second.manifest.files[0].key, second.report.files[0])
  t.equal((await readObject(emulator, first.report.files[0] as string)).status, 200)
})

t.test('report contains the objects that the filter selects', async t => {
  const emulator = await startForTest(t)
  const objects: ReportedObject[] = [
    { Key: 'a/1', Size: 1, StorageClass: 'ARCHIVE', LastModifiedDate: '2026-01-01T00:00:10Z', Tag: { team: 'x', stage: 'y' } },
    { Key: 'a/2', Size: 2, StorageClass: 'STANDARD', LastModifiedDate: '2026-01-01T00:00:20Z', Tag: { team: 'x' } },
    { Key: 'a/3', Size: 4 },
    { Key: 'b', Size: 8, StorageClass: 'STANDARD_IA', LastModifiedDate: '2026-01-01T08:00:30+08:00', Tag: { team: 'z' } }
  ]
  const epoch = Date.UTC(2026, 0, 1) / 1000
  const tag = (key: string, value: string) => `<Tag><Key>${key}</Key><Value>${value}</Value></Tag>`
  const cases: Array<[string, string[]]> = [
    ['', ['a/1', 'a/2', 'a/3', 'b']],
    ['<Filter></Filter>', ['a/1', 'a/2', 'a/3', 'b']],
    ['<Filter><Prefix>a/</Prefix></Filter>', ['a/1', 'a/2', 'a/3']],
    ['<Filter><And><Prefix>a/</Prefix></And></Filter>', ['a/1', 'a/2', 'a/3']],
    ['<Filter><Prefix>a/</Prefix><And><Prefix>a/2</Prefix></And></Filter>', ['a/2']],
    [`<Filter>${tag('team', 'x')}</Filter>`, ['a/1', 'a/2']],
    [`<Filter><And>${tag('team', 'x')}${tag('stage', 'y')}</And></Filter>`, ['a/1']],
    ['<Filter><And><StorageClass>STANDARD</StorageClass></And></Filter>', ['a/2', 'a/3']],
    ['<Filter><StorageClass>ARCHIVE</StorageClass><StorageClass>STANDARD_IA</StorageClass></Filter>', ['a/1', 'b']],
    [`<Filter><Period><StartTime>${epoch + 20}</StartTime></Period></Filter>`, ['a/2', 'b']],
    [`<Filter><Period><StartTime></StartTime><EndTime>${epoch + 20}</EndTime></Period></Filter>`, ['a/1', 'a/2']],
    [`<Filter><Period><StartTime>${epoch + 11}</StartTime><EndTime>${epoch + 29}</EndTime></Period></Filter>`, ['a/2']]
  ]
  for (const [Filter, keys] of cases) {
    await putJob(emulator, 'daily', { ...everyField, Filter })
    const { csv, manifest } = await deliverAndRead(emulator, toOrder(objects))
    t.strictSame(keysOf(csv), keys, Filter)
    t.strictSame([manifest.listObjectCount, manifest.listStorageSize], ['4', '15'])
    const bytes = objects.reduce((sum, { Key, Size = 0 }) => sum + (keys.includes(Key) ? Size : 0), 0)
    t.strictSame([manifest.filterObjectCount, manifest.filterStorageSize], [String(keys.length), String(bytes)])
  }
})

t.test('sizes are exact when their sum exceeds 2 ** 53', async t => {
  const emulator = await startForTest(t)
  await putJob(emulator, 'daily', everyField)
  const objects = [2 ** 53 - 1, 2 ** 53 - 1, 3].map((Size, index) => ({ Key: String(index), Size }))
  const { report, manifest } = await deliverAndRead(emulator, toOrder(objects))
  t.strictSame([report.filterStorageSize, manifest.listStorageSize], ['18014398509481985', '18014398509481985'])
})

t.test('report has versions only when the configuration includes all', async t => {
  const emulator = await startForTest(t)
  const objects: ReportedObject[] = [
    { Key: 'a', VersionId: 'v2' }, { Key: 'a', VersionId: 'v1', IsLatest: false }, { Key: 'b', IsDeleteMarker: true }
  ]
  const versions = (which: string) => `<IncludedObjectVersions>${which}</IncludedObjectVersions>`
  await putJob(emulator, 'daily', { ...everyField, OptionalFields: '', IncludedObjectVersions: versions('All') })
  const all = await deliverAndRead(emulator, toOrder(objects))
  t.equal(all.manifest.fileSchema, 'Appid, Bucket, Key, VersionId, IsLatest, IsDeleteMarker, LastModifiedDate')
  t.equal(all.csv[0], [
    '"1250000000","examplebucket","a","v2","true","false",""\n',
    '"1250000000","examplebucket","a","v1","false","false",""\n',
    '"1250000000","examplebucket","b","","true","true",""\n'
  ].join(''))

  await putJob(emulator, 'daily', { ...everyField, OptionalFields: '', IncludedObjectVersions: versions('Current') })
  const current = await deliverAndRead(emulator, toOrder(objects))
  t.equal(current.manifest.fileSchema, 'Appid, Bucket, Key, LastModifiedDate')
  t.strictSame(keysOf(current.csv), ['a'])
})

t.test('columns are those of the fields in any letter case, without unknown fields', async t => {
  const emulator = await startForTest(t)
  const cases: Array<[string[], string]> = [
    [['SIZE', 'Etag', 'New', 'crc64'], 'Size, LastModifiedDate, ETag, Crc64'],
    [['x-cos-meta-b', 'X-Cos-Meta-C'], 'LastModifiedDate, x-cos-meta-b, x-cos-meta-c'],
    [['x-cos-meta-b', 'x-cos-meta-*'], 'LastModifiedDate, x-cos-meta-b, x-cos-meta-a']
  ]
  const Metadata = { 'x-cos-meta-b': '1', 'x-cos-meta-a': '2' }
  for (const [fields, schema] of cases) {
    await putJob(emulator, 'daily', { ...everyField, OptionalFields: toFields(...fields) })
    const { manifest } = await deliverAndRead(emulator, toOrder([{ Key: 'a', Metadata }]))
    t.equal(manifest.fileSchema, `Appid, Bucket, Key, ${schema}`)
  }
})

t.test('folder begins with the prefix of the destination and a slash', async t => {
  const emulator = await startForTest(t)
  const cases: Array<[string, 'once' | 'always', string]> = [
    ['', 'once', ''], ['', 'always', ''], ['a/b', 'once', 'a/b/'], ['a/', 'once', 'a/'], ['a/', 'always', 'a//'],
    ['/', 'once', '/'], ['报 告', 'once', '报 告/']
  ]
  for (const [prefix, prefixSlash, expected] of cases) {
    const Prefix = prefix === '' ? '' : `<Prefix>${prefix}</Prefix>`
    await putJob(emulator, 'daily', { ...everyField, Destination: toDestination({ Prefix }) })
    const { report, manifest } = await deliverAndRead(emulator, toOrder(2, { form: { prefixSlash } }))
    t.equal(report.manifest, `${expected}1250000000/examplebucket/daily/${report.date}/manifest.json`)
    t.equal(manifest.files[0].key, report.files[0])
  }
})

t.test('report of a one-time job has the same layout', async t => {
  const emulator = await startForTest(t)
  await send(emulator, toJob('once'))
  const { report } = await deliverAndRead(emulator, toOrder(3, { id: 'once', date: '20260101' }))
  t.equal(report.manifest, 'list1/1250000000/examplebucket/once/20260101/manifest.json')
  t.equal(report.filterObjectCount, 3)
})

t.test('bucket keeps its contents until others are given', async t => {
  const emulator = await startForTest(t)
  await putJob(emulator, 'daily', everyField)
  await putJob(emulator, 'other', everyField)
  const count = async (parts: Partial<ReportOrder>) =>
    (await emulator.deliverReport({ bucket: bucketName, id: 'daily', ...parts })).listObjectCount
  t.equal(await count({}), 1000, 'generated objects')
  t.equal(await count({ objects: [{ Key: 'a' }] }), 1)
  t.equal(await count({ id: 'other' }), 1)
  t.equal(await count({ count: 7, seed: 2 }), 7)
  t.equal(await count({}), 7)
  emulator.reset()
  await putJob(emulator, 'daily', everyField)
  t.equal(await count({}), 1000)
})

t.test('objects are delivered now, or in the early morning of a past day', async t => {
  const now = Date.parse('2026-11-20T12:00:00Z')
  const emulator = await startForTest(t, { now: () => now })
  const keyTime = '1;9999999999'
  await send(emulator, { ...toPut('daily', toDocument('daily', everyField)), keyTime })
  const deliveredAt = async (date?: string) => {
    const report = await emulator.deliverReport({ bucket: bucketName, id: 'daily', ...(date !== undefined && { date }) })
    const { headers } = await readObject(emulator, report.manifest, { keyTime })
    return [report.date, new Date(String(headers['last-modified'])).toISOString()]
  }
  t.strictSame(await deliveredAt(), ['20261120', '2026-11-20T12:00:00.000Z'])
  t.strictSame(await deliveredAt('20261101'), ['20261101', '2026-10-31T19:00:00.000Z'], 'three hours after midnight, UTC+8')
  t.strictSame(await deliveredAt('20261201'), ['20261201', '2026-11-20T12:00:00.000Z'], 'never in the future')
  emulator.setClockOffset(4.5 * 3600 * 1000)
  t.strictSame(await deliveredAt(), ['20261121', '2026-11-20T16:30:00.000Z'], 'the day of UTC+8')
})

t.test('POST of a report returns 404 or 409 when the job cannot have one', async t => {
  const emulator = await startForTest(t)
  const cases: Array<[Record<string, string>, string]> = [
    [{ IsEnabled: '<IsEnabled>False</IsEnabled>' }, 'the configuration is disabled'],
    [{ Destination: toDestination({ Format: '<Format>ORC</Format>' }) }, 'the emulator writes reports as CSV only'],
    [{ Destination: toDestination({ Bucket: '<Bucket>qcs::cos:ap-guangzhou::absent-1</Bucket>' }) },
      'the destination bucket absent-1 does not exist']
  ]
  for (const [parts, error] of cases) {
    await putJob(emulator, 'daily', parts)
    t.strictSame(await ask(emulator, '/_emulator/reports', toOrder(1)), [409, { errors: [error] }])
  }
  await t.rejects(emulator.deliverReport(toOrder(1)), { name: 'ReportRejection', status: 409, message: cases[2]?.[1] })
  for (const order of [toOrder(1, { id: 'absent' }), toOrder(1, { bucket: 'absent-1' })]) {
    const errors = [`${order.bucket} has no configuration and no one-time job ${order.id}`]
    t.strictSame(await ask(emulator, '/_emulator/reports', order), [404, { errors }])
  }
})

t.test('POST of a report returns 400 with all validation errors', async t => {
  const emulator = await startForTest(t)
  const place = { bucket: bucketName, id: 'daily' }
  const withObject = (object: unknown) => ({ ...place, objects: [{ Key: 'a' }, object] })
  const day = 'date must be a day of the calendar as YYYYMMDD'
  const cases: Array<[unknown, string[]]> = [
    ['report', ['the body must be an object']],
    [{}, ['bucket must be a string', 'id must be a string']],
    [{ ...place, date: '20260230' }, [day]],
    [{ ...place, date: '2026-01-01' }, [day]],
    [{ ...place, date: 20260101 }, [day]],
    [{ ...place, objects: {}, rows: 1, form: 1, delivery: [] }, [
      'rows is not known', 'objects must be a list', 'form must be an object', 'delivery must be an object'
    ]],
    [{ ...place, objects: [], count: 1 }, ['objects and count exclude each other']],
    [{ ...place, seed: 1 }, ['seed needs count']],
    [{ ...place, count: 100_000_001, seed: -1 }, [
      'count must be a whole number from 0 to 100000000', 'seed must be a whole number from 0 to 4294967295'
    ]],
    [{ ...place, form: { quotes: 'some', quote: 'all', header: 'true', rowsPerFile: 0 }, delivery: { file: 'lost' } }, [
      'form.quote is not known', 'form.quotes must be one of all, needed, none', 'form.header must be one of false, true',
      'form.rowsPerFile must be a whole number from 1 to 100000000',
      'delivery.file must be one of right, missing, truncated, longer, wrong-md5, archived, redirect'
    ]],
    [withObject('a'), ['objects[1] must be an object']],
    [withObject({ key: 'a' }), ['objects[1].key is not known', 'objects[1].Key must be a string of Unicode that is not empty']],
    [withObject({ Key: '\ud800' }), ['objects[1].Key must be a string of Unicode that is not empty']],
    [withObject({ Key: 'a', Size: -1, LastModifiedDate: 'today', Crc64: 1, IsLatest: 'true', Tag: { a: 1 } }), [
      'objects[1].Size must be a whole number from 0',
      'objects[1].LastModifiedDate must be a time such as 2026-11-20T02:41:07.000Z',
      'objects[1].Tag must be an object of strings of Unicode',
      'objects[1].Crc64 must be a string of at most 20 digits',
      'objects[1].IsLatest must be true or false'
    ]],
    [withObject({ Key: 'a', LastModifiedDate: '2026-99-01T00:00:00Z', Tag: { '\ud800': '' }, Metadata: { owner: 'a' } }), [
      'objects[1].LastModifiedDate must be a time such as 2026-11-20T02:41:07.000Z',
      'objects[1].Tag must be an object of strings of Unicode',
      'objects[1].Metadata must be an object of x-cos-meta- headers'
    ]],
    [withObject({ Key: 'a', Metadata: { 'x-cos-meta-a': 1 }, LastModifiedDate: 5 }), [
      'objects[1].LastModifiedDate must be a time such as 2026-11-20T02:41:07.000Z',
      'objects[1].Metadata must be an object of x-cos-meta- headers'
    ]]
  ]
  for (const [value, errors] of cases) {
    t.strictSame(await ask(emulator, '/_emulator/reports', value), [400, { errors }])
    await t.rejects(emulator.deliverReport(value as ReportOrder), { status: 400, message: errors.join('; ') })
  }
  const long = { ...place, objects: [{ Key: 'x'.repeat(1024 * 1024) }] }
  t.strictSame(
    await ask(emulator, '/_emulator/reports', long), [413, { errors: ['the body must have at most 1 MiB'] }])
})

t.test('generated rows are the same at each call, and others with another seed', async t => {
  const emulator = await startForTest(t)
  const versions = '<IncludedObjectVersions>All</IncludedObjectVersions>'
  await putJob(emulator, 'daily', { ...everyField, IncludedObjectVersions: versions })
  const one = await deliverAndRead(emulator, toOrder(2000, { seed: 1 }))
  const again = await deliverAndRead(emulator, toOrder(2000, { seed: 1 }))
  const other = await deliverAndRead(emulator, toOrder(2000, { seed: 2 }))
  t.equal(one.csv[0], again.csv[0])
  t.not(one.csv[0], other.csv[0])
  const rows = toRows(one.csv[0] as string)
  t.equal(rows.length, 2000)
  t.equal(new Set(rows.map(([, , key, version]) => `${key} ${version}`)).size, 2000, 'key and version are unique')
  const decoded = rows.map(([, , key = '']) => decodeURIComponent(key))
  for (const text of ['报告', ' ', '+', '%', '"', ',', '\n', '😀']) {
    t.ok(decoded.some(key => key.includes(text)), JSON.stringify(text))
  }
  const latest = rows.filter(row => row[4] === 'true')
  t.equal(new Set(latest.map(([, , key]) => key)).size, latest.length, 'a key has one latest version')
  t.ok(rows.some(row => row[4] === 'false' && latest.some(([, , key]) => key === row[2])), 'and older ones')
  t.ok(rows.some(row => row[5] === 'true' && row[6] === '0' && row[8] === ''), 'a delete marker has no size and ETag')
  t.equal(rows.reduce((sum, row) => sum + Number(row[6]), 0), Number(one.report.listStorageSize))
  t.ok(rows.every(row => BigInt(row[13] as string) < 2n ** 64n), 'Crc64 has 64 bits')
})

t.test('generated keys begin with the prefix of the filter', async t => {
  const emulator = await startForTest(t)
  for (const [plain, and] of [['a/', 'a/b'], ['a/b', 'a/']]) {
    const Filter = `<Filter><Prefix>${plain}</Prefix><And><Prefix>${and}</Prefix></And></Filter>`
    await putJob(emulator, 'daily', { ...everyField, Filter })
    const { csv, report } = await deliverAndRead(emulator, toOrder(100))
    t.equal(report.filterObjectCount, 100)
    t.ok(keysOf(csv).every(key => key.startsWith('a/b')))
  }
})

t.test('rows are divided into data files after the filter', async t => {
  const emulator = await startForTest(t)
  const Filter = '<Filter><And><StorageClass>STANDARD</StorageClass></And></Filter>'
  await putJob(emulator, 'daily', { ...everyField, Filter })
  const { report, manifest, csv } = await deliverAndRead(emulator, toOrder(10_000, { form: { rowsPerFile: 1000 } }))
  const counts = csv.map(text => keysOf([text]).length)
  t.ok(report.filterObjectCount > 2000 && report.filterObjectCount < 8000)
  t.ok(counts.slice(0, -1).every(count => count === 1000))
  t.equal(counts.reduce((sum, count) => sum + count), report.filterObjectCount)
  t.strictSame(manifest.files.map(({ key }: { key: string }) => key), report.files)
  t.equal(new Set(report.files).size, counts.length)
})

t.test('generated object has ranges, and the size and MD5 of the manifest', async t => {
  const emulator = await startForTest(t)
  await putJob(emulator, 'daily', everyField)
  const { report, manifest, files: [file] } = await deliverAndRead(emulator, toOrder(5000))
  const [key] = report.files as [string]
  const [{ size, md5Checksum }] = manifest.files
  t.strictSame([String(file?.length), md5Of(file as Buffer)], [size, md5Checksum])
  const headed = await readObject(emulator, key, { method: 'HEAD' })
  t.strictSame([headed.headers['content-length'], headed.headers.etag, headed.bytes.length], [size, `"${md5Checksum}"`, 0])
  for (const [Range, start, end] of [['bytes=0-99', 0, 100], ['bytes=70000-70001', 70000, 70002], ['bytes=-9', -9]] as const) {
    const part = await readObject(emulator, key, { headers: { Range } })
    t.equal(part.status, 206)
    t.ok(part.bytes.equals((file as Buffer).subarray(start, end)), Range)
  }
  t.equal((await readObject(emulator, key, { headers: { 'If-None-Match': `"${md5Checksum}"` } })).status, 304)
})

t.test('emulator serves requests while it makes a report', async t => {
  const emulator = await startForTest(t)
  await putJob(emulator, 'daily', { ...everyField, OptionalFields: '' })
  let isDelivered = false
  const delivery = emulator.deliverReport(toOrder(100_000)).then(report => {
    isDelivered = true
    return report
  })
  for (let sent = 0; sent < 3; sent++) {
    t.equal((await send(emulator, { target: '/?inventory' })).status, 200)
    t.notOk(isDelivered)
  }
  t.equal((await send(emulator, { target: '/', host: reportsHost })).body.includes('<Contents>'), false)
  t.equal((await delivery).filterObjectCount, 100_000)
})

t.test('reset and close end a delivery, which then writes nothing', async t => {
  for (const end of ['reset', 'close'] as const) {
    const emulator = await startForTest(t)
    await putJob(emulator, 'daily', everyField)
    const delivery = emulator.deliverReport(toOrder(10_000_000))
    const admin = ask(emulator, '/_emulator/reports', toOrder(10_000_000)).catch(() => 'closed')
    await send(emulator, { target: '/?inventory' })
    const rejected = t.rejects(delivery, { status: 409, message: 'the emulator was reset or closed' })
    await emulator[end]()
    await rejected
    if (end === 'close') continue
    t.strictSame(await admin, [409, { errors: ['the emulator was reset or closed'] }])
    t.notMatch((await send(emulator, { target: '/', host: reportsHost })).body, '<Contents>')
  }
})

// The body is larger than the buffers of both sockets, so it is sent only as fast as it is read.
async function deliverLarge (emulator: Emulator): Promise<{ target: string, size: number }> {
  await putJob(emulator, 'daily', { ...everyField, OptionalFields: toFields('ETag', 'Crc64') })
  const { files: [key] } = await emulator.deliverReport(toOrder(100_000, { form: { compression: 'none' } }))
  const { headers } = await readObject(emulator, key as string, { method: 'HEAD' })
  return { target: `/${key}`, size: Number(headers['content-length']) }
}

t.test('faults of a generated body apply without storing it', async t => {
  const emulator = await startForTest(t)
  const { target, size } = await deliverLarge(emulator)
  t.ok(size > 8_000_000)
  const get: Sent = { target, host: reportsHost }
  const cases: Array<[Fault, number | undefined]> = [
    [{ kind: 'cut', bytes: 1_000_001, times: 1 }, 1_000_001],
    [{ kind: 'cut', times: 1 }, Math.floor(size / 2)],
    [{ kind: 'reset-mid-answer', times: 1 }, undefined]
  ]
  for (const [fault, expected] of cases) {
    emulator.addFault({ ...fault, match: { operation: 'GetObject' } })
    const incoming = await sendHead(emulator, get)
    let received = 0
    incoming.on('data', (chunk: Buffer) => { received += chunk.length })
    await t.rejects(buffer(incoming), { code: 'ECONNRESET' }, JSON.stringify(fault))
    t.equal(incoming.headers['content-length'], String(size))
    if (expected === undefined) t.ok(received < size)
    else t.equal(received, expected)
  }
  for (const [fault, status] of [
    [{ kind: 'latency', ms: 1 }, 200], [{ kind: 'garbage' }, 200], [{ kind: 'raw', status: 202 }, 202],
    [{ kind: 'error', status: 500, code: 'InternalError' }, 500]
  ] as Array<[Fault, number]>) {
    emulator.addFault({ ...fault, times: 1, match: { operation: 'GetObject' } })
    t.equal((await readObject(emulator, target.slice(1))).status, status, fault.kind)
  }
  emulator.addFault({ kind: 'reset', times: 1, match: { operation: 'GetObject' } })
  await t.rejects(sendHead(emulator, get), { code: 'ECONNRESET' })
})

t.test('generated body ends when the client disconnects', async t => {
  const emulator = await startForTest(t)
  const { target, size } = await deliverLarge(emulator)
  const accepted: Socket[] = []
  const onSocket = (message: unknown) => { accepted.push((message as { socket: Socket }).socket) }
  subscribe('net.server.socket', onSocket)
  t.teardown(() => unsubscribe('net.server.socket', onSocket))
  for (const fault of [undefined, { kind: 'cut', bytes: size }, { kind: 'drip', ms: 0 }] as Array<Fault | undefined>) {
    emulator.clearFaults()
    if (fault !== undefined) emulator.addFault(fault)
    const incoming = await sendHead(emulator, { target, host: reportsHost })
    const socket = accepted.at(-1) as Socket
    await once(incoming, 'data')
    incoming.on('error', () => {})
    incoming.destroy()
    if (!socket.closed) await new Promise(resolve => socket.on('close', resolve))
    emulator.clearFaults()
    t.equal((await send(emulator, { target: '/?inventory' })).status, 200, fault?.kind ?? 'no fault')
  }
})

t.test('report objects need the permission to read them', async t => {
  const emulator = await startForTest(t)
  const { target } = await deliverLarge(emulator)
  const response = await send(emulator, { target, host: reportsHost, credential: null })
  t.strictSame(errorOf(response), [403, 'AccessDenied'])
  t.equal(element(response.body, 'Resource'), reportsHost + target)
})

t.test('example report has 5,000 rows in two data files', async t => {
  const emulator = await startForTest(t, { buckets: exampleBuckets })
  const { bucket, files, filterObjectCount } = await deliverExampleReport(emulator)
  t.strictSame([filterObjectCount, files.length], [5000, 2])
  const host = `${bucket}.cos.ap-shanghai.myqcloud.com`
  const contents = await Promise.all(files.map(key => readObject(emulator, key, { host })))
  t.equal(contents.map(({ bytes }) => gunzipSync(bytes).toString()).join('').split('\n').length, 5001)
})
