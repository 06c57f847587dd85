/** Wires the parts that authenticate callers. */
import { createCallers } from './callers/callers.ts'
import type { Callers } from './callers/callers.ts'
import type { JwtOptions, JwtVerifier } from './callers/jwt.ts'
import type { AuthConfig } from './config/access.ts'
import type { TlsConfig } from './config/config.ts'
import { readTextFile } from './files/text-file.ts'

/** Creates the verifier of tokens. It is loaded only if tokens are configured, because loading costs start-up time. */
export async function openVerifier (auth: AuthConfig, options: JwtOptions): Promise<JwtVerifier | undefined> {
  if (auth === 'none' || auth.jwt === undefined) return undefined
  const { createJwtVerifier } = await import('./callers/jwt.ts')
  return createJwtVerifier(auth.jwt, options)
}

/**
 * Reads the callers file.
 *
 * @throws {ConfigError} with every issue of the file
 */
export function openCallers (
  { callersFile }: Exclude<AuthConfig, 'none'>, tls: TlsConfig | undefined, verifier: JwtVerifier | undefined
): Promise<Callers> {
  return createCallers({ read: () => readTextFile(callersFile), verifier, tls: tls?.clientCaFile !== undefined })
}
