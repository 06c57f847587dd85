import type { Action } from '../contract/callers.ts'
import { bucketPattern } from '../contract/names.ts'
import { textMember } from '../contract/xml-text.ts'
import type { Caller, Statement } from './callers-file.ts'

/** What a caller wants to do, and where. */
export interface Call {
  action: Action
  /** `BucketName-APPID` out of the path. */
  bucket: string
  /** Undefined while nobody knows it. */
  region: string | undefined
}

const bucketName = new RegExp(bucketPattern, 'u')

/**
 * Whether some statement of a caller allows a call. While the region is not known, statements bound to regions count as
 * if theirs were meant: such a call is refused for its missing region before anything is sent.
 */
export function permits (caller: Caller, call: Call): boolean {
  return caller.allow.some(statement => covers(statement, call))
}

/**
 * Whether one statement of a caller allows a call and, itself, this destination: a bucket that {@link destinationsOf}
 * found in the body. Without `destinations` a statement allows the buckets with the APPID of the bucket in the path.
 * What is no bucket name is allowed by nothing but `*` alone: COS could read another bucket in it than we do.
 */
export function permitsDestination (caller: Caller, call: Call, destination: string): boolean {
  const isName = bucketName.test(destination)
  return caller.allow.some(statement => covers(statement, call) && (
    // Only stars fit the empty name.
    statement.destinations?.some(fits => fits(destination) && (isName || fits(''))) ??
    (isName && appIdOf(destination) === appIdOf(call.bucket))
  ))
}

function covers ({ actions, buckets, regions }: Statement, { action, bucket, region }: Call): boolean {
  return actions.has(action) && buckets.some(fits => fits(bucket)) &&
    (regions === undefined || region === undefined || regions.has(region))
}

function appIdOf (bucket: string): string {
  return bucket.slice(bucket.lastIndexOf('-'))
}

// Resources of another service (qcs::kms:…, qcs::cam:…) name no bucket. What is malformed counts as one of COS.
const maybeBucket = /qcs:(?![^:]*:(?!cos:)[a-z]+:)([^:]*:){4}/i
const bucketResource = /^qcs:[^:]*:cos:[^:]*:[^:]*:([^:]+)$/i

const destinationName = /^(cosbucket)?destination$/i

/**
 * Members whose own text names no bucket, by their parent. COS stores any text in the two markers of encryption (COS
 * document 30625); text anywhere else below Encryption may name a destination that this service does not know.
 */
const harmless: ReadonlyMap<string, readonly string[]> = new Map([
  ['COSBucketDestination', ['AccountId', 'Format', 'Prefix']],
  ['COSBucketDestination/Encryption', ['SSECOS', 'SSE-COS']],
  ['COSBucketDestination/Encryption/SSECOS', [textMember]]
])

/** Members whose own members are looked up in {@link harmless}. */
const nested = new Set(['COSBucketDestination/Encryption', 'COSBucketDestination/Encryption/SSECOS'])

/**
 * Every bucket that a body names as a destination, each once: all text under `Destination` but the members known to say
 * something else, and any other string with a bucket's resource (`qcs::cos:<region>:<uin>:<bucket-appid>`) in it.
 * Anywhere, because with `allow-unknown=true` a body can hold elements this service does not know, and a report that
 * goes to a stranger is a list of everything in the bucket. What is not quite a resource where one should be is named
 * whole. Names of properties are not looked at: they become names of elements, which hold no colon.
 */
export function destinationsOf (body: unknown): string[] {
  const found = new Set<string>()
  // A list that grows, not recursion: 256 KiB can nest deeper than the stack.
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
      const path = `${name}/${member}`
      look(each, nested.has(path) ? path : member, (isDestination && !isHarmless) || destinationName.test(member))
    }
  }
  return [...found]
}
