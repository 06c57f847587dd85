import type { CredentialsConfig } from '../../config/credentials.ts'
import { fromVariables } from './env.ts'
import type { SourcedCredentials } from './sourced-credentials.ts'
import type { Fetcher } from '../../outbound/fetch-json.ts'
import { callSts } from './sts.ts'

/**
 * Returns credentials of a role that the key pair of the variables may assume (STS AssumeRole, document 1312/48197).
 *
 * @param now wall clock, in milliseconds since 1970
 * @throws {CredentialSourceError} when the variables have no key pair, or as {@link callSts}
 * @throws {FetchError} as {@link callSts}
 */
export async function assumeRole (
  config: Extract<CredentialsConfig, { source: 'assume-role' }>, now: () => number, fetcher: Pick<Fetcher, 'fetchJson'>
): Promise<SourcedCredentials> {
  const { credentials: signer } = fromVariables(config.variables)
  const parameters = { RoleArn: config.roleArn, RoleSessionName: config.sessionName }
  return callSts(config, { action: 'AssumeRole', parameters, signer }, now, fetcher)
}
