import { hash, timingSafeEqual } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import type { JWTPayload } from 'jose'
import { createPauses } from '../concurrency/event-loop.ts'
import { ConfigError } from '../config/environment.ts'
import { parseCallers } from './callers-file.ts'
import type { Caller } from './callers-file.ts'
import { matchesCertificate } from './certificate.ts'
import type { PresentedCertificate } from './certificate.ts'
import type { JwtVerifier } from './jwt.ts'

export type { Caller } from './callers-file.ts'
export type { PresentedCertificate } from './certificate.ts'

/** The credentials of a request. */
export interface Presented {
  /** The value of the Authorization header. */
  authorization: string | undefined
  /** The client certificate that TLS accepted. */
  certificate: PresentedCertificate | undefined
}

/** Identifies callers. */
export interface Callers {
  /**
   * Returns the caller of a request; undefined if it is unknown. If there is an Authorization header, only that header
   * counts. A client certificate does not make up for a wrong key.
   *
   * @throws {ServiceError} IssuerUnreachable
   */
  identify (presented: Presented): Promise<Caller | undefined>
  /**
   * Reads the callers again, for subsequent requests. Must not be called before an earlier call has ended.
   *
   * @throws {ConfigError} with every issue; the previous callers stay in effect
   */
  reload (): Promise<void>
  /**
   * Returns the names of callers that cannot authenticate. They have only tokens or certificates, and this service does
   * not check them.
   */
  unreachable (): string[]
}

interface CallersOptions {
  /** Returns the text of the callers file. */
  read: () => string
  /** Undefined rejects every token. */
  verifier?: JwtVerifier | undefined
  /** Whether TLS requires client certificates. */
  tls: boolean
}

/**
 * Creates the callers of a callers file.
 *
 * @throws {ConfigError} with every issue of the file
 */
export async function createCallers ({ read, verifier, tls }: CallersOptions): Promise<Callers> {
  let callers = await readCallers(read)
  let owners = await keyOwnersOf(callers)

  async function byBearer (token: string): Promise<Caller | undefined> {
    const byKey = ownerOf(token, owners)
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
    async reload () {
      const present = await readCallers(read)
      owners = await keyOwnersOf(present)
      callers = present
    },
    unreachable () {
      return callers.filter(({ keys, claims, certificate }) => {
        const others = [claims !== undefined && verifier !== undefined, certificate !== undefined && tls]
        return keys.length === 0 && (claims ?? certificate) !== undefined && !others.includes(true)
      }).map(({ name }) => name)
    }
  }
}

async function readCallers (read: () => string): Promise<Caller[]> {
  let text: string
  try {
    text = read()
  } catch (error) {
    throw new ConfigError([`CALLERS_FILE cannot be read: ${(error as NodeJS.ErrnoException).code}`])
  }
  return await parseCallers(text)
}

/** RFC 6750, section 2.1. RFC 9110, section 11, allows several spaces and any letter case. */
const bearer = /^Bearer +([A-Za-z0-9._~+/-]+=*)$/i

/** The owners of keys, by the first half of the digest. */
type KeyOwners = ReadonlyMap<string, { digest: Buffer, caller: Caller }>

const firstHalf = (digest: Buffer) => digest.toString('latin1', 0, digest.length / 2)

async function keyOwnersOf (callers: readonly Caller[]): Promise<KeyOwners> {
  const owners = new Map<string, { digest: Buffer, caller: Caller }>()
  const pause = createPauses()
  for (const caller of callers) {
    await pause()
    for (const digest of caller.keys) owners.set(firstHalf(digest), { digest, caller })
  }
  return owners
}

/**
 * Returns the caller that owns a bearer token. The time of the look-up can only say something about the first half of a
 * digest, from which no key can be computed. The other half is compared in constant time.
 */
function ownerOf (token: string, owners: KeyOwners): Caller | undefined {
  const digest = hash('sha256', token, 'buffer')
  const owner = owners.get(firstHalf(digest))
  return owner !== undefined && timingSafeEqual(owner.digest, digest) ? owner.caller : undefined
}

/**
 * Returns whether a token has the form of a JWT: three parts in base64url, the first with an algorithm (RFC 7515,
 * section 7.1). Does not use jose, which is loaded only if an issuer is configured.
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
