import type { Credentials } from '../../config/credentials.ts'
import { Secret } from '../../secret.ts'

/** What a source gave. */
export interface SourcedCredentials {
  credentials: Credentials
  /** From when on they are no longer accepted, in milliseconds since 1970; undefined when they do not expire. */
  expiresAt: number | undefined
}

/**
 * Why a source gave no credentials. The message is shown to operators and callers: it names a host, a status, an error
 * code or a field, never a secret, the content of a file or its path.
 */
export class CredentialSourceError extends Error {
  override name = 'CredentialSourceError'
}

/** How Tencent's services and tools call each part, in lower case and without `_`. */
const spellings = {
  SecretId: ['tmpsecretid', 'secretid'],
  SecretKey: ['tmpsecretkey', 'secretkey'],
  Token: ['token', 'securitytoken', 'sessiontoken'],
  ExpiredTime: ['expiredtime', 'expiration', 'expiresat']
}

/** The end of the year 9999. A larger number of seconds is one of milliseconds by mistake. */
const maxEpochSeconds = 253_402_300_799

/** Expiries are whole seconds, mostly rounded down: the second they name is still theirs. */
const restOfSecondMs = 999

interface DocumentOptions {
  /** Who gave the document, for messages. */
  origin: string
  /** Whether token and expiry must be there. */
  temporary: boolean
  /** Milliseconds since 1970. */
  now: number
}

/**
 * Reads credentials out of a document in the shape of STS (`Response.Credentials`), of the metadata service (flat) or
 * of a tool's file. A part that is empty or null counts as missing. Expiry is ISO 8601 or seconds since 1970.
 *
 * @throws {CredentialSourceError} when a part is missing or is not what it must be, or the credentials have expired
 */
export function fromDocument (document: unknown, { origin, temporary, now }: DocumentOptions): SourcedCredentials {
  const outer = fieldsOf(document)
  const response = fieldsOf(outer.get('response'))
  const places = [fieldsOf(response.get('credentials')), response, fieldsOf(outer.get('credentials')), outer]
  const find = (name: keyof typeof spellings, required: boolean) => {
    const value = places.flatMap(place => spellings[name].map(spelling => place.get(spelling)))
      .find(each => each !== undefined && each !== null && each !== '')
    if (value === undefined && required) throw new CredentialSourceError(`${origin}: ${name} is missing`)
    return value
  }
  const secret = (name: keyof typeof spellings, required: boolean) => {
    const value = find(name, required) ?? ''
    if (value === '' || isSecret(value)) return value
    throw new CredentialSourceError(`${origin}: ${name} must be visible ASCII without blanks`)
  }
  const [secretId, secretKey, token] = [secret('SecretId', true), secret('SecretKey', true), secret('Token', temporary)]
  const expiry = find('ExpiredTime', temporary)
  const stated = expiry === undefined ? undefined : instantOf(expiry)
  if (Number.isNaN(stated)) throw new CredentialSourceError(`${origin}: ExpiredTime is not a time`)
  const expiresAt = stated === undefined ? undefined : stated + restOfSecondMs
  if (expiresAt !== undefined && expiresAt <= now) {
    throw new CredentialSourceError(`${origin}: the credentials expired at ${isoSeconds(expiresAt)}`)
  }
  return {
    credentials: {
      secretId,
      secretKey: new Secret(secretKey),
      token: token === '' ? undefined : new Secret(token)
    },
    expiresAt
  }
}

/** The members of an object by their names in lower case without `_`; none when it is no object. */
export function fieldsOf (value: unknown): Map<string, unknown> {
  const members = typeof value === 'object' && value !== null ? Object.entries(value) : []
  return new Map(members.map(([name, each]) => [name.toLowerCase().replaceAll('_', ''), each]))
}

/** Whether a value can be a key or a token, which all travel in headers: visible ASCII without blanks. */
export function isSecret (value: unknown): value is string {
  return typeof value === 'string' && /^[\x21-\x7E]+$/.test(value)
}

/** An error code such as `AuthFailure.TokenFailure`, or that there is none: an answer may say anything, or quote us. */
export function codeOf (value: unknown, confidential: readonly string[] = []): string {
  const isCode = typeof value === 'string' && value.length <= 80 && /^[A-Z][A-Za-z]+(\.[A-Z][A-Za-z]+)*$/.test(value)
  return isCode && !confidential.some(each => value.includes(each) || each.includes(value)) ? value : 'an unknown code'
}

/** ISO 8601, down to the second. */
function isoSeconds (at: number): string {
  return `${new Date(at).toISOString().slice(0, 'YYYY-MM-DDTHH:mm:ss'.length)}Z`
}

/** Milliseconds since 1970, NaN when the value is not an instant. */
function instantOf (value: unknown): number {
  const text = String(value)
  // Without a zone it is UTC, which Date.parse takes for local time.
  if (/^\d{4}-\d\d-\d\dT/.test(text)) return Date.parse(/(Z|[+-]\d\d:?\d\d)$/i.test(text) ? text : `${text}Z`)
  const seconds = typeof value === 'number' || /^\d+$/.test(text) ? Number(text) : NaN
  return seconds > 0 && seconds <= maxEpochSeconds ? seconds * 1000 : NaN
}
