import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { ServiceError } from '../../errors.ts'
import { pathOf } from '../context/path-of.ts'

/**
 * Returns a function that rejects a request for which no route was found: 404 for a path without a route, 405 with
 * Allow for a method that the path does not take. Routes that are registered later count.
 *
 * The function throws RouteNotFound or MethodNotAllowed.
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
    // A route that takes the method can still say that there is nothing, as that of static files does.
    if (methods.length === 0 || methods.includes(request.method)) throw routeNotFound()
    const allow = [...new Set(methods)].sort().join(', ')
    reply.header('allow', allow)
    throw new ServiceError('MethodNotAllowed', `${request.method} is not possible here; ${allow} are.`)
  }
  // Reached by routes that find nothing themselves.
  app.setNotFoundHandler(reject)
  return reject
}

/** Returns the error for a path without a route. */
export function routeNotFound (cause?: unknown): ServiceError {
  return new ServiceError('RouteNotFound', 'There is no such path. /docs shows the ones there are.', { cause })
}

function toPattern (url: string): RegExp {
  const source = url.split('/').map(segment => segment.startsWith(':')
    ? '[^/]+'
    : segment === '*' ? '.*' : segment.replace(/[.+?^${}()|[\]\\]/g, '\\$&')).join('/')
  return new RegExp(`^${source}$`)
}
