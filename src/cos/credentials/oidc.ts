import type { CredentialsConfig } from '../../config/credentials.ts'
import { readText } from './file.ts'
import { CredentialSourceError, isSecret } from './sourced-credentials.ts'
import type { SourcedCredentials } from './sourced-credentials.ts'
import type { Fetcher } from '../../outbound/fetch-json.ts'
import { callSts } from './sts.ts'

const origin = 'the web identity token file'

/**
 * Returns credentials of a role that trusts an identity provider, such as that of a TKE cluster (STS
 * AssumeRoleWithWebIdentity, document 1312/73070). The token file is read at each call, because Kubernetes replaces it.
 *
 * @param now wall clock, in milliseconds since 1970
 * @throws {CredentialSourceError} when the token cannot be read, or as {@link callSts}
 * @throws {FetchError} as {@link callSts}
 */
export async function assumeRoleWithWebIdentity (
  config: Extract<CredentialsConfig, { source: 'oidc' }>, now: () => number, fetcher: Pick<Fetcher, 'fetchJson'>
): Promise<SourcedCredentials> {
  const token = readText(config.tokenFile, origin)
  if (!isSecret(token)) throw new CredentialSourceError(`${origin} must contain visible ASCII without blanks`)
  return callSts(config, {
    action: 'AssumeRoleWithWebIdentity',
    parameters: {
      ProviderId: config.providerId,
      WebIdentityToken: token,
      RoleArn: config.roleArn,
      RoleSessionName: 'cos-inventory-proxy'
    },
    signer: undefined
  }, now, fetcher)
}
