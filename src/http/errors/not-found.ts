import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { ServiceError } from '../../errors.ts'
import { pathOf } from '../context/path-of.ts'

/**
 * Returns a function that rejects a request without a route. It throws RouteNotFound for an unknown path. It throws
 * MethodNotAllowed, and sets Allow, for a method that the path does not support. Routes that are registered later
 * count, too.
 */
export function createNotFound (app: FastifyInstance): (request: FastifyRequest, reply: FastifyReply) => never {
  const routes = new Map<string, { pattern: RegExp, methods: Set<string> }>()
  app.addHook('onRoute', ({ url, method }) => {
    const route = routes.get(url) ?? { pattern: toPattern(url), methods: new Set() }
    for (const each of [method].flat()) route.methods.add(each)
    routes.set(url, route)
  })
  const reject = (request: FastifyRequest, reply: FastifyReply): never => {
    const path = pathOf(request)
    const methods = [...routes.values()].filter(route => route.pattern.test(path)).flatMap(route => [...route.methods])
    // A route can support the method and still find nothing, such as that of static files.
    if (methods.length === 0 || methods.includes(request.method)) throw routeNotFound()
    const allow = [...new Set(methods)].sort().join(', ')
    reply.header('allow', allow)
    throw new ServiceError('MethodNotAllowed', `This path does not support ${request.method}. Use one of ${allow}.`)
  }
  // Called by routes that find nothing.
  app.setNotFoundHandler(reject)
  return reject
}

/** Returns the error for a path without a route. */
export function routeNotFound (cause?: unknown): ServiceError {
  return new ServiceError('RouteNotFound', 'The path does not exist. See /docs for all paths.', { cause })
}

function toPattern (url: string): RegExp {
  const source = url.split('/').map(segment => segment.startsWith(':')
    ? '[^/]+'
    : segment === '*' ? '.*' : segment.replace(/[.+?^${}()|[\]\\]/g, '\\$&')).join('/')
  return new RegExp(`^${source}$`)
}
