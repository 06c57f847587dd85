import type { VariableCredentials } from '../../config/credentials.ts'
import type { ConfigError } from '../../config/environment.ts'
import { CredentialSourceError } from './sourced-credentials.ts'
import type { SourcedCredentials } from './sourced-credentials.ts'

/**
 * The key pair of the variables, read anew; those given as files may have changed.
 *
 * @throws {CredentialSourceError} when a file is gone or holds no key
 */
export function fromVariables (variables: VariableCredentials): SourcedCredentials {
  try {
    return { credentials: variables.read(), expiresAt: undefined }
  } catch (error) {
    throw new CredentialSourceError((error as ConfigError).issues.join('; '), { cause: error })
  }
}
