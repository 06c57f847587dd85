import type { FastifyContextConfig, FastifyRequest } from 'fastify'
import type { Caller } from '../../callers/callers.ts'
import { destinationsOf, permits, permitsDestination } from '../../callers/permissions.ts'
import type { Action } from '../../contract/callers.ts'
import { isTrue } from '../../contract/schema.ts'
import { ServiceError } from '../../errors.ts'
import type { BucketOperation, RequestContext } from '../context/request-context.ts'

/** The configuration of a route that names an action. */
type RouteConfig = FastifyContextConfig & { action: Action }

/** Returns the region of a request for a bucket; undefined while it is unknown. */
export type RegionOf = (bucket: string, requested: string | undefined) => string | undefined

/** Longest name in a detail. Bucket names have 63 characters, but a path can contain any text. */
const maxNameLength = 100

/** Actions that change nothing. */
const reads: ReadonlySet<Action> = new Set(['cos:GetBucketInventory', 'reports:Read', 'reports:ReadRows'])

const contact = 'Ask the operator for the permission.'

/**
 * Returns the operation of a request whose route names an action. Parameters are not validated yet. A parameter of the
 * wrong type is ignored.
 */
export function operationOf ({ params, query, routeOptions }: FastifyRequest, regionOf: RegionOf): BucketOperation {
  const { bucket, id } = params as { bucket: string, id?: string }
  const { region, prune, 'dry-run': dryRun } = query as Record<string, unknown>
  const { action, alsoNeeds = [], pruneNeeds, jobAction } = routeOptions.config as RouteConfig
  const requestedRegion = typeof region === 'string' ? region : undefined
  return {
    action,
    alternative: jobAction,
    furtherActions: isTrue(prune) && pruneNeeds !== undefined ? [...alsoNeeds, pruneNeeds] : alsoNeeds,
    bucket,
    id,
    // DELETE has no dry run. Requesting one is rejected, but was an attempt.
    isChange: !reads.has(action) && jobAction === undefined && (action === 'cos:DeleteBucketInventory' || !isTrue(dryRun)),
    requestedRegion,
    region: regionOf(bucket, requestedRegion)
  }
}

/**
 * Rejects what the statements of the caller do not allow: the operation, and each destination that is known. Called
 * when the caller is known, and when the region is known.
 *
 * @throws {ServiceError} CallerNotAllowed, with the same text whether the bucket exists or not
 */
export function authorize ({ caller, operation, destinations }: RequestContext): void {
  const [known, wanted] = [caller as Caller, operation as BucketOperation]
  rejectOperation(known, wanted)
  if (destinations !== undefined) rejectDestinations(known, wanted, destinations)
}

/**
 * Authorizes the destinations that a configuration names, and keeps them for the audit log.
 *
 * @param configuration what is written, or a part of it
 * @throws {ServiceError} as {@link authorize} does
 */
export function authorizeConfiguration (context: RequestContext, configuration: unknown): void {
  context.destinations = destinationsOf(configuration)
  authorize(context)
}

/**
 * Authorizes the bucket from which reports are read, and keeps it for the audit log.
 *
 * @throws {ServiceError} as {@link authorize} does
 */
export function authorizeDestination (context: RequestContext, bucket: string): void {
  context.destinations = [bucket]
  authorize(context)
}

function rejectOperation (caller: Caller, operation: BucketOperation): void {
  const { action, alternative, furtherActions, bucket, requestedRegion } = operation
  const isPermitted = (each: Action) => permits(caller, { ...operation, action: each })
  if (alternative !== undefined && isPermitted(alternative)) return
  const denied = [action, ...furtherActions].find(each => !isPermitted(each))
  if (denied === undefined) return
  // Callers without permissions on a bucket must not learn its region.
  const where = requestedRegion === undefined ? '' : ` in ${requestedRegion.slice(0, maxNameLength)}`
  throw new ServiceError('CallerNotAllowed',
    `${caller.name} may not do ${denied} on ${bucket.slice(0, maxNameLength)}${where}. ${contact}`)
}

function rejectDestinations (caller: Caller, operation: BucketOperation, destinations: readonly string[]): void {
  const denied = destinations.find(each => !permitsDestination(caller, operation, each))
  if (denied === undefined) return
  const { bucket } = operation
  const deed = operation.action.startsWith('reports:') ? `read reports of ${bucket} from` : `have reports of ${bucket} written to`
  throw new ServiceError('CallerNotAllowed', `${caller.name} may not ${deed} ${denied.slice(0, maxNameLength)} ` +
    `(${operation.action}). ${contact}`)
}
