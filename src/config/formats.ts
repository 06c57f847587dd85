import { isIP, isIPv4, isIPv6 } from 'node:net'
import { bucketMaxLength, bucketPattern, regionPattern } from '../contract/names.ts'
import { splitList } from './variable-types.ts'
import type { VariableType } from './variable-types.ts'

const bucketRegex = new RegExp(bucketPattern, 'u')
const regionRegex = new RegExp(regionPattern, 'u')

/** Addresses, and networks in CIDR notation; `false` for none. */
export const networks: VariableType<string[]> = {
  label: '`false`, or addresses and networks, comma separated',
  parse (text, reject) {
    if (text === 'false') return []
    const addresses = text.split(',').map(each => each.trim())
    if (!addresses.every(isNetwork)) {
      reject('must be false, or addresses and networks such as 10.0.0.1,10.1.0.0/16, comma separated')
    }
    return addresses
  }
}

/** Returns whether a text is an address, or a network in CIDR notation (RFC 4632, RFC 4291 section 2.3). */
function isNetwork (text: string): boolean {
  const [address = '', bits, ...rest] = text.split('/')
  if (!isIP(address) || rest.length > 0) return false
  const longest = isIPv4(address) ? 32 : 128
  return bits === undefined || (/^[0-9]{1,3}$/.test(bits) && Number(bits) > 0 && Number(bits) <= longest)
}

/** Host names and addresses in lower case, as a Host header has them, without port. */
export const hostNames: VariableType<string[]> = {
  label: 'host names and addresses, comma separated',
  parse (text, reject) {
    const names = splitList(text.toLowerCase())
    if (!names.every(each => hostName.test(each))) {
      reject('must be host names or addresses without port, such as proxy.internal,10.0.0.1, comma separated')
    }
    return names
  }
}

const hostName = /^(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])$/

/** A COS region (COS document 6224). */
export const region: VariableType<string> = {
  label: 'region',
  parse (text, reject) {
    if (!regionRegex.test(text)) reject('must be a COS region such as ap-guangzhou')
    return text
  }
}

/** Regions by bucket. */
export const bucketRegions: VariableType<ReadonlyMap<string, string>> = {
  label: '`bucket-appid=region` pairs, comma separated',
  parse (text, reject) {
    const regions = new Map<string, string>()
    for (const [index, pair] of splitList(text).entries()) {
      const [bucket = '', where = '', ...rest] = pair.split('=')
      if (!isBucketAndRegion(bucket, where) || rest.length > 0) {
        reject(`: pair ${index + 1} is not bucket-appid=region`)
      } else if (regions.has(bucket)) {
        reject(`names ${bucket} twice`)
      } else {
        regions.set(bucket, where)
      }
    }
    return regions
  }
}

/**
 * Returns whether these are the name of a bucket and a region (COS documents 13312 and 6224). Only such texts may
 * become part of a host name.
 */
export function isBucketAndRegion (bucket: string, region: string): boolean {
  return bucket.length <= bucketMaxLength && bucketRegex.test(bucket) && regionRegex.test(region)
}

/** The host of a bucket, with placeholders. */
export const hostTemplate: VariableType<string> = {
  label: 'host template',
  parse (text, reject) {
    const host = /^\{bucket\}\.((?:[a-z0-9-]|\{region\})+(?:\.(?:[a-z0-9-]|\{region\})+)*)(?::([0-9]{1,5}))?$/.exec(text)
    const example = text.replace('{bucket}', 'b-1').replaceAll('{region}', 'ap-guangzhou')
    if (host === null || Number(host[2] ?? 443) < 1 || !URL.canParse(`https://${example}`)) {
      reject('must be a lower-case host template such as {bucket}.cos.{region}.myqcloud.com. ' +
        'It begins with {bucket} and may end with :port')
    }
    return text
  }
}

/** A host and a port. */
export const hostAndPort: VariableType<{ host: string, port: number }> = {
  label: '`host:port`, an IPv6 address in brackets',
  parse (text, reject) {
    const [, ipv6, name, digits] = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+)):([0-9]{1,5})$/.exec(text) ?? []
    const host = ipv6 !== undefined && isIPv6(ipv6) ? ipv6 : name
    const port = Number(digits)
    if (host !== undefined && port >= 1 && port <= 65535) return { host, port }
    reject('must be host:port, an IPv6 address in brackets')
    return undefined
  }
}

/** The name of a session (STS AssumeRole, document 1312/48197). */
export const sessionName: VariableType<string> = {
  label: '2 to 128 letters, digits or `_+=,.@-`',
  parse (text, reject) {
    if (!/^[A-Za-z0-9_+=,.@-]{2,128}$/.test(text)) reject('must be 2 to 128 letters, digits or _+=,.@-')
    return text
  }
}

/** `stdout`, `stderr` or the path of a file. */
export const output: VariableType<string> = {
  label: '`stdout`, `stderr` or a path',
  parse: text => outputPaths.get(text) ?? text
}

/** A file that stdout is redirected to would be overwritten if it were opened by its name. */
const outputPaths = new Map([
  ...['/dev/stdout', ...descriptorPaths(1)].map(path => [path, 'stdout'] as const),
  ...['/dev/stderr', ...descriptorPaths(2)].map(path => [path, 'stderr'] as const)
])

function descriptorPaths (descriptor: number): string[] {
  return [`/dev/fd/${descriptor}`, `/proc/self/fd/${descriptor}`, `/proc/${process.pid}/fd/${descriptor}`]
}
