import type { Credentials } from '../../config/credentials.ts'
import type { Fetcher } from '../../outbound/fetch-json.ts'
import { codeOf, CredentialSourceError, fieldsOf, fromDocument } from './sourced-credentials.ts'
import type { SourcedCredentials } from './sourced-credentials.ts'
import { tc3Authorization } from './tc3-signature.ts'

const contentType = 'application/json'

/** How long the credentials are to live: what STS gives by default; 43,200 is its most. */
const durationSeconds = 7200

/** A call that gives credentials of a role. */
export interface StsCall {
  action: 'AssumeRole' | 'AssumeRoleWithWebIdentity'
  parameters: Readonly<Record<string, string>>
  /** Who signs the call; undefined for the action that needs no signature. */
  signer: Credentials | undefined
}

/**
 * Calls STS and reads the credentials of its answer, valid for two hours. What an action needs, its own document says.
 *
 * @param now wall clock, in milliseconds since 1970
 * @throws {CredentialSourceError} naming STS's error code, or what is wrong with the answer
 * @throws {FetchError} when STS cannot be reached or answers another status than 200
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
    // Stands in place of a signature (AssumeRoleWithWebIdentity, document 1312/73070).
    authorization: 'SKIP'
  }
  if (signer !== undefined) {
    const { secretId, secretKey, token } = signer
    const keys = { secretId, secretKey: secretKey.reveal() }
    headers['authorization'] = tc3Authorization({ host, contentType, body }, keys, timestamp)
    if (token !== undefined) headers['x-tc-token'] = token.reveal()
  }
  const document = await fetchJson(href, { method: 'POST', headers, body })
  // STS answers errors with status 200 too.
  const error = fieldsOf(fieldsOf(document).get('response')).get('error')
  if (error === undefined) return fromDocument(document, { origin: host, temporary: true, now: now() })
  const confidential = [...Object.values(parameters), ...signer === undefined ? [] : [signer.secretId, signer.token?.reveal() ?? '']]
  const code = codeOf(fieldsOf(error).get('code'), confidential.filter(each => each !== ''))
  throw new CredentialSourceError(`${host} rejected ${action}: ${code}`)
}
