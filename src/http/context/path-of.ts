import type { FastifyRequest } from 'fastify'

/**
 * Returns the original path of a request without its query. It is safe for responses and logs. A target in absolute
 * form (RFC 9112, section 3.2.2) loses its host, which can contain a password.
 */
export function pathOf ({ url }: Pick<FastifyRequest, 'url'>): string {
  const target = url.startsWith('/') ? url : url.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i, '')
  const end = target.indexOf('?')
  return end === -1 ? target : target.slice(0, end)
}
