import { CosError } from './cos-error.ts'

/** The addressee of a request, which its Host names. */
export type Addressee =
  | { kind: 'bucket', bucket: string, region: string }
  | { kind: 'service', region?: string }

const domain = /\.(?:myqcloud\.com|tencentcos\.cn)$/
const bucketHost = /^(.+)\.(?:cos|cos-internal|cos-dualstack)\.([^.]+)$/
const regionHost = /^cos\.([^.]+)$/
const bucketName = /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?-[0-9]+$/
const regionName = /^[a-z0-9]+(?:-[a-z0-9]+)+$/

/** Returns the host name of a Host value in lower case, without port. */
function hostName (host: string): string {
  return host.toLowerCase().replace(/:\d*$/, '')
}

/** Tells whether a Host value is in a COS domain (COS document 6224). Only other hosts reach the admin paths. */
export function isCosHost (host: string): boolean {
  return domain.test(hostName(host))
}

/**
 * Returns the bucket or the service that a Host value names. COS documents 6224 and 13312 define the names, regions and
 * domains.
 *
 * @throws CosError InvalidArgument, InvalidBucketName, InvalidRegionName or ActionAccelerateNotSupported
 */
export function parseHost (host: string): Addressee {
  if (!isCosHost(host)) {
    throw new CosError('InvalidArgument', 'The Host is not a COS domain: ' +
      'connect here, but send Host: <BucketName-APPID>.cos.<Region>.myqcloud.com.')
  }
  const labels = hostName(host).replace(domain, '')
  if (labels === 'service.cos') return { kind: 'service' }
  const ofRegion = regionHost.exec(labels)?.[1]
  if (ofRegion !== undefined) return { kind: 'service', region: checkRegion(ofRegion) }
  const [, bucket, region] = bucketHost.exec(labels) ?? []
  if (bucket === undefined || region === undefined) {
    throw new CosError('InvalidArgument', 'The Host is no bucket domain and not the service domain.')
  }
  checkRegion(region)
  if (!bucketName.test(bucket)) throw new CosError('InvalidBucketName')
  return { kind: 'bucket', bucket, region }
}

function checkRegion (region: string): string {
  if (region === 'accelerate') throw new CosError('ActionAccelerateNotSupported')
  if (!regionName.test(region)) throw new CosError('InvalidRegionName')
  return region
}

/** Tells whether a name is valid for a bucket, with its APPID. */
export function isBucketName (name: string): boolean {
  return bucketName.test(name)
}

/** Tells whether a name is valid for a region. */
export function isRegionName (name: string): boolean {
  return regionName.test(name)
}
