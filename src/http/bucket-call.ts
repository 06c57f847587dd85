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

/** Converts requests for a bucket to calls to COS. */
export interface BucketCalls {
  /**
   * Finds the region of a validated request.
   *
   * @throws {ServiceError} NoSuchBucket and other errors of the lookup; CallerNotAllowed in that region
   */
  prepare (request: FastifyRequest, reply: FastifyReply): Promise<void>
  /**
   * Runs an operation in that region. If COS returns NoSuchBucket for a bucket that was looked up, looks it up again.
   * If the bucket has moved, runs the operation once more in the new region.
   *
   * @throws {ServiceError} of the operation; CallerNotAllowed in the new region
   */
  run<T> (request: FastifyRequest, operation: (call: Call) => Promise<T>): Promise<T>
}

/** Creates the bucket calls of a service. */
export function createBucketCalls ({ regions, deadlineMs, now }: Dependencies): BucketCalls {
  async function retryInNewRegion<T> (
    request: FastifyRequest, call: Call, operation: (call: Call) => Promise<T>, error: ServiceError
  ): Promise<T> {
    const { context } = request
    const region = await regions.moved(call.bucket, call.region as string, call)
    if (region === undefined) throw withLookupResult(error)
    const target = context.operation as BucketOperation
    target.region = region
    authorize(context)
    const moved = { ...call, region }
    context.call = moved
    return await operation(moved)
      .catch((failure: unknown) => { throw isNoSuchBucket(failure) ? withLookupResult(failure) : failure })
  }

  return {
    async prepare (request, reply) {
      const { context, log } = request
      const { trace, tally } = context
      const target = context.operation as BucketOperation
      const { bucket, requestedRegion } = target
      const signal = disconnection(request, reply)
      const lookup = { log, trace, signal, tally, deadlineAt: now() + deadlineMs }
      const { region, isLookedUp } = await regions.resolve(bucket, requestedRegion, lookup)
      target.region = region
      authorizeConfiguration(context, request.body)
      context.call = { ...lookup, bucket, region }
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
        return await retryInNewRegion(request, call, operation, error)
      }
    }
  }
}

interface Options {
  bucketCalls: BucketCalls
  /** Rejects every change. */
  isReadOnly: boolean
}

/** Adds the call to COS to each request of the scope. This is a preHandler hook. */
export const bucketCall = fp<Options>(async (app, { bucketCalls, isReadOnly }) => {
  app.addHook('preHandler', async (request, reply) => {
    if (isReadOnly && request.context.operation?.isChange === true) {
      throw new ServiceError('ReadOnly', 'The service runs with READ_ONLY=true and rejects changes. ' +
        'Contact the operator to enable them.')
    }
    await bucketCalls.prepare(request, reply)
  })
}, { name: 'bucket-call', dependencies: ['access', 'validation'], fastify: '5.x' })

/** Returns a signal that is canceled when the client disconnects before its response has been sent. */
function disconnection ({ context: { exchange } }: FastifyRequest, reply: FastifyReply): CancelSignal {
  const source = new CancelSource()
  onExchangeEnd(exchange, () => { if (!reply.raw.writableFinished) source.cancel() })
  return source
}

function isNoSuchBucket (error: unknown): error is ServiceError {
  return error instanceof ServiceError && error.code === 'NoSuchBucket'
}

/** Returns the same error with the result of the lookup in its detail. */
function withLookupResult (error: ServiceError): ServiceError {
  return new ServiceError(error, `${error.detail} Region discovery found no other region.`, error)
}
