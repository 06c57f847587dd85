import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Caller } from '../callers/callers.ts'
import { destinationsOf, permits, permitsDestination } from '../callers/permissions.ts'
import type { Call } from '../callers/permissions.ts'
import type { Action } from '../contract/callers.ts'
import { ServiceError } from '../errors.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** What this route does, as CAM names it. */
    action?: Action
    /** What a caller must be allowed to besides, in order to use this route. */
    alsoNeeds?: Action[]
    /** And what with `prune=true`. */
    pruneNeeds?: Action
  }
}

/** The region a call for a bucket goes to, undefined when none is known yet. */
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
  app.addHook('onRequest', (request, _, done) => {
    refuseUnlessPermitted(request, regionOf)
    done()
  })
}

/** @throws {ServiceError} CallerNotAllowed, when the statements of the caller do not allow all that the call does */
export function refuseUnlessPermitted (request: FastifyRequest, regionOf: RegionOf): void {
  const [caller, call] = [callerOf(request), bucketCallOf(request, regionOf)]
  const refused = permits(caller, call)
    ? furtherActionsOf(request).find(action => !permits(caller, { ...call, action }))
    : call.action
  if (refused === undefined) return
  // Where a bucket is is nothing a caller without rights on it need know.
  const { region } = request.query as { region?: unknown }
  const where = typeof region === 'string' ? ` in ${region.slice(0, longestName)}` : ''
  throw new ServiceError('CallerNotAllowed', `${caller.name} may not do ${refused} on ` +
    `${call.bucket.slice(0, longestName)}${where}. ${whoDecides}`)
}

function furtherActionsOf ({ query, routeOptions: { config } }: FastifyRequest): readonly Action[] {
  const { alsoNeeds = [], pruneNeeds } = config
  const { prune } = query as { prune?: unknown }
  return prune === 'true' && pruneNeeds !== undefined ? [...alsoNeeds, pruneNeeds] : alsoNeeds
}

/**
 * Lets reports go only where the statements of the caller let them go (preHandler, once the body is known to be valid).
 *
 * @throws {ServiceError} CallerNotAllowed, naming the destination
 */
export function addDestinationCheck (app: FastifyInstance, regionOf: RegionOf): void {
  app.addHook('preHandler', (request, _, done) => {
    refuseDestinations(request, request.body, regionOf)
    done()
  })
}

/**
 * @param configuration what is to be written, or part of it
 * @throws {ServiceError} CallerNotAllowed, naming a destination that the statements of the caller do not allow
 */
export function refuseDestinations (request: FastifyRequest, configuration: unknown, regionOf: RegionOf): void {
  const [caller, call] = [callerOf(request), bucketCallOf(request, regionOf)]
  const refused = destinationsOf(configuration).find(each => !permitsDestination(caller, call, each))
  if (refused === undefined) return
  throw new ServiceError('CallerNotAllowed', `${caller.name} may not have reports of ${call.bucket} written to ` +
    `${refused.slice(0, longestName)} (${call.action}). ${whoDecides}`)
}

const whoDecides = 'What a caller may do is decided by whoever runs this service.'

/** The call a request stands for. A parameter of a wrong type names nothing here; validation refuses it. */
export function bucketCallOf (request: FastifyRequest, regionOf: RegionOf): Call {
  const { bucket } = request.params as { bucket: string }
  const { region } = request.query as { region?: unknown }
  const { action } = request.routeOptions.config as { action: Action }
  const known = () => regionOf(bucket, typeof region === 'string' ? region : undefined)
  return { action, bucket, region: request.cosCall === null ? known() : request.cosCall.region }
}

/** Authentication has let nobody through who is not known. */
function callerOf ({ caller }: FastifyRequest): Caller {
  return caller as Caller
}
