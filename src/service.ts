import { readFileSync } from 'node:fs'
import type { FastifyInstance } from 'fastify'
import type { Logger } from 'pino'
import { buildApp, buildMetricsApp } from './app.ts'
import { createAuditLog, rejectUnaudited } from './logging/audit-log.ts'
import type { AuditLog } from './logging/audit-log.ts'
import { createAnyone } from './callers/anyone.ts'
import { createCallers } from './callers/callers.ts'
import type { Callers } from './callers/callers.ts'
import type { JwtOptions, JwtVerifier } from './callers/jwt.ts'
import { createVersionedInventories } from './changes/versioned-inventories.ts'
import { createCheckedInventories } from './changes/checked-inventories.ts'
import { createDesiredSets } from './changes/desired-set.ts'
import { createLocks } from './changes/locks.ts'
import type { Config, TlsConfig } from './config/config.ts'
import { ConfigError } from './config/environment.ts'
import { createCosClient } from './upstream.ts'
import type { CosClient } from './upstream.ts'
import { createFetcher } from './outbound/fetch-json.ts'
import { ConnectionRegistry } from './http/connections/connection-registry.ts'
import { readOpenApiDocuments } from './http/documentation.ts'
import { createLifecycle, cutRequests, shutDown } from './http/connections/graceful-shutdown.ts'
import { addTlsRenewal, readTls } from './http/connections/tls.ts'
import type { Outputs } from './logging/log.ts'
import { createMetrics } from './metrics.ts'
import type { Readings } from './metrics.ts'
import type { OtelOptions } from './tracing/otel.ts'
import { connectRedis } from './outbound/redis.ts'
import type { RedisCounters } from './outbound/redis.ts'
import { createReloader } from './files/reload.ts'
import type { Reloader } from './files/reload.ts'
import { readTextFile } from './files/text-file.ts'
import { createPassingTracer, withoutPropagation } from './tracing/tracing.ts'
import type { Tracer } from './tracing/tracing.ts'
import { logWarnings } from './logging/warnings.ts'

/** A running service. */
export interface Service {
  app: FastifyInstance
  /** The URL of the service, such as `http://127.0.0.1:8080`. */
  url: string
  /** The URL of `/metrics` when it has a port of its own. */
  metricsUrl: string | undefined
  /** Reads callers, certificates and credentials again. Logs errors, and keeps the previous values then. */
  reload (): Promise<void>
  /** Records the changes in flight as unknown, because the process ends at once. */
  cut (): void
  /** Stops within `SHUTDOWN_DELAY_MS` and `SHUTDOWN_GRACE_MS`. Returns whether every request had ended. */
  stop (): Promise<boolean>
}

/** The version of this package. */
export const version = (JSON.parse(
  readFileSync(new URL('../package.json', import.meta.url), 'utf8')
) as { version: string }).version

/**
 * Wires the parts together and listens.
 *
 * @throws {ConfigError} naming every error of the files that the configuration names
 * @throws {Error} of the operating system when it cannot listen on the address, such as EADDRINUSE
 */
export async function startService (config: Config, logger: Logger, outputs: Outputs): Promise<Service> {
  const { app, metricsApp, callers, connections, cos, lifecycle, reloader } = await assemble(config, logger, outputs)
  let endWarnings = () => {}
  app.addHook('onClose', async () => { endWarnings() })
  const firstLoad = cos.credentials.start()
  // Local credentials are there before the first request. Remote ones may be unavailable, which /readyz says.
  if (cos.source.isLocal) await firstLoad
  const { host, port, metricsPort, shutdownDelayMs: delayMs, shutdownGraceMs: graceMs } = config
  // First, so that a port in use stops the start before a request is served.
  const metricsUrl = await metricsApp?.listen({ host, port: Number(metricsPort) })
  const url = await app.listen({ host, port })
  // The operator must be warned that authentication is disabled, even if LOG_LEVEL is error.
  endWarnings = logWarnings(config, callers.unreachable(), logger.child({}, { level: 'warn' }))
  return {
    app,
    url,
    metricsUrl,
    reload: () => reloader.reloadAll(),
    cut: () => { cutRequests(lifecycle) },
    stop: () => shutDown(app, lifecycle, connections, { delayMs, graceMs })
  }
}

/** Opens the files and wires the parts. When the application closes, it closes them. */
async function assemble (config: Config, logger: Logger, outputs: Outputs) {
  // The wall clock is for instants that others state or read. Its steps must neither prolong nor shorten a duration.
  const now = Date.now
  const { timeOrigin } = performance
  const steadyNow = () => timeOrigin + performance.now()
  const reloader = createReloader(logger)
  const fetcher = createFetcher(config.cos.proxies)
  const verifier = await openVerifier(config, { now, steadyNow, log: logger, fetcher })
  const { audit, callers, tls } = openFiles(config, { logger, outputs, reloader, verifier })
  const metrics = createMetrics(version)
  const scheme = tls === undefined ? 'http' : 'https'
  const tracer = await openTracer(config, { version, steadyNow, log: logger, scheme })
  const userAgent = `cos-inventory-proxy/${version}`
  const cos = createCosClient(config.cos, { fetcher, log: logger, metrics, now, steadyNow, userAgent })
  const connections = new ConnectionRegistry({ onClosed: metrics.connectionClosed })
  const lifecycle = createLifecycle()
  const { perMinute, redisUrl } = config.rateLimit
  const redis = redisUrl && await connectRedis(redisUrl, logger)
  metrics.addReadings(readingsOf(cos, connections, redis, outputs))
  const app = await buildApp({
    ...createChanges(config.cos, cos, audit, steadyNow),
    allowedHosts: config.allowedHosts,
    audit,
    callers,
    connections,
    deadlineMs: config.cos.deadlineMs,
    documents: readOpenApiDocuments(),
    lifecycle,
    logger,
    metrics,
    metricsHere: config.metricsPort === undefined,
    now: steadyNow,
    rateLimits: { perMinute, byAddress: config.auth === 'none', redis },
    readOnly: config.readOnly,
    regions: cos.regions,
    fault: () => cos.credentials.unavailableReason(),
    tls,
    tracer,
    trustedProxies: config.trustedProxies,
    version
  })
  const metricsApp = config.metricsPort === undefined ? undefined : await buildMetricsApp({ logger, metrics })
  for (const each of [app, metricsApp]) if (each !== undefined) each.server.keepAliveTimeout = config.keepAliveTimeoutMs
  if (config.tls !== undefined && tls !== undefined) {
    reloader.watch('TLS_*', pathsOf(config.tls), addTlsRenewal(app, config.tls, tls, connections))
  }
  reloader.watch('COS_CREDENTIALS', cos.source.files, () => cos.credentials.reload())
  app.addHook('onClose', async () => {
    for (const each of [reloader, cos.credentials, redis]) each?.close()
    // Changes continue when their callers disconnect, so that no connection of the service waits for them.
    await cos.attempts.settled()
    await Promise.all([cos.transport.close(), tracer.close(), metricsApp?.close()])
  })
  return { app, metricsApp, callers, connections, cos, lifecycle, reloader }
}

interface Surroundings {
  logger: Logger
  outputs: Outputs
  reloader: Reloader
  verifier: JwtVerifier | undefined
}

/** @throws {ConfigError} naming every error of the files */
function openFiles (config: Config, { logger, outputs, reloader, verifier }: Surroundings) {
  const faults: string[] = []
  const orFault = <T>(what: string, read: () => T): T | undefined => {
    try {
      return read()
    } catch (error) {
      faults.push(...error instanceof ConfigError ? error.faults : [`${what}: ${(error as Error).message}`])
      return undefined
    }
  }
  const callers = orFault('CALLERS_FILE', () => openCallers(config, verifier, reloader))
  const tls = orFault('TLS_*', () => config.tls && readTls(config.tls))
  const audit = orFault('AUDIT_LOG', () => createAuditLog(config.auditLog, outputs, logger.child({}, { level: 'error' })))
  if (callers === undefined || audit === undefined || faults.length > 0) throw new ConfigError(faults)
  return { audit, callers, tls }
}

/** Creates the operations of the API on those of COS. Both kinds share their locks. */
function createChanges (
  { deadlineMs, queueLimit, timeoutMs }: Config['cos'], cos: CosClient, audit: AuditLog, now: () => number
) {
  const inventories = createCheckedInventories(cos.inventories, () => { rejectUnaudited(audit) })
  const locks = createLocks({ queueLimit, reserveMs: Math.min(timeoutMs, deadlineMs / 2), now })
  return {
    inventories: createVersionedInventories({ inventories, locks, regions: cos.regions }),
    desiredSets: createDesiredSets({ inventories, locks, deadlineMs, now })
  }
}

function readingsOf (
  { clock, credentials, limiter, transport }: CosClient, connections: ConnectionRegistry,
  redis: RedisCounters | undefined, { stdout, stderr }: Outputs
): Readings {
  return {
    occupation: limiter.occupation,
    connections: transport.connections,
    backlog: () => connections.backlog(),
    credentialsExpireAt: credentials.expiresAt,
    credentialsFault: credentials.unavailableReason,
    skewMs: clock.skewMs,
    redisUp: redis?.isUp,
    droppedLogLines: () => stdout.droppedLines() + stderr.droppedLines()
  }
}

/** Loads the SDK only for traces: loading costs start-up time and memory. */
async function openTracer (
  { traces, propagation }: Config, options: Omit<OtelOptions, 'protocol'>
): Promise<Tracer> {
  const tracer = traces === undefined
    ? createPassingTracer()
    : await (await import('./tracing/otel.ts')).startOtelTracer({ ...options, ...traces })
  return propagation ? tracer : withoutPropagation(tracer)
}

/** Loads the verifier of tokens only if callers can have tokens: loading costs start-up time. */
async function openVerifier ({ auth }: Config, options: JwtOptions): Promise<JwtVerifier | undefined> {
  if (auth === 'none' || auth.jwt === undefined) return undefined
  const { createJwtVerifier } = await import('./callers/jwt.ts')
  return createJwtVerifier(auth.jwt, options)
}

function openCallers (
  { auth, tls }: Config, verifier: JwtVerifier | undefined, reloader: Reloader
): Pick<Callers, 'identify' | 'unreachable'> {
  if (auth === 'none') return createAnyone()
  const { callersFile } = auth
  reloader.watch('CALLERS_FILE', [callersFile], () => { callers.reload() })
  const callers = createCallers({
    read: () => readTextFile(callersFile),
    verifier,
    tls: tls?.clientCaFile !== undefined
  })
  void verifier?.start()
  return callers
}

function pathsOf ({ certFile, keyFile, clientCaFile }: TlsConfig): string[] {
  return [certFile, keyFile, clientCaFile].filter(each => each !== undefined)
}
