import type { FastifyRequest, FastifySchemaValidationError } from 'fastify'
import { ServiceError } from '../errors.ts'
import type { Fault } from '../errors.ts'
import { isXmlText } from '../contract/inventory.ts'

/**
 * Ajv as this service needs it. Fastify's defaults drop unknown properties, fill in defaults, change types to fit
 * and stop at the first fault; here what a caller sends is either taken as it is or refused with every reason.
 */
export const ajvOptions = {
  removeAdditional: false,
  useDefaults: false,
  coerceTypes: false,
  allErrors: true,
  // Errors then carry the sub-schema, whose description says what was expected.
  verbose: true
} as const

const parts = [
  { httpPart: 'params', in: 'path' },
  { httpPart: 'querystring', in: 'query' },
  { httpPart: 'body', in: 'body' }
] as const

/** More would make an answer of megabytes out of a small body, and help nobody. */
const maxNamedFaults = 1000

type SchemaError = FastifySchemaValidationError & {
  parentSchema?: { description?: string, not?: object }
  data?: unknown
}

/**
 * The validation of every route, as a preHandler hook. Fastify stops at the first part that fails, so the parts are
 * gone through again here, in the rare case that one did.
 *
 * @throws {ServiceError} ValidationFailed with every fault of path, query and body
 */
export async function refuseFaults (request: FastifyRequest): Promise<void> {
  const faults = request.validationError === undefined ? [] : schemaFaults(request)
  const { id } = request.params as { id?: unknown }
  const { Id: bodyId } = (request.body ?? {}) as { Id?: unknown }
  if (typeof bodyId === 'string' && bodyId !== id) {
    faults.push({ in: 'body', pointer: '/Id', detail: 'must equal the id in the path, or be left out' })
  }
  if (faults.length === 0) return
  const count = faults.length === 1 ? '1 fault' : `${faults.length} faults`
  const named = faults.length > maxNamedFaults ? `the first ${maxNamedFaults}` : 'each'
  throw new ServiceError('ValidationFailed', `The request has ${count}; errors names ${named}.`,
    { errors: faults.slice(0, maxNamedFaults) })
}

function schemaFaults (request: FastifyRequest): Fault[] {
  const values = { params: request.params, querystring: request.query, body: request.body }
  const { 'allow-unknown': allowUnknown } = request.query as { 'allow-unknown'?: unknown }
  return parts.flatMap(part => {
    const validate = request.getValidationFunction(part.httpPart)
    const value = values[part.httpPart]
    if (validate === undefined || validate(value)) return []
    const errors = relevant(validate.errors as SchemaError[])
    return errors.flatMap(error => part.in === 'body' && allowUnknown === 'true'
      ? faultOfUnknown(error, value)
      : [toFault(error, part.in)])
  })
}

/**
 * Of a union that failed, keeps the faults of the branch the value was meant for: the one whose type it has.
 * Where no branch has its type, the union's own fault says what would fit. A body can have a hundred thousand faults,
 * so that each is only held against the unions, of which there are a handful.
 */
function relevant (errors: SchemaError[]): SchemaError[] {
  const unions = errors.filter(({ keyword }) => keyword === 'anyOf')
  const wrongTypes = new Set(errors.filter(({ keyword }) => keyword === 'type').map(placeOf))
  const isOfWrongType = (union: SchemaError, { schemaPath }: SchemaError) => {
    const branch = schemaPath.slice(0, union.schemaPath.length + '/0'.length)
    return wrongTypes.has(placeOf({ schemaPath: `${branch}/type`, instancePath: union.instancePath }))
  }
  return errors.filter(error => {
    if (error.keyword === 'if') return false
    if (error.keyword === 'enum' && typeof error.data !== 'string') return false
    if (error.keyword === 'anyOf') return !errors.some(other => isIn(error, other) && !isOfWrongType(error, other))
    return !unions.some(union => isIn(union, error) && isOfWrongType(union, error))
  })
}

function placeOf ({ schemaPath, instancePath }: Pick<SchemaError, 'schemaPath' | 'instancePath'>): string {
  return `${schemaPath} ${instancePath}`
}

function isIn (union: SchemaError, error: SchemaError): boolean {
  return error.schemaPath.startsWith(`${union.schemaPath}/`) && error.instancePath.startsWith(union.instancePath)
}

function toFault (error: SchemaError, where: Fault['in']): Fault {
  const { keyword, params, instancePath } = error
  const at = (name: unknown) => `${instancePath}/${escapePointer(String(name))}`
  if (keyword === 'required') {
    return { in: where, pointer: at(params['missingProperty']), detail: 'is required' }
  }
  if (keyword === 'additionalProperties') {
    const detail = where === 'body'
      ? 'is not known here; allow-unknown=true sends it to COS all the same'
      : 'is not known here'
    return { in: where, pointer: at(params['additionalProperty']), detail }
  }
  return { in: where, pointer: instancePath, detail: detailOf(error) }
}

function detailOf ({ keyword, params, message, parentSchema, data }: SchemaError): string {
  const description = parentSchema?.description
  switch (keyword) {
    case 'enum':
      return `must be one of ${(params['allowedValues'] as string[]).join(', ')}`
    case 'type':
      return `must be ${typeNames[String(params['type'])]}${data === undefined ? '; nothing was sent' : ''}`
    case 'not':
      return String(description)
    case 'pattern':
      return `does not fit: ${description}`
    case 'anyOf':
      return `has none of the forms it may have: ${description}`
    default:
      return String(message)
  }
}

const typeNames: Readonly<Record<string, string>> = {
  string: 'a string', integer: 'an integer', object: 'an object', array: 'an array'
}

/** With allow-unknown=true: no fault for what can be an element, its own fault for what cannot. */
function faultOfUnknown (error: SchemaError, body: unknown): Fault[] {
  const { keyword, params, instancePath, data } = error
  if (keyword === 'additionalProperties') {
    const name = String(params['additionalProperty'])
    const value = (valueAt(body, instancePath) as Record<string, unknown>)[name]
    return elementFaults(name, value, `${instancePath}/${escapePointer(name)}`)
  }
  // The one element that COS may hold several of where the documents know one; answers then have an array.
  const several = instancePath === '/Filter/StorageClass' && keyword === 'type' && Array.isArray(data) && data.length > 0
  if (several && data.every(each => typeof each === 'string' && isXmlText(each))) return []
  return [toFault(error, 'body')]
}

// XML 1.0 section 2.3, without the colon: it would make a namespace prefix of what stands before it.
const xmlName = /^[A-Z_a-z\u00C0-\u00D6\u00D8-\u00F6\u00F8-\u02FF\u0370-\u037D\u037F-\u1FFF\u{200C}-\u{200D}\u2070-\u218F\u2C00-\u2FEF\u3001-\uD7FF\uF900-\uFDCF\uFDF0-\uFFFD\u{10000}-\u{EFFFF}][-.0-9A-Z_a-z\u00B7\u00C0-\u00D6\u00D8-\u00F6\u00F8-\u037D\u037F-\u1FFF\u{200C}-\u{200D}\u{203F}-\u{2040}\u2070-\u218F\u2C00-\u2FEF\u3001-\uD7FF\uF900-\uFDCF\uFDF0-\uFFFD\u{10000}-\u{EFFFF}]*$/u

/** COS nests 6 deep and the answer parser takes 32; what is sent must be readable again. */
const maxDepth = 20

function elementFaults (name: string, value: unknown, pointer: string, depth = 0): Fault[] {
  const fault = (detail: string): Fault[] => [{ in: 'body', pointer, detail }]
  if (!xmlName.test(name)) return fault('is not an XML name, so it cannot become an element')
  if (depth > maxDepth) return fault('is nested too deep')
  if (typeof value === 'string') return isXmlText(value) ? [] : fault('holds characters XML 1.0 cannot hold')
  if (typeof value === 'boolean') return []
  if (typeof value === 'number') {
    // JSON.parse has rounded such a number already; sending it would be sending another one.
    const exact = Number.isFinite(value) && (!Number.isInteger(value) || Number.isSafeInteger(value))
    return exact ? [] : fault('is too large to be exact; send it as a string')
  }
  if (Array.isArray(value)) {
    if (value.length === 0) return fault('is an empty array, which has no form in XML; leave it out')
    return value.flatMap((each, index) => Array.isArray(each)
      ? fault('must not hold an array in an array')
      : elementFaults(name, each, `${pointer}/${index}`, depth + 1))
  }
  if (typeof value === 'object' && value !== null) {
    return Object.entries(value).flatMap(([inner, each]) =>
      elementFaults(inner, each, `${pointer}/${escapePointer(inner)}`, depth + 1))
  }
  return fault('must be a string, number, boolean, object or array')
}

function valueAt (document: unknown, pointer: string): unknown {
  return pointer.split('/').slice(1).reduce<unknown>((value, token) =>
    (value as Record<string, unknown>)[token.replaceAll('~1', '/').replaceAll('~0', '~')], document)
}

/** RFC 6901, section 3. */
function escapePointer (token: string): string {
  return token.replaceAll('~', '~0').replaceAll('/', '~1')
}
