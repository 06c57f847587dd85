import { hash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { createAbortableQueue } from '../../concurrency/abortable-queue.ts'
import type { CancelSignal } from '../../concurrency/cancel-signal.ts'
import type { InventoryConfiguration } from '../../contract/inventory.ts'
import { nextIteration } from '../../concurrency/event-loop.ts'
import { canceled } from '../upstream-error.ts'
import { fromConfigurationXml, fromListXml } from './inventory-xml.ts'
import type { StoredConfiguration, StoredPage } from './inventory-xml.ts'
import { canonicalForm } from './json.ts'
import { decodeUtf8 } from './parser.ts'

/** A configuration that COS stores, and values computed from its XML alone. */
export interface CosDocument extends StoredConfiguration {
  /** Returns its entity tag, see {@link etagOf}. */
  etag (): string
  /** Returns its JSON. */
  json (): string
}

/** A page of configurations. */
export interface CosPage extends Omit<StoredPage, 'stored'> {
  documents: readonly CosDocument[]
}

/** Characters of XML in the cache: about 1,500 usual configurations, which take up to 8 MiB. */
const maxKept = 1_536 * 1024

/** Characters of the longest document that is kept. A longer one is unusual, and would evict many others. */
const maxKeptLength = 32 * 1024

/** Characters of the longest page that is kept. A page has 100 configurations. */
const maxKeptPageLength = 10 * maxKeptLength

/** Pages that are read at once. The largest page needs some 30 MiB until its response has been sent. */
const maxPages = 4

/**
 * Reads COS's responses, and caches the documents that were read last by their XML. Each request still calls COS, but
 * configurations seldom change. Translating one takes a third of the time of a GET, and most of that of a LIST.
 */
export interface DocumentReader {
  /** @throws {XmlError} when the bytes are not an InventoryConfiguration */
  document (bytes: Uint8Array): CosDocument
  /**
   * Reads a page in iterations of the event loop that no other page uses.
   *
   * @param caller the signal of the caller of the page
   * @throws {XmlError} when the bytes are not a page of configurations
   * @throws {UpstreamError} `cancelled` when the caller has disconnected
   */
  page (bytes: Uint8Array, caller: CancelSignal): Promise<CosPage>
}

/** Creates a reader, with its own cache and its own limit of pages that are read at once. */
export function createDocumentReader (): DocumentReader {
  const sizeCalculation = (_: unknown, xml: string) => xml.length
  const documents = new LRUCache<string, CosDocument>({ maxSize: maxKept, sizeCalculation })
  const pages = new LRUCache<string, CosPage>({ maxSize: maxKept, sizeCalculation })
  const queued = createPageQueue()

  async function readPage (xml: string, caller: CancelSignal): Promise<CosPage> {
    const wait = async () => {
      await nextIteration()
      if (caller.aborted) throw canceled()
    }
    await wait()
    const { stored, ...page } = await fromListXml(xml, wait)
    return { ...page, documents: stored.map(createDocument) }
  }

  return {
    document (bytes) {
      const xml = decodeUtf8(bytes)
      const known = documents.get(xml)
      if (known !== undefined) return known
      const document = createDocument({ xml, configuration: fromConfigurationXml(xml) })
      if (xml.length <= maxKeptLength) documents.set(xml, document)
      return document
    },

    async page (bytes, caller) {
      const xml = decodeUtf8(bytes)
      const known = pages.get(xml)
      if (known !== undefined) return known
      const page = await queued(caller, () => readPage(xml, caller))
      if (xml.length <= maxKeptPageLength) pages.set(xml, page)
      return page
    }
  }
}

/** Lets some pages be read at once. The others wait in order of arrival, until their callers disconnect. */
function createPageQueue () {
  let reading = 0
  const queue = createAbortableQueue<void>({ toError: () => canceled() })

  return async <T>(caller: CancelSignal, read: () => Promise<T>): Promise<T> => {
    if (reading < maxPages) reading += 1
    else await queue.wait(caller, undefined)
    try {
      return await read()
    } finally {
      if (!queue.admitFirst()) reading -= 1
    }
  }
}

function createDocument ({ xml, configuration }: StoredConfiguration): CosDocument {
  let [etag, json]: Array<string | undefined> = []
  return {
    xml,
    // Requests share a document, so none may change it.
    configuration: frozen(configuration),
    etag () {
      etag ??= etagOf(configuration)
      return etag
    },
    json () {
      json ??= JSON.stringify(configuration)
      return json
    }
  }
}

function frozen<T> (value: T): T {
  if (typeof value === 'object' && value !== null) {
    for (const each of Object.values(value)) frozen(each)
    Object.freeze(value)
  }
  return value
}

/**
 * Returns the strong entity tag of a configuration (RFC 9110, section 8.8.3): a SHA-256 of its canonical form.
 *
 * @param configuration as GET returns it
 */
export function etagOf (configuration: InventoryConfiguration): string {
  return `"${hash('sha256', canonicalForm(configuration), 'base64url')}"`
}
