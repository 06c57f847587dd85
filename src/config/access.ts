import { isIPv4, isIPv6 } from 'node:net'
import type { EnvironmentReader } from './environment.ts'

/** How tokens of callers are verified. */
export interface JwtConfig {
  jwksUrl: string
  issuer: string
  audience: string
}

/** Authentication: disabled, or by a callers file. */
export type AuthConfig = 'none' | { callersFile: string, jwt: JwtConfig | undefined }

/** Reads how callers are authenticated. Rejects combinations that accept more callers than the operator may expect. */
export function readAuth (reader: EnvironmentReader, host: string): AuthConfig {
  const { issues } = reader
  const auth = reader.read('AUTH')
  const anywhere = reader.read('AUTH_NONE_ANYWHERE')
  const callersFile = reader.read('CALLERS_FILE')
  const jwt = readJwt(reader)
  if (auth === 'none') {
    const named = [...callersFile === undefined ? [] : ['CALLERS_FILE'], ...jwtNames.filter(name => reader.has(name))]
    if (named.length > 0) issues.push(`AUTH=none disables authentication, so that ${named.join(', ')} would have no effect: unset one or the other`)
    if (!anywhere && !isLoopback(host)) {
      issues.push('AUTH=none disables authentication, and HOST is an address that other machines reach: ' +
        'set HOST=127.0.0.1, or AUTH_NONE_ANYWHERE=true if a proxy authenticates callers')
    }
    return 'none'
  }
  if (callersFile === undefined) {
    issues.push('AUTH=required needs CALLERS_FILE with the callers and their permissions (or set AUTH=none to try the service)')
    return 'none'
  }
  return { callersFile, jwt }
}

const jwtNames = ['JWT_JWKS_URL', 'JWT_ISSUER', 'JWT_AUDIENCE'] as const

function readJwt (reader: EnvironmentReader): JwtConfig | undefined {
  const jwksUrl = reader.read('JWT_JWKS_URL')
  const [issuer, audience] = [reader.read('JWT_ISSUER'), reader.read('JWT_AUDIENCE')]
  const set = jwtNames.filter(name => reader.has(name))
  if (set.length % jwtNames.length > 0) {
    reader.issues.push(`${set.join(' and ')} alone ${set.length === 1 ? 'does' : 'do'} not define which tokens are valid: ` +
      'set JWT_JWKS_URL, JWT_ISSUER and JWT_AUDIENCE')
  }
  return jwksUrl !== undefined && issuer !== undefined && audience !== undefined
    ? { jwksUrl, issuer, audience }
    : undefined
}

/**
 * Returns the host names that unauthenticated requests may have in their Host header, besides loopback names. These are
 * ALLOWED_HOSTS and the address of the listener. Returns undefined when callers are authenticated.
 */
export function readAllowedHosts (reader: EnvironmentReader, auth: AuthConfig, host: string): string[] | undefined {
  const names = reader.read('ALLOWED_HOSTS')
  return auth === 'none' ? [...names, isIPv6(host) ? `[${host}]` : host] : undefined
}

function isLoopback (host: string): boolean {
  return (isIPv4(host) && host.startsWith('127.')) || (isIPv6(host) && host === '::1')
}
