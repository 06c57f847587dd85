import type { FastifyRequest } from 'fastify'
import { maxSetSize } from '../../contract/desired-set.ts'
import { maxBodyValues } from '../../contract/requests.ts'
import { ServiceError } from '../../errors.ts'
import type { ValidationIssue } from '../../errors.ts'
import { createPauses } from '../../concurrency/event-loop.ts'
import { tooManyValues } from './json-body.ts'
import { allowsUnknown, issuesOf } from './schema-issues.ts'
import { maxNamedIssues, rejectIssues } from './validation-issues.ts'

/**
 * Lets Fastify validate a set without its configurations. {@link rejectItemIssues} validates them one by one. This is a
 * preValidation hook.
 *
 * @throws {ServiceError} ValidationFailed for too many configurations, or for more than {@link maxBodyValues} values in
 *   one of them or beside them. Validating more would block the event loop for too long.
 */
export async function setItemsAside (request: FastifyRequest): Promise<void> {
  const { body } = request
  if (typeof body !== 'object' || body === null) return
  if (Object.keys(body).length > maxBodyValues) throw tooManyValues(maxBodyValues)
  const { InventoryConfigurations: items } = body as { InventoryConfigurations?: unknown }
  if (!Array.isArray(items)) return
  if (items.length > maxSetSize) {
    throw new ServiceError('ValidationFailed', `A bucket can have at most ${maxSetSize} configurations. Send fewer.`,
      { errors: [{ in: 'body', pointer: '/InventoryConfigurations', detail: `must have at most ${maxSetSize} items` }] })
  }
  const index = items.findIndex(item => countValues(item) > maxBodyValues)
  if (index !== -1) throw tooManyValues(maxBodyValues, `/InventoryConfigurations/${index}`)
  request.context.wholeBody = body
  request.body = { ...body, InventoryConfigurations: [] }
}

/** Counts the values of an item, including itself. A growing list instead of recursion: it can nest deeply. */
function countValues (item: unknown): number {
  const places = [item]
  for (const value of places) {
    if (typeof value === 'object' && value !== null) for (const each of Object.values(value)) places.push(each)
  }
  return places.length
}

/**
 * Validates the configurations of a set one by one, with iterations of the event loop in between. All at once would
 * block it for half a second. Stops when there are more issues than the response names.
 *
 * @param others issues of the other parts of the request
 * @throws {ServiceError} ValidationFailed with all these issues
 */
export async function rejectItemIssues (
  request: FastifyRequest, itemSchema: object, others: ValidationIssue[]
): Promise<void> {
  const { wholeBody = {} } = request.context
  const { InventoryConfigurations: items = [] } = wholeBody as { InventoryConfigurations?: unknown[] }
  const validate = request.compileValidationSchema(itemSchema, 'body')
  const issues = [...others]
  const pause = createPauses()
  for (const [index, item] of items.entries()) {
    await pause()
    const pointer = `/InventoryConfigurations/${index}`
    for (const issue of issuesOf(validate, item, allowsUnknown(request))) {
      issues.push({ ...issue, pointer: pointer + issue.pointer })
    }
    if (issues.length > maxNamedIssues) break
  }
  rejectIssues(issues, 'at least ')
}
