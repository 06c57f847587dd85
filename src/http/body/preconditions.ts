import type { FastifyRequest } from 'fastify'
import type { Preconditions } from '../../changes/version.ts'
import { ServiceError } from '../../errors.ts'

/**
 * Returns the preconditions of a validated request (RFC 9110, section 13.1). In If-Match, a weak tag matches nothing.
 * In If-None-Match, a weak tag equals the strong one.
 */
export function preconditionsOf ({ headers }: Pick<FastifyRequest, 'headers'>): Preconditions {
  return {
    ifMatch: tagsOf(headers['if-match'], tag => tag),
    ifNoneMatch: tagsOf(headers['if-none-match'], tag => tag.replace(/^W\//, ''))
  }
}

function tagsOf (header: string | undefined, toTag: (text: string) => string): Preconditions['ifMatch'] {
  if (header === undefined) return undefined
  return header.includes('*') && !header.includes('"') ? '*' : [...header.matchAll(/(W\/)?"[^"]*"/g)].map(([text]) => toTag(text))
}

/**
 * Rejects preconditions of an operation that does not support them. This is an onRequest hook.
 *
 * @throws {ServiceError} ValidationFailed
 */
export async function rejectPreconditions ({ headers }: Pick<FastifyRequest, 'headers'>): Promise<void> {
  const given = ['if-match', 'if-none-match'].filter(name => headers[name] !== undefined)
  if (given.length === 0) return
  const errors = given.map(name => ({ in: 'header' as const, pointer: `/${name}`, detail: 'is not supported here' }))
  throw new ServiceError('ValidationFailed', 'This operation supports no preconditions. Send it without them.', { errors })
}
