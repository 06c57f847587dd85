import fp from 'fastify-plugin'
import type { FastifyRequest } from 'fastify'
import { escapePointer } from '../../changes/differences.ts'
import { canonicalForm } from '../../changes/version.ts'
import { InventoryConfigurationInputSchema } from '../../contract/inventory.ts'
import { refTo } from '../../contract/schema.ts'
import type { ValidationIssue } from '../../errors.ts'
import { allowsUnknown, issuesOf } from './schema-issues.ts'
import { rejectItemIssues } from './set-validation.ts'
import { maxDepth, valueAt } from './unknown-elements.ts'
import { rejectIssues } from './validation-issues.ts'

/**
 * Options of Ajv. By default, Fastify drops unknown properties, adds defaults, converts types and stops at the first
 * error. This service accepts a request unchanged, or rejects it with every issue.
 */
export const ajvOptions = {
  removeAdditional: false,
  useDefaults: false,
  coerceTypes: false,
  allErrors: true,
  // Errors then contain the sub-schema, whose description says what is valid.
  verbose: true,
  // Both cost a twentieth of the start each. V8 optimizes the generated code itself, and a test checks the schemas.
  code: { optimize: false },
  validateSchema: false
} as const

const parts = [
  { httpPart: 'params', in: 'path' },
  { httpPart: 'querystring', in: 'query' },
  { httpPart: 'headers', in: 'header' },
  { httpPart: 'body', in: 'body' }
] as const

/**
 * Rejects requests that do not match the schemas of their route. This is a preHandler hook. Fastify stops at the first
 * invalid part, so that the hook validates all parts again if one is invalid.
 *
 * @throws {ServiceError} ValidationFailed with every issue of path, query, headers and body
 */
export const validation = fp(async app => {
  app.addHook('preHandler', (request, _, done) => {
    const ofParts = request.validationError === undefined ? [] : schemaIssues(request)
    const { context: { wholeBody }, routeOptions: { config: { itemSchema } } } = request
    if (wholeBody !== undefined) request.body = wholeBody
    const issues = request.body === undefined ? ofParts : [...ofParts, ...idIssues(request), ...patchIssues(request)]
    if (itemSchema !== undefined) {
      rejectItemIssues(request, itemSchema, issues).then(() => { done() }, done)
      return
    }
    rejectIssues(issues)
    done()
  })
}, { name: 'validation', dependencies: ['request-context'], fastify: '5.x' })

const configurationSchema = refTo(InventoryConfigurationInputSchema)

/**
 * Rejects a merged configuration that PUT would reject. Accepts invalid values that COS stores and the patch does not
 * change. Such a value must not prevent other changes.
 *
 * @param result the merged configuration
 * @param present the stored configuration
 * @throws {ServiceError} ValidationFailed with every issue of the result
 */
export function rejectPatchResult (request: FastifyRequest, result: object, present: object): void {
  const validate = request.compileValidationSchema(configurationSchema, 'body')
  // A patch replaces a list as a whole, so that its values can have other indexes.
  const placeOf = (pointer: string) => pointer.replace(/\/[0-9]+(?=\/|$)/g, '/#')
  const kindOf = ({ pointer, detail }: ValidationIssue) => `${placeOf(pointer)} ${detail}`
  const keyIn = (configuration: object) => (issue: ValidationIssue) =>
    `${kindOf(issue)} ${canonicalForm(valueAt(configuration, issue.pointer))}`
  const issues = issuesOf(validate, result, allowsUnknown(request))
  if (issues.length === 0) return
  const presentIssues = issuesOf(validate, present, allowsUnknown(request))
  // The canonical form of a large value is expensive. It is computed only if it can affect the result.
  const toleratedKinds = new Set(presentIssues.map(kindOf))
  const tolerated = new Set(presentIssues.map(keyIn(present)))
  const keyOf = keyIn(result)
  rejectIssues(issues.filter(each => !toleratedKinds.has(kindOf(each)) || !tolerated.has(keyOf(each))))
}

/** Returns issues of ids. The Id of a body must equal that of the path. In a set, each configuration needs its own. */
function idIssues ({ params, body }: FastifyRequest): ValidationIssue[] {
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

/** Returns issues of a patch. Merging recurses as deep as the patch, and must not change the prototype of an object. */
function patchIssues ({ body, routeOptions: { config } }: FastifyRequest): ValidationIssue[] {
  if (config.isPatch !== true) return []
  const issues: ValidationIssue[] = []
  // A growing list instead of recursion: 256 KiB can nest deeper than the stack.
  const places = [{ value: body, pointer: '', depth: 0 }]
  for (const { value, pointer, depth } of places) {
    if (typeof value !== 'object' || value === null) continue
    for (const [name, each] of Object.entries(value)) {
      const at = `${pointer}/${escapePointer(name)}`
      const reject = (detail: string) => issues.push({ in: 'body', pointer: at, detail })
      if (name === '__proto__') reject('cannot be patched: replace the configuration with PUT')
      else if (depth === maxDepth) reject('is nested too deep')
      else places.push({ value: each as unknown, pointer: at, depth: depth + 1 })
    }
  }
  return issues
}

function schemaIssues (request: FastifyRequest): ValidationIssue[] {
  const { params, query: querystring, headers, body } = request
  const values = { params, querystring, headers, body }
  return parts.flatMap(part => {
    const validate = request.getValidationFunction(part.httpPart)
    return validate === undefined ? [] : issuesOf(validate, values[part.httpPart], allowsUnknown(request), part.in)
  })
}
