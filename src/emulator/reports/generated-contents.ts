import type { BucketContents, InventoryObject } from './inventory-object.ts'

// Characters that need percent-encoding, quotes or care in other ways.
const oddNames = [
  'with blank', '100%', 'a+b', '报告', 'quote"d', 'one,two', "it's (1)", '😀', 'line\nfeed', 'tab\there', '#?&=;', '..', '%2F'
]
const folders = ['images', 'logs/app', 'logs/db', 'backup', 'video']
const endings = ['jpg', 'log', 'gz', 'mp4', 'json']
const storageClasses = ['STANDARD', 'STANDARD', 'STANDARD', 'STANDARD_IA', 'INTELLIGENT_TIERING', 'ARCHIVE']
const replications = [undefined, undefined, 'COMPLETED', 'PENDING', 'REPLICA']
const owners = ['billing', 'web, "team"', 'data']
const firstMs = Date.UTC(2024, 0, 1)
const spanMs = 2 * 365 * 24 * 60 * 60 * 1000

/** Every eighth place is an older version of the object before it, if the report wants versions. */
const versionEvery = 8
const deleteMarkerEvery = 64

/**
 * Creates contents that need no memory: each object is computed from the seed and its index. Every 50th key has
 * characters that need care.
 */
export function generateContents (count: number, seed: number): BucketContents {
  return {
    count,
    isGenerated: true,
    metadataNames: ['x-cos-meta-owner'],
    at: (index, { keyPrefix, allVersions }) => new GeneratedObject(seed, index, keyPrefix, allVersions)
  }
}

// The values are getters, because a report reads only those of its columns.
class GeneratedObject implements InventoryObject {
  readonly seed: number
  readonly index: number
  readonly prefix: string
  readonly IsLatest: boolean
  readonly IsDeleteMarker: boolean
  readonly hash: number

  constructor (seed: number, index: number, prefix: string, allVersions: boolean) {
    this.seed = seed
    this.index = index
    this.prefix = prefix
    this.hash = mix(seed, index)
    this.IsLatest = !allVersions || index % versionEvery !== versionEvery - 1
    this.IsDeleteMarker = allVersions && index % deleteMarkerEvery === deleteMarkerEvery / 2
  }

  get Key (): string {
    const index = this.IsLatest ? this.index : this.index - 1
    const hash = this.IsLatest ? this.hash : mix(this.seed, index)
    const name = index % 50 === 49 ? pick(oddNames, (index - 49) / 50) : 'file'
    return `${this.prefix}${pick(folders, hash)}/${2024 + (hash >>> 8) % 2}/${name}-${index}.${pick(endings, hash)}`
  }

  get Size (): number {
    if (this.IsDeleteMarker) return 0
    // Some sizes exceed 32 bits.
    return (this.hash & 15) === 0 ? this.hash * 4 : this.hash >>> 12
  }

  get lastModifiedMs (): number {
    return firstMs + Math.floor(this.hash / 2 ** 32 * spanMs)
  }

  get ETag (): string | undefined {
    if (this.IsDeleteMarker) return undefined
    for (let part = 0; part < 4; part++) digest.writeUInt32BE(mix(this.hash, part), part * 4)
    const md5 = digest.toString('hex')
    return this.IsMultipartUploaded ? `${md5}-${this.hash % 900 + 2}` : md5
  }

  get StorageClass (): string { return pick(storageClasses, this.hash >>> 4) }

  get IsMultipartUploaded (): boolean { return (this.hash & 15) === 0 }

  get ReplicationStatus (): string | undefined { return pick(replications, this.hash >>> 6) }

  get Tag (): Record<string, string> | undefined {
    return (this.hash >>> 7) % 4 === 0 ? { team: pick(endings, this.hash), 'cost center': 'a&b' } : undefined
  }

  get Crc64 (): string {
    return (BigInt(this.hash) * 0xffff_fffen + BigInt(this.index)).toString()
  }

  get Metadata (): Record<string, string> | undefined {
    return (this.hash >>> 9) % 3 === 0 ? { 'x-cos-meta-owner': pick(owners, this.hash >>> 11) } : undefined
  }

  get VersionId (): string { return `MTg0NDUx${toHex(this.hash)}${toHex(this.index)}` }
}

const digest = Buffer.alloc(16)

function pick<T> (choices: readonly T[], number: number): T {
  return choices[number % choices.length] as T
}

function toHex (number: number): string {
  return number.toString(16).padStart(8, '0')
}

/** Returns a number of 32 bits that looks random: the last steps of MurmurHash3. */
function mix (seed: number, index: number): number {
  let hash = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(index + 1, 0xc2b2ae35)
  hash = Math.imul(hash ^ hash >>> 16, 0x85ebca6b)
  hash = Math.imul(hash ^ hash >>> 13, 0xc2b2ae35)
  return (hash ^ hash >>> 16) >>> 0
}
