import { createHash } from 'node:crypto'
import { type Answer, type Reply, toAnswer, toErrorAnswer } from './answer.ts'
import { type EmulatorBucket, listBuckets } from './buckets.ts'
import { CosError } from './cos-error.ts'
import { type Operation, checkParameters, detectOperation, refuseUnknown } from './detect.ts'
import type { LenientSwitch, StrictSwitch } from './emulator.ts'
import { type Addressee, parseHost } from './host.ts'
import type { Inventories } from './inventories.ts'
import { type Body, type CosRequest, decodePath, maxBodyBytes, parseQuery } from './request.ts'
import { type EmulatorCredential, verifySignature } from './verify-signature.ts'

export interface EndpointDependencies {
  buckets: EmulatorBucket[]
  inventories: Inventories
  credentials: () => EmulatorCredential[]
  /** Milliseconds since 1970. */
  now: () => number
  /** Checks that are switched off. */
  lenient: readonly LenientSwitch[]
  /** Checks that are switched on. */
  strict: readonly StrictSwitch[]
}

export interface Endpoint {
  /** Answers a request, refusals included; never throws. The change is made only `withEffect`. */
  answer (request: CosRequest, body: Body, withEffect: boolean): Answer
}

/** What COS does with a request: one function, in the order COS looks at things. */
export function createEndpoint (
  { buckets, inventories, credentials, now, lenient, strict }: EndpointDependencies
): Endpoint {
  const requireCoverage = !lenient.includes('signature-coverage')
  const requireDigest = strict.includes('content-md5')

  function reply (request: CosRequest, body: Body): Reply {
    if (!body.isWhole) throw new CosError('ServiceUnavailable')
    refuseRepeatedHeaders(request)
    const addressee = parseHost(request.host)
    // Before the signature: whoever asks for an absent bucket learns that it is absent, key or no key.
    if (addressee.kind === 'bucket') checkBucketExists(addressee)

    const path = decodePath(request.rawPath)
    const query = parseQuery(request.rawQuery)
    const credential = verifySignature(request, path, query, {
      credentials: credentials(), nowMs: now(), requireCoverage
    })

    const operation = detectOperation(addressee, request.method, path, query)
    if (operation === 'Unknown') throw refuseUnknown(addressee, request.method, path, query)
    checkPermission(credential, operation)
    const parameters = checkParameters(operation, query)
    checkBody(request, body, operation, requireDigest)

    if (addressee.kind === 'service') return listBuckets(buckets, parameters, addressee.region)
    const place = { ...addressee, id: parameters['id'] as string }
    switch (operation) {
      case 'PutBucketInventory':
        return inventories.put(place, body.bytes)
      case 'GetBucketInventory':
        return inventories.get(place)
      case 'ListBucketInventory':
        return inventories.list(place.bucket, parameters['continuation-token'])
      case 'DeleteBucketInventory':
        return inventories.delete(place)
      case 'PostBucketInventory':
        return inventories.post(place, body.bytes, now())
      default: // HeadBucket
        return { status: 200, body: '', headers: { 'x-cos-bucket-region': place.region } }
    }
  }

  function checkBucketExists ({ bucket, region }: Extract<Addressee, { kind: 'bucket' }>): void {
    const exists = buckets.some(each => each.name === bucket && each.region === region)
    if (!exists) throw new CosError('NoSuchBucket')
  }

  return {
    answer (request, body, withEffect) {
      try {
        const replied = reply(request, body)
        if (withEffect) replied.effect?.()
        return toAnswer(replied, now())
      } catch (error) {
        const refusal = error instanceof CosError ? error : new CosError('InternalError')
        return toErrorAnswer(refusal, request.host + request.rawPath, now())
      }
    }
  }
}

/** The operation and bucket a request is for, as far as it says so; for the journal and the faults. */
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

function refuseRepeatedHeaders ({ repeatedHeaders }: CosRequest): void {
  const repeated = repeatedHeaders.find(name => /^(host|authorization|content-.*|x-cos-.*)$/.test(name))
  if (repeated !== undefined) throw new CosError('InvalidRequest', `The header ${repeated} occurs twice.`)
}

// No document names the action of LIST, so every key may list.
function checkPermission ({ actions }: EmulatorCredential, operation: Operation): void {
  if (actions === undefined || operation === 'ListBucketInventory') return
  if (!actions.includes(`cos:${operation}`)) throw new CosError('AccessDenied')
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
  // COS document 7728 requires it, but the live tests of the SDK for Java pass without.
  const digest = headers['content-md5']
  if (digest === undefined && requireDigest) throw new CosError('InvalidRequest', 'The header Content-MD5 is missing.')
  if (digest !== undefined) checkDigest(bytes, digest)
  if (length === 0) throw new CosError('MissingRequestBodyError')
}

function checkDigest (bytes: Buffer, digest: string): void {
  if (!/^[A-Za-z0-9+/]{22}==$/.test(digest)) throw new CosError('InvalidDigest')
  if (createHash('md5').update(bytes).digest('base64') !== digest) throw new CosError('BadDigest')
}
