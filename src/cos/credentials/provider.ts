/**
 * Keeps one set of credentials valid. Everything happens in one load at a time: the first, those ahead of expiry, those
 * after a failure, and those that a caller asks for; whoever needs one while it runs waits for that one. A failed load
 * changes nothing but the time of the next one, so the old credentials serve until the instant they expire.
 */
import { withTimeout } from '../../concurrency/with-timeout.ts'
import type { Credentials } from '../../config/credentials.ts'
import { UpstreamError } from '../upstream-error.ts'
import type { CredentialSource } from './source.ts'
import { CredentialSourceError } from './sourced-credentials.ts'
import type { SourcedCredentials } from './sourced-credentials.ts'

/** At most this long before expiry the next ones are asked for, as Tencent's Go SDK does. */
const longestLeadMs = 600_000
/** How much of the lifetime that is left is lead, so that short-lived ones are not asked for all the time. */
const leadShare = 0.2
const minRefreshMs = 500
const minBackOffMs = 500
const maxBackOffMs = 5_000
/** From one renewal to the next, so that a key COS never takes does not make a call to the source of every request. */
const renewFloorMs = 1_000
/** How often the expiry is compared with the wall clock, which can step past it while the next load is far away. */
const expiryCheckMs = 60_000

/** Where the provider says what it does. Nothing secret is among the fields. */
export interface CredentialLog {
  debug (fields: object, message: string): void
  info (fields: object, message: string): void
  warn (fields: object, message: string): void
  error (fields: object, message: string): void
}

interface Dependencies {
  /** Wall clock, in milliseconds since 1970: the expiry of credentials is stated in its terms. */
  now: () => number
  /** Monotonic clock, in milliseconds: measures delays and deadlines. */
  steadyNow: () => number
  /** From 0 up to 1. */
  random?: () => number
  log: CredentialLog
}

/** Each `deadlineAt` is an instant of the monotonic clock. */
export interface CredentialProvider {
  /**
   * Valid credentials: at once where there are some, else those of the load under way, at most until the deadline.
   *
   * @throws {UpstreamError} UpstreamCredentialsUnavailable, at once while the back-off after a failed load runs
   */
  get (deadlineAt: number): Promise<Credentials>
  /**
   * Other credentials in place of ones that COS does not know or says have expired; undefined when the source has no
   * others. The rejected ones stay in place until others have come. After a renewal the source is not asked for another
   * one for a second. Never throws.
   *
   * @param rejected as {@link get} or this function gave them
   * @param deadlineAt until when to wait for others
   */
  renew (rejected: Credentials, deadlineAt: number): Promise<Credentials | undefined>
  /**
   * Loads at once, because what the source reads has changed.
   *
   * @throws {Error} saying why there are no new ones; the old ones stay in force
   */
  reload (): Promise<void>
  /** Why there are no valid credentials, without secrets; undefined while there are. */
  fault (): string | undefined
  /** Returns when the present ones expire, in milliseconds since 1970; undefined when they do not or there are none. */
  expiresAt (): number | undefined
  /** The first load. Never throws: {@link fault} says how it went. */
  start (): Promise<void>
  /** Ends all refreshing. */
  close (): void
}

/** A provider that has loaded nothing yet. Its timers do not keep the process alive. */
export function createCredentialProvider (
  source: CredentialSource, { now, steadyNow, random = Math.random, log }: Dependencies
): CredentialProvider {
  let current: SourcedCredentials | undefined
  let failure: { cause: string, count: number, retryAt: number } | undefined
  let loading: Promise<void> | undefined
  let timer: NodeJS.Timeout | undefined
  let noRenewalUntil = -Infinity
  let closed = false

  function valid (): Credentials | undefined {
    const { credentials, expiresAt = Infinity } = current ?? {}
    return now() < expiresAt ? credentials : undefined
  }

  function load (): Promise<void> {
    loading ??= source.load().then(succeed, fail).finally(() => { loading = undefined })
    return loading
  }

  /** Waits for a load, but no longer than until the deadline. */
  function loadedBy (deadlineAt: number): Promise<void> {
    return withTimeout(load(), deadlineAt - steadyNow(), () => {})
  }

  function succeed (loaded: SourcedCredentials): void {
    const { credentials, expiresAt } = loaded
    failure = undefined
    const isFirst = current === undefined
    const known = current !== undefined && same(current.credentials, credentials) ? current.credentials : undefined
    // The same ones stay the same object: callers compare by identity what was rejected with what is in force.
    current = { credentials: known ?? credentials, expiresAt }
    const fields = { source: source.name, expiresAt: isoTime(expiresAt) }
    if (known === undefined) log[isFirst && expiresAt === undefined ? 'debug' : 'info'](fields, 'new credentials for COS')
    else log.debug(fields, 'the credentials for COS are still the same')
    schedule(expiresAt === undefined ? undefined : refreshAt(expiresAt))
  }

  function fail (error: unknown): void {
    const cause = error instanceof CredentialSourceError ? error.message : `${source.name} failed unexpectedly`
    const count = (failure?.count ?? 0) + 1
    const backOffMs = Math.min(minBackOffMs * 2 ** (count - 1), maxBackOffMs)
    const delayMs = Math.round(backOffMs / 2 * (1 + random()))
    const retryAt = steadyNow() + delayMs
    failure = { cause, count, retryAt }
    const fields = { source: source.name, cause, retryAt: isoTime(now() + delayMs) }
    if (valid() === undefined) log.error(fields, 'there are no valid credentials for COS')
    else log.warn({ ...fields, expiresAt: isoTime(current?.expiresAt) }, 'no new credentials for COS; the old ones stay in force')
    schedule(retryAt)
  }

  function refreshAt (expiresAt: number): number {
    const leftMs = expiresAt - now()
    const leadMs = Math.min(longestLeadMs, leadShare * leftMs) * (0.9 + 0.2 * random())
    return steadyNow() + Math.max(Math.round(leftMs - leadMs), minRefreshMs)
  }

  function schedule (at: number | undefined): void {
    clearTimeout(timer)
    if (at === undefined || closed) return
    timer = setTimeout(() => {
      if (steadyNow() < at && valid() !== undefined) schedule(at)
      else void load()
    }, Math.min(at - steadyNow(), expiryCheckMs)).unref()
  }

  function fault (): string | undefined {
    if (valid() !== undefined) return undefined
    if (failure !== undefined) return failure.cause
    return current === undefined ? 'no credentials have been loaded yet' : 'the credentials have expired'
  }

  return {
    async get (deadlineAt) {
      const present = valid()
      if (present !== undefined) return present
      const backingOff = failure !== undefined && steadyNow() < failure.retryAt
      if (loading !== undefined || !backingOff) await loadedBy(deadlineAt)
      const loaded = valid()
      if (loaded !== undefined) return loaded
      throw new UpstreamError('UpstreamCredentialsUnavailable', `There are no valid credentials for COS: ${fault()}.`, {
        class: 'credentials',
        wasSent: false,
        retryAfterSeconds: Math.max(1, Math.ceil(((failure?.retryAt ?? 0) - steadyNow()) / 1000))
      })
    },
    async renew (rejected, deadlineAt) {
      const other = () => {
        const present = valid()
        return present === rejected ? undefined : present
      }
      const present = other()
      if (present !== undefined) return present
      const joins = loading !== undefined
      if (!joins && steadyNow() < noRenewalUntil) return undefined
      await loadedBy(deadlineAt)
      // One that was under way may have begun before the credentials were replaced.
      if (joins && failure === undefined && other() === undefined) await loadedBy(deadlineAt)
      noRenewalUntil = steadyNow() + renewFloorMs
      return other()
    },
    async reload () {
      // A load under way may have read what was there before the change.
      await loading
      await load()
      if (failure !== undefined) throw new CredentialSourceError(failure.cause)
    },
    fault,
    expiresAt: () => current?.expiresAt,
    start: () => load(),
    close () {
      closed = true
      clearTimeout(timer)
    }
  }
}

function same (a: Credentials, b: Credentials): boolean {
  return a.secretId === b.secretId && a.secretKey.reveal() === b.secretKey.reveal() &&
    a.token?.reveal() === b.token?.reveal()
}

function isoTime (at: number | undefined): string | undefined {
  return at === undefined ? undefined : new Date(at).toISOString()
}
