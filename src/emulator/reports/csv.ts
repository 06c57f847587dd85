import { pipeline } from 'node:stream/promises'
import { Readable } from 'node:stream'
import { createGzip } from 'node:zlib'
import type { Column } from './columns.ts'
import type { InventoryObject } from './inventory-object.ts'
import type { ReportForm } from './knobs.ts'

/** The rows of one data file. */
export interface FileRows {
  /** The number of rows. */
  count: number
  /** Computes the rows, again at each call. */
  read: () => Iterable<InventoryObject>
}

const chunkLength = 64 * 1024
const mebibyte = 1024 * 1024
const bombBytes = 128 * mebibyte
/** Shorter than the window of gzip, so that a row is a copy of the one before. */
const bombLineLength = 24 * 1024

/** Returns the bytes of a data file in pieces. They are made while they are read, and the same at each call. */
export function writeFile (
  rows: FileRows, columns: Column[], form: ReportForm
): Iterable<Buffer> | AsyncIterable<Buffer> {
  const csv = writeCsv(rows, columns, form)
  switch (form.compression) {
    case 'gzip':
      return gzip(csv)
    case 'bomb':
      return gzip(csv, 6)
    case 'two-members':
      return gzipTwice(csv)
    case 'truncated':
      return withoutLast(gzip(csv))
    case 'trailing-bytes':
      return withTrailer(gzip(csv), Buffer.from('no gzip member'))
    case 'zero-padding':
      return withTrailer(gzip(csv), Buffer.alloc(4 * 1024 * 1024))
    case 'none':
      return csv
  }
}

function * writeCsv (rows: FileRows, columns: Column[], form: ReportForm): Generator<Buffer> {
  const lineEnd = form.lineEnds === 'LF' ? '\n' : '\r\n'
  const middle = rows.count >> 1
  let text = form.bom ? '\ufeff' : ''
  if (form.header) text += columns.map(({ name }) => quote(name, form)).join(',') + lineEnd
  let written = 0
  for (const object of rows.read()) {
    const isMiddle = written === middle
    const line = isMiddle ? toMiddleLine(object, columns, form) : toLine(object, columns, form)
    if (isMiddle && form.compression === 'bomb') yield * inflate(toWideLine(object, columns, form, bombLineLength) + lineEnd)
    written += 1
    text += form.lastLine === 'open' && written === rows.count ? line : line + lineEnd
    if (text.length < chunkLength) continue
    yield Buffer.from(text)
    text = ''
  }
  if (text !== '') yield Buffer.from(text)
}

function toLine (object: InventoryObject, columns: Column[], form: ReportForm): string {
  return columns.map(column => quote(toText(object, column, form), form)).join(',')
}

/** Returns the row in which a form has its defect. The last column is the broken one. */
function toMiddleLine (object: InventoryObject, columns: Column[], form: ReportForm): string {
  const whole = toLine(object, columns, form)
  const beginning = toLine(object, columns.slice(0, -1), form)
  switch (form.row) {
    case 'whole':
      return whole
    case 'short':
      return beginning
    case 'long':
      return `${whole},${quote('more', form)}`
    case 'unclosed-quote':
      return `${beginning},"open`
    case 'huge':
      return toWideLine(object, columns, form, mebibyte)
  }
}

/** Returns a row with a long value in its last column. */
function toWideLine (object: InventoryObject, columns: Column[], form: ReportForm, length: number): string {
  return `${toLine(object, columns.slice(0, -1), form)},${quote('x'.repeat(length), form)}`
}

function toText (object: InventoryObject, column: Column, form: ReportForm): string {
  const text = column.text(object)
  return text === '' && form.empty === 'null' ? 'null' : text
}

function quote (text: string, { quotes }: ReportForm): string {
  if (quotes === 'none' || (quotes === 'needed' && !/[",\r\n]/.test(text))) return text
  return text.includes('"') ? `"${text.replaceAll('"', '""')}"` : `"${text}"`
}

function * inflate (line: string): Generator<Buffer> {
  const bytes = Buffer.from(line)
  for (let yielded = 0; yielded < bombBytes; yielded += bytes.length) yield bytes
}

// Level 1 is more than twice as fast as the default, and a few per cent larger.
async function * gzip (chunks: Iterable<Buffer>, level = 1): AsyncGenerator<Buffer> {
  const zip = createGzip({ level })
  // The loop over the compressed bytes throws the same error.
  pipeline(Readable.from(chunks, { objectMode: false }), zip).catch(() => {})
  yield * zip
}

/** The first member ends in the middle of a line. */
async function * gzipTwice (csv: Generator<Buffer>): AsyncGenerator<Buffer> {
  const { value: first = Buffer.alloc(0) } = csv.next()
  const middle = first.length >> 1
  yield * gzip([first.subarray(0, middle)])
  yield * gzip((function * () {
    yield first.subarray(middle)
    yield * csv
  })())
}

async function * withoutLast (chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let held: Buffer = Buffer.alloc(0)
  for await (const chunk of chunks) {
    const both = Buffer.concat([held, chunk])
    held = both.subarray(Math.max(0, both.length - 12))
    yield both.subarray(0, both.length - held.length)
  }
}

async function * withTrailer (chunks: AsyncIterable<Buffer>, trailer: Buffer): AsyncGenerator<Buffer> {
  yield * chunks
  yield trailer
}
