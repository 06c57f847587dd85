import { once } from 'node:events'
import type { Writable } from 'node:stream'
import { styleText } from 'node:util'

type Style = 'bold' | 'green' | 'yellow' | 'red' | 'dim'

/** A line of a table. */
export interface Line {
  cells: readonly string[]
  style?: Style | undefined
}

/** A stream that may be a terminal. */
export type OutputStream = Writable & { isTTY?: boolean, hasColors?: () => boolean }

/** Where results are written. */
export interface Output {
  isTerminal: boolean
  /** Writes a text. Resolves when the reader can take more. */
  print (text: string): Promise<void>
  /** Writes a value as JSON. */
  printJson (value: unknown, indent?: number): Promise<void>
  /** Writes one line: columns of these widths on a terminal, else cells with tabs between them. */
  printLine (line: Line, widths: readonly number[]): Promise<void>
  /** Writes a table, whose first line is the header. Without a terminal it has no header, and tabs between cells. */
  printTable (lines: Iterable<Line> | AsyncIterable<Line>): Promise<void>
}

const linesOfBatch = 100

/** Creates an output. `hasColors` of Node respects NO_COLOR and TERM=dumb. */
export function createOutput (stream: OutputStream): Output {
  const isTerminal = stream.isTTY === true
  const hasColors = isTerminal && stream.hasColors?.() === true
  const print = async (text: string) => {
    // A closed pipe is not writable. The listener of the stream decides whether the program goes on.
    if (stream.writable && !stream.write(text)) await once(stream, 'drain').catch(() => {})
  }
  const printLine: Output['printLine'] = ({ cells, style }, widths) => {
    const shown = cells.map(cell => withoutControls(cell))
    if (!isTerminal) return print(`${shown.join('\t')}\n`)
    const text = shown.map((cell, index) => padded(cell, widths[index] as number)).join('  ').trimEnd()
    return print(`${hasColors && style !== undefined ? styleText(style, text, { validateStream: false }) : text}\n`)
  }
  return {
    isTerminal,
    print,
    printLine,
    printJson: (value, indent) => print(`${withoutControls(JSON.stringify(value, null, indent), /[\x7F-\x9F]/g)}\n`),
    async printTable (lines) {
      let widths: number[] = []
      let batch: Line[] = []
      const printBatch = async () => {
        for (const { cells } of batch) {
          widths = cells.map((cell, index) => Math.max(widths[index] ?? 0, widthOf(withoutControls(cell))))
        }
        for (const line of batch) await printLine(line, widths)
        batch = []
      }
      let isHeader = true
      for await (const line of lines) {
        if (isTerminal || !isHeader) batch.push(line)
        isHeader = false
        if (batch.length > linesOfBatch) await printBatch()
      }
      await printBatch()
    }
  }
}

/** Replaces control characters, so that the name of an object cannot command the terminal. The default keeps none. */
function withoutControls (text: string, controls = /[\p{Cc}\p{Cf}]/gu): string {
  return text.replace(controls, control => `\\u${control.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

function padded (text: string, width: number): string {
  return text + ' '.repeat(Math.max(0, width - widthOf(text)))
}

/** Returns the columns of a text on a terminal. Chinese, Japanese and Korean characters take two. */
function widthOf (text: string): number {
  const wide = text.match(/[\p{scx=Han}\p{scx=Hira}\p{scx=Kana}\p{scx=Hang}\uFF01-\uFF60]/gu)?.length ?? 0
  return [...text].length + wide
}
