import type { Config } from '../config/config.ts'
import type { InventoryJob } from '../contract/inventory.ts'
import type { CancelSignal } from '../concurrency/cancel-signal.ts'
import { ServiceError } from '../errors.ts'
import type { RequestTrace } from '../tracing/tracing.ts'
import type { CosCall, Read } from './client/attempt.ts'
import { createAddressBook, inventoryTarget } from './client/endpoints.ts'
import type { InventoryParameters } from './client/endpoints.ts'
import type { AttemptLog, CosRequest, CosResponse } from './client/messages.ts'
import { isNotFound } from './client/response-errors.ts'
import { acknowledge, isBlank, reading } from './client/results.ts'
import type { Outcome } from './client/results.ts'
import type { Attempts } from './client/retry.ts'
import { maxListBytes } from './operations.ts'
import type { Operation } from './operations.ts'
import { UpstreamError } from './upstream-error.ts'
import { createDocumentReader } from './xml/cos-document.ts'
import type { CosDocument, CosPage } from './xml/cos-document.ts'
import { fromJobXml, toChangedXml, toConfigurationXml } from './xml/inventory-xml.ts'
import { textLengthOf } from './xml/json.ts'
import { XmlError } from './xml/parser.ts'

export type { Outcome }

/** COS stores at most this many configurations in a bucket (COS document 30625). */
const maxConfigurations = 1000

/** The longest XML of a configuration that is sent, in bytes: half of what GET may return for it. */
const maxConfigurationXmlBytes = 256 * 1024

/** The bucket of an operation, and the request that it belongs to. */
export interface Call {
  bucket: string
  /** Undefined when none is known. */
  region: string | undefined
  /** Instant of the monotonic clock at which the whole call must have ended, in milliseconds. */
  deadlineAt: number
  log: AttemptLog
  trace: RequestTrace
  /** Aborted when the caller disconnects: reads end, and changes that still wait are not sent. */
  signal: CancelSignal
  /** Counts what was sent to COS for the request. */
  tally: { attempts: number }
}

/**
 * The inventory API of COS as functions. All functions throw {@link ServiceError}. A rejection by COS has the code of
 * COS. Other codes are UpstreamCredentialsRejected, UpstreamCredentialsUnavailable, UpstreamInvalidResponse,
 * UpstreamUnreachable, UpstreamTimeout and Overloaded. AccountUnknown says that the service has no account for the
 * bucket, and ValidationFailed that no region of the bucket is known.
 */
export interface Inventories {
  /**
   * Creates or replaces a configuration.
   *
   * @param stored the XML of the configuration that is changed, whose form is kept
   */
  put (call: Call, id: string, input: object, stored?: string): Promise<Outcome<undefined>>
  get (call: Call, id: string): Promise<Outcome<CosDocument>>
  delete (call: Call, id: string): Promise<Outcome<undefined>>
  /** Starts a one-time job. */
  post (call: Call, id: string, input: object): Promise<Outcome<InventoryJob>>
  /** Returns one page, the first without a token. An empty bucket has an empty page. */
  list (call: Call, continuationToken?: string): Promise<Outcome<CosPage>>
  /** Returns all pages as one. A configuration can be on several pages if the set changes; the result has it once. */
  listAll (call: Call): Promise<Outcome<CosPage>>
  /** Returns the XML that put or post would send. Sends nothing, but requires account and region as they do. */
  preview (call: Call, id: string, input: object, stored?: string): string
  /** Returns the validation error of a configuration whose XML is too large to be sent; put and post throw it. */
  sizeError (id: string, input: object, stored?: string): string | undefined
}

interface Dependencies {
  attempts: Attempts
  /**
   * Returns the credentials for a bucket.
   *
   * @throws {ServiceError} AccountUnknown
   */
  credentialsOf: (bucket: string) => CosCall['credentials']
}

const emptyPage: CosPage = {
  documents: [], continuationToken: undefined, nextContinuationToken: undefined, unknown: {}
}

/** Names of CAM for the operations on one configuration, by method. */
const operations = {
  GET: 'GetBucketInventory', PUT: 'PutBucketInventory', DELETE: 'DeleteBucketInventory', POST: 'PostBucketInventory'
} as const satisfies Partial<Record<CosRequest['method'], Operation>>

export function createInventories (config: Config['cos'], dependencies: Dependencies): Inventories {
  const { placeOf, send } = createSend(config, dependencies)
  const reader = createDocumentReader()

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

  return {
    put: async (call, id, input, stored) => await send(call, 'PUT', { id }, acknowledge, toXml(id, input, stored)),

    get: (call, id) => send(call, 'GET', { id }, reading(body => checkId(reader.document(body), id))),

    delete: (call, id) => send(call, 'DELETE', { id }, acknowledge),

    post: async (call, id, input) => await send(call, 'POST', { id }, readJob, toXml(id, input)),

    async list (call, continuationToken) {
      const { value, cos } = await listPage(call, continuationToken)
      return { value, cos }
    },

    listAll: call => collectPages(call, listPage),

    preview (call, id, input, stored) {
      placeOf(call)
      return toXml(id, input, stored)
    },

    sizeError (id, input, stored) {
      // A set can have a text of a million characters. Escaping it takes 100 ms.
      if (textLengthOf(input) > maxConfigurationXmlBytes) return tooLarge(`more than ${maxConfigurationXmlBytes}`)
      return sizeErrorOf(xmlOf(id, input, stored))
    }
  }
}

/** Creates the function that sends a call to the host of its bucket, with the credentials for that bucket. */
function createSend (config: Config['cos'], { attempts, credentialsOf }: Dependencies) {
  const addressOf = createAddressBook(config)
  const placeOf = ({ bucket, region }: Call) => ({
    credentials: credentialsOf(bucket), address: addressOf(bucket, region)
  })

  async function send<T> (
    call: Call, method: keyof typeof operations, parameters: InventoryParameters, read: Read<T>, body?: string
  ): Promise<T> {
    return await attempts.run({
      operation: 'id' in parameters ? operations[method] : 'ListBucketInventory',
      method,
      ...placeOf(call),
      target: inventoryTarget(parameters),
      body,
      deadlineAt: call.deadlineAt,
      call
    }, read)
  }

  return { placeOf, send }
}

/** Returns all pages up to the last one, read one after another. */
async function collectPages (
  call: Call, readPage: (call: Call, token: string | undefined) => Promise<Outcome<CosPage> & { bytes: number }>
): Promise<Outcome<CosPage>> {
  const documents = new Map<string, CosDocument>()
  const tokens = new Set<string>()
  let unknown = {}
  let token: string | undefined
  let bytesInAll = 0
  for (;;) {
    const { value: page, cos, bytes } = await readPage(call, token)
    bytesInAll += bytes
    if (bytesInAll > maxListBytes) {
      throw new UpstreamError('UpstreamInvalidResponse', 'The configurations of the bucket have more than 8 MiB of XML ' +
        'together. List them page by page.', { class: 'invalid', cos })
    }
    for (const each of page.documents) {
      const { Id: id } = each.configuration
      if (!documents.has(id)) documents.set(id, each)
    }
    unknown = { ...unknown, ...page.unknown }
    token = page.nextContinuationToken
    if (token === undefined) return { value: { ...emptyPage, documents: [...documents.values()], unknown }, cos }
    if (tokens.has(token) || Math.max(documents.size, tokens.size) > maxConfigurations) {
      throw new UpstreamError('UpstreamInvalidResponse', 'COS returned a list without an end: a page occurs twice, or there ' +
        'are more configurations than a bucket can have. Contact the operator.', { class: 'invalid', cos })
    }
    tokens.add(token)
  }
}

/** Returns no job id for an empty response, which COS may send. */
function readJob (response: CosResponse): Outcome<InventoryJob> | Promise<Outcome<InventoryJob>> {
  return isBlank(response.body) ? { ...acknowledge(response), value: {} } : readJobXml(response)
}

const readJobXml = reading(fromJobXml)

/** Returns the body of PUT or POST. @throws {ServiceError} ValidationFailed when the XML is too large */
function toXml (id: string, input: object, stored?: string): string {
  const xml = xmlOf(id, input, stored)
  const detail = sizeErrorOf(xml)
  if (detail === undefined) return xml
  throw new ServiceError('ValidationFailed', 'The configuration is too large. Nothing was sent to COS; shorten it.',
    { errors: [{ in: 'body', pointer: '', detail }] })
}

function xmlOf (id: string, input: object, stored: string | undefined): string {
  return stored === undefined ? toConfigurationXml(id, input) : toChangedXml(id, input, stored)
}

function sizeErrorOf (xml: string): string | undefined {
  const bytes = Buffer.byteLength(xml)
  if (bytes <= maxConfigurationXmlBytes) return undefined
  return tooLarge(String(bytes))
}

function tooLarge (bytes: string): string {
  return `becomes ${bytes} bytes of XML; the maximum is ${maxConfigurationXmlBytes}`
}

/** @throws {XmlError} when the document has another id */
function checkId (document: CosDocument, id: string): CosDocument {
  if (document.configuration.Id !== id) throw new XmlError('the document is another configuration')
  return document
}

/** @throws {XmlError} when the page is not that of the token, or names itself as the next one */
function checkTokens (page: CosPage, token: string | undefined): CosPage {
  const { continuationToken = token, nextContinuationToken } = page
  if (continuationToken !== token) throw new XmlError('the document is another page')
  if (token !== undefined && nextContinuationToken === token) throw new XmlError('the page names itself as the next one')
  return page
}
