import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Caller } from '../callers/callers.ts'
import { destinationsOf, permits, permitsDestination } from '../callers/permissions.ts'
import type { Call } from '../callers/permissions.ts'
import type { Action } from '../contract/callers.ts'
import { ServiceError } from '../errors.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** What a caller must be allowed to use this route, as CAM names it. */
    action?: Action
  }
}

/** The region a call for a bucket goes to, undefined when none is known. */
export type RegionOf = (bucket: string, requested: string | undefined) => string | undefined

/** A bucket's name has 63 characters at most; what stands in its place may be anything. */
const longestName = 100

/**
 * Lets a known caller do what its statements say and nothing else (onRequest, before a body is read). Every route of
 * the scope must name its action; one that does not stops the start.
 *
 * @throws {ServiceError} CallerNotAllowed, which says the same whether the bucket exists or not
 */
export function addAuthorization (app: FastifyInstance, regionOf: RegionOf): void {
  app.addHook('onRoute', ({ url, config }) => {
    if (config?.action === undefined) throw new Error(`${url} does not say which action it is`)
  })
  app.addHook('onRequest', async request => {
    const [caller, call] = [callerOf(request), bucketCallOf(request, regionOf)]
    if (permits(caller, call)) return
    // The configured region of a bucket is nothing a caller without rights on it need know.
    const { region } = request.query as { region?: unknown }
    const where = typeof region === 'string' ? ` in ${region.slice(0, longestName)}` : ''
    throw new ServiceError('CallerNotAllowed', `${caller.name} may not do ${call.action} on ` +
      `${call.bucket.slice(0, longestName)}${where}. ${whoDecides}`)
  })
}

/**
 * Lets reports go only where the statements of the caller let them go (preHandler, once the body is known to be valid).
 *
 * @throws {ServiceError} CallerNotAllowed, naming the destination
 */
export function addDestinationCheck (app: FastifyInstance, regionOf: RegionOf): void {
  app.addHook('preHandler', async request => {
    const [caller, call] = [callerOf(request), bucketCallOf(request, regionOf)]
    const refused = destinationsOf(request.body).find(each => !permitsDestination(caller, call, each))
    if (refused === undefined) return
    throw new ServiceError('CallerNotAllowed', `${caller.name} may not have reports of ${call.bucket} written to ` +
      `${refused.slice(0, longestName)} (${call.action}). ${whoDecides}`)
  })
}

const whoDecides = 'What a caller may do is decided by whoever runs this service.'

/** The call a request stands for. A parameter of a wrong type names nothing here; validation refuses it. */
export function bucketCallOf (request: FastifyRequest, regionOf: RegionOf): Call {
  const { bucket } = request.params as { bucket: string }
  const { region } = request.query as { region?: unknown }
  const { action } = request.routeOptions.config as { action: Action }
  return { action, bucket, region: regionOf(bucket, typeof region === 'string' ? region : undefined) }
}

/** Authentication has let nobody through who is not known. */
function callerOf ({ caller }: FastifyRequest): Caller {
  return caller as Caller
}
