import rateLimit, { normalizeIP } from '@fastify/rate-limit'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Caller } from '../callers/callers.ts'
import { ServiceError } from '../errors.ts'
import type { RedisCounters } from '../redis.ts'
import { createRedisStore } from './redis-store.ts'
import { createWindowStore } from './window-store.ts'

const windowMs = 60_000

/** Failed attempts a minute and address, where callers themselves have no limit that could be halved. */
const failuresWithoutLimit = 300

/** How often callers may ask, and where that is counted. */
export interface RateLimits {
  /** Requests a minute for each caller that has no limit of its own; 0 for any number. */
  perMinute: number
  /** Tells callers apart by address, because nobody knows them. */
  byAddress: boolean
  /** Where replicas count together; undefined counts in this process. */
  redis: Pick<RedisCounters, 'count'> | undefined
}

/**
 * Registers the counters both limits use. While Redis is unavailable requests pass and are not counted.
 *
 * @param steadyNow monotonic clock, in milliseconds
 * @returns counts a failed authentication for the request's address (an IPv6 address stands for its /64)
 */
export async function addRateLimits (app: FastifyInstance, { perMinute, redis }: RateLimits, steadyNow: () => number) {
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
  const max = perMinute === 0 ? failuresWithoutLimit : Math.ceil(perMinute / 2)
  const countFailure = app.createRateLimit({ max, keyGenerator: keyOfAddress })
  return async (request: FastifyRequest) => {
    // Only an allow list, which there is none of here, would answer otherwise.
    const { isExceeded, ttlInSeconds } = await countFailure(request) as { isExceeded: boolean, ttlInSeconds: number }
    return { isExceeded, retryAfterSeconds: ttlInSeconds }
  }
}

/**
 * Limits the requests of each caller in a minute, and says in `ratelimit-*` headers how many are left
 * (draft-ietf-httpapi-ratelimit-headers). Comes after authentication.
 *
 * @throws {ServiceError} RateLimited
 */
export function limitCallers (app: FastifyInstance, { perMinute, byAddress }: RateLimits): void {
  const maxOf = ({ caller }: FastifyRequest) => (caller as Caller).rateLimitPerMinute ?? perMinute
  app.addHook('onRequest', app.rateLimit({
    max: maxOf,
    allowList: request => maxOf(request) === 0,
    keyGenerator: byAddress ? keyOfAddress : ({ caller }) => `caller ${(caller as Caller).name}`
  }))
}

/** All counters share one name space: what kind of name it is stands before it. */
function keyOfAddress ({ clientAddress }: FastifyRequest): string {
  return `address ${normalizeIP(clientAddress)}`
}
