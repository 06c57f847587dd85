import type { Credentials } from '../../config/credentials.ts'
import { Secret } from '../../secret.ts'

/** Credentials from a source, with their expiry. */
export interface SourcedCredentials {
  credentials: Credentials
  /** The expiry in milliseconds since 1970; undefined for permanent credentials. */
  expiresAt: number | undefined
}

/**
 * The failure of a source. Operators and callers see the message. It names a host, a status, an error code or a field.
 * It never contains a secret, the content of a file or its path.
 */
export class CredentialSourceError extends Error {
  override name = 'CredentialSourceError'
}

/** Names of each part in Tencent's services and tools, in lower case and without `_`. */
const spellings = {
  SecretId: ['tmpsecretid', 'secretid'],
  SecretKey: ['tmpsecretkey', 'secretkey'],
  Token: ['token', 'securitytoken', 'sessiontoken'],
  ExpiredTime: ['expiredtime', 'expiration', 'expiresat']
}

/** The end of the year 9999. A larger number is likely to be in milliseconds. */
const maxEpochSeconds = 253_402_300_799

/** Expiries are whole seconds, mostly rounded down. Credentials are valid until the end of that second. */
const restOfSecondMs = 999

interface DocumentOptions {
  /** The origin of the document, for error messages. */
  origin: string
  /** True when token and expiry are required. */
  temporary: boolean
  /** Milliseconds since 1970. */
  now: number
}

/**
 * Returns the credentials of a document in the form of STS (`Response.Credentials`), of the metadata service (flat) or
 * of a tool's file. A part that is empty or null counts as missing. The expiry is ISO 8601 or seconds since 1970.
 *
 * @throws {CredentialSourceError} when a part is missing or malformed, or the credentials have expired
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

/** Returns the members of an object by their names in lower case without `_`; none for any other value. */
export function fieldsOf (value: unknown): Map<string, unknown> {
  const members = typeof value === 'object' && value !== null ? Object.entries(value) : []
  return new Map(members.map(([name, each]) => [name.toLowerCase().replaceAll('_', ''), each]))
}

/** Tells whether a value can be a key or a token: visible ASCII without blanks, because headers contain it. */
export function isSecret (value: unknown): value is string {
  return typeof value === 'string' && /^[\x21-\x7E]+$/.test(value)
}

/** Returns a valid error code such as `AuthFailure.TokenFailure`; else a fixed text, as a value may quote a secret. */
export function codeOf (value: unknown, confidential: readonly string[] = []): string {
  const isCode = typeof value === 'string' && value.length <= 80 && /^[A-Z][A-Za-z]+(\.[A-Z][A-Za-z]+)*$/.test(value)
  return isCode && !confidential.some(each => value.includes(each) || each.includes(value)) ? value : 'an unknown code'
}

/** Returns ISO 8601 in whole seconds. */
function isoSeconds (at: number): string {
  return `${new Date(at).toISOString().slice(0, 'YYYY-MM-DDTHH:mm:ss'.length)}Z`
}

/** Returns milliseconds since 1970; NaN when the value is not an instant. */
function instantOf (value: unknown): number {
  const text = String(value)
  // A time without a zone is UTC, but Date.parse reads it as local time.
  if (/^\d{4}-\d\d-\d\dT/.test(text)) return Date.parse(/(Z|[+-]\d\d:?\d\d)$/i.test(text) ? text : `${text}Z`)
  const seconds = typeof value === 'number' || /^\d+$/.test(text) ? Number(text) : NaN
  return seconds > 0 && seconds <= maxEpochSeconds ? seconds * 1000 : NaN
}
