/** Reads data files of reports while they arrive. */
import { createHash } from 'node:crypto'
import { pipeline } from 'node:stream'
import type { Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { ServiceError } from '../errors.ts'
import { corrupt, tooLarge, unsupported } from './manifest.ts'
import type { DataFile } from './manifest.ts'

/** Bytes of one decompressed chunk. A larger one is faster, but delays other requests longer. */
const chunkBytes = 64 * 1024

/** The received part of a file. */
interface Received {
  bytes: number
}

/** Decompressed bytes for each compressed one, after the first MiB. Reports have about 6. */
const maxExpansion = 200
const freeBytes = 1024 * 1024

/**
 * Returns the decompressed chunks of a data file. Size and MD5 are compared at the end of the file, so the caller must
 * not complete a response before the iteration has ended. Ending the iteration early closes the stream.
 *
 * @throws {ServiceError} ReportCorrupt, ReportUnsupported, ReportTooLarge, UpstreamUnreachable
 */
export async function * readDataFile (stream: Readable, file: DataFile): AsyncGenerator<Buffer, undefined> {
  const received: Received = { bytes: 0 }
  const chunks = verifiedChunks(stream, file, received)
  try {
    const first = await firstBytes(chunks)
    if (first.length === 0) return
    const isGzip = first[0] === 0x1F && first[1] === 0x8B
    if (!isGzip && file.key.endsWith('.gz')) throw unsupported('A data file is not gzip.')
    yield * isGzip ? decompressed(first, chunks, received) : withFirst(first, chunks)
  } finally {
    stream.destroy()
  }
}

/**
 * Returns the chunks of a data file as they are, and throws in place of the last one when size or MD5 are wrong. So a
 * response with a stated length stays incomplete.
 *
 * @throws {ServiceError} ReportCorrupt, UpstreamUnreachable
 */
export async function * readVerbatim (stream: Readable, file: DataFile): AsyncGenerator<Buffer, undefined> {
  let previous: Buffer | undefined
  try {
    for await (const chunk of verifiedChunks(stream, file, { bytes: 0 })) {
      if (previous !== undefined) yield previous
      previous = chunk
    }
    if (previous !== undefined) yield previous
  } finally {
    stream.destroy()
  }
}

async function * verifiedChunks (
  stream: Readable, { size, md5 }: DataFile, received: Received
): AsyncGenerator<Buffer, undefined> {
  const hash = createHash('md5')
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      received.bytes += chunk.length
      if (size !== undefined && received.bytes > size) throw corrupt('a data file is longer than the manifest says')
      hash.update(chunk)
      yield chunk
    }
  } catch (error) {
    throw error instanceof ServiceError ? error : interrupted(error)
  }
  if (size !== undefined && received.bytes < size) throw corrupt('a data file is shorter than the manifest says')
  if (md5 !== undefined && hash.digest('hex') !== md5) throw corrupt('a data file has another MD5 than the manifest says')
}

/** Returns the first chunks until they have the two bytes that every gzip file begins with. */
async function firstBytes (chunks: AsyncGenerator<Buffer, undefined>): Promise<Buffer> {
  let first = Buffer.alloc(0)
  while (first.length < 2) {
    const { value } = await chunks.next()
    if (value === undefined) break
    first = Buffer.concat([first, value])
  }
  return first
}

async function * withFirst (first: Buffer, others: AsyncIterable<Buffer>): AsyncGenerator<Buffer, undefined> {
  yield first
  yield * others
}

async function * decompressed (
  first: Buffer, others: AsyncIterable<Buffer>, received: Readonly<Received>
): AsyncGenerator<Buffer, undefined> {
  const gunzip = createGunzip({ chunkSize: chunkBytes })
  // The iteration below gets every error.
  pipeline(withFirst(first, others), gunzip, () => {})
  let bytes = 0
  try {
    for await (const chunk of gunzip as AsyncIterable<Buffer>) {
      bytes += chunk.length
      if (bytes > freeBytes && bytes > maxExpansion * received.bytes) {
        throw tooLarge(`a data file that expands more than ${maxExpansion}-fold`)
      }
      yield chunk
    }
  } catch (error) {
    throw error instanceof ServiceError ? error : corrupt('a data file is not valid gzip')
  }
  // Node ends the decompression at a zero byte behind the compressed data, whatever follows.
  if (gunzip.bytesWritten !== received.bytes) throw corrupt('a data file has bytes behind its compressed data')
}

/** Returns the error of a stream that ended early. */
function interrupted (cause: unknown): ServiceError {
  return new ServiceError('UpstreamUnreachable', 'COS closed the connection, or sent nothing for 30 s, while a data file ' +
    'was read. Retry.', { cause })
}
