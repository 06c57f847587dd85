/** Bytes that are made while they are read, so that long ones take no memory. Each reading begins at the first byte. */
export interface Content {
  /** The number of bytes. */
  readonly size: number
  read (): Iterable<Buffer> | AsyncIterable<Buffer>
}

/** The bytes of a body: stored, or made while they are read. */
export type Bytes = Buffer | Content

/** Returns the number of bytes. */
export function sizeOf (bytes: Bytes): number {
  return Buffer.isBuffer(bytes) ? bytes.length : bytes.size
}

/** Returns the bytes in pieces. */
export function chunksOf (bytes: Bytes): Iterable<Buffer> | AsyncIterable<Buffer> {
  return Buffer.isBuffer(bytes) ? [bytes] : bytes.read()
}

/**
 * Returns a part of the bytes. The bytes before it are made and dropped.
 *
 * @param start position of the first byte, from 0
 * @param end position after the last byte, at most the size
 */
export function partOf (bytes: Bytes, start: number, end: number): Bytes {
  if (Buffer.isBuffer(bytes)) return bytes.subarray(start, end)
  return { size: end - start, read: () => slice(bytes.read(), start, end) }
}

async function * slice (
  chunks: Iterable<Buffer> | AsyncIterable<Buffer>, start: number, end: number
): AsyncGenerator<Buffer> {
  let position = 0
  for await (const chunk of chunks) {
    const piece = chunk.subarray(Math.max(0, start - position), Math.max(0, end - position))
    position += chunk.length
    if (piece.length > 0) yield piece
    if (position >= end) break
  }
}
