import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Call } from '../cos/inventories.ts'
import type { Regions } from '../cos/regions/regions.ts'
import { refuseDestinations, refuseUnlessPermitted } from './authorization.ts'
import { callerLeft } from './observation.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** The request as a call to COS; null until it is known to be valid and where its bucket is. */
    cosCall: Call | null
  }
}

interface Dependencies {
  regions: Regions
  /** For a caller's whole request, in milliseconds. */
  deadlineMs: number
  /** Monotonic clock, in milliseconds. */
  now: () => number
}

/** The call that {@link addCosCall} has made of a valid request. */
export function callOf ({ cosCall }: FastifyRequest): Call {
  return cosCall as Call
}

/**
 * Finds out where the bucket is (preHandler, once the request is known to be valid), and whether the caller may do
 * there what it may do somewhere.
 *
 * @throws {ServiceError} NoSuchBucket and others of the look-up; CallerNotAllowed
 */
export function addCosCall (app: FastifyInstance, { regions, deadlineMs, now }: Dependencies): void {
  app.decorateRequest('cosCall', null)
  app.addHook('preHandler', async (request, reply) => {
    const { bucket } = request.params as { bucket: string }
    const { region: requested } = request.query as { region?: string }
    const { log, trace } = request
    const signal = callerLeft(request, reply)
    const call: Call = { bucket, region: undefined, deadlineAt: now() + deadlineMs, log, trace, signal, tally: request }
    const { region, isLookedUp } = await regions.resolve(bucket, requested, call)
    call.region = region
    request.cosCall = call
    refuseUnlessPermitted(request, regions.known)
    if (!isLookedUp) return
    call.relocate = async from => {
      const present = await regions.moved(bucket, from, call)
      if (present === undefined) return undefined
      call.region = present
      refuseUnlessPermitted(request, regions.known)
      refuseDestinations(request, request.configuration ?? request.body, regions.known)
      return present
    }
  })
}
