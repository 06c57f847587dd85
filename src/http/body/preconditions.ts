import type { FastifyRequest } from 'fastify'
import type { Preconditions } from '../../changes/version.ts'
import { ServiceError } from '../../errors.ts'

/**
 * The preconditions of a request whose headers are valid (RFC 9110, section 13.1). A weak tag names nothing in
 * If-Match, and in If-None-Match what the strong one names.
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
 * Rejects preconditions of an operation that depends on no version (onRequest hook).
 *
 * @throws {ServiceError} ValidationFailed
 */
export async function rejectPreconditions ({ headers }: Pick<FastifyRequest, 'headers'>): Promise<void> {
  const given = ['if-match', 'if-none-match'].filter(name => headers[name] !== undefined)
  if (given.length === 0) return
  const errors = given.map(name => ({ in: 'header' as const, pointer: `/${name}`, detail: 'is not possible here' }))
  throw new ServiceError('ValidationFailed', 'This operation depends on no version of a configuration.', { errors })
}
