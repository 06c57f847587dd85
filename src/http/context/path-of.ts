import type { FastifyRequest } from 'fastify'

/**
 * The path of a request as it came, without its query: what may be answered and logged. Of a target in absolute form
 * (RFC 9112, section 3.2.2) the host is left out, because a password can stand before it.
 */
export function pathOf ({ url }: Pick<FastifyRequest, 'url'>): string {
  const target = url.startsWith('/') ? url : url.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i, '')
  const end = target.indexOf('?')
  return end === -1 ? target : target.slice(0, end)
}
