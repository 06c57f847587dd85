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

/** A page of objects: those whose key begins with a prefix, after a marker. */
export interface ObjectPage {
  prefix: string
  marker: string | undefined
}

/** Returns the request target of GET Bucket for a page of the largest size, with encoded keys (COS document 7734). */
export function objectPageTarget ({ prefix, marker }: ObjectPage): string {
  const after = marker === undefined ? '' : `&marker=${percentEncode(marker)}`
  return `/?prefix=${percentEncode(prefix)}${after}&max-keys=1000&encoding-type=url`
}

/** Returns the request target of GET Object and HEAD Object (COS documents 7753 and 7745). */
export function objectTarget (key: string): string {
  return `/${key.split('/').map(percentEncode).join('/')}`
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
