import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import t from 'tap'
import { parseDate } from '../../src/emulator/reports/day.ts'
import {
  type DeliveredReport, type Emulator, type ReportOrder, type ReportedObject, reportKnobs
} from '../../src/emulator/server.ts'
import { send, startForTest } from './client.ts'
import { deliverAndRead, everyField, putJob, readObject, reportsHost, toOrder } from './report-client.ts'

type Form = NonNullable<ReportOrder['form']>
type Knob = { values: readonly unknown[], range?: readonly number[], about: string }
type Delivery = NonNullable<ReportOrder['delivery']>

const versions = { IncludedObjectVersions: '<IncludedObjectVersions>All</IncludedObjectVersions>' }
const object: ReportedObject = {
  Key: 'a/b c+"d"',
  LastModifiedDate: '2026-11-20T02:41:07.123Z',
  ETag: 'e1',
  StorageClass: 'STANDARD',
  IsMultipartUploaded: true,
  ReplicationStatus: 'REPLICA',
  Tag: { k: 'v w' },
  Metadata: { 'x-cos-meta-b': '1', 'x-cos-meta-a': 'x,y' },
  VersionId: 'v1'
}
const md5Of = (bytes: Buffer | string) => createHash('md5').update(bytes).digest('hex')

/** Starts an emulator with a job that reports every field and version. */
async function start (t: Parameters<typeof startForTest>[0]): Promise<Emulator> {
  const emulator = await startForTest(t)
  await putJob(emulator, 'daily', { ...everyField, ...versions })
  return emulator
}

t.test('each value of each knob is accepted, and the default changes nothing', async t => {
  const emulator = await start(t)
  const { csv, json } = await deliverAndRead(emulator, toOrder([object]))
  for (const [part, knobs] of Object.entries(reportKnobs)) {
    for (const [name, { values }] of Object.entries<Knob>(knobs)) {
      for (const value of values) {
        emulator.reset()
        await putJob(emulator, 'daily', { ...everyField, ...versions })
        const order = toOrder([object], { [part]: { [name]: value } })
        const report = await emulator.deliverReport(order)
        t.equal(report.filterObjectCount, 1, `${part}.${name}: ${value}`)
        if (value !== values[0]) continue
        const same = await deliverAndRead(emulator, order)
        t.strictSame([same.csv, same.json.length], [csv, json.length], `${part}.${name}: ${value}`)
      }
    }
  }
})

t.test('README lists exactly the knobs with their values', async t => {
  const readme = readFileSync(new URL('../../src/emulator/README.md', import.meta.url), 'utf8')
  for (const [part, knobs] of Object.entries(reportKnobs)) {
    const rows = Object.entries<Knob>(knobs).map(([name, { values, range, about }]) => {
      const span = range === undefined ? '' : ` (${range.join(' to ')})`
      return `| \`${name}\` | ${values.map(value => `\`${value}\``).join(' ')}${span} | ${about} |`
    })
    const shown = readme.split(`| member of \`${part}\` |`)[1]?.split('\n\n')[0]?.split('\n').slice(2)
    t.strictSame(shown, rows)
  }
})

// The columns of the row above, as the default form writes them.
const schema = 'Appid, Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag, StorageClass, ' +
  'IsMultipartUploaded, ReplicationStatus, Tag, Crc64, x-cos-meta-a, x-cos-meta-b'
const values: Record<string, string> = {
  Appid: '1250000000',
  Bucket: 'examplebucket',
  Key: 'a/b%20c%2B%22d%22',
  VersionId: 'v1',
  IsLatest: 'true',
  IsDeleteMarker: 'false',
  Size: '',
  LastModifiedDate: '2026-11-20T02:41:07.123Z',
  ETag: 'e1',
  StorageClass: 'STANDARD',
  IsMultipartUploaded: 'true',
  ReplicationStatus: 'REPLICA',
  Tag: 'k=v%20w',
  Crc64: '',
  'x-cos-meta-a': 'x,y',
  'x-cos-meta-b': '1'
}
const quote = (text: string) => `"${text.replaceAll('"', '""')}"`
const toLine = (changed: Record<string, string> = {}, names = schema.split(', ')) =>
  names.map(name => quote({ ...values, ...changed }[name] ?? 'unknown')).join(',')
const names = schema.split(', ')
const withoutVersions = names.filter(name => !['VersionId', 'IsLatest', 'IsDeleteMarker'].includes(name))

t.test('knobs of values and lines change the CSV', async t => {
  const emulator = await start(t)
  const cases: Array<[Form, string]> = [
    [{}, `${toLine()}\n`],
    [{ quotes: 'needed' }, `${Object.values(values).join(',').replace('x,y', '"x,y"')}\n`],
    [{ quotes: 'none' }, `${Object.values(values).join(',')}\n`],
    [{ quotes: 'needed', etag: 'quoted' },
      `${Object.values(values).join(',').replace('x,y', '"x,y"').replace('e1', '"""e1"""')}\n`],
    [{ keys: 'raw' }, `${toLine({ Key: 'a/b c+"d"' })}\n`],
    [{ slash: '%2F' }, `${toLine({ Key: 'a%2Fb%20c%2B%22d%22' })}\n`],
    [{ blank: '+' }, `${toLine({ Key: 'a/b+c%2B%22d%22' })}\n`],
    [{ booleans: 'True' }, `${toLine({ IsLatest: 'True', IsDeleteMarker: 'False', IsMultipartUploaded: 'True' })}\n`],
    [{ booleans: 'TRUE' }, `${toLine({ IsLatest: 'TRUE', IsDeleteMarker: 'FALSE', IsMultipartUploaded: 'TRUE' })}\n`],
    [{ dates: 'iso' }, `${toLine({ LastModifiedDate: '2026-11-20T02:41:07Z' })}\n`],
    [{ dates: 'offset' }, `${toLine({ LastModifiedDate: '2026-11-20T10:41:07+08:00' })}\n`],
    [{ dates: 'local' }, `${toLine({ LastModifiedDate: '2026-11-20 10:41:07' })}\n`],
    [{ dates: 'seconds' }, `${toLine({ LastModifiedDate: '1795142467' })}\n`],
    [{ etag: 'quoted' }, `${toLine({ ETag: '"e1"' })}\n`],
    [{ empty: 'null' }, `${toLine({ Size: 'null', Crc64: 'null' })}\n`],
    [{ tags: 'json' }, `${toLine({ Tag: '{"k":"v w"}' })}\n`],
    [{ tags: 'json', empty: 'null' }, `${toLine({ Tag: '{"k":"v w"}', Size: 'null', Crc64: 'null' })}\n`],
    [{ words: 'title' }, `${toLine({ StorageClass: 'Standard', ReplicationStatus: 'Replica' })}\n`],
    [{ words: 'lower' }, `${toLine({ StorageClass: 'standard', ReplicationStatus: 'replica' })}\n`],
    [{ metaColumns: 'one' }, `${toLine(
      { 'x-cos-meta-*': '{"x-cos-meta-b":"1","x-cos-meta-a":"x,y"}' }, [...names.slice(0, -2), 'x-cos-meta-*'])}\n`],
    [{ versionColumns: 'end' }, `${toLine({}, [...withoutVersions, 'VersionId', 'IsLatest', 'IsDeleteMarker'])}\n`],
    [{ columns: 'reordered' }, `${toLine({}, names.toReversed())}\n`],
    [{ columns: 'unknown' }, `${toLine({}, [...names.slice(0, 8), 'NewColumn', ...names.slice(8)])}\n`],
    [{ columns: 'many' }, `${toLine({}, [...names, ...Array.from({ length: 200 }, () => 'NewColumn')])}\n`],
    [{ row: 'short' }, `${toLine({}, names.slice(0, -1))}\n`],
    [{ row: 'long' }, `${toLine({ more: 'more' }, [...names, 'more'])}\n`],
    [{ row: 'unclosed-quote' }, `${toLine({}, names.slice(0, -1))},"open\n`],
    [{ row: 'huge' }, `${toLine({ 'x-cos-meta-b': 'x'.repeat(1024 * 1024) })}\n`],
    [{ lineEnds: 'CRLF' }, `${toLine()}\r\n`],
    [{ lastLine: 'open' }, toLine()],
    [{ header: true }, `${names.map(quote).join(',')}\n${toLine()}\n`],
    [{ bom: true }, `\ufeff${toLine()}\n`],
    [{ bom: true, header: true, quotes: 'needed', lineEnds: 'CRLF', lastLine: 'open' },
      `\ufeff${names.join(',')}\r\n${Object.values(values).join(',').replace('x,y', '"x,y"')}`]
  ]
  for (const [form, expected] of cases) {
    const { csv } = await deliverAndRead(emulator, toOrder([object], { form }))
    // The whole text of a long row would fill the output.
    t.ok(csv[0] === expected, JSON.stringify(form), { csv: csv[0]?.slice(0, 500), expected: expected.slice(0, 500) })
  }
})

t.test('object without tags and headers has empty values in each form', async t => {
  const emulator = await start(t)
  for (const form of [{}, { tags: 'json' }, { metaColumns: 'one' }] as Form[]) {
    const { csv } = await deliverAndRead(emulator, toOrder([{ Key: 'a' }], { form }))
    t.match(csv[0], /"a","","true","false"(,"")+\n$/, JSON.stringify(form))
  }
})

t.test('defects of rows are in the middle row of each file', async t => {
  const emulator = await start(t)
  const objects = [{ Key: 'a' }, { Key: 'b' }, { Key: 'c' }, { Key: 'd' }, { Key: 'e' }]
  const { csv } = await deliverAndRead(emulator, toOrder(objects, { form: { row: 'short', rowsPerFile: 3 } }))
  const counts = csv.map(text => text.trimEnd().split('\n').map(line => line.split(',').length))
  const whole = names.length - 2
  t.strictSame(counts, [[whole, whole - 1, whole], [whole, whole - 1]])
  const open = await deliverAndRead(emulator, toOrder(objects, { form: { lastLine: 'open', rowsPerFile: 3 } }))
  t.strictSame(open.csv.map(text => [text.split('\n').length, text.endsWith('\n')]), [[3, false], [2, false]])
})

t.test('knobs of compression change the bytes of the data file', async t => {
  const emulator = await start(t)
  const whole = (await deliverAndRead(emulator, toOrder(3000))).csv[0] as string
  const read = async (compression: NonNullable<Form['compression']>, rows = 3000) => {
    const { files: [key], manifest } = await emulator.deliverReport(toOrder(rows, { form: { compression } }))
    const { bytes } = await readObject(emulator, key as string)
    const { files: [listed] } = JSON.parse((await readObject(emulator, manifest)).bytes.toString())
    t.strictSame([listed.size, listed.md5Checksum], [String(bytes.length), md5Of(bytes)], 'the manifest is right')
    return bytes
  }
  t.equal((await read('none')).toString(), whole)
  const two = await read('two-members')
  t.equal(gunzipSync(two).toString(), whole)
  t.ok(two.indexOf(Buffer.from([0x1f, 0x8b, 0x08]), 1) > 0)
  const truncated = await read('truncated')
  t.throws(() => gunzipSync(truncated), { code: 'Z_BUF_ERROR' })
  const trailing = await read('trailing-bytes')
  const trailer = Buffer.from('no gzip member')
  t.ok(trailing.subarray(-trailer.length).equals(trailer))
  t.equal(gunzipSync(trailing.subarray(0, -trailer.length)).toString(), whole)
  const bomb = await read('bomb', 10)
  const inflated = gunzipSync(bomb)
  t.ok(inflated.length >= 128 * 1024 * 1024)
  t.equal(Math.max(...inflated.toString().split('\n').map(line => line.length)) >> 10, 24)
  t.ok(inflated.length / bomb.length > 500, `${Math.round(inflated.length / bomb.length)}:1`)
})

t.test('bytes of an empty report are those of its form', async t => {
  const emulator = await start(t)
  const none = await deliverAndRead(emulator, toOrder(0))
  t.strictSame([none.manifest.files, none.manifest.listObjectCount], [[], '0'])
  const one = await deliverAndRead(emulator, toOrder(0, { form: { emptyReport: 'empty-file' } }))
  t.strictSame([one.csv, one.manifest.files.length], [[''], 1])
  for (const compression of ['two-members', 'bomb'] as const) {
    const form: Form = { emptyReport: 'empty-file', compression }
    t.strictSame((await deliverAndRead(emulator, toOrder(0, { form }))).csv, [''])
  }
  const header = await deliverAndRead(emulator, toOrder(0, { form: { emptyReport: 'empty-file', header: true } }))
  t.match(header.csv[0], /^"Appid",.*\n$/)
  t.strictSame((await emulator.deliverReport(toOrder(0, { form: { emptyReport: 'no-report' } }))).keys, [])
})

t.test('knobs of the manifest change its members', async t => {
  const emulator = await start(t)
  const right = await deliverAndRead(emulator, toOrder([{ Key: 'a', Size: 7 }]))
  const read = async (form: Form) => await deliverAndRead(emulator, toOrder([{ Key: 'a', Size: 7 }], { form }))
  const numbers = (await read({ numbers: 'numbers' })).manifest
  t.match(numbers, { listObjectCount: 1, listStorageSize: 7, filterObjectCount: 1, filterStorageSize: 7 })
  t.equal(numbers.files[0].size, Number(right.manifest.files[0].size))
  const { md5Checksum } = right.manifest.files[0]
  const renamed = (await read({ md5Member: 'MD5checksum', md5Case: 'upper' })).manifest.files[0]
  t.strictSame([renamed.MD5checksum, renamed.md5Checksum], [md5Checksum.toUpperCase(), undefined])
  t.equal((await read({ schema: 'comma' })).manifest.fileSchema, right.manifest.fileSchema.replaceAll(', ', ','))
  t.equal((await read({ columns: 'unknown' })).manifest.fileSchema.split(', ')[7], 'NewColumn')
  t.equal((await read({ deleteMarker: 'DeleteMarker' })).manifest.fileSchema.split(', ')[5], 'DeleteMarker')
  t.equal((await read({ fileFormat: 'Parquet' })).manifest.fileFormat, 'Parquet')
  const unknown = (await read({ members: 'unknown' })).manifest
  t.ok(unknown.newMember && unknown.files[0].newMember)
  t.match((await read({ counts: 'wrong' })).manifest, { listObjectCount: '1', filterObjectCount: '2', filterStorageSize: '8' })
  t.strictSame((await read({ files: 'none' })).manifest.files, [])
  const many = await read({ files: '50001' })
  t.equal(many.manifest.files.length, 50_001)
  t.equal(many.manifest.files[0].key, many.report.files[0])
  t.match(many.manifest.files[50_000].key, /^list1\/1250000000\/examplebucket\/daily\/[0-9a-f]{32}\.csv\.gz$/)
  t.ok(many.json.length < 8 * 1024 * 1024, 'only the number of files is too large')
  const name = right.report.files[0]?.split('/').at(-1)?.length
  const outside = (await read({ fileKeys: 'outside' })).manifest.files[0].key
  t.match(outside, /^elsewhere\/[0-9a-f]{32}\.csv\.gz$/)
  t.equal(outside.length, 'elsewhere/'.length + (name as number))
  const dots = await read({ fileKeys: 'dots' })
  t.match(dots.manifest.files[0].key, /^list1\/1250000000\/examplebucket\/daily\/\.\.\/secret\/[0-9a-f]{32}\.csv\.gz$/)
  t.equal(dots.files.length, 1, 'the object stays inside')
})

t.test('knobs of manifest and checksum change their bytes', async t => {
  const emulator = await start(t)
  const read = async (form: Form) => {
    emulator.reset()
    await putJob(emulator, 'daily', everyField)
    const { manifest, checksum } = await emulator.deliverReport(toOrder(1, { form }))
    const [json, digest] = [await readObject(emulator, manifest), await readObject(emulator, checksum)]
    return { json: json.bytes, digest: digest.status === 200 ? digest.bytes.toString() : digest.status }
  }
  const plain = await read({})
  const md5 = md5Of(plain.json)
  const manifests: Array<[NonNullable<Form['manifest']>, (json: string) => boolean]> = [
    ['bom', json => json === `\ufeff${plain.json.toString()}`],
    ['not-json', json => json.startsWith('<')],
    ['empty', json => json === ''],
    ['huge', json => json.length > 9 * 1024 * 1024 && json.trimEnd() === plain.json.toString()]
  ]
  for (const [manifest, isExpected] of manifests) {
    const { json, digest } = await read({ manifest })
    t.ok(isExpected(json.toString()), manifest)
    t.equal(digest, md5Of(json), 'the checksum is that of the bytes')
  }
  const checksums: Array<[NonNullable<Form['checksum']>, string | number]> = [
    ['plain', md5], ['upper', md5.toUpperCase()], ['newline', `${md5}\n`], ['missing', 404], ['wrong', md5Of(md5)],
    ['huge', md5.repeat(32 * 1024)]
  ]
  for (const [checksum, expected] of checksums) t.ok((await read({ checksum })).digest === expected, checksum)
})

t.test('knobs of delivery change what is stored', async t => {
  const emulator = await start(t)
  const deliver = async (delivery: Delivery): Promise<DeliveredReport> => {
    emulator.reset()
    await putJob(emulator, 'daily', everyField)
    return await emulator.deliverReport(toOrder(4, { delivery, form: { rowsPerFile: 2 } }))
  }
  const right = await deliver({})
  const [first, last] = right.files as [string, string]
  t.strictSame(right.keys, [first, last, right.manifest, right.checksum])
  t.strictSame((await deliver({ writes: 'nothing' })).keys, [])
  t.strictSame((await deliver({ writes: 'files' })).keys, [first, last])
  t.strictSame((await deliver({ writes: 'manifest' })).keys, [first, last, right.manifest])
  t.strictSame((await deliver({ file: 'missing' })).keys, [first, right.manifest, right.checksum])
  t.equal((await readObject(emulator, last)).status, 404)
  t.strictSame((await deliver({ manifest: 'missing' })).keys, [first, last, right.checksum])
  t.equal((await readObject(emulator, right.manifest)).status, 404)

  const states: Array<[Delivery, string, number]> = [
    [{ file: 'archived' }, last, 403], [{ file: 'redirect' }, last, 302],
    [{ manifest: 'archived' }, right.manifest, 403], [{ manifest: 'redirect' }, right.manifest, 302]
  ]
  for (const [delivery, key, status] of states) {
    await deliver(delivery)
    for (const each of right.keys) {
      t.equal((await readObject(emulator, each)).status, each === key ? status : 200, `${JSON.stringify(delivery)} ${each}`)
    }
  }

  for (const [file, difference] of [['truncated', -10], ['longer', 16], ['wrong-md5', 0]] as const) {
    await deliver({ file })
    const { files } = JSON.parse((await readObject(emulator, right.manifest)).bytes.toString())
    for (const [index, key] of right.files.entries()) {
      const { headers, bytes } = await readObject(emulator, key)
      const isLast = index === 1
      t.equal(bytes.length - Number(files[index].size), isLast ? difference : 0, `${file}: size`)
      t.equal(files[index].md5Checksum === md5Of(bytes), !isLast, `${file}: MD5`)
      t.equal(headers.etag, `"${md5Of(bytes)}"`, 'the ETag is that of the stored bytes')
    }
  }
})

t.test('LIST contains the objects of a report after its lag', async t => {
  const emulator = await start(t)
  const { manifest } = await emulator.deliverReport(toOrder(1, { delivery: { listLagMs: 3_600_000 } }))
  const list = async () => (await send(emulator, { target: '/', host: reportsHost, keyTime: '1;9999999999' })).body
  t.equal((await readObject(emulator, manifest)).status, 200)
  t.notMatch(await list(), '<Contents>')
  emulator.setClockOffset(3_600_000)
  t.match(await list(), `<Key>${manifest}</Key>`)
})

t.test('parseDate accepts only days of the calendar', async t => {
  t.equal(parseDate('19700101'), 0)
  t.equal(parseDate('20240229'), 19782)
  for (const date of ['20230229', '20261301', '20260100', '2026-1-1', '', '202601011']) {
    t.equal(parseDate(date), undefined, date)
  }
})
