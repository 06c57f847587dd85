/** Validation errors of Ajv as the issues that a response names. */
import type { FastifySchemaValidationError } from 'fastify'
import { escapePointer } from '../../changes/differences.ts'
import { ServiceError } from '../../errors.ts'
import type { ValidationIssue } from '../../errors.ts'

/** The most issues that a response names. More would make megabytes out of a small body. */
export const maxNamedIssues = 1000

/** The response names no more issues once their text has this many characters: pointers contain keys of the body. */
const maxNamedText = 256 * 1024

/** An error of Ajv with `verbose`. */
export type SchemaError = FastifySchemaValidationError & {
  parentSchema?: { description?: string, not?: object, properties?: object }
  data?: unknown
}

/**
 * Rejects a request with issues.
 *
 * @param unlessAllAreNamed stands before the number of issues when the response does not name them all
 * @throws {ServiceError} ValidationFailed, unless there are none
 */
export function rejectIssues (issues: ValidationIssue[], unlessAllAreNamed = ''): void {
  if (issues.length === 0) return
  const errors = issues.slice(0, countNamed(issues))
  const [most, named] = errors.length < issues.length ? [unlessAllAreNamed, `the first ${errors.length}`] : ['', 'each']
  const count = issues.length === 1 ? '1 fault' : `${most}${issues.length} faults`
  throw new ServiceError('ValidationFailed', `The request has ${count}; errors names ${named}.`, { errors })
}

/** Returns how many of the issues the response names. */
function countNamed (issues: ValidationIssue[]): number {
  let length = 0
  const end = issues.findIndex(({ pointer, detail }, index) => {
    if (index === maxNamedIssues || length >= maxNamedText) return true
    length += pointer.length + detail.length
    return false
  })
  return end === -1 ? issues.length : end
}

/**
 * Keeps, of a union that failed, the errors of the branch whose type the value has. Where no branch has its type, the
 * error of the union itself says what is valid. A body can have a hundred thousand errors, so that each is compared
 * with the few unions only.
 */
export function relevantErrors (errors: SchemaError[]): SchemaError[] {
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

/** Returns an error as an issue of a part of the request. */
export function toIssue (error: SchemaError, where: ValidationIssue['in']): ValidationIssue {
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

/** Tells whether an error is about a set of configurations. Elements belong to a configuration only. */
export function isOfSet ({ parentSchema }: SchemaError): boolean {
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
