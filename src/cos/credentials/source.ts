import type { CredentialsConfig } from '../../config/credentials.ts'
import { directFetcher, FetchError } from '../../outbound/fetch-json.ts'
import type { Fetcher } from '../../outbound/fetch-json.ts'
import { assumeRole } from './assume-role.ts'
import { fromInstanceRole } from './cvm-role.ts'
import { fromVariables } from './env.ts'
import { fromFile } from './file.ts'
import { assumeRoleWithWebIdentity } from './oidc.ts'
import { CredentialSourceError } from './sourced-credentials.ts'
import type { SourcedCredentials } from './sourced-credentials.ts'

export { CredentialSourceError }
export type { SourcedCredentials }

/** A source of credentials. */
export interface CredentialSource {
  /** The name in `COS_CREDENTIALS`. */
  name: string
  /** Files that contain the credentials. A change of one causes a load. */
  files: string[]
  /** True when a load calls no other service. */
  isLocal: boolean
  /**
   * Returns credentials that are valid now.
   *
   * @throws {CredentialSourceError} when the source has none
   */
  load (): Promise<SourcedCredentials>
}

/**
 * Creates the source that a configuration names.
 *
 * @param now wall clock, in milliseconds since 1970
 * @param fetcher reaches STS
 */
export function createCredentialSource (
  config: CredentialsConfig, now: () => number, fetcher: Fetcher = directFetcher
): CredentialSource {
  const { files, load } = reading(config, now, fetcher)
  return {
    name: config.source,
    files,
    isLocal: config.source === 'env' || config.source === 'file',
    async load () {
      try {
        return await load()
      } catch (error) {
        if (error instanceof FetchError) throw new CredentialSourceError(error.message, { cause: error })
        throw error
      }
    }
  }
}

function reading (
  config: CredentialsConfig, now: () => number, fetcher: Fetcher
): Pick<CredentialSource, 'files' | 'load'> {
  switch (config.source) {
    case 'env': return { files: config.variables.files, load: async () => fromVariables(config.variables) }
    case 'file': return { files: [config.path], load: () => fromFile(config.path, now) }
    case 'cvm-role': return { files: [], load: () => fromInstanceRole(config.metadataEndpoint, now) }
    // Credentials stay valid when the token file changes, so the file causes no load.
    case 'oidc': return { files: [], load: () => assumeRoleWithWebIdentity(config, now, fetcher) }
    case 'assume-role': {
      const base = reading(config.base, now, fetcher)
      return { files: base.files, load: () => assumeRole(config, base.load, now, fetcher) }
    }
  }
}
