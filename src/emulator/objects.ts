import { createHash } from 'node:crypto'
import type { Bytes } from './content.ts'

/** The state of an object: `archived` is 403 for GET, `redirect` is 302 for GET and HEAD, and LIST omits it. */
export type ObjectAccess = 'readable' | 'archived' | 'redirect'

/** An object of a bucket. */
export interface StoredObject {
  bucket: string
  key: string
  bytes: Bytes
  /** With its quotes. */
  etag: string
  /** Milliseconds since 1970. */
  lastModifiedMs: number
  /** The time from which LIST contains the object, in milliseconds since 1970; at once when undefined. */
  listedFromMs: number | undefined
  access: ObjectAccess
}

/** An object to put into a bucket. COS clients can only read it. */
export interface PlacedObject {
  bucket: string
  key: string
  body: string | Buffer
  /** Milliseconds since 1970; the time of the emulator when absent. */
  lastModifiedMs?: number
  /** Milliseconds until LIST contains the object; 0 when absent. GET and HEAD find it at once. */
  listLagMs?: number
  /** `readable` when absent. */
  access?: ObjectAccess
}

/** The objects of all buckets. */
export interface ObjectStore {
  put (object: StoredObject): void
  get (bucket: string, key: string): StoredObject | undefined
  /** Returns the objects that LIST contains, with keys after a marker, in the byte order of UTF-8. */
  list (bucket: string, prefix: string, marker: string, nowMs: number): StoredObject[]
  clear (): void
}

/** The most that a store keeps: objects, and bytes of those that are stored. */
export interface ObjectLimits { objects: number, bytes: number }

const defaultLimits: ObjectLimits = { objects: 200_000, bytes: 256 * 1024 * 1024 }

/** Creates a store. Beyond its limits it drops the object that was put first. */
export function createObjectStore (limits: ObjectLimits = defaultLimits): ObjectStore {
  const objects = new Map<string, StoredObject>()
  let heldBytes = 0
  // No bucket has a slash in its name.
  const placeOf = (bucket: string, key: string) => `${bucket}/${key}`

  function remove (place: string): void {
    const object = objects.get(place)
    if (object === undefined) return
    objects.delete(place)
    heldBytes -= heldBy(object)
  }

  return {
    put (object) {
      const place = placeOf(object.bucket, object.key)
      remove(place)
      objects.set(place, object)
      heldBytes += heldBy(object)
      for (const oldest of objects.keys()) {
        if (objects.size <= limits.objects && heldBytes <= limits.bytes) break
        remove(oldest)
      }
    },
    get: (bucket, key) => objects.get(placeOf(bucket, key)),
    list (bucket, prefix, marker, nowMs) {
      return [...objects.values()]
        .filter(object => object.bucket === bucket && object.key.startsWith(prefix) && isListed(object, nowMs))
        .map(object => ({ object, bytes: Buffer.from(object.key) }))
        .filter(({ bytes }) => Buffer.compare(bytes, Buffer.from(marker)) > 0)
        .sort((one, other) => Buffer.compare(one.bytes, other.bytes))
        .map(({ object }) => object)
    },
    clear () {
      objects.clear()
      heldBytes = 0
    }
  }
}

/** Returns an object as the store keeps it. Its ETag is the MD5 of its body, as after an upload in one part. */
export function toStoredObject (
  { bucket, key, body, lastModifiedMs, listLagMs = 0, access = 'readable' }: PlacedObject, nowMs: number
): StoredObject {
  const bytes = Buffer.from(body)
  return {
    bucket,
    key,
    bytes,
    etag: `"${createHash('md5').update(bytes).digest('hex')}"`,
    lastModifiedMs: lastModifiedMs ?? nowMs,
    listedFromMs: listedFrom(nowMs, listLagMs),
    access
  }
}

/** Returns the time from which LIST contains an object that is put now. Without lag it does so at any time. */
export function listedFrom (nowMs: number, lagMs: number): number | undefined {
  return lagMs === 0 ? undefined : nowMs + lagMs
}

function heldBy ({ bytes }: StoredObject): number {
  return Buffer.isBuffer(bytes) ? bytes.length : 0
}

function isListed ({ access, listedFromMs }: StoredObject, nowMs: number): boolean {
  return access !== 'redirect' && (listedFromMs === undefined || listedFromMs <= nowMs)
}
