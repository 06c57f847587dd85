/**
 * Splits CSV into rows while it arrives (RFC 4180). COS does not document the quotes and line ends of its reports, so
 * every value may be quoted or not, and a row ends with LF or CRLF.
 */
import type { ServiceError } from '../errors.ts'
import { corrupt, tooLarge } from './manifest.ts'

/** The longest row in characters. An unclosed quote would otherwise collect the whole file. */
const maxRowLength = 64 * 1024

/** Splits the text of one file. It is a class because it keeps the begun row between chunks. */
export class CsvSplitter {
  readonly #columns: number
  readonly #decoder = new TextDecoder('utf-8', { fatal: true })
  #rest = ''

  /** @param columns the number of values that each row must have */
  constructor (columns: number) {
    this.#columns = columns
  }

  /**
   * Returns the rows that end in this chunk, one after another. An error follows the rows before it.
   *
   * @throws {ServiceError} ReportCorrupt, ReportTooLarge
   */
  push (chunk: Uint8Array): Generator<string[], undefined> {
    return this.#split(this.#decode(chunk, true), false)
  }

  /**
   * Returns the last row if it has no line end.
   *
   * @throws {ServiceError} ReportCorrupt, ReportTooLarge
   */
  end (): Generator<string[], undefined> {
    return this.#split(`${this.#decode(new Uint8Array(), false)}\n`, true)
  }

  /** The decoder drops a byte order mark. */
  #decode (chunk: Uint8Array, stream: boolean): string {
    try {
      return this.#decoder.decode(chunk, { stream })
    } catch {
      throw corrupt('a data file is not UTF-8')
    }
  }

  * #split (chunk: string, isLast: boolean): Generator<string[], undefined> {
    const text = this.#rest + chunk
    let at = 0
    for (;;) {
      const row = nextRow(text, at, this.#columns)
      if (row === undefined) break
      if (row.end - at > maxRowLength) throw tooLarge(`a row of more than ${maxRowLength} characters`)
      // An empty line is no row.
      if (row.values.length > 1 || row.values[0] !== '') {
        if (row.values.length !== this.#columns) throw wrongColumns()
        yield row.values
      }
      at = row.end
    }
    this.#rest = text.slice(at)
    if (this.#rest.length > maxRowLength) throw tooLarge(`a row of more than ${maxRowLength} characters`)
    if (isLast && this.#rest !== '') throw corrupt('a data file ends within a quoted value')
  }
}

interface Row {
  values: string[]
  /** The place behind the row. */
  end: number
}

/** Returns the row that begins at a place; undefined when it has no end yet. */
function nextRow (text: string, at: number, columns: number): Row | undefined {
  const lineEnd = text.indexOf('\n', at)
  if (lineEnd < 0) return undefined
  const line = text.slice(at, text[lineEnd - 1] === '\r' ? lineEnd - 1 : lineEnd)
  const values = splitSimple(line)
  return values === undefined ? splitQuoted(text, at, columns) : { values, end: lineEnd + 1 }
}

/** Splits a line whose values are all unquoted, or all quoted without quotes in them; undefined for any other. */
function splitSimple (line: string): string[] | undefined {
  if (!line.includes('"')) return line.split(',')
  if (line.length < 2 || !line.startsWith('"') || !line.endsWith('"')) return undefined
  const values = line.slice(1, -1).split('","')
  return values.some(value => value.includes('"')) ? undefined : values
}

/**
 * Splits a row value by value. A quoted value may contain commas, line ends and doubled quotes. Each search ends with
 * the row, so that the time grows with the length of the row only.
 */
function splitQuoted (text: string, from: number, columns: number): Row | undefined {
  const values: string[] = []
  let at = from
  for (;;) {
    if (values.length === columns) throw wrongColumns()
    const value = text[at] === '"' ? quotedValue(text, at) : plainValue(text, at)
    if (value === undefined) return undefined
    values.push(value.text)
    at = value.end
    if (text[at] === ',') {
      at += 1
      continue
    }
    if (text[at] === '\r') at += 1
    if (at >= text.length) return undefined
    if (text[at] !== '\n') throw corrupt('a data file has text behind a quoted value')
    return { values, end: at + 1 }
  }
}

interface Value {
  text: string
  /** The place behind the value, with its quotes. */
  end: number
}

function quotedValue (text: string, at: number): Value | undefined {
  let close = at
  do {
    close = text.indexOf('"', close + 1)
    if (close < 0) return undefined
    if (text[close + 1] !== '"') return { text: text.slice(at + 1, close).replaceAll('""', '"'), end: close + 1 }
    close += 1
  } while (true)
}

const valueEnd = /[,\n]/g

function plainValue (text: string, at: number): Value | undefined {
  valueEnd.lastIndex = at
  const end = valueEnd.exec(text)?.index
  if (end === undefined) return undefined
  const isLast = text[end] === '\n'
  const behind = isLast && end > at && text[end - 1] === '\r' ? end - 1 : end
  return { text: text.slice(at, behind), end: behind }
}

function wrongColumns (): ServiceError {
  return corrupt('a row has another number of columns than fileSchema')
}
