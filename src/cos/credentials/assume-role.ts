import type { CredentialsConfig } from '../../config/credentials.ts'
import type { SourcedCredentials } from './sourced-credentials.ts'
import type { Fetcher } from '../../outbound/fetch-json.ts'
import { callSts } from './sts.ts'

/**
 * Returns credentials of a role that the base credentials may assume (STS AssumeRole, document 1312/48197).
 *
 * @param loadBase returns the base credentials. They are loaded at each call, because they may have changed.
 * @param now wall clock, in milliseconds since 1970
 * @throws {CredentialSourceError} as `loadBase` or {@link callSts}
 * @throws {FetchError} as {@link callSts}
 */
export async function assumeRole (
  config: Extract<CredentialsConfig, { source: 'assume-role' }>, loadBase: () => Promise<SourcedCredentials>,
  now: () => number, fetcher: Pick<Fetcher, 'fetchJson'>
): Promise<SourcedCredentials> {
  const { credentials: signer } = await loadBase()
  const parameters = { RoleArn: config.roleArn, RoleSessionName: config.sessionName }
  return callSts(config, { action: 'AssumeRole', parameters, signer }, now, fetcher)
}
