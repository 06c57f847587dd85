import type { Config } from '../../config/config.ts'
import { ServiceError } from '../../errors.ts'

/** The origin of a request, such as `https://host`, and its Host header, which is signed. */
export interface Address {
  origin: string
  host: string
}

/** Names one configuration of a bucket, or a page of all. */
export type InventoryParameters = { id: string } | { continuationToken?: string | undefined }

const unreserved = /^[A-Za-z0-9._~-]*$/

/**
 * Percent-encodes as the signature requires: all but `A-Z a-z 0-9 - _ . ~` (COS document 7778).
 *
 * @throws {URIError} for a lone surrogate
 */
export function percentEncode (text: string): string {
  return unreserved.test(text) ? text : encodeURIComponent(text).replace(/[!'()*]/g, char => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)
}

/** Returns the request target of an inventory call. `inventory` comes first: COS routes by the first parameter. */
export function inventoryTarget (parameters: InventoryParameters): string {
  if ('id' in parameters) return `/?inventory&id=${percentEncode(parameters.id)}`
  const token = parameters.continuationToken
  return token === undefined || token === '' ? '/?inventory' : `/?inventory&continuation-token=${percentEncode(token)}`
}

/** Returns the request target of GET Service, for a page of the largest size (COS document 8291). */
export function serviceTarget (marker?: string): string {
  return marker === undefined ? '/?max-keys=2000' : `/?max-keys=2000&marker=${percentEncode(marker)}`
}

/**
 * Checks the safety invariant of this service: a bucket host gets only calls of the inventory API. PUT and DELETE of
 * `/` without `?inventory` in front create and delete buckets.
 *
 * @throws {Error} which callers see as an InternalError, before anything is sent
 */
export function assertInventoryTarget (target: string): void {
  if (!/^\/\?inventory(&(id|continuation-token)=[A-Za-z0-9._~%-]+)?$/.test(target)) {
    throw new Error('request not sent: it is not an inventory call')
  }
}

/**
 * Checks that the host of GET Service gets only GET Service. Any other host gets only calls of the inventory API.
 *
 * @param serviceHost as {@link serviceAddress} returns it
 * @throws {Error} which callers see as an InternalError, before anything is sent
 */
export function assertAllowed (
  { method, address: { host }, target }: { method: string, address: Address, target: string }, serviceHost: string
): void {
  if (host !== serviceHost) {
    assertInventoryTarget(target)
  } else if (method !== 'GET' || !/^\/\?max-keys=2000(&marker=[A-Za-z0-9._~%-]+)?$/.test(target)) {
    throw new Error('request not sent: it is not GET Service, but goes to its host')
  }
}

/**
 * Returns the region of a call: the requested one, else the configured one of the bucket, else the default. A host
 * without a region in its name is in one region only, so the request has no effect.
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
 * Creates the function that returns the address of a bucket. The host is lower case and has no default port. So the
 * Host header, the TLS name and the signed host are the same.
 *
 * @throws {ServiceError} ValidationFailed when no region is known for the bucket
 */
export function createAddressBook (config: Config['cos']) {
  return (bucket: string, requestedRegion: string | undefined): Address => {
    const region = regionOf(config, bucket, requestedRegion)
    if (region === undefined) {
      const detail = `No region is known for ${bucket}. Set the query parameter region, ` +
        'or ask the operator to set COS_BUCKET_REGIONS or COS_REGION.'
      throw new ServiceError('ValidationFailed', detail, { errors: [{ in: 'query', pointer: '/region', detail }] })
    }
    return toAddress(config.scheme, config.endpoint.replace('{bucket}', bucket).replaceAll('{region}', region))
  }
}

/**
 * Returns the address of GET Service, with the port of the buckets. The domain is that of the buckets if COS documents
 * it, else the older of the two documented ones (COS documents 6224 and 8291).
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
