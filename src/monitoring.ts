/** Wires what operators see: metrics that are read at each scrape, and the components of `/readyz?verbose`. */
import type { Component } from './contract/readiness.ts'
import type { Reloader } from './files/reload.ts'
import type { ConnectionRegistry } from './http/connections/connection-registry.ts'
import type { TlsRenewal } from './http/connections/tls.ts'
import type { AuditLog } from './logging/audit-log.ts'
import type { Outputs } from './logging/log.ts'
import type { Readings } from './metrics.ts'
import type { RedisCounters } from './outbound/redis.ts'
import type { StreamSlots } from './reports/stream-slots.ts'
import type { CosClient } from './upstream.ts'

/** The parts that are watched. */
export interface Monitored {
  audit: AuditLog
  connections: ConnectionRegistry
  cos: CosClient
  outputs: Outputs
  /** Undefined if it is not configured. */
  redis: RedisCounters | undefined
  reloader: Reloader
  slots: StreamSlots
}

/**
 * Returns the values that are read at each scrape.
 *
 * @param tls undefined without TLS
 */
export function readingsOf (
  { audit, connections, cos, outputs: { stdout, stderr }, redis, reloader, slots }: Monitored,
  tls: TlsRenewal | undefined
): Readings {
  const { accounts, clock, limiter, transport } = cos
  return {
    occupation: limiter.occupation,
    connections: transport.connections,
    backlog: () => connections.backlog(),
    credentials: () => accounts.list().map(({ name: account, credentials }) => ({
      account, isAvailable: credentials.unavailableReason() === undefined, expiresAt: credentials.expiresAt()
    })),
    skewMs: clock.skewMs,
    reportStreams: slots.taken,
    redisUp: redis?.isUp,
    droppedLogLines: () => stdout.droppedLines() + stderr.droppedLines(),
    reloads: reloader.states,
    isAuditLogWritable: audit.isWritable,
    failedAuditWrites: audit.failedWrites,
    certificateExpiresAt: tls?.expiresAt
  }
}

/** Returns the components of the service with their present states. */
export function componentsOf ({ audit, cos, redis, reloader }: Monitored): Component[] {
  const states = reloader.states()
  const read = (name: Component['name'], file: string, account?: string): Component => {
    const found = states.find(each => each.file === file && each.account === account)
    if (found === undefined) return { name, state: 'disabled' }
    const { isCurrent, readAt } = found
    const state = isCurrent ? 'ok' : 'outdated'
    return { name, state, ...readAt === undefined ? {} : { readAt: new Date(readAt).toISOString() } }
  }
  return [
    ...cos.accounts.list().map(({ name: account, credentials }): Component => ({
      ...read('credentials', 'COS_CREDENTIALS', account),
      account,
      ...credentials.unavailableReason() === undefined ? {} : { state: 'failing' }
    })),
    read('accounts', 'COS_ACCOUNTS_FILE'),
    read('callers', 'CALLERS_FILE'),
    read('tls', 'TLS_*'),
    { name: 'auditLog', state: audit.isWritable() ? 'ok' : 'failing' },
    { name: 'redis', state: redis === undefined ? 'disabled' : redis.isUp() ? 'ok' : 'failing' }
  ]
}
