import { randomUUID } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'

/** Valid ids. Other characters could forge log lines. */
const requestIdPattern = /^[A-Za-z0-9._-]{1,128}$/

/** Returns a new id: a random UUID. */
export function newRequestId (): string {
  return randomUUID()
}

/** Returns the id of a request: its x-request-id header if that is valid, else a new id. */
export function requestIdOf (request: { headers: IncomingHttpHeaders }): string {
  const given = request.headers['x-request-id']
  return typeof given === 'string' && requestIdPattern.test(given) ? given : newRequestId()
}
