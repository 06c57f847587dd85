import type { FastifyRequest } from 'fastify'
import { isTrue } from '../../contract/schema.ts'
import type { ValidationIssue } from '../../errors.ts'
import { issuesOfUnknown } from './unknown-elements.ts'
import { relevantErrors, toIssue } from './validation-issues.ts'
import type { SchemaError } from './validation-issues.ts'

type Validate = ReturnType<FastifyRequest['compileValidationSchema']>

/**
 * Validates a value and returns its issues.
 *
 * @param allowUnknown as {@link allowsUnknown} returns it
 * @param where the part of the request
 */
export function issuesOf (
  validate: Validate, value: unknown, allowUnknown: boolean, where: ValidationIssue['in'] = 'body'
): ValidationIssue[] {
  if (validate(value)) return []
  return relevantErrors(validate.errors as SchemaError[]).flatMap(error => where === 'body' && allowUnknown
    ? issuesOfUnknown(error, value)
    : [toIssue(error, where)])
}

/** Returns whether a request permits elements and values that this service does not know. */
export function allowsUnknown ({ query }: Pick<FastifyRequest, 'query'>): boolean {
  return isTrue((query as { 'allow-unknown'?: unknown })['allow-unknown'])
}
