/** Streams the rows of a report as NDJSON. */
import type { Readable } from 'node:stream'
import { CsvSplitter } from './csv.ts'
import { readDataFile } from './data-file.ts'
import type { DataFile, Manifest } from './manifest.ts'
import { createRowMapper, isHeader } from './rows.ts'
import type { RowSelection } from './rows.ts'

/** Decompressed bytes that are handled at once. They take less than a millisecond. */
const sliceBytes = 16 * 1024

/** The rows to stream. */
export interface RowRequest extends RowSelection {
  /** The most rows; undefined for all. */
  limit: number | undefined
  /** Data files to read. */
  files: readonly DataFile[]
  columns: Manifest['fields']
}

/** The counters of a stream. */
export interface RowProgress {
  /** Rows that were sent. */
  rows: number
  /** Rows that were read. */
  read: number
  /** Bytes of NDJSON that were sent. */
  bytes: number
}

/**
 * Returns the rows as text, in pieces. A piece is empty when the caller wants none of its rows.
 *
 * @param open opens a data file, with retries; its later failures are not retried
 * @param progress is updated before each piece is returned
 * @param pause is awaited before each piece, so that other requests are served in between
 * @throws {ServiceError} of `open` and of {@link readDataFile}; ReportCorrupt and ReportTooLarge for malformed rows
 */
export async function * streamRows (
  { files, columns, limit = Infinity, ...selection }: RowRequest,
  open: (file: DataFile) => Promise<Readable>,
  progress: RowProgress,
  pause: () => Promise<void>
): AsyncGenerator<string, undefined> {
  const toJson = createRowMapper(columns, selection)

  let isBegin = true

  /** Returns the lines of the rows that the caller wants. */
  function linesOf (rows: Iterable<string[]>): string {
    let lines = ''
    for (const values of rows) {
      // COS does not document a header line.
      const isDropped = isBegin && isHeader(values, columns)
      isBegin = false
      if (isDropped) continue
      const json = toJson(values)
      progress.read += 1
      if (json === undefined) continue
      lines += `${json}\n`
      progress.rows += 1
      if (progress.rows === limit) break
    }
    progress.bytes += Buffer.byteLength(lines)
    return lines
  }

  for (const file of files) {
    const splitter = new CsvSplitter(columns.length)
    isBegin = true
    for await (const chunk of readDataFile(await open(file), file)) {
      for (let at = 0; at < chunk.length; at += sliceBytes) {
        await pause()
        yield linesOf(splitter.push(chunk.subarray(at, at + sliceBytes)))
        if (progress.rows === limit) return
      }
    }
    yield linesOf(splitter.end())
    if (progress.rows === limit) return
  }
}
