import { hash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import type { InventoryConfiguration, InventoryPage } from '../contract/inventory.ts'
import { fromConfigurationText, pieceToConfiguration, readList } from './inventory-xml.ts'
import { decodeUtf8 } from './xml.ts'

/** In characters of XML: some two thousand usual configurations, which take three times as much as objects. */
const mostRemembered = 2 * 1024 * 1024
/** Longer documents are not usual, and would push out many others. */
const longestRemembered = 32 * 1024
/** Documents of which is known that they have come. */
const mostSeen = 4_000

/** Reads what COS answers to GET and LIST. The configurations it gives are not to be changed. */
export interface Reader {
  /** @throws {XmlError} when the bytes are not an InventoryConfiguration */
  configuration (bytes: Uint8Array): InventoryConfiguration
  /** Gives others a turn on the way. @throws {XmlError} when the bytes are not a page of configurations */
  page (bytes: Uint8Array): Promise<InventoryPage>
}

/**
 * A reader that keeps what comes again, character for character. COS is asked every time, but configurations seldom
 * change, and to translate one takes a quarter of a GET, and nearly all of a LIST. What is kept depends on nothing but
 * the text, so that it never gets old and is the same for every caller.
 */
export function createReader (): Reader {
  const known = new LRUCache<string, InventoryConfiguration>({
    maxSize: mostRemembered,
    sizeCalculation: (_, text) => text.length
  })
  /** Hashes of what has come: only what comes again is kept. To keep what comes once would cost more than it brings. */
  const seen = new LRUCache<string, true>({ max: mostSeen })

  function remembering<T extends InventoryConfiguration | undefined> (read: (text: string) => T) {
    return (text: string): T | InventoryConfiguration => {
      if (text.length > longestRemembered) return read(text)
      const before = known.get(text)
      if (before !== undefined) return before
      const mark = hash('sha1', text, 'base64')
      if (!seen.has(mark)) {
        const configuration = read(text)
        if (configuration !== undefined) seen.set(mark, true)
        return configuration
      }
      // A piece of a page, and pieces of that, would keep the whole page.
      const own = Buffer.from(text).toString()
      const configuration = frozen(read(own)) as InventoryConfiguration
      known.set(own, configuration)
      return configuration
    }
  }

  const readDocument = remembering(fromConfigurationText)
  const readPiece = remembering(pieceToConfiguration)
  let last = Promise.resolve()

  return {
    configuration: bytes => readDocument(decodeUtf8(bytes)),
    page (bytes) {
      // One at a time: many at once would hold the event loop in turn, and the largest take all memory together.
      const page = last.then(() => readList(bytes, readPiece))
      last = page.then(ignore, ignore)
      return page
    }
  }
}

const ignore = () => {}

/** The same value, which nobody can change any more. */
function frozen<T> (value: T): T {
  if (typeof value === 'object' && value !== null) {
    for (const each of Object.values(value)) frozen(each)
    Object.freeze(value)
  }
  return value
}
