import { decodeProtectedHeader, errors, jwtVerify } from 'jose'
import type { JWTPayload, JWTVerifyGetKey, JWTVerifyOptions, LocalJWKSet } from 'jose'
import type { JwtConfig } from '../config/access.ts'
import { ServiceError } from '../errors.ts'
import { createKeySet } from './key-set.ts'
import type { KeySetOptions } from './key-set.ts'

export interface JwtOptions extends KeySetOptions {
  /** Wall clock, in milliseconds since 1970, for `exp` and `nbf`. */
  now: () => number
}

/** Verifies the tokens of one issuer. */
export interface JwtVerifier {
  /**
   * Returns the claims of a token; undefined if it is invalid for any reason.
   *
   * @throws {ServiceError} IssuerUnreachable until the keys of the issuer have been fetched once
   */
  verify (token: string): Promise<JWTPayload | undefined>
  /** Fetches the keys ahead of the first token. Never throws. */
  start (): Promise<void>
}

/**
 * Asymmetric signatures only (RFC 8725, section 3.1). With `none`, every client could create tokens. With HMAC, every
 * client that knows the public key could.
 */
const algorithms = [
  'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'
]

/**
 * Creates a verifier of JSON Web Tokens (RFC 7519, RFC 8725). A token must be signed with a key that the issuer
 * publishes at the configured URL. Keys that the token itself names are ignored. The audience must match, and `exp` is
 * required. Clocks may differ by 30 seconds.
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
      // jose calls this after it has checked the header. A token with an invalid header needs no keys.
      return await payloadOf(token, async (...header) => {
        used = await keySet.current()
        return used(...header)
      }, rules)
    } catch (error) {
      if (used === undefined || !isKeyMissing(error, token)) throw error
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
        // The error itself contains the values of the claims.
        const { code, name, claim } = error as { code?: unknown, name: string, claim?: unknown }
        log.debug({ reason: typeof code === 'string' ? code : name, claim }, 'token rejected')
        return undefined
      }
    }
  }
}

/** Returns the claims of a token. Without a key id, any key of the set may have signed it, so each one is tried. */
async function payloadOf (token: string, keys: JWTVerifyGetKey, rules: JWTVerifyOptions): Promise<JWTPayload> {
  try {
    return (await jwtVerify(token, keys, rules)).payload
  } catch (error) {
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error
    for await (const key of error) {
      try {
        return (await jwtVerify(token, key, rules)).payload
      } catch (mismatch) {
        // Other errors come from a malformed or short key. Another key may still match.
        const isAboutClaims = mismatch instanceof errors.JOSEError &&
          !(mismatch instanceof errors.JWSSignatureVerificationFailed)
        if (isAboutClaims) throw mismatch
      }
    }
    throw new errors.JWSSignatureVerificationFailed()
  }
}

/** Returns whether newer keys could make a token valid. Without a key id, a new key may have signed it. */
function isKeyMissing (error: unknown, token: string): boolean {
  return error instanceof errors.JWKSNoMatchingKey ||
    (error instanceof errors.JWSSignatureVerificationFailed && decodeProtectedHeader(token).kid === undefined)
}
