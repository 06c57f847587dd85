import type { Redis } from 'ioredis'
import type { Logger } from 'pino'
import type { Secret } from './secret.ts'

/** How long a request waits for Redis at the most, and a start for the first connection. */
const patienceMs = 500
const longestPauseMs = 2_000

/** A connection that is opened again for as long as it is wanted. */
export interface RedisConnection {
  redis: Redis
  close (): void
}

/**
 * Connects to Redis and keeps at it. While it is away commands fail at once instead of queueing; one that does not
 * answer in half a second counts as away. Being away and being back are logged once each.
 */
export async function connectRedis (url: Secret, log: Logger): Promise<RedisConnection> {
  // Loaded by those who use it only.
  const { Redis } = await import('ioredis')
  const redis = new Redis(url.reveal(), {
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    connectTimeout: patienceMs,
    socketTimeout: patienceMs,
    retryStrategy: attempts => Math.min(attempts * 100, longestPauseMs)
  })
  let isAway = false
  const away = (cause: string) => {
    if (!isAway) log.error({ cause }, 'Redis is away: requests pass, the rate limit does not count')
    isAway = true
  }
  redis.on('error', error => { away(causeOf(error)) })
  redis.on('close', () => { away('the connection was closed') })
  redis.on('ready', () => {
    if (isAway) log.info('Redis is back: the rate limit counts again')
    isAway = false
  })
  await new Promise(resolve => { redis.once('ready', resolve).once('error', resolve) })
  return {
    redis,
    close () {
      redis.removeAllListeners('close').disconnect()
    }
  }
}

/** A code, such as ECONNREFUSED, or the first word of what Redis said: the rest can quote the password. */
function causeOf ({ code, message, name }: Error & { code?: string }): string {
  return code ?? /^[A-Z]{3,}/.exec(message)?.[0] ?? name
}
