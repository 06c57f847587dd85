import type { Config } from '../config.ts'
import type { InventoryConfiguration, InventoryJob, InventoryPage } from '../contract/inventory.ts'
import { ServiceError } from '../errors.ts'
import type { CosContext } from '../errors.ts'
import { createAddressBook, inventoryTarget } from './addresses.ts'
import type { InventoryParameters } from './addresses.ts'
import { cosContext, isNotFound, toServiceError } from './answers.ts'
import { fromConfigurationXml, fromJobXml, fromListXml, toConfigurationXml } from './inventory-xml.ts'
import type { AttemptLog, CosAnswer, CosRequest, Transport } from './transport.ts'
import { XmlError } from './xml.ts'

/** COS holds at most this many configurations in a bucket (COS document 30625). */
const maxConfigurations = 1000

/** Which bucket a caller means, and where the attempts are logged. */
export interface Call {
  bucket: string
  region?: string | undefined
  log: AttemptLog
}

/** What an operation gives, and COS's ids of the exchange. */
export interface Outcome<T> {
  value: T
  cos: CosContext
}

/**
 * The inventory API of COS as functions. All of them throw {@link ServiceError}: what COS refuses (its own code),
 * UpstreamCredentialsRejected, UpstreamInvalidResponse, UpstreamUnreachable, UpstreamTimeout, or ValidationFailed
 * when the bucket's region is not known.
 */
export interface Inventories {
  put (call: Call, id: string, input: object): Promise<Outcome<undefined>>
  get (call: Call, id: string): Promise<Outcome<InventoryConfiguration>>
  delete (call: Call, id: string): Promise<Outcome<undefined>>
  /** Starts a one-time job. */
  post (call: Call, id: string, input: object): Promise<Outcome<InventoryJob>>
  /** One page, the first without a token. An empty bucket is an empty page. */
  list (call: Call, continuationToken?: string): Promise<Outcome<InventoryPage>>
  /** Every page as one. A configuration that pages repeat, because the set changed meanwhile, is there once. */
  listAll (call: Call): Promise<Outcome<InventoryPage>>
  /** The XML that put or post would send. Sends nothing, but knows the region as they do. */
  preview (call: Call, id: string, input: object): string
}

/** Builds the operations on a transport. `now` gives milliseconds since 1970. */
export function createInventories (config: Config['cos'], transport: Transport, now: () => number): Inventories {
  const addressOf = createAddressBook(config)

  async function send (
    call: Call, method: CosRequest['method'], parameters: InventoryParameters, body?: string, deadlineAt?: number
  ): Promise<CosAnswer> {
    const answer = await transport.send({
      method,
      address: addressOf(call.bucket, call.region),
      target: inventoryTarget(parameters),
      ...(body === undefined ? {} : { body }),
      deadlineAt: deadlineAt ?? now() + config.deadlineMs,
      log: call.log
    })
    if (answer.status < 200 || answer.status > 299) throw toServiceError(answer)
    return answer
  }

  async function listPage (call: Call, continuationToken: string | undefined, deadlineAt?: number) {
    try {
      return read(await send(call, 'GET', { continuationToken }, undefined, deadlineAt), fromListXml)
    } catch (error) {
      if (!isNotFound(error)) throw error
      const empty: InventoryPage = { InventoryConfigurations: [], IsTruncated: false }
      return { value: empty, cos: (error as ServiceError).cos ?? {} }
    }
  }

  return {
    async put (call, id, input) {
      return acknowledge(await send(call, 'PUT', { id }, toConfigurationXml(id, input)))
    },

    async get (call, id) {
      return read(await send(call, 'GET', { id }), fromConfigurationXml)
    },

    async delete (call, id) {
      return acknowledge(await send(call, 'DELETE', { id }))
    },

    async post (call, id, input) {
      return read(await send(call, 'POST', { id }, toConfigurationXml(id, input)), fromJobXml)
    },

    list: (call, continuationToken) => listPage(call, continuationToken),

    async listAll (call) {
      const deadlineAt = now() + config.deadlineMs
      const configurations = new Map<string, InventoryConfiguration>()
      const tokens = new Set<string>()
      let token: string | undefined
      for (;;) {
        const { value: page, cos } = await listPage(call, token, deadlineAt)
        for (const configuration of page.InventoryConfigurations) {
          if (!configurations.has(configuration.Id)) configurations.set(configuration.Id, configuration)
        }
        token = page.NextContinuationToken
        if (token === undefined) {
          return { value: { InventoryConfigurations: [...configurations.values()], IsTruncated: false }, cos }
        }
        if (tokens.has(token) || configurations.size > maxConfigurations) {
          throw new ServiceError('UpstreamInvalidResponse',
            'COS does not come to an end of the list: it repeats a page, or lists more than a bucket can hold.', { cos })
        }
        tokens.add(token)
      }
    },

    preview (call, id, input) {
      addressOf(call.bucket, call.region)
      return toConfigurationXml(id, input)
    }
  }
}

function read<T> (answer: CosAnswer, parse: (bytes: Uint8Array) => T): Outcome<T> {
  const cos = cosContext(answer)
  try {
    return { value: parse(answer.body), cos }
  } catch (error) {
    if (!(error instanceof XmlError)) throw error
    throw new ServiceError('UpstreamInvalidResponse',
      'COS answered something that is not the XML it should be. Try again; if it stays, tell the operator.',
      { cause: error, cos })
  }
}

/** An empty success proves nothing by itself: without COS's request id, something else may have given it. */
function acknowledge (answer: CosAnswer): Outcome<undefined> {
  const cos = cosContext(answer)
  if (cos.requestId === undefined) {
    throw new ServiceError('UpstreamInvalidResponse',
      'The change was acknowledged, but not by COS: a gateway in between may have answered.', { cos })
  }
  return { value: undefined, cos }
}
