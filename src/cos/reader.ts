import { LRUCache } from 'lru-cache'
import type { InventoryConfiguration, InventoryPage } from '../contract/inventory.ts'
import { fromConfigurationText, pieceToConfiguration, readList } from './inventory-xml.ts'
import { decodeUtf8 } from './xml.ts'

/** In characters of XML: some two thousand usual configurations, which take three times as much as objects. */
const mostRemembered = 2 * 1024 * 1024
/** Longer documents are not usual, and would push out many others. */
const longestRemembered = 32 * 1024

/** Stands for a configuration that has come once. It is kept when it comes again: most of what changes comes once. */
const seen = Symbol('seen')

/** Reads what COS answers to GET and LIST. The configurations it gives are not to be changed. */
export interface Reader {
  /** @throws {XmlError} when the bytes are not an InventoryConfiguration */
  configuration (bytes: Uint8Array): InventoryConfiguration
  /** Gives others a turn on the way. @throws {XmlError} when the bytes are not a page of configurations */
  page (bytes: Uint8Array): Promise<InventoryPage>
}

/**
 * A reader that does not read twice what is the same character for character. COS is asked every time, but
 * configurations seldom change, and to translate one takes longer than all else that is done for a GET. What is
 * remembered depends on nothing but the text, so that it never gets old and is the same for every caller.
 */
export function createReader (): Reader {
  const known = new LRUCache<string, InventoryConfiguration | typeof seen>({
    maxSize: mostRemembered,
    maxEntrySize: longestRemembered,
    sizeCalculation: (_, text) => text.length
  })

  function remembering<T extends InventoryConfiguration | undefined> (read: (text: string) => T) {
    return (text: string): T | InventoryConfiguration => {
      const before = known.get(text)
      if (typeof before === 'object') return before
      // A piece of a page, and pieces of that, would keep the whole page.
      const own = Buffer.from(text).toString()
      const configuration = read(own)
      if (configuration !== undefined) known.set(own, before === undefined ? seen : frozen(configuration))
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
