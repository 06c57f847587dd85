import type { Credentials } from '../../config/credentials.ts'
import type { Fetcher } from '../../outbound/fetch-json.ts'
import { codeOf, CredentialSourceError, fieldsOf, fromDocument } from './sourced-credentials.ts'
import type { SourcedCredentials } from './sourced-credentials.ts'
import { tc3Authorization } from './tc3-signature.ts'

const contentType = 'application/json'

/** The requested lifetime, which is the default of STS. Its maximum is 43,200. */
const durationSeconds = 7200

/** A call that returns credentials of a role. */
export interface StsCall {
  action: 'AssumeRole' | 'AssumeRoleWithWebIdentity'
  parameters: Readonly<Record<string, string>>
  /** The key that signs the call; undefined for the action that needs no signature. */
  signer: Credentials | undefined
}

/**
 * Calls STS and returns the credentials of its response, which are valid for two hours.
 *
 * @param now wall clock, in milliseconds since 1970
 * @throws {CredentialSourceError} when STS returns an error, which is named by its code, or a malformed response
 * @throws {FetchError} when STS is unreachable or returns another status than 200
 */
export async function callSts (
  { stsEndpoint, region }: { stsEndpoint: string, region: string },
  { action, parameters, signer }: StsCall,
  now: () => number,
  { fetchJson }: Pick<Fetcher, 'fetchJson'>
): Promise<SourcedCredentials> {
  const { href, host } = new URL('/', stsEndpoint)
  const body = JSON.stringify({ ...parameters, DurationSeconds: durationSeconds })
  const timestamp = Math.floor(now() / 1000)
  const headers: Record<string, string> = {
    'content-type': contentType,
    'x-tc-action': action,
    'x-tc-version': '2018-08-13',
    'x-tc-region': region,
    'x-tc-timestamp': String(timestamp),
    // The value for calls without a signature (AssumeRoleWithWebIdentity, document 1312/73070).
    authorization: 'SKIP'
  }
  if (signer !== undefined) {
    const { secretId, secretKey, token } = signer
    const keys = { secretId, secretKey: secretKey.reveal() }
    headers['authorization'] = tc3Authorization({ host, contentType, body }, keys, timestamp)
    if (token !== undefined) headers['x-tc-token'] = token.reveal()
  }
  const document = await fetchJson(href, { method: 'POST', headers, body })
  // STS also sends errors with status 200.
  const error = fieldsOf(fieldsOf(document).get('response')).get('error')
  if (error === undefined) return fromDocument(document, { origin: host, temporary: true, now: now() })
  const confidential = [...Object.values(parameters), ...signer === undefined ? [] : [signer.secretId, signer.token?.reveal() ?? '']]
  const code = codeOf(fieldsOf(error).get('code'), confidential.filter(each => each !== ''))
  throw new CredentialSourceError(`${host} rejected ${action}: ${code}`)
}
