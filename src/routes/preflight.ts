/** The query parameter `preflight` of PUT and POST. */
import type { FastifyReply } from 'fastify'
import type { VersionedInventories } from '../changes/versioned-inventories.ts'
import type { PreflightWarning } from '../contract/preflight.ts'
import type { Call } from '../cos/inventories.ts'
import { ServiceError } from '../errors.ts'

interface PreflightRequest { params: { id: string }, query: { preflight?: 'warn' | 'enforce' }, body: object }

/**
 * Adds the warnings to the response if the request asks for a preflight.
 *
 * @throws {ServiceError} ValidationFailed with all warnings, if preflight is `enforce`
 */
export async function addWarnings (
  inventories: VersionedInventories, call: Call, request: PreflightRequest, reply: FastifyReply
): Promise<void> {
  const { params: { id }, query: { preflight }, body } = request
  if (preflight === undefined) return
  const isEnforced = preflight === 'enforce'
  const warnings = await inventories.preflight(call, id, body, isEnforced)
  if (warnings.length === 0) return
  if (isEnforced) throw rejectionOf(warnings)
  reply.header('preflight-warnings', JSON.stringify(warnings))
}

function rejectionOf (warnings: PreflightWarning[]): ServiceError {
  return new ServiceError('ValidationFailed', 'COS would create no useful report for this configuration. Nothing was changed; ' +
    'correct the values that errors names, or send it with preflight=warn.',
  { errors: warnings.map(({ pointer, detail }) => ({ in: 'body', pointer, detail })) })
}
