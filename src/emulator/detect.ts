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
 * Which operation a request asks for. COS routes on the first query parameter, so `inventory` must come
 * before all others but those of a signature in the query. Whatever is not in the tables is 'Unknown' and
 * never falls through to another operation: a PUT or DELETE that lost its `inventory` would mean the bucket
 * itself.
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

/** The rejection of an 'Unknown' operation; it names what was asked for. */
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
 * The parameters of an operation by their lower-case names, those of the signature left out.
 * @throws CosError InvalidArgument for one that is unknown, repeated, missing or has a value it cannot have
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

// The characters are documented (30625), the longest length is not: 255 is a guess on the generous side.
function checkId (id: string | undefined): void {
  if (id === undefined || !/^[a-zA-Z0-9_.-]{1,255}$/.test(id)) {
    throw new CosError('InvalidArgument', 'The parameter id must be 1 to 255 of a-z A-Z 0-9 - _ .')
  }
}
