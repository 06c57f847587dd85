import { readFileSync, statSync } from 'node:fs'

/** Far more than callers, certificates or keys take up, and read in no time. */
const maxBytes = 4 * 1024 * 1024

/**
 * Reads a file of at most 4 MiB at once. Nothing but a file: a pipe would hold the process until somebody writes.
 *
 * @throws {Error} of the file system, or saying that it is no file or too large
 */
export function readRegularFile (path: string): string {
  const stats = statSync(path)
  if (!stats.isFile()) throw Object.assign(new Error('it is not a file'), { code: 'not a file' })
  if (stats.size > maxBytes) throw Object.assign(new Error('it is larger than 4 MiB'), { code: 'larger than 4 MiB' })
  return readFileSync(path, 'utf8')
}
