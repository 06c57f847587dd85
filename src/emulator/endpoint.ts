import { createHash } from 'node:crypto'
import { type CosResponse, type Reply, toErrorResponse, toResponse } from './response.ts'
import { listObjects } from './bucket-listing.ts'
import { type EmulatorBucket, listBuckets } from './buckets.ts'
import { CosError } from './cos-error.ts'
import { type Operation, checkParameters, detectOperation, rejectUnknown } from './detect.ts'
import type { LenientSwitch, StrictSwitch } from './emulator.ts'
import { type Addressee, parseHost } from './host.ts'
import type { Inventories } from './inventories.ts'
import { toObjectReply } from './object-reply.ts'
import type { ObjectStore } from './objects.ts'
import { type Body, type CosRequest, decodePath, maxBodyBytes, parseQuery } from './request.ts'
import { type EmulatorCredential, verifySignature } from './verify-signature.ts'

export interface EndpointDependencies {
  buckets: EmulatorBucket[]
  inventories: Inventories
  objects: ObjectStore
  credentials: () => EmulatorCredential[]
  /** Milliseconds since 1970. */
  now: () => number
  /** Checks that are switched off. */
  lenient: readonly LenientSwitch[]
  /** Checks that are switched on. */
  strict: readonly StrictSwitch[]
}

export interface Endpoint {
  /** Returns the response to a request, also for a rejected one. Never throws. Only `withEffect` makes the change. */
  respond (request: CosRequest, body: Body, withEffect: boolean): CosResponse
}

/** A request that has passed all checks. */
interface CheckedRequest {
  credential: EmulatorCredential
  addressee: Addressee
  operation: Operation
  /** Percent-decoded. */
  path: string
  parameters: ReturnType<typeof checkParameters>
}

/** Creates the endpoint, which processes requests as COS does. */
export function createEndpoint (dependencies: EndpointDependencies): Endpoint {
  const { now } = dependencies
  return {
    respond (request, body, withEffect) {
      try {
        const reply = perform(check(request, body, dependencies), request, body, dependencies)
        if (withEffect) reply.effect?.()
        return toResponse(reply, now())
      } catch (error) {
        const rejection = error instanceof CosError ? error : new CosError('InternalError')
        return toErrorResponse(rejection, request.host + request.rawPath, now())
      }
    }
  }
}

/** Checks a request in the order in which COS does. */
function check (
  request: CosRequest, body: Body, { buckets, credentials, now, lenient, strict }: EndpointDependencies
): CheckedRequest {
  if (!body.isWhole) throw new CosError('ServiceUnavailable')
  rejectRepeatedHeaders(request)
  const addressee = parseHost(request.host)
  // COS reports an absent bucket before it looks at the signature, also to clients without a key.
  if (addressee.kind === 'bucket') checkBucketExists(addressee, buckets)

  const path = decodePath(request.rawPath)
  const query = parseQuery(request.rawQuery)
  const credential = verifySignature(request, path, query, {
    credentials: credentials(), nowMs: now(), requireCoverage: !lenient.includes('signature-coverage')
  })

  const operation = detectOperation(addressee, request.method, path, query)
  if (operation === 'Unknown') throw rejectUnknown(addressee, request.method, path, query)
  checkPermission(credential, operation, addressee)
  const parameters = checkParameters(operation, query)
  checkBody(request, body, operation, strict.includes('content-md5'))
  return { credential, addressee, operation, path, parameters }
}

function perform (
  { credential, addressee, operation, path, parameters }: CheckedRequest,
  { method, headers }: CosRequest,
  { bytes }: Body,
  { buckets, inventories, objects, now }: EndpointDependencies
): Reply {
  if (addressee.kind === 'service') {
    return listBuckets(buckets.filter(({ name }) => isOwn(credential, name)), parameters, addressee.region)
  }
  const place = { ...addressee, id: parameters['id'] as string }
  switch (operation) {
    case 'PutBucketInventory':
      return inventories.put(place, bytes, now())
    case 'GetBucketInventory':
      return inventories.get(place)
    case 'ListBucketInventory':
      return inventories.list(place.bucket, parameters['continuation-token'])
    case 'DeleteBucketInventory':
      return inventories.delete(place)
    case 'PostBucketInventory':
      return inventories.post(place, bytes, now())
    case 'GetBucket':
      return listObjects(addressee, parameters, objects, now())
    case 'GetObject':
    case 'HeadObject':
      return toObjectReply(objects.get(place.bucket, path.slice(1)), { method, headers, parameters })
    default: // HeadBucket
      return { status: 200, body: '', headers: { 'x-cos-bucket-region': place.region } }
  }
}

/** Returns the operation and the bucket of a request, for the journal and the faults. A malformed one has neither. */
export function identify (request: CosRequest): { operation: Operation, bucket: string | undefined } {
  try {
    const addressee = parseHost(request.host)
    const path = decodePath(request.rawPath)
    const operation = detectOperation(addressee, request.method, path, parseQuery(request.rawQuery))
    return { operation, bucket: addressee.kind === 'bucket' ? addressee.bucket : undefined }
  } catch {
    return { operation: 'Unknown', bucket: undefined }
  }
}

function checkBucketExists (
  { bucket, region }: Extract<Addressee, { kind: 'bucket' }>, buckets: EmulatorBucket[]
): void {
  const exists = buckets.some(each => each.name === bucket && each.region === region)
  if (!exists) throw new CosError('NoSuchBucket')
}

function rejectRepeatedHeaders ({ repeatedHeaders }: CosRequest): void {
  const repeated = repeatedHeaders.find(name => /^(host|authorization|content-.*|x-cos-.*)$/.test(name))
  if (repeated !== undefined) throw new CosError('InvalidRequest', `The header ${repeated} occurs twice.`)
}

// COS documents no action for LIST, so each key may list the configurations of its account.
function checkPermission (credential: EmulatorCredential, operation: Operation, addressee: Addressee): void {
  const { actions } = credential
  if (addressee.kind === 'bucket' && !isOwn(credential, addressee.bucket)) throw new CosError('AccessDenied')
  if (actions === undefined || operation === 'ListBucketInventory') return
  if (!actions.includes(`cos:${operation}`)) throw new CosError('AccessDenied')
}

/** Tells whether a bucket belongs to the account of a key. Bucket policies for other accounts do not exist here. */
function isOwn ({ appId }: EmulatorCredential, bucket: string): boolean {
  return appId === undefined || bucket.endsWith(`-${appId}`)
}

function checkBody (
  { headers }: CosRequest, { bytes, length }: Body, operation: Operation, requireDigest: boolean
): void {
  if (operation !== 'PutBucketInventory' && operation !== 'PostBucketInventory') {
    if (length > 0) throw new CosError('UnexpectedContent')
    return
  }
  if (headers['content-length'] === undefined) throw new CosError('MissingContentLength')
  if (length > maxBodyBytes) throw new CosError('XMLSizeLimit')
  // COS document 7728 requires Content-MD5, but the live tests of the SDK for Java pass without it.
  const digest = headers['content-md5']
  if (digest === undefined && requireDigest) throw new CosError('InvalidRequest', 'The header Content-MD5 is missing.')
  if (digest !== undefined) checkDigest(bytes, digest)
  if (length === 0) throw new CosError('MissingRequestBodyError')
}

function checkDigest (bytes: Buffer, digest: string): void {
  if (!/^[A-Za-z0-9+/]{22}==$/.test(digest)) throw new CosError('InvalidDigest')
  if (createHash('md5').update(bytes).digest('base64') !== digest) throw new CosError('BadDigest')
}
