import { createLocalJWKSet } from 'jose'
import type { JWK, LocalJWKSet } from 'jose'
import type { Logger } from 'pino'
import { ServiceError } from '../errors.ts'
import { directFetcher } from '../outbound/fetch-json.ts'
import type { Fetcher } from '../outbound/fetch-json.ts'

/** Least time between two fetches while there is no key set. */
const firstFloorMs = 1_000

/** Age at which the key set is fetched again. A key that the issuer has withdrawn becomes invalid then. */
const maxAgeMs = 10 * 60_000

export interface KeySetOptions {
  /** Monotonic clock, in milliseconds. Measures the age of the key set and the time between fetches. */
  steadyNow: () => number
  log: Pick<Logger, 'warn' | 'debug'>
  /** Least time from a failed fetch, or one for an unknown key, to the next. In milliseconds; 10,000 by default. */
  floorMs?: number
  /** Fetches the key set; without a proxy by default. */
  fetcher?: Fetcher
}

export interface KeySet {
  /** Fetches ahead of the first token. Never throws. */
  start (): Promise<void>
  /**
   * Returns the key set that was fetched last, of any age.
   *
   * @throws {ServiceError} IssuerUnreachable while there is none
   */
  current (): Promise<LocalJWKSet>
  /**
   * Returns another key set than the given one, which lacks a key; undefined if there is none. Fetches it if needed.
   */
  otherThan (set: LocalJWKSet): Promise<LocalJWKSet | undefined>
}

/**
 * Creates the key set of an issuer (RFC 7517, section 5). Concurrent callers share one fetch. There is at most one
 * fetch in `floorMs`, or in a second while there is no key set. Neither invented keys nor an unavailable issuer can
 * cause more.
 */
export function createKeySet (
  url: string, { steadyNow, log, floorMs = 10_000, fetcher = directFetcher }: KeySetOptions
): KeySet {
  let keys: LocalJWKSet | undefined
  let fetchedAt = -Infinity
  let notBefore = -Infinity
  let pending: Promise<void> | undefined

  async function fetchKeys (): Promise<void> {
    try {
      keys = toKeySet(await fetcher.fetchJson(url))
      fetchedAt = steadyNow()
    } catch (error) {
      // Callers wait for the first key set, so its fetch is retried sooner.
      notBefore = steadyNow() + (keys === undefined ? Math.min(floorMs, firstFloorMs) : floorMs)
      log.warn({ reason: (error as Error).message }, keys === undefined
        ? 'key set fetch failed, tokens cannot be verified yet'
        : 'key set fetch failed, keeping previous keys')
    }
    pending = undefined
  }

  async function refresh (): Promise<void> {
    if (pending === undefined && steadyNow() >= notBefore) pending = fetchKeys()
    await pending
  }

  return {
    start: refresh,
    async current () {
      if (keys === undefined) await refresh()
      else if (steadyNow() - fetchedAt > maxAgeMs) void refresh()
      if (keys !== undefined) return keys
      const retryAfterSeconds = Math.max(1, Math.ceil((notBefore - steadyNow()) / 1000))
      throw new ServiceError('IssuerUnreachable', 'The token cannot be verified, because the keys of its issuer could ' +
        `not be fetched yet. Retry in ${retryAfterSeconds} s.`, { retryAfterSeconds })
    },
    async otherThan (set) {
      if (keys === set) {
        const fetches = steadyNow() >= notBefore
        await refresh()
        if (fetches) notBefore = steadyNow() + floorMs
      }
      return keys === set ? undefined : keys
    }
  }
}

/** Returns the key set in a document. Skips entries that are not objects, for which jose would reject the whole set. */
function toKeySet (document: unknown): LocalJWKSet {
  const { keys } = (document ?? {}) as { keys?: unknown }
  if (!Array.isArray(keys)) throw new TypeError('the response is not a JWK set')
  return createLocalJWKSet({ keys: keys.filter(isObject) })
}

function isObject (value: unknown): value is JWK {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
