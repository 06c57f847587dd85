import type { Config } from '../../config.ts'
import { ServiceError } from '../../errors.ts'

/** Where a request goes: `https://host` and the Host header, which COS signs. */
export interface Address {
  origin: string
  host: string
}

/** The part of a bucket a request is for: one configuration, or a page of all. */
export type InventoryParameters = { id: string } | { continuationToken?: string | undefined }

const unreserved = /^[A-Za-z0-9._~-]*$/

/**
 * Percent-encodes as the signature demands: all but `A-Z a-z 0-9 - _ . ~` (COS document 7778).
 *
 * @throws {URIError} for a lone surrogate
 */
export function percentEncode (text: string): string {
  return unreserved.test(text) ? text : encodeURIComponent(text).replace(/[!'()*]/g, char => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)
}

/** The request target of an inventory call. `inventory` comes first: COS routes by the first parameter. */
export function inventoryTarget (parameters: InventoryParameters): string {
  if ('id' in parameters) return `/?inventory&id=${percentEncode(parameters.id)}`
  const token = parameters.continuationToken
  return token === undefined || token === '' ? '/?inventory' : `/?inventory&continuation-token=${percentEncode(token)}`
}

/** The request target of GET Service: a page of as many buckets as COS gives (COS document 8291). */
export function serviceTarget (marker?: string): string {
  return marker === undefined ? '/?max-keys=2000' : `/?max-keys=2000&marker=${percentEncode(marker)}`
}

/**
 * The safety invariant of this service: nothing leaves for a bucket host but calls of the inventory API. PUT and
 * DELETE of `/` without `?inventory` in front create and delete buckets.
 *
 * @throws {Error} which callers see as an InternalError, before anything is sent
 */
export function assertInventoryTarget (target: string): void {
  if (!/^\/\?inventory(&(id|continuation-token)=[A-Za-z0-9._~%-]+)?$/.test(target)) {
    throw new Error('refused to send a request that is not an inventory call')
  }
}

/**
 * The same with GET Service: what is for its host is nothing else, and nothing else is for its host.
 *
 * @param serviceHost as {@link serviceAddress} gives it
 * @throws {Error} which callers see as an InternalError, before anything is sent
 */
export function assertAllowed (
  { method, address: { host }, target }: { method: string, address: Address, target: string }, serviceHost: string
): void {
  if (host !== serviceHost) {
    assertInventoryTarget(target)
  } else if (method !== 'GET' || !/^\/\?max-keys=2000(&marker=[A-Za-z0-9._~%-]+)?$/.test(target)) {
    throw new Error('refused to send a request to the host of GET Service that is not GET Service')
  }
}

/**
 * The region of a call: the requested one, else the configured one of the bucket, else the one of all. A host without a
 * region in its name is in one region only, whatever a caller says.
 */
export function regionOf (
  { bucketRegions, endpoint, region }: Pick<Config['cos'], 'bucketRegions' | 'endpoint' | 'region'>,
  bucket: string,
  requested: string | undefined
): string | undefined {
  const configured = bucketRegions.get(bucket) ?? region
  return endpoint.includes('{region}') ? requested ?? configured : configured
}

/**
 * Gives the address of a bucket. The host is lower case and has no default port, so that Host, the TLS name and
 * what is signed are one and the same.
 *
 * @throws {ServiceError} ValidationFailed when no region is known for the bucket
 */
export function createAddressBook (config: Config['cos']) {
  return (bucket: string, requestedRegion: string | undefined): Address => {
    const region = regionOf(config, bucket, requestedRegion)
    if (region === undefined) {
      const detail = `No region is known for ${bucket}: give the query parameter region, ` +
        'or have the operator set COS_BUCKET_REGIONS or COS_REGION.'
      throw new ServiceError('ValidationFailed', detail, { errors: [{ in: 'query', pointer: '/region', detail }] })
    }
    return toAddress(config.scheme, config.endpoint.replace('{bucket}', bucket).replaceAll('{region}', region))
  }
}

/**
 * The address of GET Service: in the domain of the buckets where that is one of COS's two, else in the older one, and
 * at their port (COS documents 6224 and 8291).
 */
export function serviceAddress ({ endpoint, scheme }: Pick<Config['cos'], 'endpoint' | 'scheme'>): Address {
  const port = endpoint.replace(/^[^:]*/, '')
  const domain = endpoint.endsWith(`.tencentcos.cn${port}`) ? 'tencentcos.cn' : 'myqcloud.com'
  return toAddress(scheme, `service.cos.${domain}${port}`)
}

function toAddress (scheme: Config['cos']['scheme'], host: string): Address {
  const defaultPort = scheme === 'https' ? ':443' : ':80'
  const signedHost = host.endsWith(defaultPort) ? host.slice(0, -defaultPort.length) : host
  return { origin: `${scheme}://${signedHost}`, host: signedHost }
}
