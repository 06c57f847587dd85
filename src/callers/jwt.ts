import { decodeProtectedHeader, errors, jwtVerify } from 'jose'
import type { JWTPayload, JWTVerifyGetKey, JWTVerifyOptions, LocalJWKSet } from 'jose'
import type { JwtConfig } from '../config/access.ts'
import { ServiceError } from '../errors.ts'
import { createKeySet } from './key-set.ts'
import type { KeySetOptions } from './key-set.ts'

export interface JwtOptions extends KeySetOptions {
  /** Wall clock, in milliseconds since 1970: `exp` and `nbf` are stated in its terms. */
  now: () => number
}

/** Checks the tokens of one issuer. */
export interface JwtVerifier {
  /**
   * The claims of a token; undefined for one that is not good, for whatever reason.
   *
   * @throws {ServiceError} IssuerUnreachable while the keys of the issuer could never be fetched
   */
  verify (token: string): Promise<JWTPayload | undefined>
  /** Fetches the keys ahead of the first token. Never throws. */
  start (): Promise<void>
}

/**
 * Signatures by a private key only (RFC 8725, section 3.1): with `none` anybody, and with HMAC anybody who can read
 * the public key could make tokens.
 */
const algorithms = [
  'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'
]

/**
 * The check of JSON Web Tokens (RFC 7519, RFC 8725): signed with a key the issuer publishes at its one configured
 * address, whatever the token itself says of keys; for our audience; and within its time, of which `exp` must be there.
 * Clocks may differ by 30 seconds.
 */
export function createJwtVerifier ({ jwksUrl, issuer, audience }: JwtConfig, options: JwtOptions): JwtVerifier {
  const { now, log } = options
  const keySet = createKeySet(jwksUrl, options)

  async function check (token: string): Promise<JWTPayload> {
    const rules = {
      algorithms, issuer, audience, requiredClaims: ['exp'], clockTolerance: 30, currentDate: new Date(now())
    }
    let used: LocalJWKSet | undefined
    try {
      // Asked for after the header has been looked at: a token that cannot be good needs no keys.
      return await payloadOf(token, async (...header) => {
        used = await keySet.current()
        return used(...header)
      }, rules)
    } catch (error) {
      if (used === undefined || !isForLackOfKey(error, token)) throw error
      const other = await keySet.otherThan(used)
      if (other === undefined) throw error
      return payloadOf(token, other, rules)
    }
  }

  return {
    start: keySet.start,
    async verify (token) {
      try {
        return await check(token)
      } catch (error) {
        if (error instanceof ServiceError) throw error
        // Not the error: it holds the values of the claims.
        const { code, name, claim } = error as { code?: unknown, name: string, claim?: unknown }
        log.debug({ reason: typeof code === 'string' ? code : name, claim }, 'token rejected')
        return undefined
      }
    }
  }
}

/** A token without a key id may be signed with any of several keys: whichever fits. */
async function payloadOf (token: string, keys: JWTVerifyGetKey, rules: JWTVerifyOptions): Promise<JWTPayload> {
  try {
    return (await jwtVerify(token, keys, rules)).payload
  } catch (error) {
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error
    for await (const key of error) {
      try {
        return (await jwtVerify(token, key, rules)).payload
      } catch (mismatch) {
        // An error that is not jose's own comes of a key that is broken or too short: then another may fit.
        const isAboutClaims = mismatch instanceof errors.JOSEError &&
          !(mismatch instanceof errors.JWSSignatureVerificationFailed)
        if (isAboutClaims) throw mismatch
      }
    }
    throw new errors.JWSSignatureVerificationFailed()
  }
}

/** Whether newer keys could make a token good. Without a key id, any signature may be one of a new key. */
function isForLackOfKey (error: unknown, token: string): boolean {
  return error instanceof errors.JWKSNoMatchingKey ||
    (error instanceof errors.JWSSignatureVerificationFailed && decodeProtectedHeader(token).kid === undefined)
}
