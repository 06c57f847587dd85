import { isIP } from 'node:net'
import type { Logger } from 'pino'
import type { Config } from '../config/config.ts'

const hourMs = 3_600_000

/**
 * Says at the start what an operator should know, and every hour again that everyone may call, if that is so.
 *
 * @param unreachable callers that nobody can be recognised as
 * @returns ends the reminder
 */
export function logWarnings (
  { auth, notInForce, unsupported }: Config, unreachable: string[], log: Pick<Logger, 'warn'>, everyMs = hourMs
): () => void {
  const warnOfOpenDoor = () => {
    log.warn('AUTH=none: everyone who reaches this port may read and change inventories with its credentials')
  }
  if (auth === 'none') {
    warnOfOpenDoor()
  } else if (auth.jwt !== undefined && isPlainAndFar(new URL(auth.jwt.jwksUrl))) {
    log.warn('JWT_JWKS_URL is plain HTTP: whoever is on the way can bring keys of their own')
  }
  if (unreachable.length > 0) {
    log.warn({ callers: unreachable }, 'nobody can be recognised as these callers: ' +
      'jwt needs JWT_JWKS_URL, certificate needs TLS_CLIENT_CA_FILE')
  }
  if (notInForce.length > 0) {
    log.warn({ variables: notInForce }, 'these variables are set, but nothing acts on them')
  }
  for (const each of unsupported) log.warn(each, 'variable has an unsupported value')
  const reminder = auth === 'none' ? setInterval(warnOfOpenDoor, everyMs).unref() : undefined
  return () => { clearInterval(reminder) }
}

function isPlainAndFar ({ protocol, hostname }: URL): boolean {
  return protocol === 'http:' && hostname !== 'localhost' && hostname !== '[::1]' &&
    !(isIP(hostname) === 4 && hostname.startsWith('127.'))
}
