import type { Action } from '../contract/callers.ts'
import { bucketPattern } from '../contract/names.ts'
import { textMember } from '../contract/xml-text.ts'
import type { Caller, Statement } from './callers-file.ts'

/** An action on a bucket that a caller requests. */
export interface Call {
  action: Action
  /** `BucketName-APPID` from the path. */
  bucket: string
  /** Undefined while it is unknown. */
  region: string | undefined
}

const bucketName = new RegExp(bucketPattern, 'u')

/**
 * Returns whether a statement of a caller allows a call. While the region is unknown, statements for particular regions
 * count, too. A call whose region stays unknown is rejected later, before anything is sent.
 */
export function permits (caller: Caller, call: Call): boolean {
  return caller.allow.some(statement => covers(statement, call))
}

/**
 * Returns whether one statement of a caller allows both a call and a destination, as {@link destinationsOf} returns it.
 * Without `destinations`, a statement allows the buckets with the APPID of the bucket in the path. Only the pattern `*`
 * allows a malformed bucket name: COS could read another bucket in it.
 */
export function permitsDestination (caller: Caller, call: Call, destination: string): boolean {
  const isName = bucketName.test(destination)
  return caller.allow.some(statement => covers(statement, call) && (
    // Only `*` matches the empty name.
    statement.destinations?.some(matches => matches(destination) && (isName || matches(''))) ??
    (isName && appIdOf(destination) === appIdOf(call.bucket))
  ))
}

function covers ({ actions, buckets, regions }: Statement, { action, bucket, region }: Call): boolean {
  return actions.has(action) && buckets.some(matches => matches(bucket)) &&
    (regions === undefined || region === undefined || regions.has(region))
}

function appIdOf (bucket: string): string {
  return bucket.slice(bucket.lastIndexOf('-'))
}

// Resources of other services (qcs::kms:…, qcs::cam:…) are not buckets. A malformed resource counts as one of COS.
const maybeBucket = /qcs:(?![^:]*:(?!cos:)[a-z]+:)([^:]*:){4}/i
const bucketResource = /^qcs:[^:]*:cos:[^:]*:[^:]*:([^:]+)$/i

const destinationName = /^(cosbucket)?destination$/i

/**
 * Members whose own text is not a bucket, by their parent. COS stores any text in the two encryption markers (COS
 * document 30625). Other text below Encryption may name a destination that this service does not know.
 */
const harmless: ReadonlyMap<string, readonly string[]> = new Map([
  ['COSBucketDestination', ['AccountId', 'Format', 'Prefix']],
  ['COSBucketDestination/Encryption', ['SSECOS', 'SSE-COS']],
  ['COSBucketDestination/Encryption/SSECOS', [textMember]]
])

/** Members whose own members are looked up in {@link harmless}, by their parent. */
const nested: ReadonlyMap<string, readonly string[]> = new Map([
  ['COSBucketDestination', ['Encryption']],
  ['COSBucketDestination/Encryption', ['SSECOS']]
])

/**
 * Returns the buckets that a body names as destinations, each once. These are all texts under `Destination`, except
 * members known to contain other text. Every other string with the resource of a bucket in it counts, too:
 * `qcs::cos:<region>:<uin>:<bucket-appid>`.
 *
 * The search covers the whole body, because `allow-unknown=true` permits elements that this service does not know. A
 * report discloses everything in the bucket, so its destination must be checked. A malformed resource is returned
 * whole. Property names are not searched. They become element names, which contain no colon.
 */
export function destinationsOf (body: unknown): string[] {
  const found = new Set<string>()
  // A growing list instead of recursion: 256 KiB can nest deeper than the stack.
  const places: Array<{ value: object, name: string, isDestination: boolean }> = []
  const look = (value: unknown, name: string, isDestination: boolean) => {
    if (typeof value === 'string') {
      const text = value.trim()
      if (text !== '' && (isDestination || maybeBucket.test(text))) found.add(bucketResource.exec(text)?.[1] ?? text)
    } else if (typeof value === 'object' && value !== null) {
      places.push({ value, name, isDestination })
    }
  }
  look(body, '', false)
  for (const { value, name, isDestination } of places) {
    if (Array.isArray(value)) {
      for (const each of value as unknown[]) look(each, name, isDestination)
      continue
    }
    for (const member of Object.keys(value)) {
      const each = (value as Record<string, unknown>)[member]
      const isHarmless = typeof each === 'string' && harmless.get(name)?.includes(member) === true
      // The path of any member would take quadratic time when a long name has many members.
      const isNested = nested.get(name)?.includes(member) === true
      look(each, isNested ? `${name}/${member}` : member, (isDestination && !isHarmless) || destinationName.test(member))
    }
  }
  return [...found]
}
