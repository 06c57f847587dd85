import { listingParameters } from './bucket-listing.ts'
import { CosError } from './cos-error.ts'
import type { Addressee } from './host.ts'
import { objectParameters } from './object-reply.ts'
import type { Parameter } from './request.ts'
import { isSignatureParameter } from './verify-signature.ts'

export const operations = [
  'PutBucketInventory', 'GetBucketInventory', 'ListBucketInventory', 'DeleteBucketInventory',
  'PostBucketInventory', 'GetService', 'HeadBucket', 'GetBucket', 'GetObject', 'HeadObject', 'Unknown'
] as const

export type Operation = typeof operations[number]

const inventoryOperations: Partial<Record<string, Operation>> = {
  PUT: 'PutBucketInventory',
  GET: 'GetBucketInventory',
  DELETE: 'DeleteBucketInventory',
  POST: 'PostBucketInventory'
}

const bucketOperations: Partial<Record<string, 'GetBucket' | 'HeadBucket'>> = { GET: 'GetBucket', HEAD: 'HeadBucket' }
const objectOperations: Partial<Record<string, 'GetObject' | 'HeadObject'>> = { GET: 'GetObject', HEAD: 'HeadObject' }

const allowedParameters: Record<Exclude<Operation, 'Unknown'>, string[]> = {
  PutBucketInventory: ['inventory', 'id'],
  GetBucketInventory: ['inventory', 'id'],
  ListBucketInventory: ['inventory', 'continuation-token'],
  DeleteBucketInventory: ['inventory', 'id'],
  PostBucketInventory: ['inventory', 'id'],
  GetService: ['max-keys', 'marker', 'region'],
  HeadBucket: [],
  GetBucket: listingParameters,
  GetObject: objectParameters,
  HeadObject: []
}

/**
 * Returns the operation of a request. COS routes by the first query parameter, so `inventory` must precede all others
 * except those of a signature in the query. A request that is not in the tables is 'Unknown'. It never becomes another
 * operation, because a PUT or DELETE without `inventory` would mean the bucket or the object itself.
 */
export function detectOperation (
  addressee: Addressee, method: string, path: string, parameters: Parameter[]
): Operation {
  if (addressee.kind === 'service') return path === '/' && method === 'GET' ? 'GetService' : 'Unknown'
  const asked = parameters.filter(({ name }) => !isSignatureParameter(name))
  const [first] = asked
  if (path === '/' && first?.name === 'inventory') {
    const operation = inventoryOperations[method] ?? 'Unknown'
    const hasId = asked.some(({ name }) => name.toLowerCase() === 'id')
    return operation === 'GetBucketInventory' && !hasId ? 'ListBucketInventory' : operation
  }
  const operation = (meansBucket(path) ? bucketOperations : objectOperations)[method]
  if (operation === undefined) return 'Unknown'
  const isKnown = first === undefined || allowedParameters[operation].includes(first.name)
  return isKnown ? operation : 'Unknown'
}

/**
 * Tells whether a path means the bucket. COS resolves empty segments, `.` and `..`, so that GET Object of a key such as
 * `a/..` becomes GET Bucket. SDKs reject such keys for this reason.
 */
function meansBucket (path: string): boolean {
  let depth = 0
  for (const segment of path.split('/')) {
    if (segment === '..') depth = Math.max(0, depth - 1)
    else if (segment !== '' && segment !== '.') depth += 1
  }
  return depth === 0
}

/** Returns the rejection of an 'Unknown' operation, which names the requested one. */
export function rejectUnknown (
  addressee: Addressee, method: string, path: string, parameters: Parameter[]
): CosError {
  if (addressee.kind === 'service') {
    return new CosError('InvalidArgument', 'Only GET / is served on the service domain.')
  }
  const first = parameters.find(({ name }) => !isSignatureParameter(name))
  if (path === '/' && first?.name === 'inventory') return new CosError('MethodNotAllowed')
  return new CosError('NotImplemented', path === '/' && first !== undefined
    ? `${method} of ?${first.name} is not emulated; inventory must be the first query parameter.`
    : `${method} of this bucket or object is not emulated; only ?inventory, GET and HEAD are.`)
}

/**
 * Returns the parameters of an operation by their lower-case names, without those of the signature.
 *
 * @throws CosError InvalidArgument for a parameter that is unknown, duplicate, missing or invalid
 */
export function checkParameters (
  operation: Exclude<Operation, 'Unknown'>, parameters: Parameter[]
): Partial<Record<string, string>> {
  const values: Partial<Record<string, string>> = {}
  for (const { name, value } of parameters) {
    if (isSignatureParameter(name)) continue
    const key = name.toLowerCase()
    if (!allowedParameters[operation].includes(key)) {
      throw new CosError('InvalidArgument', `The parameter ${name} is not known here.`)
    }
    if (values[key] !== undefined) throw new CosError('InvalidArgument', `The parameter ${key} occurs twice.`)
    values[key] = value
  }
  if (values['inventory']) throw new CosError('InvalidArgument', 'The parameter inventory takes no value.')
  if (allowedParameters[operation].includes('id')) checkId(values['id'])
  return values
}

// COS documents the characters (30625) but not the longest length. 255 is a generous guess.
function checkId (id: string | undefined): void {
  if (id === undefined || !/^[a-zA-Z0-9_.-]{1,255}$/.test(id)) {
    throw new CosError('InvalidArgument', 'The parameter id must be 1 to 255 of a-z A-Z 0-9 - _ .')
  }
}
