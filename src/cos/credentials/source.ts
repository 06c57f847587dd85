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

/** Where credentials come from. */
export interface CredentialSource {
  /** As in `COS_CREDENTIALS`. */
  name: string
  /** The files whose change means new credentials. */
  files: string[]
  /** Whether nobody else need be asked. */
  isLocal: boolean
  /**
   * Asks for credentials that are valid now.
   *
   * @throws {CredentialSourceError} when there are none to be had
   */
  load (): Promise<SourcedCredentials>
}

/**
 * The source that a configuration names.
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
    // A new identity token leaves the credentials that an older one was changed for as valid as they were.
    case 'oidc': return { files: [], load: () => assumeRoleWithWebIdentity(config, now, fetcher) }
    case 'assume-role': return { files: config.variables.files, load: () => assumeRole(config, now, fetcher) }
  }
}
