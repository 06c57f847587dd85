import type { Logger } from 'pino'
import { openCallers, openVerifier } from '../authentication.ts'
import type { Config } from '../config/config.ts'
import { createFetcher } from '../outbound/fetch-json.ts'
import type { Report } from './finding.ts'

/**
 * Checks the callers file, and that each caller has a way to authenticate.
 *
 * @throws {ConfigError} with every issue of the file
 */
export async function checkCallers ({ auth, cos, tls }: Config, report: Report, log: Logger): Promise<void> {
  if (auth === 'none') {
    report.ok('AUTH=none, so there is no callers file.')
    return
  }
  const { now } = Date
  const verifier = await openVerifier(auth, { now, steadyNow: now, log, fetcher: createFetcher(cos.proxies) })
  const unreachable = (await openCallers(auth, tls, verifier)).unreachable()
  if (unreachable.length === 0) report.ok('CALLERS_FILE is valid.')
  else {
    report.warning(`These callers cannot authenticate: ${unreachable.join(', ')}. Set JWT_JWKS_URL for jwt, and ` +
      'TLS_CLIENT_CA_FILE for certificate.')
  }
}
