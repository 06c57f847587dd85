import type { Credentials } from '../../config/credentials.ts'
import { retryAdvice, UpstreamError } from '../upstream-error.ts'
import { CredentialLoader } from './loader.ts'
import type { LoaderDependencies } from './loader.ts'
import type { CredentialSource } from './source.ts'
import { CredentialSourceError } from './sourced-credentials.ts'

/** The shortest time between two renewals. It keeps a key that COS never accepts from causing a load per request. */
const minRenewalIntervalMs = 1_000

/** Keeps one set of credentials valid. Each `deadlineAt` is an instant of the monotonic clock, in milliseconds. */
export interface CredentialProvider {
  /**
   * Returns valid credentials. Waits for a load if there are none, at most until the deadline.
   *
   * @throws {UpstreamError} UpstreamCredentialsUnavailable; during the back-off after a failed load without a wait
   */
  get (deadlineAt: number): Promise<Credentials>
  /**
   * Returns other credentials after COS rejected some as unknown or expired; undefined when the source has no others.
   * The rejected credentials stay in effect until others are loaded. The next renewal is possible after a second.
   * Never throws.
   *
   * @param rejected the object that {@link get} or this function returned
   * @param deadlineAt the end of the wait for others
   */
  renew (rejected: Credentials, deadlineAt: number): Promise<Credentials | undefined>
  /**
   * Loads after a file of the source has changed.
   *
   * @throws {Error} when the load fails, with the cause; the previous credentials stay in effect
   */
  reload (): Promise<void>
  /**
   * Replaces the source and loads from it. The previous credentials stay in effect until a load succeeds. Never throws:
   * {@link lastLoad} returns the result.
   */
  use (source: CredentialSource): Promise<void>
  /** Returns why there are no valid credentials, without secrets; undefined while there are. */
  unavailableReason (): string | undefined
  /**
   * Returns whether the last load succeeded, whatever started it; true before the first one. Returns also when a load
   * last succeeded, in milliseconds since 1970.
   */
  lastLoad (): { isSuccess: boolean, succeededAt: number | undefined }
  /** Returns the expiry in milliseconds since 1970; undefined without credentials or without an expiry. */
  expiresAt (): number | undefined
  /** Starts the first load. Never throws: {@link unavailableReason} returns the result. */
  start (): Promise<void>
  /** Ends all refreshing. */
  close (): void
}

/** Creates a provider that has loaded nothing yet. */
export function createCredentialProvider (
  source: CredentialSource, dependencies: LoaderDependencies
): CredentialProvider {
  const { steadyNow } = dependencies
  const loader = new CredentialLoader(source, dependencies)
  let nextRenewalAt = -Infinity

  return {
    async get (deadlineAt) {
      const present = loader.valid()
      if (present !== undefined) return present
      const isBackingOff = steadyNow() < (loader.failure?.retryAt ?? -Infinity)
      if (loader.loading !== undefined || !isBackingOff) await loader.loadBy(deadlineAt)
      const loaded = loader.valid()
      if (loaded !== undefined) return loaded
      throw new UpstreamError('UpstreamCredentialsUnavailable', `There are no valid credentials for COS: ${loader.unavailableReason()}. ${retryAdvice}`, {
        class: 'credentials',
        wasSent: false,
        retryAfterSeconds: Math.max(1, Math.ceil(((loader.failure?.retryAt ?? 0) - steadyNow()) / 1000))
      })
    },

    async renew (rejected, deadlineAt) {
      const other = () => {
        const present = loader.valid()
        return present === rejected ? undefined : present
      }
      const present = other()
      if (present !== undefined) return present
      const joins = loader.loading !== undefined
      if (!joins && steadyNow() < nextRenewalAt) return undefined
      await loader.loadBy(deadlineAt)
      // A load that was in flight may have started before the source had others.
      if (joins && loader.failure === undefined && other() === undefined) await loader.loadBy(deadlineAt)
      nextRenewalAt = steadyNow() + minRenewalIntervalMs
      return other()
    },

    async reload () {
      await loader.loadAgain()
      const failure = loader.failure
      if (failure !== undefined) throw new CredentialSourceError(failure.cause)
    },

    async use (other) {
      loader.use(other)
      await loader.loadAgain()
    },

    unavailableReason: () => loader.unavailableReason(),
    lastLoad: () => ({ isSuccess: loader.failure === undefined, succeededAt: loader.loadedAt }),
    expiresAt: () => loader.expiresAt(),
    start: () => loader.load(),
    close: () => { loader.close() }
  }
}
