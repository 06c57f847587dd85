import type { FastifyRateLimitStore, FastifyRateLimitStoreCtor } from '@fastify/rate-limit'
import type { RedisCounters } from '../../outbound/redis.ts'

/**
 * Creates a store for `@fastify/rate-limit` that counts in Redis. The store of the plugin hides rejected commands, and
 * throws outside of any request on a malformed reply.
 */
export function createRedisStore ({ count }: Pick<RedisCounters, 'count'>): FastifyRateLimitStoreCtor {
  return class RedisStore implements FastifyRateLimitStore {
    incr (...[key, callback, windowMs]: Parameters<FastifyRateLimitStore['incr']>): void {
      void count(key, windowMs).then(result => { callback(null, result) }, (error: Error) => { callback(error) })
    }

    child (): FastifyRateLimitStore {
      return this
    }
  }
}
