import type { Logger } from 'pino'
import type { Secret } from '../secret.ts'

/** Limit of a connection attempt, and of the wait for a response, in milliseconds. */
const timeoutMs = 500
const longestPauseMs = 2_000

/** Separates the keys of this service from those of others. ACLs can name it. */
const keyPrefix = 'cos-inventory-proxy:'

/** The expiry is set for every key without one, so that no key stays at its limit forever. */
const countScript = `
local current = redis.call('INCR', KEYS[1])
local ttl = redis.call('PTTL', KEYS[1])
if ttl < 0 then
  ttl = tonumber(ARGV[1])
  redis.call('PEXPIRE', KEYS[1], ttl)
end
return {current, ttl}`

/** The requests of a key within its window. */
export interface Count {
  current: number
  /** Milliseconds until the window ends. */
  ttl: number
}

/** Counters in Redis, which replicas share. */
export interface RedisCounters {
  /**
   * Adds 1 to a key, whose window starts with its first request.
   *
   * @param windowMs milliseconds; at least 1
   * @throws {Error} if Redis is unavailable or rejects the command
   */
  count (key: string, windowMs: number): Promise<Count>
  /** Returns whether the last command succeeded and the connection is still open. */
  isUp (): boolean
  close (): void
}

/**
 * Connects to Redis and reconnects until it is closed. Redis is unavailable while it is disconnected, and from a
 * rejected command until the next successful one. Commands then fail within half a second. The log has one line when
 * Redis becomes unavailable, and one when it is available again.
 */
export async function connectRedis (url: Secret, log: Pick<Logger, 'error' | 'info'>): Promise<RedisCounters> {
  // Loaded on demand: services without Redis do not need it.
  const { Redis } = await import('ioredis')
  let isUp = true
  let isClosed = false
  let failedConnections = 0
  const redis = new Redis(url.reveal(), {
    enableOfflineQueue: false,
    // The first command after each connect checks more than the ready check does, and needs no permission for INFO.
    enableReadyCheck: false,
    maxRetriesPerRequest: 0,
    connectTimeout: timeoutMs,
    socketTimeout: timeoutMs,
    // A failover made this server a replica. The address can already be that of the new primary.
    reconnectOnError: ({ message }) => message.includes('READONLY'),
    // The client would restart with the shortest pause after each connect, even if the first command is rejected.
    retryStrategy: () => {
      failedConnections += 1
      return Math.min(failedConnections * 100, longestPauseMs)
    }
  })
  const setUnavailable = (cause: string): void => {
    if (isUp && !isClosed) log.error({ cause }, 'Redis unavailable, rate limit is off')
    isUp = false
  }
  const setAvailable = (): void => {
    if (!isUp) log.info('Redis available again')
    isUp = true
    failedConnections = 0
  }
  const count = async (key: string, windowMs: number): Promise<Count> => {
    try {
      const counted = countOf(await redis.eval(countScript, 1, keyPrefix + key, windowMs))
      setAvailable()
      return counted
    } catch (error) {
      setUnavailable(causeOf(error as Error))
      throw error
    }
  }
  // Failures are in the log already.
  const probe = () => count('probe', 1_000).then(() => {}, () => {})
  redis.on('error', (error: Error & { command?: { name: string } }) => {
    setUnavailable(causeOf(error))
    // The client would continue with database 0, which can belong to another service.
    if (error.command?.name === 'select') redis.disconnect(true)
  })
  redis.on('close', () => { setUnavailable('connection closed') })
  redis.on('ready', () => { void probe() })
  await new Promise(resolve => { redis.once('ready', resolve).once('error', resolve).once('close', resolve) })
  await probe()
  return {
    count,
    isUp: () => isUp,
    close () {
      isClosed = true
      redis.disconnect()
    }
  }
}

function countOf (reply: unknown): Count {
  const [current, ttl] = Array.isArray(reply) ? reply as unknown[] : []
  if (typeof current === 'number' && typeof ttl === 'number') return { current, ttl }
  throw new Error('MALFORMED count')
}

/** Returns a code such as ECONNREFUSED, or the first word of a message. The other words can quote the password. */
function causeOf ({ code, message, name }: Error & { code?: string }): string {
  return code ?? /^[A-Z]{3,}/.exec(message)?.[0] ?? name
}
