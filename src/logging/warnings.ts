import { isIP } from 'node:net'
import type { Logger } from 'pino'
import type { Config } from '../config/config.ts'

const hourMs = 3_600_000

/**
 * Logs warnings about the configuration. While authentication is disabled, logs that warning again every hour.
 *
 * @param unreachable names of callers that cannot authenticate
 * @returns a function that ends the hourly warning
 */
export function logWarnings (
  { auth, cos: { deadlineMs }, ineffective, shutdownGraceMs: graceMs, unknown, unsupported }: Config,
  unreachable: string[], log: Pick<Logger, 'warn'>, everyMs = hourMs
): () => void {
  const warnOfDisabledAuthentication = () => {
    log.warn('AUTH=none, authentication is disabled')
  }
  if (auth === 'none') {
    warnOfDisabledAuthentication()
  } else if (auth.jwt !== undefined && isPlainAndRemote(new URL(auth.jwt.jwksUrl))) {
    log.warn('JWT_JWKS_URL is plain HTTP, keys can be forged in transit')
  }
  if (unreachable.length > 0) {
    log.warn({ callers: unreachable, variables: ['JWT_JWKS_URL', 'TLS_CLIENT_CA_FILE'] },
      'callers cannot authenticate, a variable is not set')
  }
  if (ineffective.length > 0) {
    log.warn({ variables: ineffective }, 'variables are set but have no effect')
  }
  if (unknown.length > 0) log.warn({ variables: unknown }, 'variables are unknown and have no effect')
  for (const each of unsupported) log.warn(each, 'variable has an unsupported value')
  if (graceMs < deadlineMs) {
    log.warn({ graceMs, deadlineMs }, 'SHUTDOWN_GRACE_MS is below COS_DEADLINE_MS, a stop can abort requests')
  }
  const reminder = auth === 'none' ? setInterval(warnOfDisabledAuthentication, everyMs).unref() : undefined
  return () => { clearInterval(reminder) }
}

function isPlainAndRemote ({ protocol, hostname }: URL): boolean {
  return protocol === 'http:' && hostname !== 'localhost' && hostname !== '[::1]' &&
    !(isIP(hostname) === 4 && hostname.startsWith('127.'))
}
