import fp from 'fastify-plugin'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Call } from '../cos/inventories.ts'
import type { Regions } from '../cos/regions/regions.ts'
import { CancelSource } from '../concurrency/cancel-signal.ts'
import type { CancelSignal } from '../concurrency/cancel-signal.ts'
import { ServiceError } from '../errors.ts'
import { authorize, authorizeConfiguration } from './access/authorization.ts'
import { onExchangeEnd } from './connections/connection.ts'
import type { BucketOperation } from './context/request-context.ts'

interface Dependencies {
  regions: Regions
  /** Time for all calls of a request, in milliseconds. */
  deadlineMs: number
  /** Monotonic clock, in milliseconds. */
  now: () => number
}

/** The requests of a bucket as calls to COS. */
export interface BucketCalls {
  /**
   * Finds the region of a request that is valid.
   *
   * @throws {ServiceError} NoSuchBucket and others of the look-up; CallerNotAllowed in that region
   */
  prepare (request: FastifyRequest, reply: FastifyReply): Promise<void>
  /**
   * Runs an operation in that region. When COS does not find a bucket whose region was looked up, looks it up again
   * and runs the operation once more in the new region.
   *
   * @throws {ServiceError} of the operation; CallerNotAllowed in the other region
   */
  run<T> (request: FastifyRequest, operation: (call: Call) => Promise<T>): Promise<T>
}

/** Creates the calls of a service. */
export function createBucketCalls ({ regions, deadlineMs, now }: Dependencies): BucketCalls {
  async function runWhereItIs<T> (
    request: FastifyRequest, call: Call, operation: (call: Call) => Promise<T>, error: ServiceError
  ): Promise<T> {
    const { context } = request
    const region = await regions.moved(call.bucket, call.region as string, call)
    if (region === undefined) throw nowhere(error)
    const target = context.operation as BucketOperation
    target.region = region
    authorize(context)
    const moved = { ...call, region }
    context.call = moved
    return await operation(moved).catch((later: unknown) => { throw isNoSuchBucket(later) ? nowhere(later) : later })
  }

  return {
    async prepare (request, reply) {
      const { context, log } = request
      const { trace, tally } = context
      const target = context.operation as BucketOperation
      const { bucket, requestedRegion } = target
      const signal = disconnection(request, reply)
      const look = { log, trace, signal, tally, deadlineAt: now() + deadlineMs }
      const { region, isLookedUp } = await regions.resolve(bucket, requestedRegion, look)
      target.region = region
      authorizeConfiguration(context, request.body)
      context.call = { ...look, bucket, region }
      context.canMove = isLookedUp
    },

    async run (request, operation) {
      const { context } = request
      const call = context.call as Call
      if (!context.canMove) return await operation(call)
      try {
        return await operation(call)
      } catch (error) {
        if (!isNoSuchBucket(error)) throw error
        return await runWhereItIs(request, call, operation, error)
      }
    }
  }
}

interface Options {
  bucketCalls: BucketCalls
  /** Rejects every change. */
  isReadOnly: boolean
}

/** Adds the call to each request of the scope (preHandler). */
export const bucketCall = fp<Options>(async (app, { bucketCalls, isReadOnly }) => {
  app.addHook('preHandler', async (request, reply) => {
    if (isReadOnly && request.context.operation?.isChange === true) {
      throw new ServiceError('ReadOnly', 'This service runs with READ_ONLY=true and changes nothing.')
    }
    await bucketCalls.prepare(request, reply)
  })
}, { name: 'bucket-call', dependencies: ['access', 'validation'], fastify: '5.x' })

/** Returns a signal that is aborted when the client disconnects before it has its response. */
function disconnection ({ context: { exchange } }: FastifyRequest, reply: FastifyReply): CancelSignal {
  const source = new CancelSource()
  onExchangeEnd(exchange, () => { if (!reply.raw.writableFinished) source.cancel() })
  return source
}

function isNoSuchBucket (error: unknown): error is ServiceError {
  return error instanceof ServiceError && error.code === 'NoSuchBucket'
}

/** Returns the same error with a detail that mentions the look-up. */
function nowhere (error: ServiceError): ServiceError {
  return new ServiceError(error, `${error.detail} Region discovery knows of no other region.`, error)
}
