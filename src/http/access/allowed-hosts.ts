import { isIPv4 } from 'node:net'
import type { FastifyRequest } from 'fastify'
import { ServiceError } from '../../errors.ts'

/**
 * Rejects a request that a page of another site may have caused, for a service without authentication. With DNS
 * rebinding, such a page reaches loopback under its own host name.
 *
 * @param allowedHosts host names in lower case, without port, besides loopback names
 * @throws {ServiceError} HostNotAllowed
 */
export function rejectForeignPage ({ method, headers }: FastifyRequest, allowedHosts: readonly string[]): void {
  if (!isAllowedHost(headers.host, allowedHosts)) {
    throw new ServiceError('HostNotAllowed', 'With AUTH=none only requests to localhost are served. Use that name, or ' +
      'ask the operator to add the host to ALLOWED_HOSTS.')
  }
  const { 'sec-fetch-site': site, 'sec-fetch-mode': mode } = headers
  // Any page may have a link to the documentation.
  if (site === 'cross-site' && !(method === 'GET' && mode === 'navigate')) {
    throw new ServiceError('HostNotAllowed', 'With AUTH=none requests from pages of other sites are rejected. Send the ' +
      'request from a program, or from a page of this service.')
  }
}

/**
 * Returns whether a Host header names loopback (RFC 6761, section 6.3) or an allowed host, with any port.
 *
 * @param host value of the header; undefined if there is none
 */
function isAllowedHost (host: string | undefined, allowedHosts: readonly string[]): boolean {
  const [, name = ''] = /^(\[[0-9a-f:.]+\]|[^:]+)(?::[0-9]*)?$/i.exec(host ?? '') ?? []
  const hostname = name.toLowerCase().replace(/\.$/, '')
  return hostname === 'localhost' || hostname.endsWith('.localhost') || hostname === '[::1]' ||
    (isIPv4(hostname) && hostname.startsWith('127.')) || allowedHosts.includes(hostname)
}
