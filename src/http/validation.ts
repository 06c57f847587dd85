import type { FastifyReply, FastifyRequest, FastifySchemaValidationError } from 'fastify'
import { escapePointer } from '../changes/differences.ts'
import { meaningOf } from '../changes/version.ts'
import { maxSetSize } from '../contract/desired-set.ts'
import { InventoryConfigurationInputSchema, isXmlText, textMember } from '../contract/inventory.ts'
import { maxBodyValues } from '../contract/requests.ts'
import { refTo } from '../contract/schema.ts'
import { ServiceError } from '../errors.ts'
import type { Fault } from '../errors.ts'
import { createPauses } from '../event-loop.ts'
import { tooManyValues } from './json-only.ts'

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
  { httpPart: 'headers', in: 'header' },
  { httpPart: 'body', in: 'body' }
] as const

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The schema of each configuration, when the body of this route is a set of them. */
    itemSchema?: object
  }
  interface FastifyRequest {
    /** The whole body of a set while Fastify validates it without its configurations; null at any other time. */
    setBody: object | null
  }
}

/** RFC 7396. */
export const mergePatchMediaType = 'application/merge-patch+json'

/** More would make an answer of megabytes out of a small body, and help nobody. */
const maxNamedFaults = 1000

/** The response names no more errors once their text has this many characters: pointers hold keys of the body. */
const maxNamedText = 256 * 1024

type SchemaError = FastifySchemaValidationError & {
  parentSchema?: { description?: string, not?: object, properties?: object }
  data?: unknown
}

/**
 * The validation of every route, as a preHandler hook. Fastify stops at the first part that fails, so the parts are
 * gone through again here, in the rare case that one did.
 *
 * @throws {ServiceError} ValidationFailed with every fault of path, query, headers and body
 */
export function refuseFaults (request: FastifyRequest, _: FastifyReply, done: (error?: Error) => void): void {
  const ofParts = request.validationError === undefined ? [] : schemaFaults(request)
  request.body = request.setBody ?? request.body
  const faults = request.body === undefined ? ofParts : [...ofParts, ...idFaults(request), ...patchFaults(request)]
  const { itemSchema } = request.routeOptions.config
  if (itemSchema !== undefined) {
    refuseItemFaults(request, itemSchema, faults).then(() => { done() }, done)
    return
  }
  refuse(faults)
  done()
}

/**
 * Lets Fastify validate a set without its configurations (preValidation hook): {@link refuseFaults} validates them one
 * by one.
 *
 * @throws {ServiceError} ValidationFailed for too many configurations, or more than {@link maxBodyValues} values in one
 *   of them or beside them: their validation would hold the event loop for too long
 */
export async function setItemsAside (request: FastifyRequest): Promise<void> {
  const { body } = request
  if (typeof body !== 'object' || body === null) return
  if (Object.keys(body).length > maxBodyValues) throw tooManyValues(maxBodyValues)
  const { InventoryConfigurations: items } = body as { InventoryConfigurations?: unknown }
  if (!Array.isArray(items)) return
  if (items.length > maxSetSize) {
    throw new ServiceError('ValidationFailed', `A bucket holds ${maxSetSize} configurations at most. Send fewer.`,
      { errors: [{ in: 'body', pointer: '/InventoryConfigurations', detail: `must be ${maxSetSize} at most` }] })
  }
  const index = items.findIndex(item => countValues(item) > maxBodyValues)
  if (index !== -1) throw tooManyValues(maxBodyValues, `/InventoryConfigurations/${index}`)
  request.setBody = body
  request.body = { ...body, InventoryConfigurations: [] }
}

/** How many values an item of a set holds, itself included. A list that grows, not recursion: it may nest deeply. */
function countValues (item: unknown): number {
  const places = [item]
  for (const value of places) {
    if (typeof value === 'object' && value !== null) for (const each of Object.values(value)) places.push(each)
  }
  return places.length
}

/**
 * Validates the configurations of a set one by one, with iterations of the event loop in between: all at once would
 * hold it for half a second. Stops when there are more errors than the response names.
 *
 * @throws {ServiceError} ValidationFailed with these errors and those of the other parts of the request
 */
async function refuseItemFaults (request: FastifyRequest, itemSchema: object, others: Fault[]): Promise<void> {
  const { InventoryConfigurations: items = [] } = (request.setBody ?? {}) as { InventoryConfigurations?: unknown[] }
  const validate = request.compileValidationSchema(itemSchema, 'body')
  const faults = [...others]
  const pause = createPauses()
  for (const [index, item] of items.entries()) {
    await pause()
    const pointer = `/InventoryConfigurations/${index}`
    for (const fault of faultsOf(validate, item, allowsUnknown(request))) {
      faults.push({ ...fault, pointer: pointer + fault.pointer })
    }
    if (faults.length > maxNamedFaults) break
  }
  refuse(faults, 'at least ')
}

const configurationSchema = refTo(InventoryConfigurationInputSchema)

/**
 * What a patch comes to must be what PUT takes. What COS holds already and the patch leaves as it is, is not its fault:
 * a format or an element that PUT does not know must not keep anybody from changing something else.
 *
 * @throws {ServiceError} ValidationFailed with every fault of the result
 */
export function refusePatchResult (request: FastifyRequest, result: object, present: object): void {
  const validate = request.compileValidationSchema(configurationSchema, 'body')
  // A list is replaced whole: what it held before may be at another place.
  const placeOf = (pointer: string) => pointer.replace(/\/[0-9]+(?=\/|$)/g, '/#')
  const kindOf = ({ pointer, detail }: Fault) => `${placeOf(pointer)} ${detail}`
  const keyIn = (configuration: object) => (fault: Fault) =>
    `${kindOf(fault)} ${meaningOf(valueAt(configuration, fault.pointer))}`
  const faults = faultsOf(validate, result, allowsUnknown(request))
  if (faults.length === 0) return
  const presentFaults = faultsOf(validate, present, allowsUnknown(request))
  // The canonical form of a large value is expensive: it is only computed where it can make a difference.
  const toleratedKinds = new Set(presentFaults.map(kindOf))
  const tolerated = new Set(presentFaults.map(keyIn(present)))
  const keyOf = keyIn(result)
  refuse(faults.filter(each => !toleratedKinds.has(kindOf(each)) || !tolerated.has(keyOf(each))))
}

function refuse (faults: Fault[], unlessAllAreNamed = ''): void {
  if (faults.length === 0) return
  const errors = faults.slice(0, countNamed(faults))
  const [most, named] = errors.length < faults.length ? [unlessAllAreNamed, `the first ${errors.length}`] : ['', 'each']
  const count = faults.length === 1 ? '1 fault' : `${most}${faults.length} faults`
  throw new ServiceError('ValidationFailed', `The request has ${count}; errors names ${named}.`, { errors })
}

/** How many of the validation errors the response names. */
function countNamed (faults: Fault[]): number {
  let length = 0
  const end = faults.findIndex(({ pointer, detail }, index) => {
    if (index === maxNamedFaults || length >= maxNamedText) return true
    length += pointer.length + detail.length
    return false
  })
  return end === -1 ? faults.length : end
}

/** The Id of a body is that of the path; in a set, where the path has none, each has its own. */
function idFaults ({ params, body }: FastifyRequest): Fault[] {
  const { id } = params as { id?: string }
  const { Id: bodyId, InventoryConfigurations: items } = (body ?? {}) as Record<string, unknown>
  if (id !== undefined) {
    if (typeof bodyId !== 'string' || bodyId === id) return []
    return [{ in: 'body', pointer: '/Id', detail: 'must equal the id in the path, or be left out' }]
  }
  if (!Array.isArray(items)) return []
  const places = new Map<unknown, string>()
  return items.flatMap((item: { Id?: unknown } | null, index) => {
    const pointer = `/InventoryConfigurations/${index}/Id`
    const earlier = places.get(item?.Id)
    if (typeof item?.Id === 'string' && earlier === undefined) places.set(item.Id, pointer)
    return earlier === undefined ? [] : [{ in: 'body' as const, pointer, detail: `is the same as ${earlier}` }]
  })
}

/** Merging goes as deep as a patch, and must not take a member for the prototype of an object. */
function patchFaults ({ body, routeOptions: { config } }: FastifyRequest): Fault[] {
  if (config.mediaType !== mergePatchMediaType) return []
  const faults: Fault[] = []
  // A list that grows, not recursion: 256 KiB can nest deeper than the stack.
  const places = [{ value: body, pointer: '', depth: 0 }]
  for (const { value, pointer, depth } of places) {
    if (typeof value !== 'object' || value === null) continue
    for (const [name, each] of Object.entries(value)) {
      const at = `${pointer}/${escapePointer(name)}`
      const refuse = (detail: string) => faults.push({ in: 'body', pointer: at, detail })
      if (name === '__proto__') refuse('cannot be patched: replace the configuration with PUT')
      else if (depth === maxDepth) refuse('is nested too deep')
      else places.push({ value: each as unknown, pointer: at, depth: depth + 1 })
    }
  }
  return faults
}

function schemaFaults (request: FastifyRequest): Fault[] {
  const { params, query: querystring, headers, body } = request
  const values = { params, querystring, headers, body }
  return parts.flatMap(part => {
    const validate = request.getValidationFunction(part.httpPart)
    return validate === undefined ? [] : faultsOf(validate, values[part.httpPart], allowsUnknown(request), part.in)
  })
}

function allowsUnknown ({ query }: FastifyRequest): boolean {
  return (query as { 'allow-unknown'?: unknown })['allow-unknown'] === 'true'
}

type Validate = ReturnType<FastifyRequest['compileValidationSchema']>

function faultsOf (validate: Validate, value: unknown, allowUnknown: boolean, where: Fault['in'] = 'body'): Fault[] {
  if (validate(value)) return []
  return relevant(validate.errors as SchemaError[]).flatMap(error => where === 'body' && allowUnknown
    ? faultOfUnknown(error, value)
    : [toFault(error, where)])
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
    const detail = where === 'body' && !isOfSet(error)
      ? 'is not known here; allow-unknown=true sends it to COS all the same'
      : 'is not known here'
    return { in: where, pointer: at(params['additionalProperty']), detail }
  }
  return { in: where, pointer: instancePath, detail: detailOf(error) }
}

/** Elements belong to a configuration, not to a set of them. */
function isOfSet ({ parentSchema }: SchemaError): boolean {
  return 'InventoryConfigurations' in (parentSchema as { properties: object }).properties
}

function detailOf ({ keyword, params, message, parentSchema, data }: SchemaError): string {
  const description = parentSchema?.description
  switch (keyword) {
    case 'enum':
      return `must be one of ${(params['allowedValues'] as string[]).join(', ')}`
    case 'type':
      return `must be ${typeNames[String(params['type'])]}${data === undefined ? '; nothing was sent' : ''}`
    case 'not':
    case 'const':
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

const destination = '/Destination/COSBucketDestination'
const marker = `${destination}/Encryption/SSECOS`

/**
 * The rules that allow-unknown=true lifts, by place: COS may store other values than the documented ones, and returns
 * them. The index 0 stands for any.
 */
const liftedRules: ReadonlyMap<string, readonly string[]> = new Map([
  ['/Id', ['pattern']],
  ['/IncludedObjectVersions', ['enum']],
  ['/Schedule', ['required']],
  ['/Schedule/Frequency', ['enum']],
  ['/Schedule/MonthlyDate', ['not', 'minimum', 'maximum']],
  ['/OptionalFields', ['uniqueItems']],
  ['/OptionalFields/0', ['pattern']],
  ['/OptionalFields/Field', ['uniqueItems']],
  ['/OptionalFields/Field/0', ['pattern']],
  ['/Filter/Period/StartTime', ['minimum']],
  ['/Filter/Period/EndTime', ['minimum']],
  [`${destination}/Format`, ['enum']],
  [`${destination}/Bucket`, ['pattern', 'maxLength']],
  [`${destination}/AccountId`, ['pattern']],
  [marker, ['maxLength']]
])

/** An Id of a set that COS may have been given by others: this service addresses shorter ones only. */
function isStoredId (id: unknown): boolean {
  return typeof id === 'string' && /^[A-Za-z0-9._-]{1,255}$/.test(id)
}

/** With allow-unknown=true: no fault for what can be an element, its own fault for what cannot. */
function faultOfUnknown (error: SchemaError, body: unknown): Fault[] {
  const { keyword, params, instancePath, data } = error
  const isText = (value: unknown) => typeof value === 'string' && isXmlText(value)
  if (keyword === 'additionalProperties' && !isOfSet(error)) {
    const name = String(params['additionalProperty'])
    const object = valueAt(body, instancePath) as Record<string, unknown>
    const isTextOfMarker = instancePath === marker && name === textMember && Object.keys(object).length === 1
    if (isTextOfMarker && isText(object[name])) return []
    return elementFaults(name, object[name], `${instancePath}/${escapePointer(name)}`)
  }
  if (liftedRules.get(instancePath.replace(/\/[0-9]+$/, '/0'))?.includes(keyword) === true) {
    const isLifted = keyword === 'required'
      ? params['missingProperty'] === 'MonthlyDate'
      : instancePath !== '/Id' || isStoredId(data)
    if (isLifted && (typeof data !== 'string' || isXmlText(data))) return []
  }
  // The one element that COS may hold several of where the documents know one; answers then have an array.
  const several = instancePath === '/Filter/StorageClass' && keyword === 'type' && Array.isArray(data) && data.length > 0
  if (several && data.every(isText)) return []
  return [toFault(error, 'body')]
}

// XML 1.0 section 2.3, without the colon: it would make a namespace prefix of what stands before it.
const xmlName = /^[A-Z_a-z\u00C0-\u00D6\u00D8-\u00F6\u00F8-\u02FF\u0370-\u037D\u037F-\u1FFF\u{200C}-\u{200D}\u2070-\u218F\u2C00-\u2FEF\u3001-\uD7FF\uF900-\uFDCF\uFDF0-\uFFFD\u{10000}-\u{EFFFF}][-.0-9A-Z_a-z\u00B7\u00C0-\u00D6\u00D8-\u00F6\u00F8-\u037D\u037F-\u1FFF\u{200C}-\u{200D}\u{203F}-\u{2040}\u2070-\u218F\u2C00-\u2FEF\u3001-\uD7FF\uF900-\uFDCF\uFDF0-\uFFFD\u{10000}-\u{EFFFF}]*$/u

/** COS nests 6 deep and the answer parser takes 32; what is sent must be readable again. */
const maxDepth = 20

/** The longest name of COS has 24 characters. XML repeats the name of a list for each value. */
const maxNameLength = 255
const tooLongName = `is a name of more than ${maxNameLength} characters, so it cannot become an element`

function elementFaults (name: string, value: unknown, pointer: string, depth = 0): Fault[] {
  const fault = (detail: string): Fault[] => [{ in: 'body', pointer, detail }]
  if (name.length > maxNameLength) return fault(tooLongName)
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
    const nested = value.some(Array.isArray) ? fault('must not hold an array in an array') : []
    return nested.concat(value.flatMap((each, index) =>
      Array.isArray(each) ? [] : elementFaults(name, each, `${pointer}/${index}`, depth + 1)))
  }
  if (typeof value === 'object' && value !== null) {
    return Object.entries(value).flatMap(([inner, each]) =>
      elementFaults(inner, each, `${pointer}/${escapePointer(inner)}`, depth + 1))
  }
  return fault('must be a string, number, boolean, object or array')
}

function valueAt (document: unknown, pointer: string): unknown {
  return pointer.split('/').slice(1).reduce<unknown>((value, token) =>
    (value as Record<string, unknown> | undefined)?.[token.replaceAll('~1', '/').replaceAll('~0', '~')], document)
}
