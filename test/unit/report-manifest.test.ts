import t from 'tap'
import { readChecksum, readManifest } from '../../src/reports/manifest.ts'
import type { ServiceError } from '../../src/errors.ts'

const folder = 'list1/1250000000/examplebucket/daily-report'
const md5 = '7d40c1c1cbf4bb3df8d1b4b6fe1e2f52'

/** The sample of COS document 30622, with the values of this test. */
const sample = {
  sourceAppid: '1250000000',
  sourceBucket: 'examplebucket',
  destinationAppid: '1250000000',
  destinationBucket: 'reports',
  fileFormat: 'CSV',
  listObjectCount: '13',
  listStorageSize: '7212835',
  filterObjectCount: '12',
  filterStorageSize: '7212800',
  fileSchema: 'Appid, Bucket, Key, Size, LastModifiedDate, ETag, StorageClass, IsMultipartUploaded, ReplicationStatus',
  files: [{ key: `${folder}/${md5}.csv.gz`, size: '502', md5Checksum: md5 }]
}

const read = (manifest: unknown) => readManifest(Buffer.from(JSON.stringify(manifest)), folder)

function codeOf (work: () => unknown): string {
  try {
    work()
    return 'none'
  } catch (error) {
    return (error as ServiceError).code
  }
}

t.test('readManifest reads the documented form', async t => {
  t.strictSame(read(sample), {
    listObjectCount: 13,
    listStorageSize: '7212835',
    filterObjectCount: 12,
    filterStorageSize: '7212800',
    fileFormat: 'CSV',
    fields: ['Appid', 'Bucket', 'Key', 'Size', 'LastModifiedDate', 'ETag', 'StorageClass', 'IsMultipartUploaded', 'ReplicationStatus'],
    files: [{ key: `${folder}/${md5}.csv.gz`, size: 502, md5 }]
  })
})

t.test('readManifest accepts forms of older pages, missing and unknown members', async t => {
  const bom = Buffer.concat([Buffer.from('\uFEFF'), Buffer.from(JSON.stringify(sample))])
  t.strictSame(readManifest(bom, folder), read(sample), 'a byte order mark')
  const numbers = JSON.stringify(sample).replace(/"([0-9]+)"/g, '$1').replace('7212835', '92233720368547758070')
  t.equal(readManifest(Buffer.from(numbers), folder).listStorageSize, '92233720368547758070', 'a number keeps its digits')
  const [file] = sample.files
  const key = file?.key
  t.equal(read({ ...sample, files: [{ key, size: 502, MD5checksum: md5.toUpperCase() }] }).files[0]?.md5, md5)
  t.strictSame(read({ ...sample, files: [{ key }] }).files, [{ key, size: undefined, md5: undefined }])
  const { fileSchema, files } = sample
  t.match(read({ fileSchema, files, more: [1] }), { fileFormat: 'CSV', listObjectCount: undefined })
  t.strictSame(read({ ...sample, files: [] }).files, [])
})

t.test('readManifest rejects manifests that cannot be trusted', async t => {
  const [file] = sample.files
  const withFile = (change: object) => ({ ...sample, files: [{ ...file, ...change }] })
  for (const [name, manifest, code] of [
    ['no object', [1], 'ReportCorrupt'], ['null', null, 'ReportCorrupt'],
    ['no files', { ...sample, files: undefined }, 'ReportCorrupt'],
    ['no schema', { ...sample, fileSchema: undefined }, 'ReportCorrupt'],
    ['an empty column', { ...sample, fileSchema: 'Key,,Size' }, 'ReportCorrupt'],
    ['a column twice', { ...sample, fileSchema: 'Key, Key' }, 'ReportCorrupt'],
    ['a malformed number', { ...sample, listObjectCount: '1e3' }, 'ReportCorrupt'],
    ['a negative number', { ...sample, listObjectCount: -1 }, 'ReportCorrupt'],
    ['a count above 2^53', { ...sample, filterObjectCount: '9007199254740993' }, 'ReportCorrupt'],
    ['a file without key', withFile({ key: undefined }), 'ReportCorrupt'],
    ['no file', { ...sample, files: [null] }, 'ReportCorrupt'],
    ['a malformed MD5', withFile({ md5Checksum: 'abc' }), 'ReportCorrupt'],
    ['an MD5 that is no text', withFile({ md5Checksum: 5 }), 'ReportCorrupt'],
    ['another folder', withFile({ key: `other/${md5}.csv.gz` }), 'ReportCorrupt'],
    ['..', withFile({ key: `${folder}/../x/${md5}.csv.gz` }), 'ReportCorrupt'],
    ['a sub-folder', withFile({ key: `${folder}/data/${md5}.csv.gz` }), 'ReportCorrupt'],
    ['a file name', withFile({ key: `${folder}/${md5}.orc` }), 'ReportCorrupt'],
    ['ORC', { ...sample, fileFormat: 'ORC' }, 'ReportUnsupported'],
    ['a format that is no text', { ...sample, fileFormat: 1 }, 'ReportUnsupported'],
    ['the layout of metadata acceleration', withFile({ key: 'a/2026-11-20-00/Data/1.csv' }), 'ReportUnsupported'],
    ['50,001 files', { ...sample, files: Array(50_001).fill(file) }, 'ReportTooLarge'],
    ['a long column', { ...sample, fileSchema: `Key,${'a'.repeat(129)}` }, 'ReportTooLarge'],
    ['many values', { ...sample, more: Array(400_001).fill(0) }, 'ReportTooLarge'],
    ['a count that is no text', { ...sample, listObjectCount: { toString: 1 } }, 'ReportCorrupt'],
    ['129 columns', { ...sample, fileSchema: Array.from({ length: 129 }, (_, at) => `c${at}`).join() }, 'ReportTooLarge']
  ] as const) t.equal(codeOf(() => read(manifest)), code, name)
  t.equal(codeOf(() => readManifest(Buffer.from('{'), folder)), 'ReportCorrupt', 'malformed JSON')
  t.equal(codeOf(() => readManifest(Buffer.from([0x7B, 0xFF, 0x7D]), folder)), 'ReportCorrupt', 'no UTF-8')
  t.equal(read({ ...sample, files: Array(50_000).fill(file) }).files.length, 50_000)
})

t.test('readChecksum reads an MD5 in any case, with white space', async t => {
  for (const text of [md5, md5.toUpperCase(), ` ${md5}\r\n`]) t.equal(readChecksum(Buffer.from(text)), md5, JSON.stringify(text))
  for (const text of ['', 'x', md5.slice(1), `${md5}0`, `${md5} *manifest.json`]) t.equal(codeOf(() => readChecksum(Buffer.from(text))), 'ReportCorrupt', text)
})
