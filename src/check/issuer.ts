import type { AuthConfig } from '../config/access.ts'
import type { Config } from '../config/config.ts'
import { openVerifier } from '../authentication.ts'
import { createFetcher } from '../outbound/fetch-json.ts'
import type { Report } from './finding.ts'

/** Checks that the key set of the tokens' issuer can be fetched. */
export async function checkIssuer (
  auth: AuthConfig, proxies: Config['cos']['proxies'], report: Report
): Promise<void> {
  const reasons: unknown[] = []
  const record = (fields: object) => { reasons.push((fields as { reason: unknown }).reason) }
  const log = { debug: record, warn: record }
  const verifier = await openVerifier(auth, {
    now: Date.now, steadyNow: () => performance.now(), log, fetcher: createFetcher(proxies)
  })
  if (verifier === undefined) {
    report.ok('JWT_JWKS_URL is not set, so no token is accepted.')
    return
  }
  await verifier.start()
  const [reason] = reasons
  if (reason === undefined) report.ok('The key set at JWT_JWKS_URL was fetched.')
  else report.error(`The key set at JWT_JWKS_URL cannot be fetched: ${reason}. Correct the URL, or allow the connection.`)
}
