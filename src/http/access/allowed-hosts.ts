import { isIPv4 } from 'node:net'
import type { FastifyRequest } from 'fastify'
import { ServiceError } from '../../errors.ts'

/**
 * Rejects a request that a page of another site can make a browser send, for a service without authentication. With DNS
 * rebinding such a page reaches loopback under its own host name.
 *
 * @param allowedHosts host names in lower case, without port, besides those of loopback
 * @throws {ServiceError} HostNotAllowed
 */
export function rejectForeignPage ({ method, headers }: FastifyRequest, allowedHosts: readonly string[]): void {
  if (!isAllowedHost(headers.host, allowedHosts)) {
    throw new ServiceError('HostNotAllowed', 'With AUTH=none only requests to localhost are served. Use that name, or ' +
      'have the operator add the host to ALLOWED_HOSTS.')
  }
  const { 'sec-fetch-site': site, 'sec-fetch-mode': mode } = headers
  // A link to the documentation may be on any page.
  if (site === 'cross-site' && !(method === 'GET' && mode === 'navigate')) {
    throw new ServiceError('HostNotAllowed', 'With AUTH=none requests from pages of other sites are rejected. Send the ' +
      'request from a program, or from a page of this service.')
  }
}

/**
 * Tells whether a Host header names loopback (RFC 6761, section 6.3) or one of the allowed hosts, with any port.
 *
 * @param host value of the header; undefined when there is none
 */
function isAllowedHost (host: string | undefined, allowedHosts: readonly string[]): boolean {
  const [, name = ''] = /^(\[[0-9a-f:.]+\]|[^:]+)(?::[0-9]*)?$/i.exec(host ?? '') ?? []
  const hostname = name.toLowerCase().replace(/\.$/, '')
  return hostname === 'localhost' || hostname.endsWith('.localhost') || hostname === '[::1]' ||
    (isIPv4(hostname) && hostname.startsWith('127.')) || allowedHosts.includes(hostname)
}
