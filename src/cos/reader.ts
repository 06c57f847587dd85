import { hash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import type { InventoryConfiguration, InventoryPage } from '../contract/inventory.ts'
import type { Departure } from '../departure.ts'
import { nextIteration } from '../event-loop.ts'
import { cancelled } from './bulkheads.ts'
import { fromConfigurationText, pieceToConfiguration, readList } from './inventory-xml.ts'
import { decodeUtf8 } from './xml.ts'

/** In characters of XML: some three thousand usual configurations, which take up to 15 MiB. */
const mostRemembered = 3 * 1024 * 1024
/** Longer documents are not usual, and would push out many others. */
const longestRemembered = 32 * 1024
/** Pages in the middle of being read. The largest there can be takes some 30 MiB until its answer has been sent. */
const mostPages = 4

/** Reads what COS answers to GET and LIST. The configurations it gives are not to be changed. */
export interface Reader {
  /** @throws {XmlError} when the bytes are not an InventoryConfiguration */
  configuration (bytes: Uint8Array): InventoryConfiguration
  /**
   * Reads a page in turns of some milliseconds. Of all pages one has a turn in each round of the event loop.
   *
   * @param caller for whom it is read
   * @throws {XmlError} when the bytes are not a page of configurations
   * @throws {UpstreamError} `cancelled` when the caller has left
   */
  page (bytes: Uint8Array, caller: Departure): Promise<InventoryPage>
}

/**
 * A reader that keeps what comes again, character for character. COS is asked every time, but configurations seldom
 * change, and to translate one takes nearly half of a GET, and nearly all of a LIST. What is kept depends on nothing
 * but the text, so that it never gets old and is the same for every caller.
 */
export function createReader (): Reader {
  const known = new LRUCache<string, InventoryConfiguration>({
    maxSize: mostRemembered,
    sizeCalculation: (_, text) => text.length
  })
  /**
   * Hashes and lengths of what has come: only what comes again is kept. To keep what comes once, or not again before it
   * is pushed out, would cost more than it brings.
   */
  const seen = new LRUCache<string, number>({ maxSize: mostRemembered, sizeCalculation: length => length })

  function remembering<T extends InventoryConfiguration | undefined> (read: (text: string) => T) {
    return (text: string): T | InventoryConfiguration => {
      if (text.length > longestRemembered) return read(text)
      const before = known.get(text)
      if (before !== undefined) return before
      const mark = hash('sha1', text, 'base64')
      if (!seen.has(mark)) {
        const configuration = read(text)
        if (configuration !== undefined) seen.set(mark, text.length)
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
  let pages = 0
  const waiting = new Set<() => void>()

  /** Waits until this is one of the pages that are read; who leaves meanwhile is not waited with. */
  function begin (caller: Departure): Promise<void> {
    if (pages < mostPages) {
      pages += 1
      return Promise.resolve()
    }
    return new Promise((resolve, reject) => {
      const leave = () => {
        waiting.delete(admit)
        reject(cancelled())
      }
      const admit = () => {
        caller.removeEventListener('abort', leave)
        resolve()
      }
      waiting.add(admit)
      caller.addEventListener('abort', leave)
    })
  }

  function end (): void {
    const [next] = waiting
    if (next === undefined) {
      pages -= 1
      return
    }
    waiting.delete(next)
    next()
  }

  async function readPage (bytes: Uint8Array, caller: Departure): Promise<InventoryPage> {
    const turn = async () => {
      await nextIteration()
      if (caller.aborted) throw cancelled()
    }
    await turn()
    return await readList(bytes, readPiece, turn)
  }

  return {
    configuration: bytes => readDocument(decodeUtf8(bytes)),
    async page (bytes, caller) {
      await begin(caller)
      return await readPage(bytes, caller).finally(end)
    }
  }
}

/** The same value, which nobody can change any more. */
function frozen<T> (value: T): T {
  if (typeof value === 'object' && value !== null) {
    for (const each of Object.values(value)) frozen(each)
    Object.freeze(value)
  }
  return value
}
