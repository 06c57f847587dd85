import { createLocalJWKSet } from 'jose'
import type { JWK, LocalJWKSet } from 'jose'
import type { Logger } from 'pino'
import { ServiceError } from '../errors.ts'
import { directFetcher } from '../outbound/fetch-json.ts'
import type { Fetcher } from '../outbound/fetch-json.ts'

/** From one failed fetch to the next, as long as there has been no set. */
const firstFloorMs = 1_000

/** After this the set is fetched again, so that a key its issuer has withdrawn does not stay good for ever. */
const maxAgeMs = 10 * 60_000

export interface KeySetOptions {
  /** Monotonic clock, in milliseconds: measures the age of a set and the time between fetches. */
  steadyNow: () => number
  log: Pick<Logger, 'warn' | 'debug'>
  /** From a failed fetch, or one that a token with an unknown key has caused, to the next; 10,000 by default. */
  floorMs?: number
  /** Reaches the issuer; directly by default. */
  fetcher?: Fetcher
}

export interface KeySet {
  /** Fetches ahead of the first token. Never throws. */
  start (): Promise<void>
  /**
   * The last set that could be fetched, however old.
   *
   * @throws {ServiceError} IssuerUnreachable while there has been none
   */
  current (): Promise<LocalJWKSet>
  /** Another set than the one that lacks a key, when there is one or one can be fetched now. */
  otherThan (set: LocalJWKSet): Promise<LocalJWKSet | undefined>
}

/**
 * The public keys of an issuer (RFC 7517, section 5). One fetch serves all who wait for it. Neither tokens with made-up
 * keys nor an issuer that is down can cause more than one fetch in `floorMs`, or in a second while there is no set yet.
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
      // While no token can be checked at all, callers wait for it.
      notBefore = steadyNow() + (keys === undefined ? Math.min(floorMs, firstFloorMs) : floorMs)
      log.warn({ reason: (error as Error).message }, keys === undefined
        ? 'the keys of the token issuer could not be fetched: no token can be checked yet'
        : 'the keys of the token issuer could not be fetched: the last ones stay in use')
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
      throw new ServiceError('IssuerUnreachable', 'The token cannot be checked, because the keys of its issuer could ' +
        'not be fetched yet. Try again.', { retryAfterSeconds: Math.max(1, Math.ceil((notBefore - steadyNow()) / 1000)) })
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

/** Entries that are no object are left out: for one of them jose would refuse the whole set. */
function toKeySet (document: unknown): LocalJWKSet {
  const { keys } = (document ?? {}) as { keys?: unknown }
  if (!Array.isArray(keys)) throw new TypeError('the answer is not a JWK set')
  return createLocalJWKSet({ keys: keys.filter(isObject) })
}

function isObject (value: unknown): value is JWK {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
