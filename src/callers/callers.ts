import { hash, timingSafeEqual } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import type { JWTPayload } from 'jose'
import { ConfigError } from '../config/environment.ts'
import { parseCallers } from './callers-file.ts'
import type { Caller } from './callers-file.ts'
import { matchesCertificate } from './certificate.ts'
import type { PresentedCertificate } from './certificate.ts'
import type { JwtVerifier } from './jwt.ts'

export type { Caller } from './callers-file.ts'
export type { PresentedCertificate } from './certificate.ts'

/** What a request brings to be recognised by. */
export interface Presented {
  /** The value of the Authorization header. */
  authorization: string | undefined
  /** Of a client that TLS has accepted. */
  certificate: PresentedCertificate | undefined
}

/** Those who may call. */
export interface Callers {
  /**
   * Who sent a request; undefined for somebody unknown. A request with an Authorization header is judged by it alone,
   * so that a wrong key never passes for the sake of the machine it comes from.
   *
   * @throws {ServiceError} IssuerUnreachable
   */
  identify (presented: Presented): Promise<Caller | undefined>
  /**
   * Reads the callers anew, for the requests that come after.
   *
   * @throws {ConfigError} naming every fault; the callers stay who they were
   */
  reload (): void
  /** Names of callers who can never be recognised: by token or certificate only, and this service checks neither. */
  unreachable (): string[]
}

interface CallersOptions {
  /** Gives the text of the callers file. */
  read: () => string
  /** Without one, no token is taken. */
  verifier?: JwtVerifier | undefined
  /** Whether clients must show a certificate. */
  tls: boolean
}

/**
 * The callers of a file.
 *
 * @throws {ConfigError} naming every fault of the file
 */
export function createCallers ({ read, verifier, tls }: CallersOptions): Callers {
  let callers = readCallers(read)

  async function byBearer (token: string): Promise<Caller | undefined> {
    const byKey = ownerOf(token, callers)
    if (byKey !== undefined || verifier === undefined || !isJwt(token)) return byKey
    const payload = await verifier.verify(token)
    return payload && callers.find(({ claims }) => claims !== undefined && hasClaims(payload, claims))
  }

  return {
    async identify ({ authorization, certificate }) {
      if (authorization !== undefined) {
        const token = bearer.exec(authorization)?.[1]
        return token === undefined ? undefined : byBearer(token)
      }
      return certificate && callers.find(caller =>
        caller.certificate !== undefined && matchesCertificate(caller.certificate, certificate))
    },
    reload () {
      callers = readCallers(read)
    },
    unreachable () {
      return callers.filter(({ keys, claims, certificate }) => {
        const others = [claims !== undefined && verifier !== undefined, certificate !== undefined && tls]
        return keys.length === 0 && (claims ?? certificate) !== undefined && !others.includes(true)
      }).map(({ name }) => name)
    }
  }
}

function readCallers (read: () => string): Caller[] {
  let text: string
  try {
    text = read()
  } catch (error) {
    throw new ConfigError([`CALLERS_FILE cannot be read: ${(error as NodeJS.ErrnoException).code}`])
  }
  return parseCallers(text)
}

/** RFC 6750, section 2.1, with the blanks and the letter case that RFC 9110, section 11, leaves free. */
const bearer = /^Bearer +([A-Za-z0-9._~+/-]+=*)$/i

/**
 * Whose key a bearer token is. Hashes are compared, so that the time a comparison takes tells nothing about a key, and
 * all of them to the end, so that it does not tell either which caller comes how far down in the file.
 */
function ownerOf (token: string, callers: readonly Caller[]): Caller | undefined {
  const digest = hash('sha256', token, 'buffer')
  let owner: Caller | undefined
  for (const caller of callers) {
    for (const key of caller.keys) {
      if (timingSafeEqual(key, digest)) owner = caller
    }
  }
  return owner
}

/**
 * Three parts in base64url of which the first is a header with an algorithm (RFC 7515, section 7.1). Looked at without
 * jose, which is loaded only where an issuer is configured.
 */
function isJwt (token: string): boolean {
  const [, header] = /^([\w-]+)\.[\w-]+\.[\w-]*$/.exec(token) ?? []
  if (header === undefined) return false
  try {
    const { alg } = JSON.parse(Buffer.from(header, 'base64url').toString()) as { alg?: unknown }
    return typeof alg === 'string'
  } catch {
    return false
  }
}

function hasClaims (payload: JWTPayload, claims: Readonly<Record<string, unknown>>): boolean {
  return Object.entries(claims).every(([name, value]) => isDeepStrictEqual(payload[name], value))
}
