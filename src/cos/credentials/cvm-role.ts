import { directFetcher, FetchError } from '../../outbound/fetch-json.ts'
import { codeOf, CredentialSourceError, fieldsOf, fromDocument } from './sourced-credentials.ts'
import type { SourcedCredentials } from './sourced-credentials.ts'

/**
 * Returns credentials of the first role that is bound to this instance (instance metadata, document 213/4934).
 *
 * @param metadataEndpoint URL of the metadata service; its path is ignored
 * @param now wall clock, in milliseconds since 1970
 * @throws {CredentialSourceError} when the instance has no role, or the response is malformed
 * @throws {FetchError} when the service is unreachable or returns another status than 200
 */
export async function fromInstanceRole (metadataEndpoint: string, now: () => number): Promise<SourcedCredentials> {
  const roles = new URL('/latest/meta-data/cam/security-credentials/', metadataEndpoint)
  const role = firstRoleOf(await directFetcher.fetchText(roles.href).catch(noneIfNotFound))
  if (role === '') throw new CredentialSourceError(`${roles.host} returned no role; bind a role to this instance`)
  const document = await directFetcher.fetchJson(roles.href + encodeURIComponent(role))
  const code = fieldsOf(document).get('code')
  if (code !== 'Success') throw new CredentialSourceError(`${roles.host} returned ${codeOf(code)} instead of Success`)
  return fromDocument(document, { origin: roles.host, temporary: true, now: now() })
}

/** Returns the first line that has text, without blanks around it; an empty text when there is none. */
export function firstRoleOf (lines: string): string {
  const [first = ''] = lines.trim().split('\n', 1)
  return first.trim()
}

function noneIfNotFound (error: Error): string {
  if (error instanceof FetchError && error.status === 404) return ''
  throw error
}
