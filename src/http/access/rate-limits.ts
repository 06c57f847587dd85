import rateLimit, { normalizeIP } from '@fastify/rate-limit'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Caller } from '../../callers/callers.ts'
import { ServiceError } from '../../errors.ts'
import type { RedisCounters } from '../../outbound/redis.ts'
import { createRedisStore } from './redis-store.ts'
import { createWindowStore } from './window-store.ts'

const windowMs = 60_000

/** Failed attempts per minute and address if callers have no limit. Otherwise half of that limit applies. */
const failuresWithoutLimit = 300

/** Rate limits of callers, and the place where requests are counted. */
export interface RateLimits {
  /** Requests per minute for each caller without a limit of its own; 0 for no limit. */
  perMinute: number
  /** Counts by address, because callers are unknown. */
  byAddress: boolean
  /** Counters that replicas share; undefined counts in this process. */
  redis: Pick<RedisCounters, 'count'> | undefined
}

/** Counts one more failed authentication for the address of a request. */
export type FailureLimit = (request: FastifyRequest) => Promise<{ isExceeded: boolean, retryAfterSeconds: number }>

/** The two limits of a service. */
export interface RateLimiter {
  countFailure: FailureLimit
  /**
   * Counts a request of its caller and reports the remaining ones in `ratelimit-*` headers
   * (draft-ietf-httpapi-ratelimit-headers).
   *
   * @throws {ServiceError} RateLimited
   */
  limitCaller: (request: FastifyRequest, reply: FastifyReply) => Promise<unknown>
}

/**
 * Registers the counters of both limits. While Redis is unavailable, requests pass and are not counted. All addresses
 * of an IPv6 /64 count as one.
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
      return new ServiceError('RateLimited', `The limit of ${max} requests per minute is exceeded. Retry in ${retryAfterSeconds} s.`,
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
      // The other type of result is for allow lists, which this limit does not use.
      const { isExceeded, ttlInSeconds } = await count(request) as { isExceeded: boolean, ttlInSeconds: number }
      return { isExceeded, retryAfterSeconds: ttlInSeconds }
    }
  }
}

/** Returns the key of an address. All counters share one name space, so that keys begin with their kind. */
function keyOfAddress ({ context: { clientAddress } }: FastifyRequest): string {
  return `address ${normalizeIP(clientAddress)}`
}
