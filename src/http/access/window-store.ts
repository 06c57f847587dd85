import type { FastifyRateLimitStore, FastifyRateLimitStoreCtor } from '@fastify/rate-limit'
import { LRUCache } from 'lru-cache'

/** Most keys of a limit, as in the store of the plugin. The least recently used key is dropped first. */
const maxKeys = 5_000

/**
 * Creates a store for `@fastify/rate-limit` that counts in this process. The window of a key starts with its first
 * request and lasts for the `timeWindow` of the limit. The store of the plugin uses the wall clock. A step back by an
 * hour would lock callers out for an hour.
 *
 * @param steadyNow monotonic clock, in milliseconds
 */
export function createWindowStore (steadyNow: () => number): FastifyRateLimitStoreCtor {
  return class WindowStore implements FastifyRateLimitStore {
    readonly #windows = new LRUCache<string, { startedAt: number, current: number }>({ max: maxKeys })

    incr (...[key, callback, windowMs]: Parameters<FastifyRateLimitStore['incr']>): void {
      const at = steadyNow()
      let window = this.#windows.get(key)
      if (window === undefined || at - window.startedAt >= windowMs) {
        window = { startedAt: at, current: 0 }
        this.#windows.set(key, window)
      }
      window.current += 1
      callback(null, { current: window.current, ttl: window.startedAt + windowMs - at })
    }

    child (): FastifyRateLimitStore {
      return new WindowStore()
    }
  }
}
