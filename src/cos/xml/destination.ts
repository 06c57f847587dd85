/**
 * The destination of reports. Its encryption is Encryption/SSECOS in JSON. On the wire it is Encryption/SSE-COS,
 * Encryption/SSECOS, or SSE-COS outside of Encryption.
 */
import { isObject, isSame, mapMembers, merge, own } from './json.ts'
import type { Json, JsonObject, MemberChanges } from './json.ts'
import { members } from './mapping.ts'
import { XmlError } from './parser.ts'

/** Destination on the wire (COS document 30625). */
export const destinationElement = members({
  COSBucketDestination: members({
    Format: 'text',
    AccountId: 'identifier',
    Bucket: 'text',
    Prefix: 'text',
    Encryption: members({ 'SSE-COS': 'marker', SSECOS: 'marker' }),
    'SSE-COS': 'marker'
  }, { required: ['Bucket', 'Format'] })
}, { required: ['COSBucketDestination'] })

/** Returns a destination with the spelling of COS: Encryption/SSE-COS. */
export function toWireDestination (destination: JsonObject): JsonObject {
  return mapMembers(destination, changesToWire)
}

/**
 * Returns a destination with an unchanged encryption as it is stored. A changed one keeps the spelling SSECOS. SSE-COS
 * outside of Encryption moves into it.
 *
 * @param stored the destination as {@link readMembers} returns it; undefined when there is none
 */
export function toStoredDestination (destination: JsonObject, stored: JsonObject | undefined): JsonObject {
  const storedBucket = stored === undefined ? {} : own(stored, 'COSBucketDestination') as JsonObject
  return mapMembers(destination, new Map([
    ['COSBucketDestination', (bucket: Json) => toStored(bucket as JsonObject, storedBucket)]
  ]))
}

/**
 * Returns a destination with its encryption in Encryption/SSECOS.
 *
 * @throws {XmlError} when SSE-COS has several values
 */
export function fromWireDestination (destination: JsonObject): JsonObject {
  return mapMembers(destination, changesFromWire)
}

const encryptionToWire: MemberChanges = new Map([
  ['Encryption', encryption => renamed(encryption as JsonObject, 'SSECOS', 'SSE-COS')]
])
const changesToWire: MemberChanges = new Map([['COSBucketDestination', bucket => toWire(bucket as JsonObject)]])
const changesFromWire: MemberChanges = new Map([['COSBucketDestination', bucket => fromWire(bucket as JsonObject)]])

function toWire (bucket: JsonObject): JsonObject {
  return mapMembers(bucket, encryptionToWire)
}

function toStored (bucket: JsonObject, stored: JsonObject): JsonObject {
  if (isSame(bucket['Encryption'], fromWire(stored)['Encryption'])) {
    const { Encryption: _, ...rest } = bucket
    const { Encryption: nested, 'SSE-COS': direct } = stored
    return { ...rest, ...nested !== undefined && { Encryption: nested }, ...direct !== undefined && { 'SSE-COS': direct } }
  }
  const usesOtherSpelling = isObject(stored['Encryption']) && own(stored['Encryption'], 'SSECOS') !== undefined
  return usesOtherSpelling ? bucket : toWire(bucket)
}

function fromWire (bucket: JsonObject): JsonObject {
  const { 'SSE-COS': direct, ...rest } = bucket
  const { Encryption: encryption = {} } = rest
  if (direct === undefined && !isObject(rest['Encryption'])) return rest
  const all = renamed(encryption as JsonObject, 'SSE-COS', 'SSECOS')
  if (direct !== undefined) merge(all, 'SSECOS', direct)
  if (Array.isArray(all['SSECOS'])) throw new XmlError('SSE-COS occurs more than once')
  return { ...rest, Encryption: all }
}

function renamed (object: JsonObject, from: string, to: string): JsonObject {
  const mapped: JsonObject = {}
  for (const name of Object.keys(object)) merge(mapped, name === from ? to : name, object[name] as Json)
  return mapped
}
