import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import t from 'tap'
import type { ServiceError } from '../../src/errors.ts'
import { CsvSplitter } from '../../src/reports/csv.ts'
import { readDataFile, readVerbatim } from '../../src/reports/data-file.ts'
import type { DataFile } from '../../src/reports/manifest.ts'
import { streamRows } from '../../src/reports/row-stream.ts'
import { createRowMapper } from '../../src/reports/rows.ts'
import { growsLinearly } from '../growth.ts'
import { runsOf } from '../runs.ts'

function split (csv: string | Buffer, chunkSize = Infinity, columns = 2): string[][] {
  const splitter = new CsvSplitter(columns)
  const bytes = Buffer.from(csv)
  const rows: string[][] = []
  for (let at = 0; at < bytes.length; at += chunkSize) {
    rows.push(...splitter.push(bytes.subarray(at, Math.min(bytes.length, at + chunkSize))))
  }
  return [...rows, ...splitter.end()]
}

function codeOf (work: () => unknown): string {
  try {
    work()
    return 'none'
  } catch (error) {
    return (error as ServiceError).code
  }
}

t.test('CsvSplitter splits rows with and without quotes', async t => {
  for (const [csv, rows] of [
    ['a,b\nc,d\n', [['a', 'b'], ['c', 'd']]],
    ['a,b\r\nc,d', [['a', 'b'], ['c', 'd']]],
    ['"a","b"\n', [['a', 'b']]],
    ['"a","b"', [['a', 'b']]],
    ['"a",b,"c"\r\n', [['a', 'b', 'c']]],
    ['a,"b"\n', [['a', 'b']]],
    ['"a""b","c,d"\n', [['a"b', 'c,d']]],
    ['",","b"\n', [[',', 'b']]],
    ['"","b"\n', [['', 'b']]],
    ['"a\nb","c"\n"d","e"\n', [['a\nb', 'c'], ['d', 'e']]],
    ['"\na","b"\n', [['\na', 'b']]],
    ['"a","b""\n""","c"\n', [['a', 'b"\n"', 'c']]],
    ['a,"5d41"\r\nb,c\r\n', [['a', '5d41'], ['b', 'c']]],
    ['x"y,z\n', [['x"y', 'z']]],
    [',\n,', [['', ''], ['', '']]],
    ['\uFEFFa,b\n', [['a', 'b']]],
    ['\n\na,b\n\n', [['a', 'b']]],
    ['a,"",b\r\n', [['a', '', 'b']]],
    ['', []]
  ] as Array<[string, string[][]]>) {
    const columns = rows[0]?.length
    t.strictSame(split(csv, Infinity, columns), rows, JSON.stringify(csv))
    t.strictSame(split(csv, 1, columns), rows, `${JSON.stringify(csv)}, byte by byte`)
  }
})

t.test('CsvSplitter reads what a writer of RFC 4180 writes, in chunks of any size', async t => {
  const value = fc.oneof(fc.string({ unit: 'grapheme' }), fc.constantFrom('', '"', '""', ',', '\n', '\r\n', '","', 'a"', '"b'))
  const quoted = (text: string) => `"${text.replaceAll('"', '""')}"`
  t.doesNotThrow(() => {
    fc.assert(fc.property(
      fc.integer({ min: 2, max: 5 }).chain(columns =>
        fc.array(fc.array(value, { minLength: columns, maxLength: columns }), { minLength: 1, maxLength: 8 })),
      fc.constantFrom('\n', '\r\n'), fc.integer({ min: 1, max: 9 }),
      (rows, lineEnd, chunkSize) => {
        const csv = rows.map(row => row.map(quoted).join()).join(lineEnd)
        return JSON.stringify(split(csv, chunkSize, rows[0]?.length)) === JSON.stringify(rows)
      }), { numRuns: runsOf(1_000) })
  })
})

t.test('CsvSplitter rejects malformed files', async t => {
  t.equal(codeOf(() => split('"a","b\n')), 'ReportCorrupt', 'a quote without end')
  t.equal(codeOf(() => split('"a"b,c\n')), 'ReportCorrupt', 'text behind a quoted value')
  t.equal(codeOf(() => split(Buffer.from([0x61, 0xFF, 0x0A]))), 'ReportCorrupt', 'no UTF-8')
  t.equal(codeOf(() => split(Buffer.from([0x61, 0x0A, 0xC3]))), 'ReportCorrupt', 'a character that is cut')
  t.equal(codeOf(() => split('a'.repeat(65_537), 1024)), 'ReportTooLarge', 'an endless line')
  t.equal(codeOf(() => split(`${'a'.repeat(65_537)}\n`)), 'ReportTooLarge', 'a long line in one chunk')
  t.equal(codeOf(() => split(`"${'a\n'.repeat(40_000)}`, 1024)), 'ReportTooLarge', 'an endless quoted value')
  for (const row of ['a', 'a,b,c', '"a"', '"a","b","c"', '"a",b,c', 'a,"b","c"']) {
    t.equal(codeOf(() => split(`${row}\n`)), 'ReportCorrupt', `${row} in place of two columns`)
  }
})

t.test('CsvSplitter takes time that grows with the length of a row only', async t => {
  // U+0A0A has the byte of a line feed twice, which slows searches for one.
  const rowOf = (values: number, end: string) => `x"${','.repeat(values)}${end.repeat(values)}\n`
  for (const end of ['\u0A0A', 'a']) {
    t.ok(growsLinearly(values => split(rowOf(values, end), Infinity, values + 1), 7_000), JSON.stringify(end))
  }
})

t.test('createRowMapper translates values by their column', async t => {
  const columns = ['Key', 'Size', 'IsLatest', 'Crc64', '__proto__', 'Tag']
  const map = createRowMapper(columns, { fields: undefined, keyPrefix: undefined })
  const line = (...values: string[]) => map(values)
  t.equal(line('a%20b', '12', 'True', '18446744073709551615', 'x', 'k=v'),
    '{"Key":"a b","Size":12,"IsLatest":true,"Crc64":"18446744073709551615","__proto__":"x","Tag":"k=v"}')
  t.equal(line('a', '', '', '', '', ''), '{"Key":"a","Size":null,"IsLatest":null,"Crc64":null,"__proto__":null,"Tag":null}')
  const valuesOf = (key: string, size = '1', latest = 'FALSE') => JSON.parse(line(key, size, latest, '', '', '') as string) as Record<string, unknown>
  t.match(valuesOf('a+b'), { Key: 'a+b', EncodedKey: 'a+b' })
  t.match(valuesOf('a+%2B'), { Key: 'a++', EncodedKey: 'a+%2B' })
  t.match(valuesOf('%zz'), { Key: '%zz', EncodedKey: '%zz' })
  t.match(valuesOf('%E6%B8%85'), { Key: '清', EncodedKey: undefined })
  t.match(valuesOf('"\n\\'), { Key: '"\n\\' })
  t.match(valuesOf('a', '007'), { Size: 7 })
  t.match(valuesOf('a', '1', 'yes'), { IsLatest: 'yes' })
  t.match(valuesOf('a', 'null', 'NULL'), { Size: null, IsLatest: null })
  t.equal(codeOf(() => valuesOf('a', '1.5')), 'ReportCorrupt')
})

t.test('createRowMapper selects columns and keys', async t => {
  const map = createRowMapper(['Key', 'Size'], { fields: ['Size'], keyPrefix: 'a b/' })
  t.equal(map(['a%20b/c', '1']), '{"Size":1}')
  t.equal(map(['a%20', '1']), undefined)
})

const columns = ['Key', 'Size']
const csv = 'a,1\nb,2\nc,3\n'

function fileOf (bytes: Buffer, change: Partial<DataFile> = {}): DataFile {
  return { key: 'x.csv.gz', size: bytes.length, md5: createHash('md5').update(bytes).digest('hex'), ...change }
}

/** Returns the bytes as a connection delivers them. */
function inChunks (bytes: Buffer): Buffer[] {
  const size = 65_536
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, at) => bytes.subarray(at * size, (at + 1) * size))
}

async function readAll (
  files: Array<[bytes: Buffer, file: DataFile]>, { keyPrefix, limit }: { limit?: number, keyPrefix?: string } = {}
) {
  const progress = { rows: 0, read: 0, bytes: 0 }
  const request = { columns, fields: undefined, keyPrefix, limit, files: files.map(([, file]) => file) }
  const bytesOf = (file: DataFile) => files.filter(each => each[1] === file).flatMap(([bytes]) => inChunks(bytes))
  const open = async (file: DataFile) => Readable.from(bytesOf(file))
  let text = ''
  try {
    for await (const piece of streamRows(request, open, progress, async () => {})) text += piece
    return { text, progress, code: 'none' }
  } catch (error) {
    return { text, progress, code: (error as ServiceError).code }
  }
}

t.test('streamRows reads all files in order', async t => {
  const [first, second] = [gzipSync(csv), gzipSync('Key,Size\nd,4')]
  const files: Array<[Buffer, DataFile]> = [[first, fileOf(first)], [second, fileOf(second)]]
  const all = await readAll(files)
  t.equal(all.code, 'none')
  t.equal(all.text, '{"Key":"a","Size":1}\n{"Key":"b","Size":2}\n{"Key":"c","Size":3}\n{"Key":"d","Size":4}\n')
  t.strictSame(all.progress, { rows: 4, read: 4, bytes: all.text.length })
  for (const limit of [1, 3, 4]) t.equal((await readAll(files, { limit })).progress.rows, limit)
  const malformed = gzipSync('a,1\nb\n')
  t.match(await readAll([[malformed, fileOf(malformed)]], { limit: 1 }), { text: '{"Key":"a","Size":1}\n', code: 'none' })
  t.match(await readAll([[malformed, fileOf(malformed)]]), { code: 'ReportCorrupt' })
  t.match(await readAll(files, { keyPrefix: 'd' }), { text: '{"Key":"d","Size":4}\n', progress: { rows: 1, read: 4 } })
  t.match(await readAll([]), { text: '', code: 'none' })
})

t.test('streamRows accepts several gzip members, plain CSV, empty files, a lone header', async t => {
  const members = Buffer.concat([gzipSync('a,1\n'), gzipSync('b,2\n')])
  t.equal((await readAll([[members, fileOf(members)]])).progress.rows, 2)
  const plain = Buffer.from(csv)
  t.equal((await readAll([[plain, fileOf(plain, { key: 'x.csv' })]])).progress.rows, 3)
  const empty = Buffer.alloc(0)
  t.match(await readAll([[empty, fileOf(empty)]]), { text: '', code: 'none' })
  const header = gzipSync('Key,Size')
  t.match(await readAll([[header, fileOf(header)]]), { text: '', code: 'none' })
  const unstated = gzipSync(csv)
  t.equal((await readAll([[unstated, { key: 'x.csv.gz', size: undefined, md5: undefined }]])).progress.rows, 3)
})

t.test('streamRows never ends as if complete when a file differs from its manifest', async t => {
  const bytes = gzipSync(csv)
  const bomb = gzipSync(Buffer.alloc(8 * 1024 * 1024))
  // Node ends the decompression at the first zero, even when all bytes have arrived and are verified.
  const padded = Buffer.concat([bytes, Buffer.alloc(4 * 1024 * 1024)])
  const [zero, behindZero] = [Buffer.concat([bytes, Buffer.alloc(1)]), Buffer.concat([bytes, Buffer.alloc(1), bytes])]
  for (const [name, sent, file, code] of [
    ['another MD5', bytes, fileOf(bytes, { md5: '0'.repeat(32) }), 'ReportCorrupt'],
    ['shorter', bytes, fileOf(bytes, { size: bytes.length + 1 }), 'ReportCorrupt'],
    ['longer', bytes, fileOf(bytes, { size: bytes.length - 1 }), 'ReportCorrupt'],
    ['truncated gzip', bytes.subarray(0, -9), fileOf(bytes.subarray(0, -9)), 'ReportCorrupt'],
    ['damaged gzip', Buffer.concat([bytes.subarray(0, 12), Buffer.from('????')]), fileOf(Buffer.concat([bytes.subarray(0, 12), Buffer.from('????')])), 'ReportCorrupt'],
    ['not gzip', Buffer.from(csv), fileOf(Buffer.from(csv)), 'ReportUnsupported'],
    ['a bomb', bomb, fileOf(bomb), 'ReportTooLarge'],
    ['zeros behind the gzip data', padded, fileOf(padded, { md5: '0'.repeat(32) }), 'ReportCorrupt'],
    ['a zero behind the gzip data', zero, fileOf(zero), 'ReportCorrupt'],
    ['a gzip member behind a zero', behindZero, fileOf(behindZero), 'ReportCorrupt']
  ] as Array<[string, Buffer, DataFile, string]>) t.equal((await readAll([[sent, file]])).code, code, name)
})

t.test('readDataFile reports a broken connection and closes an abandoned stream', async t => {
  const broken = new Readable({ read () { this.destroy(new Error('reset')) } })
  await t.rejects(readDataFile(broken, fileOf(gzipSync(csv))).next(), { code: 'UpstreamUnreachable' })
  const bytes = gzipSync(csv)
  const stream = Readable.from([bytes])
  const chunks = readDataFile(stream, fileOf(bytes))
  await chunks.next()
  await chunks.return(undefined)
  t.ok(stream.destroyed)
})

t.test('readVerbatim holds the last chunk back until the file is verified', async t => {
  const chunks = ['ab', 'cd', 'ef'].map(each => Buffer.from(each))
  const whole = Buffer.concat(chunks)
  const read = async (file: DataFile) => {
    const got: string[] = []
    try {
      for await (const chunk of readVerbatim(Readable.from(chunks), file)) got.push(chunk.toString())
    } catch (error) {
      got.push((error as ServiceError).code)
    }
    return got
  }
  t.strictSame(await read(fileOf(whole)), ['ab', 'cd', 'ef'])
  t.strictSame(await read(fileOf(whole, { md5: '0'.repeat(32) })), ['ab', 'cd', 'ReportCorrupt'])
  const nothing: string[] = []
  for await (const chunk of readVerbatim(Readable.from([]), fileOf(Buffer.alloc(0)))) nothing.push(chunk.toString())
  t.strictSame(nothing, [])
})
