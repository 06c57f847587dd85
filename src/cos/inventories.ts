import type { Config } from '../config.ts'
import type { InventoryConfiguration, InventoryJob, InventoryPage } from '../contract/inventory.ts'
import { ServiceError } from '../errors.ts'
import type { CosContext } from '../errors.ts'
import { createAddressBook, inventoryTarget, regionOf } from './addresses.ts'
import type { InventoryParameters } from './addresses.ts'
import { cosContext, isNotFound, rejectsKey, toServiceError } from './answers.ts'
import type { CredentialProvider } from './credentials/provider.ts'
import { fromConfigurationXml, fromJobXml, fromListXml, toConfigurationXml } from './inventory-xml.ts'
import type { AttemptLog, CosAnswer, CosRequest, Transport } from './transport.ts'

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
 * UpstreamCredentialsRejected, UpstreamCredentialsUnavailable, UpstreamInvalidResponse, UpstreamUnreachable,
 * UpstreamTimeout, or ValidationFailed when the bucket's region is not known.
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
  /** The region a call for the bucket goes to; undefined when none is known, and every other operation refuses it. */
  regionOf (bucket: string, requested: string | undefined): string | undefined
  /** The XML that put or post would send. Sends nothing, but knows the region as they do. */
  preview (call: Call, id: string, input: object): string
}

interface Dependencies {
  transport: Transport
  credentials: Pick<CredentialProvider, 'get' | 'renew'>
  /** Milliseconds since 1970. */
  now: () => number
}

/** Builds the operations on a transport. */
export function createInventories (
  config: Config['cos'], { transport, credentials, now }: Dependencies
): Inventories {
  const addressOf = createAddressBook(config)

  async function send (
    call: Call, method: CosRequest['method'], parameters: InventoryParameters, body?: string,
    deadlineAt = now() + config.deadlineMs
  ): Promise<CosAnswer> {
    const address = addressOf(call.bucket, call.region)
    const target = inventoryTarget(parameters)
    const request = { method, address, target, ...(body === undefined ? {} : { body }), deadlineAt, log: call.log }
    const keys = await credentials.get(deadlineAt)
    const answer = await transport.send({ ...request, credentials: keys })
    if (answer.status >= 200 && answer.status <= 299) return answer
    // COS looks at the key before anything else: the call was not carried out, and even a POST may be repeated.
    const renewed = rejectsKey(answer) ? await credentials.renew(keys, deadlineAt) : undefined
    if (renewed === undefined) throw toServiceError(answer)
    call.log.debug({ status: answer.status }, 'COS does not know the key: trying once more with a new one')
    const second = await transport.send({ ...request, credentials: renewed })
    if (second.status < 200 || second.status > 299) throw toServiceError(second)
    return second
  }

  async function listPage (call: Call, continuationToken: string | undefined, deadlineAt?: number) {
    try {
      return read(await send(call, 'GET', { continuationToken }, undefined, deadlineAt), fromListXml)
    } catch (error) {
      if (!isNotFound(error)) throw error
      const empty: InventoryPage = { InventoryConfigurations: [], IsTruncated: false }
      return { value: empty, cos: error.cos }
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
      const answer = await send(call, 'POST', { id }, toConfigurationXml(id, input))
      return answer.body.length > 0 ? read(answer, fromJobXml) : { ...acknowledge(answer), value: {} }
    },

    list: (call, continuationToken) => listPage(call, continuationToken),

    async listAll (call) {
      const deadlineAt = now() + config.deadlineMs
      const configurations = new Map<string, InventoryConfiguration>()
      const tokens = new Set<string>()
      let others = {}
      let token: string | undefined
      for (;;) {
        const { value: page, cos } = await listPage(call, token, deadlineAt)
        const { InventoryConfigurations: items, IsTruncated: _, NextContinuationToken: next, ...unknown } = page
        for (const item of items) if (!configurations.has(item.Id)) configurations.set(item.Id, item)
        others = { ...others, ...unknown }
        token = next
        if (token === undefined) {
          const whole = { InventoryConfigurations: [...configurations.values()], IsTruncated: false, ...others }
          return { value: whole, cos }
        }
        if (tokens.has(token) || Math.max(configurations.size, tokens.size) > maxConfigurations) {
          throw new ServiceError('UpstreamInvalidResponse',
            'COS does not come to an end of the list: it repeats a page, or lists more than a bucket can hold.', { cos })
        }
        tokens.add(token)
      }
    },

    regionOf: (bucket, requested) => regionOf(config, bucket, requested),

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
    throw new ServiceError('UpstreamInvalidResponse',
      'COS answered something that is not the XML it should be. Try again; if it stays, tell the operator.',
      { cause: error, cos })
  }
}

/** An empty success proves nothing by itself: without COS's request id, or with a page of HTML, it is not COS's. */
function acknowledge (answer: CosAnswer): Outcome<undefined> {
  const cos = cosContext(answer)
  if (cos.requestId === undefined || answer.body.length > 0) {
    throw new ServiceError('UpstreamInvalidResponse',
      'The change was acknowledged, but not as COS does: a gateway in between may have answered.', { cos })
  }
  return { value: undefined, cos }
}
