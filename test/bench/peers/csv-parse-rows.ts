/** Reads a compressed CSV file with csv-parse, and writes one JSON object a line, as its documentation shows. */
import { createReadStream, createWriteStream } from 'node:fs'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGunzip } from 'node:zlib'
import { parse } from 'csv-parse'

const [path = ''] = process.argv.slice(2)
const columns = [
  'Appid', 'Bucket', 'Key', 'Size', 'LastModifiedDate', 'ETag', 'StorageClass', 'IsMultipartUploaded', 'ReplicationStatus'
]

const toLine = new Transform({
  writableObjectMode: true,
  transform (row: Record<string, string>, _, done) {
    done(null, `${JSON.stringify({ ...row, Key: decodeURIComponent(row['Key'] ?? ''), Size: Number(row['Size']) })}\n`)
  }
})

await pipeline(createReadStream(path), createGunzip(), parse({ columns }), toLine, createWriteStream('/dev/null'))
