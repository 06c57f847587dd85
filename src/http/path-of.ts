import type { FastifyRequest } from 'fastify'

/** The path of a request as it came, without its query: what may be answered and logged. */
export function pathOf ({ url }: Pick<FastifyRequest, 'url'>): string {
  const [path] = url.split('?', 1) as [string]
  return path
}
