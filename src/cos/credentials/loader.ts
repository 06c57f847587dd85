import { withTimeout } from '../../concurrency/with-timeout.ts'
import type { Credentials } from '../../config/credentials.ts'
import type { CredentialSource } from './source.ts'
import { CredentialSourceError } from './sourced-credentials.ts'
import type { SourcedCredentials } from './sourced-credentials.ts'

/** The longest time between a refresh and the expiry, as in Tencent's SDK for Go. */
const maxLeadMs = 600_000
/** The share of the remaining lifetime that is lead, so that short-lived credentials are not refreshed all the time. */
const leadShare = 0.2
const minRefreshMs = 500
const minBackOffMs = 500
const maxBackOffMs = 5_000
/** The interval between comparisons of the expiry with the wall clock, which can step past it. */
const expiryCheckMs = 60_000

/** The log of loads. No field contains a secret. */
export interface CredentialLog {
  debug (fields: object, message: string): void
  info (fields: object, message: string): void
  warn (fields: object, message: string): void
  error (fields: object, message: string): void
}

export interface LoaderDependencies {
  /** Wall clock, in milliseconds since 1970. The expiry of credentials refers to it. */
  now: () => number
  /** Monotonic clock, in milliseconds. Delays and deadlines refer to it. */
  steadyNow: () => number
  /** From 0 up to 1. */
  random?: () => number
  log: CredentialLog
}

interface Failure {
  cause: string
  /** The number of loads that failed one after another. */
  count: number
  /** Instant of the monotonic clock, in milliseconds. */
  retryAt: number
}

/**
 * Loads credentials at the start, before they expire, after a failure and on request. Only one load is in flight at a
 * time. After a failed load the previous credentials stay until they expire. The timers do not keep the process alive.
 */
export class CredentialLoader {
  #source: CredentialSource
  readonly #dependencies: Required<LoaderDependencies>
  /** The latest load if it failed. */
  failure: Failure | undefined
  /** The load in flight. */
  loading: Promise<void> | undefined
  /** When the present credentials were last loaded, in milliseconds since 1970. */
  loadedAt: number | undefined
  #current: SourcedCredentials | undefined
  #timer: NodeJS.Timeout | undefined
  #isClosed = false

  constructor (source: CredentialSource, { random = Math.random, ...others }: LoaderDependencies) {
    this.#source = source
    this.#dependencies = { random, ...others }
  }

  /** Replaces the source. The present credentials stay until the next load. */
  use (source: CredentialSource): void {
    this.#source = source
  }

  /** Returns the credentials that have not expired. */
  valid (): Credentials | undefined {
    const { credentials, expiresAt = Infinity } = this.#current ?? {}
    return this.#dependencies.now() < expiresAt ? credentials : undefined
  }

  /** Starts a load, or joins the load in flight. Never rejects: see {@link failure}. */
  load (): Promise<void> {
    this.loading ??= this.#source.load()
      .then(loaded => { this.#succeed(loaded) }, error => { this.#fail(error) })
      .finally(() => { this.loading = undefined })
    return this.loading
  }

  /** Loads after the source has changed. A load in flight may have read it before. Never rejects. */
  async loadAgain (): Promise<void> {
    await this.loading
    await this.load()
  }

  /**
   * Waits for a load, but no longer than until the deadline.
   *
   * @param deadlineAt instant of the monotonic clock, in milliseconds
   */
  loadBy (deadlineAt: number): Promise<void> {
    return withTimeout(this.load(), deadlineAt - this.#dependencies.steadyNow(), () => {})
  }

  /** Returns why there are no valid credentials, without secrets; undefined while there are. */
  unavailableReason (): string | undefined {
    if (this.valid() !== undefined) return undefined
    if (this.failure !== undefined) return this.failure.cause
    return this.#current === undefined ? 'no credentials have been loaded yet' : 'the credentials have expired'
  }

  /** Returns when the present credentials expire, in milliseconds since 1970. */
  expiresAt (): number | undefined {
    return this.#current?.expiresAt
  }

  close (): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
  }

  #succeed ({ credentials, expiresAt }: SourcedCredentials): void {
    const { now, steadyNow, random, log } = this.#dependencies
    const previous = this.#current?.credentials
    const known = previous !== undefined && isSame(previous, credentials) ? previous : undefined
    this.failure = undefined
    this.loadedAt = now()
    // Same credentials stay the same object: callers compare rejected and current credentials by identity.
    this.#current = { credentials: known ?? credentials, expiresAt }
    const fields = { source: this.#source.name, expiresAt: isoTime(expiresAt) }
    if (known !== undefined) log.debug(fields, 'credentials for COS are unchanged')
    else log[previous === undefined && expiresAt === undefined ? 'debug' : 'info'](fields, 'new credentials for COS')
    this.#schedule(expiresAt === undefined ? undefined : steadyNow() + refreshDelayMs(expiresAt - now(), random()))
  }

  #fail (error: unknown): void {
    const { now, steadyNow, random, log } = this.#dependencies
    const source = this.#source.name
    const cause = error instanceof CredentialSourceError ? error.message : `${source} failed unexpectedly`
    const count = (this.failure?.count ?? 0) + 1
    const delayMs = backOffMs(count, random())
    const retryAt = steadyNow() + delayMs
    this.failure = { cause, count, retryAt }
    const fields = { source, cause, retryAt: isoTime(now() + delayMs) }
    if (this.valid() === undefined) log.error(fields, 'no valid credentials for COS')
    else log.warn({ ...fields, expiresAt: isoTime(this.expiresAt()) }, 'refresh failed, keeping previous credentials for COS')
    this.#schedule(retryAt)
  }

  #schedule (at: number | undefined): void {
    const { steadyNow } = this.#dependencies
    clearTimeout(this.#timer)
    if (at === undefined || this.#isClosed) return
    this.#timer = setTimeout(() => {
      if (steadyNow() < at && this.valid() !== undefined) this.#schedule(at)
      else void this.load()
    }, Math.min(at - steadyNow(), expiryCheckMs)).unref()
  }
}

/** Returns the wait before a refresh, in milliseconds, for credentials that are valid for `leftMs`. */
function refreshDelayMs (leftMs: number, random: number): number {
  const leadMs = Math.min(maxLeadMs, leadShare * leftMs) * (0.9 + 0.2 * random)
  return Math.max(Math.round(leftMs - leadMs), minRefreshMs)
}

/** Returns the wait after a number of consecutive failures, in milliseconds. */
function backOffMs (failures: number, random: number): number {
  const limitMs = Math.min(minBackOffMs * 2 ** (failures - 1), maxBackOffMs)
  return Math.round(limitMs / 2 * (1 + random))
}

function isSame (a: Credentials, b: Credentials): boolean {
  return a.secretId === b.secretId && a.secretKey.reveal() === b.secretKey.reveal() &&
    a.token?.reveal() === b.token?.reveal()
}

function isoTime (at: number | undefined): string | undefined {
  return at === undefined ? undefined : new Date(at).toISOString()
}
