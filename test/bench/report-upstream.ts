/** A bucket with one report, whose data file is in memory. The emulator would make each row again while it sends it. */
import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'
import { configurationXml } from './documents.ts'

const { REPORT_ROWS = '1000', REPORT_FILE = '' } = process.env
const schema = 'Appid, Bucket, Key, Size, LastModifiedDate, ETag, StorageClass, IsMultipartUploaded, ReplicationStatus'
const md5 = (bytes: Buffer | string) => createHash('md5').update(bytes).digest('hex')
const classes = ['STANDARD', 'STANDARD_IA', 'ARCHIVE']

function rowOf (index: number): string {
  const etag = md5(String(index))
  const key = `services/billing/production/2026/invoices/${etag.slice(0, 2)}/customer%20${index}/original.pdf`
  const modified = new Date(1_700_000_000_000 + index * 1_000).toISOString()
  return `"1250000000","examplebucket","${key}","${index * 37}","${modified}","${etag}","${classes[index % 3]}","${index % 7 === 0}",""\n`
}

const csv = Array.from({ length: Number(REPORT_ROWS) }, (_, index) => rowOf(index)).join('')
const file = gzipSync(csv)
if (REPORT_FILE !== '') writeFileSync(REPORT_FILE, file)

const folder = 'inventory/billing/production/daily/1250000000/examplebucket/daily-0000'
const fileKey = `${folder}/${md5(file)}.csv.gz`
const manifest = JSON.stringify({
  fileFormat: 'CSV',
  listObjectCount: REPORT_ROWS,
  listStorageSize: '1',
  filterObjectCount: REPORT_ROWS,
  filterStorageSize: '1',
  fileSchema: schema,
  files: [{ key: fileKey, size: String(file.length), md5Checksum: md5(file) }]
})

const objects = new Map<string, Buffer>([
  [`/${folder}/20261120/manifest.json`, Buffer.from(manifest)],
  [`/${folder}/20261120/manifest.checksum`, Buffer.from(md5(manifest))],
  [`/${fileKey}`, file]
])

function respond (response: ServerResponse, body: Buffer | string): void {
  response.writeHead(200, {
    'content-length': Buffer.byteLength(body),
    'last-modified': new Date().toUTCString(),
    etag: `"${md5(body)}"`,
    'x-cos-request-id': 'NmE0YjVjNmRfMWFfMmJfM2M='
  }).end(body)
}

const server = createServer((request, response) => {
  const object = objects.get(request.url ?? '')
  respond(response, object ?? configurationXml('daily-0000'))
})

server.listen(0, '127.0.0.1', () => {
  console.log(`listening at http://127.0.0.1:${(server.address() as AddressInfo).port}`)
})
