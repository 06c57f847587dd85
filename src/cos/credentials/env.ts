import type { VariableCredentials } from '../../config/credentials.ts'
import type { ConfigError } from '../../config/environment.ts'
import { CredentialSourceError } from './sourced-credentials.ts'
import type { SourcedCredentials } from './sourced-credentials.ts'

/**
 * Returns the key pair of the variables. It is read at each call, because files of variables may have changed.
 *
 * @throws {CredentialSourceError} when a file is missing or contains no key
 */
export function fromVariables (variables: VariableCredentials): SourcedCredentials {
  try {
    return { credentials: variables.read(), expiresAt: undefined }
  } catch (error) {
    throw new CredentialSourceError((error as ConfigError).issues.join('; '), { cause: error })
  }
}
