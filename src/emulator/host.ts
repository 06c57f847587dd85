import { CosError } from './cos-error.ts'

/** Whom a request is for, by its Host alone. */
export type Addressee =
  | { kind: 'bucket', bucket: string, region: string }
  | { kind: 'service', region?: string }

const domain = /\.(?:myqcloud\.com|tencentcos\.cn)$/
const bucketHost = /^(.+)\.(?:cos|cos-internal|cos-dualstack)\.([^.]+)$/
const regionHost = /^cos\.([^.]+)$/
const bucketName = /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?-[0-9]+$/
const regionName = /^[a-z0-9]+(?:-[a-z0-9]+)+$/

/** The host name of a Host value: lower case, without port. */
function hostName (host: string): string {
  return host.toLowerCase().replace(/:\d*$/, '')
}

/** Whether a Host value lies in a COS domain (COS document 6224); only other hosts reach the admin paths. */
export function isCosHost (host: string): boolean {
  return domain.test(hostName(host))
}

/**
 * The bucket or the service a Host value names (COS documents 6224 and 13312: names, regions, domains).
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

/** Whether a name may be that of a bucket with its APPID. */
export function isBucketName (name: string): boolean {
  return bucketName.test(name)
}

/** Whether a name has the shape of a region. */
export function isRegionName (name: string): boolean {
  return regionName.test(name)
}
