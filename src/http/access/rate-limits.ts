import rateLimit, { normalizeIP } from '@fastify/rate-limit'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Caller } from '../../callers/callers.ts'
import { ServiceError } from '../../errors.ts'
import type { RedisCounters } from '../../outbound/redis.ts'
import { createRedisStore } from './redis-store.ts'
import { createWindowStore } from './window-store.ts'

const windowMs = 60_000

/** Failed attempts a minute and address, where callers themselves have no limit that could be halved. */
const failuresWithoutLimit = 300

/** How often callers may send requests, and where requests are counted. */
export interface RateLimits {
  /** Requests a minute for each caller that has no limit of its own; 0 for any number. */
  perMinute: number
  /** Counts by address, because callers are not known. */
  byAddress: boolean
  /** Where replicas count together; undefined counts in this process. */
  redis: Pick<RedisCounters, 'count'> | undefined
}

/** Counts one more failed authentication for the address of a request. */
export type FailureLimit = (request: FastifyRequest) => Promise<{ isExceeded: boolean, retryAfterSeconds: number }>

/** The two limits of a service. */
export interface RateLimiter {
  countFailure: FailureLimit
  /**
   * Counts a request of its caller and says in `ratelimit-*` headers how many are left
   * (draft-ietf-httpapi-ratelimit-headers).
   *
   * @throws {ServiceError} RateLimited
   */
  limitCaller: (request: FastifyRequest, reply: FastifyReply) => Promise<unknown>
}

/**
 * Registers the counters of both limits. While Redis is unavailable, requests pass and are not counted. An IPv6 address
 * stands for its /64.
 *
 * @param steadyNow monotonic clock, in milliseconds
 */
export async function createRateLimiter (
  app: FastifyInstance, { perMinute, byAddress, redis }: RateLimits, steadyNow: () => number
): Promise<RateLimiter> {
  await app.register(rateLimit, {
    global: false,
    enableDraftSpec: true,
    timeWindow: windowMs,
    skipOnError: true,
    store: redis === undefined ? createWindowStore(steadyNow) : createRedisStore(redis),
    errorResponseBuilder: (_, { max, ttl }) => {
      const retryAfterSeconds = Math.ceil(ttl / 1000)
      return new ServiceError('RateLimited', `More than ${max} requests in a minute: try again in ${retryAfterSeconds} s.`,
        { retryAfterSeconds })
    }
  })
  const maxOf = ({ context: { caller } }: FastifyRequest) => (caller as Caller).rateLimitPerMinute ?? perMinute
  const limit = app.rateLimit({
    max: maxOf,
    allowList: request => maxOf(request) === 0,
    keyGenerator: byAddress ? keyOfAddress : ({ context: { caller } }) => `caller ${(caller as Caller).name}`
  })
  const maxFailures = perMinute === 0 ? failuresWithoutLimit : Math.ceil(perMinute / 2)
  const count = app.createRateLimit({ max: maxFailures, keyGenerator: keyOfAddress })
  return {
    limitCaller: (request, reply) => limit.call(app, request, reply) as Promise<unknown>,
    async countFailure (request) {
      // The other type of result is for allow lists, which this limit does not have.
      const { isExceeded, ttlInSeconds } = await count(request) as { isExceeded: boolean, ttlInSeconds: number }
      return { isExceeded, retryAfterSeconds: ttlInSeconds }
    }
  }
}

/** All counters share one name space: the kind of name stands before it. */
function keyOfAddress ({ context: { clientAddress } }: FastifyRequest): string {
  return `address ${normalizeIP(clientAddress)}`
}
