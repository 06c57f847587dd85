import type { Config } from '../config/config.ts'
import type { InventoryJob } from '../contract/inventory.ts'
import type { CancelSignal } from '../concurrency/cancel-signal.ts'
import { ServiceError } from '../errors.ts'
import type { CosContext } from '../errors.ts'
import type { RequestTrace } from '../tracing/tracing.ts'
import { createAddressBook, inventoryTarget } from './client/endpoints.ts'
import type { InventoryParameters } from './client/endpoints.ts'
import { isNotFound } from './client/response-errors.ts'
import { cosContext } from './client/response-headers.ts'
import type { Read } from './client/attempt.ts'
import type { Attempts } from './client/retry.ts'
import { maxListBytes } from './operations.ts'
import type { Operation } from './operations.ts'
import type { AttemptLog, CosResponse, CosRequest } from './client/messages.ts'
import { UpstreamError } from './upstream-error.ts'
import { createDocumentReader } from './xml/cos-document.ts'
import type { CosDocument, CosPage } from './xml/cos-document.ts'
import { fromJobXml, toChangedXml, toConfigurationXml } from './xml/inventory-xml.ts'
import { XmlError } from './xml/parser.ts'

/** COS holds at most this many configurations in a bucket (COS document 30625). */
const maxConfigurations = 1000

/** The XML of a configuration that is sent has at most this many bytes, half of what GET may return for it. */
const maxConfigurationXmlBytes = 256 * 1024

/** Which bucket a caller means, and the request it belongs to. */
export interface Call {
  bucket: string
  /** Undefined when none is known. */
  region: string | undefined
  /** Instant of the monotonic clock at which all of it must be over, in milliseconds. */
  deadlineAt: number
  log: AttemptLog
  trace: RequestTrace
  /** Aborted when nobody waits for the answer any more: reads are broken off, changes that were not sent never are. */
  signal: CancelSignal
  /** Counts what was sent to COS for the request. */
  tally: { attempts: number }
}

/** What an operation gives, and COS's ids of the exchange. */
export interface Outcome<T> {
  value: T
  cos: CosContext
}

/**
 * The inventory API of COS as functions. All of them throw {@link ServiceError}: what COS refuses (its own code),
 * UpstreamCredentialsRejected, UpstreamCredentialsUnavailable, UpstreamInvalidResponse, UpstreamUnreachable,
 * UpstreamTimeout, Overloaded, or ValidationFailed when the bucket's region is not known.
 */
export interface Inventories {
  /** @param stored the XML of the configuration that is changed, whose form is kept */
  put (call: Call, id: string, input: object, stored?: string): Promise<Outcome<undefined>>
  get (call: Call, id: string): Promise<Outcome<CosDocument>>
  delete (call: Call, id: string): Promise<Outcome<undefined>>
  /** Starts a one-time job. */
  post (call: Call, id: string, input: object): Promise<Outcome<InventoryJob>>
  /** One page, the first without a token. An empty bucket is an empty page. */
  list (call: Call, continuationToken?: string): Promise<Outcome<CosPage>>
  /** Every page as one. A configuration that pages repeat, because the set changed meanwhile, is there once. */
  listAll (call: Call): Promise<Outcome<CosPage>>
  /** Returns the XML that put or post would send. Sends nothing, but knows the region as they do. */
  preview (call: Call, id: string, input: object, stored?: string): string
  /** Returns what is wrong with a configuration whose XML is too large to be sent, for which put and post throw. */
  sizeError (id: string, input: object, stored?: string): string | undefined
}

interface Dependencies {
  attempts: Attempts
}

const emptyPage: CosPage = {
  documents: [], continuationToken: undefined, nextContinuationToken: undefined, unknown: {}
}

/** What CAM calls the operations on one configuration, by method. */
const operations: Record<CosRequest['method'], Operation> = {
  GET: 'GetBucketInventory', PUT: 'PutBucketInventory', DELETE: 'DeleteBucketInventory', POST: 'PostBucketInventory'
}

/** Builds the operations on attempts. */
export function createInventories (config: Config['cos'], { attempts }: Dependencies): Inventories {
  const addressOf = createAddressBook(config)
  const reader = createDocumentReader()

  async function send<T> (
    call: Call, method: CosRequest['method'], parameters: InventoryParameters, read: Read<T>, body?: string
  ): Promise<T> {
    return await attempts.run({
      operation: 'id' in parameters ? operations[method] : 'ListBucketInventory',
      method,
      address: addressOf(call.bucket, call.region),
      target: inventoryTarget(parameters),
      body,
      deadlineAt: call.deadlineAt,
      call
    }, read)
  }

  async function listPage (call: Call, continuationToken: string | undefined) {
    let bytes = 0
    const read = reading(async body => {
      bytes = body.length
      return checkTokens(await reader.page(body, call.signal), continuationToken)
    })
    try {
      return { ...await send(call, 'GET', { continuationToken }, read), bytes }
    } catch (error) {
      if (!isNotFound(error)) throw error
      return { value: emptyPage, cos: error.cos, bytes }
    }
  }

  async function listAll (call: Call): Promise<Outcome<CosPage>> {
    const configurations = new Map<string, CosDocument>()
    const tokens = new Set<string>()
    let unknown = {}
    let token: string | undefined
    let bytesInAll = 0
    for (;;) {
      const { value: page, cos, bytes } = await listPage(call, token)
      bytesInAll += bytes
      if (bytesInAll > maxListBytes) {
        throw new UpstreamError('UpstreamInvalidResponse', 'The configurations of the bucket have more than 8 MiB of XML ' +
          'together. List them page by page.', { class: 'invalid', cos })
      }
      for (const each of page.documents) {
        const { Id: id } = each.configuration
        if (!configurations.has(id)) configurations.set(id, each)
      }
      unknown = { ...unknown, ...page.unknown }
      token = page.nextContinuationToken
      if (token === undefined) return { value: { ...emptyPage, documents: [...configurations.values()], unknown }, cos }
      if (tokens.has(token) || Math.max(configurations.size, tokens.size) > maxConfigurations) {
        throw new UpstreamError('UpstreamInvalidResponse',
          'COS does not come to an end of the list: it repeats a page, or lists more than a bucket can hold.',
          { class: 'invalid', cos })
      }
      tokens.add(token)
    }
  }

  return {
    put: async (call, id, input, stored) => await send(call, 'PUT', { id }, acknowledge, toXml(id, input, stored)),

    get: (call, id) => send(call, 'GET', { id }, reading(body => checkId(reader.document(body), id))),

    delete: (call, id) => send(call, 'DELETE', { id }, acknowledge),

    post: async (call, id, input) => await send(call, 'POST', { id }, answer =>
      isBlank(answer.body) ? { ...acknowledge(answer), value: {} } : reading(fromJobXml)(answer),
    toXml(id, input)),

    async list (call, continuationToken) {
      const { value, cos } = await listPage(call, continuationToken)
      return { value, cos }
    },

    listAll,

    preview (call, id, input, stored) {
      addressOf(call.bucket, call.region)
      return toXml(id, input, stored)
    },

    sizeError: (id, input, stored) => sizeErrorOf(xmlOf(id, input, stored))
  }
}

/** @throws {ServiceError} ValidationFailed when it is too large */
function toXml (id: string, input: object, stored?: string): string {
  const xml = xmlOf(id, input, stored)
  const detail = sizeErrorOf(xml)
  if (detail === undefined) return xml
  throw new ServiceError('ValidationFailed', 'The configuration is too large. Nothing was changed.',
    { errors: [{ in: 'body', pointer: '', detail }] })
}

function xmlOf (id: string, input: object, stored: string | undefined): string {
  return stored === undefined ? toConfigurationXml(id, input) : toChangedXml(id, input, stored)
}

function sizeErrorOf (xml: string): string | undefined {
  const bytes = Buffer.byteLength(xml)
  if (bytes <= maxConfigurationXmlBytes) return undefined
  return `becomes ${bytes} bytes of XML, and must not become more than ${maxConfigurationXmlBytes}`
}

function reading<T> (parse: (bytes: Uint8Array) => T | Promise<T>): Read<Outcome<T>> {
  return async answer => {
    const cos = cosContext(answer)
    try {
      return { value: await parse(answer.body), cos }
    } catch (error) {
      if (error instanceof UpstreamError) throw error
      throw invalid('COS answered something that is not the XML it should be. Try again; if it stays, tell the operator.',
        { cause: error, cos })
    }
  }
}

/** @throws {XmlError} for the configuration of another id */
function checkId (document: CosDocument, id: string): CosDocument {
  if (document.configuration.Id !== id) throw new XmlError('it is another configuration')
  return document
}

/** @throws {XmlError} for a page that is not the one of the token, or leads back to it */
function checkTokens (page: CosPage, token: string | undefined): CosPage {
  const { continuationToken = token, nextContinuationToken } = page
  if (continuationToken !== token) throw new XmlError('it is another page')
  if (token !== undefined && nextContinuationToken === token) throw new XmlError('the page after it is the same one')
  return page
}

/** An empty success proves nothing by itself: without COS's request id, or with a page of HTML, it is not COS's. */
function acknowledge (answer: CosResponse): Outcome<undefined> {
  const cos = cosContext(answer)
  if (cos.requestId === undefined || !isBlank(answer.body)) {
    throw invalid('The change was acknowledged, but not as COS does: a gateway in between may have answered.', { cos })
  }
  return { value: undefined, cos }
}

function isBlank (bytes: Uint8Array): boolean {
  return bytes.every(byte => byte === 0x20 || byte === 0x09 || byte === 0x0A || byte === 0x0D)
}

function invalid (detail: string, more: { cause?: unknown, cos: CosContext }): UpstreamError {
  return new UpstreamError('UpstreamInvalidResponse', detail, { class: 'invalid', remedy: 'retry', ...more })
}
