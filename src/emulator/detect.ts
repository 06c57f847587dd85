import type { Addressee } from './host.ts'
import type { Parameter } from './request.ts'
import { CosError } from './cos-error.ts'
import { isSignatureParameter } from './verify-signature.ts'

export const operations = [
  'PutBucketInventory', 'GetBucketInventory', 'ListBucketInventory', 'DeleteBucketInventory',
  'PostBucketInventory', 'GetService', 'HeadBucket', 'Unknown'
] as const

export type Operation = typeof operations[number]

const inventoryOperations: Partial<Record<string, Operation>> = {
  PUT: 'PutBucketInventory',
  GET: 'GetBucketInventory',
  DELETE: 'DeleteBucketInventory',
  POST: 'PostBucketInventory'
}

const allowedParameters: Record<Exclude<Operation, 'Unknown'>, string[]> = {
  PutBucketInventory: ['inventory', 'id'],
  GetBucketInventory: ['inventory', 'id'],
  ListBucketInventory: ['inventory', 'continuation-token'],
  DeleteBucketInventory: ['inventory', 'id'],
  PostBucketInventory: ['inventory', 'id'],
  GetService: ['max-keys', 'marker', 'region'],
  HeadBucket: []
}

/**
 * Returns the operation of a request. COS routes by the first query parameter, so `inventory` must precede all others
 * except those of a signature in the query. A request that is not in the tables is 'Unknown'. It never becomes another
 * operation, because a PUT or DELETE without `inventory` would mean the bucket itself.
 */
export function detectOperation (
  addressee: Addressee, method: string, path: string, parameters: Parameter[]
): Operation {
  if (path !== '/') return 'Unknown'
  if (addressee.kind === 'service') return method === 'GET' ? 'GetService' : 'Unknown'
  const asked = parameters.filter(({ name }) => !isSignatureParameter(name))
  const [first] = asked
  if (first === undefined) return method === 'HEAD' ? 'HeadBucket' : 'Unknown'
  if (first.name !== 'inventory') return 'Unknown'
  const operation = inventoryOperations[method] ?? 'Unknown'
  const hasId = asked.some(({ name }) => name.toLowerCase() === 'id')
  return operation === 'GetBucketInventory' && !hasId ? 'ListBucketInventory' : operation
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
    : `${method} of a bucket or an object is not emulated; only ?inventory is.`)
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
