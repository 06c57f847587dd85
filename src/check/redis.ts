import type { Logger } from 'pino'
import { connectRedis } from '../outbound/redis.ts'
import type { Secret } from '../secret.ts'
import type { Report } from './finding.ts'

/** Remedies by the first word of an error of Redis. */
const remedies: Readonly<Record<string, string>> = {
  WRONGPASS: 'Correct user and password in REDIS_URL.',
  NOAUTH: 'Add user and password to REDIS_URL.',
  NOPERM: 'Allow +eval +incr +pttl +pexpire on ~cos-inventory-proxy:* for its user.'
}

/**
 * Checks Redis with the command that the rate limits use. PING needs neither a permission on keys nor a primary server.
 */
export async function checkRedis (url: Secret | undefined, report: Report, { info }: Logger): Promise<void> {
  if (url === undefined) {
    report.ok('REDIS_URL is not set, so each replica counts its own requests.')
    return
  }
  const causes: string[] = []
  const error = (fields: unknown) => { causes.push((fields as { cause: string }).cause) }
  const redis = await connectRedis(url, { error, info })
  const isUp = redis.isUp()
  redis.close()
  const { host } = new URL(url.reveal())
  const [cause = ''] = causes
  if (isUp) report.ok(`Redis at ${host} counts requests.`)
  else report.error(`Redis at ${host} is unavailable: ${cause}. ${remedies[cause] ?? 'Correct REDIS_URL, or start Redis.'}`)
}
