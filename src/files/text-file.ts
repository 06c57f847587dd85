import { readFileSync, statSync } from 'node:fs'

/** Enough for some 50,000 callers, and far more than certificates or keys need. */
const largest = 16

/**
 * Reads a text file of the operator: UTF-8, at most 16 MiB. Removes a byte order mark and white space around the text.
 * Rejects a pipe, which would block the process until another process writes.
 *
 * @param maxMebibytes a lower limit
 * @throws {Error} whose `code` is shown after "cannot be read:". It contains neither path nor content.
 */
export function readTextFile (path: string, maxMebibytes = largest): string {
  const stats = statSync(path)
  if (!stats.isFile()) throw unreadable('not a file')
  if (stats.size > maxMebibytes * 1024 * 1024) throw unreadable(`larger than ${maxMebibytes} MiB`)
  const bytes = readFileSync(path)
  if (isUtf16(bytes)) throw unreadable('it is UTF-16; save it as UTF-8')
  // A byte order mark is white space to trim().
  return bytes.toString('utf8').trim()
}

/** Recognizes a byte order mark of UTF-16, or a first ASCII character that takes two bytes. */
function isUtf16 ([first, second]: Buffer): boolean {
  const hasMark = (first === 0xFF && second === 0xFE) || (first === 0xFE && second === 0xFF)
  return hasMark || (second !== undefined && (first === 0) !== (second === 0))
}

function unreadable (code: string): Error {
  return Object.assign(new Error(code), { code })
}
