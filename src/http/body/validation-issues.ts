/** Converts validation errors of Ajv to the issues of a response. */
import type { FastifySchemaValidationError } from 'fastify'
import { escapePointer } from '../../changes/differences.ts'
import { ServiceError } from '../../errors.ts'
import type { ValidationIssue } from '../../errors.ts'

/** Most issues that a response names. More would turn a small body into megabytes. */
export const maxNamedIssues = 1000

/** Characters of issues after which the response names no more. Pointers contain keys of the body. */
const maxNamedText = 256 * 1024

/** Characters of the first issue in the detail of the problem. */
const maxSummary = 300

/** An error of Ajv with `verbose`. */
export type SchemaError = FastifySchemaValidationError & {
  parentSchema?: { description?: string, not?: object, properties?: object }
  data?: unknown
}

/**
 * Rejects a request that has issues. The detail of the problem has the first one.
 *
 * @param unlessAllAreNamed stands before the number of issues if the response does not name all of them
 * @throws {ServiceError} ValidationFailed if there are issues
 */
export function rejectIssues (issues: ValidationIssue[], unlessAllAreNamed = ''): void {
  if (issues.length === 0) return
  const errors = issues.slice(0, countNamed(issues))
  const isCut = errors.length < issues.length
  const more = issues.length === 1 ? '' : `, and ${isCut ? unlessAllAreNamed : ''}${issues.length - 1} more`
  const named = isCut ? `; errors names the first ${errors.length}` : ''
  throw new ServiceError('ValidationFailed',
    `${summaryOf(issues[0] as ValidationIssue)}${more}${named}. Correct the request and send it again.`, { errors })
}

/** Returns an issue as the beginning of a sentence. Its pointer can contain long keys of the body. */
function summaryOf ({ in: part, pointer, detail }: ValidationIssue): string {
  const text = [part, pointer, detail].filter(each => each !== '').join(' ')
  return text.length > maxSummary ? `${text.slice(0, maxSummary)}…` : text
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
 * Drops misleading errors of failed unions. Keeps the errors of the branch whose type the value has. If no branch has
 * its type, keeps the error of the union, which lists the valid forms. A body can have a hundred thousand errors, so
 * each is compared with the few unions only.
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
    return { in: where, pointer: at(params['additionalProperty']), detail: `is not known here${adviceFor(error, where)}` }
  }
  return { in: where, pointer: instancePath, detail: detailOf(error) }
}

/** Returns the remedy for an unknown member or parameter. */
function adviceFor (error: SchemaError, where: ValidationIssue['in']): string {
  const given = String(error.params['additionalProperty']).toLowerCase()
  const known = Object.entries(propertiesOf(error))
    .find(([name, schema]) => name.toLowerCase() === given && !('not' in schema))
  if (known !== undefined) return `; did you mean ${known[0]}?`
  return where === 'body' && !isOfSet(error) ? '; allow-unknown=true sends it to COS nevertheless' : ''
}

/** Returns whether an error is about a set of configurations. Only configurations may have unknown elements. */
export function isOfSet (error: SchemaError): boolean {
  return 'InventoryConfigurations' in propertiesOf(error)
}

function propertiesOf ({ parentSchema }: SchemaError): Record<string, object> {
  return (parentSchema as { properties: Record<string, object> }).properties
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
      return `must be ${description}`
    default:
      return String(message)
  }
}

const typeNames: Readonly<Record<string, string>> = {
  string: 'a string', integer: 'an integer', object: 'an object', array: 'an array'
}
