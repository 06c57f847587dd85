import type { Config } from '../config.ts'
import { ServiceError } from '../errors.ts'

/** Where a request for a bucket goes: `https://host` and the Host header, which COS signs. */
export interface Address {
  origin: string
  host: string
}

/** The part of a bucket a request is for: one configuration, or a page of all. */
export type InventoryParameters = { id: string } | { continuationToken?: string | undefined }

/**
 * Percent-encodes as the signature demands: all but `A-Z a-z 0-9 - _ . ~` (COS document 7778).
 *
 * @throws {URIError} for a lone surrogate
 */
export function percentEncode (text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, char => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)
}

/** The request target of an inventory call. `inventory` comes first: COS routes by the first parameter. */
export function inventoryTarget (parameters: InventoryParameters): string {
  if ('id' in parameters) return `/?inventory&id=${percentEncode(parameters.id)}`
  const token = parameters.continuationToken
  return token === undefined || token === '' ? '/?inventory' : `/?inventory&continuation-token=${percentEncode(token)}`
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
  const defaultPort = config.scheme === 'https' ? ':443' : ':80'
  return (bucket: string, requestedRegion: string | undefined): Address => {
    const region = regionOf(config, bucket, requestedRegion)
    if (region === undefined) {
      const detail = `No region is known for ${bucket}: give the query parameter region, ` +
        'or have the operator set COS_BUCKET_REGIONS or COS_REGION.'
      throw new ServiceError('ValidationFailed', detail, { errors: [{ in: 'query', pointer: '/region', detail }] })
    }
    const host = config.endpoint.replace('{bucket}', bucket).replaceAll('{region}', region)
    const signedHost = host.endsWith(defaultPort) ? host.slice(0, -defaultPort.length) : host
    return { origin: `${config.scheme}://${signedHost}`, host: signedHost }
  }
}
