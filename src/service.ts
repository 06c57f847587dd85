import type { FastifyInstance } from 'fastify'
import type { Logger } from 'pino'
import { buildApp, buildMetricsApp } from './app.ts'
import { openCallers, openVerifier } from './authentication.ts'
import { createAuditLog, rejectUnaudited } from './logging/audit-log.ts'
import type { AuditLog } from './logging/audit-log.ts'
import { createAnyone } from './callers/anyone.ts'
import type { Callers } from './callers/callers.ts'
import type { JwtVerifier } from './callers/jwt.ts'
import { createVersionedInventories } from './changes/versioned-inventories.ts'
import { createCheckedInventories } from './changes/checked-inventories.ts'
import { createDesiredSets } from './changes/desired-set.ts'
import { createLocks } from './changes/locks.ts'
import type { Config, TlsConfig } from './config/config.ts'
import { ConfigError } from './config/environment.ts'
import { featuresOf } from './config/features.ts'
import { createCosClient } from './upstream.ts'
import type { CosClient } from './upstream.ts'
import { createFetcher } from './outbound/fetch-json.ts'
import { ConnectionRegistry } from './http/connections/connection-registry.ts'
import { readOpenApiDocuments } from './http/documentation.ts'
import { createLifecycle, reportAborted, shutDown } from './http/connections/graceful-shutdown.ts'
import { addTlsRenewal, readTls } from './http/connections/tls.ts'
import type { Outputs } from './logging/log.ts'
import { createMetrics } from './metrics.ts'
import { componentsOf, readingsOf } from './monitoring.ts'
import type { OtelOptions } from './tracing/otel.ts'
import { connectRedis } from './outbound/redis.ts'
import { createReloader } from './files/reload.ts'
import type { Reloader } from './files/reload.ts'
import { createReporting } from './reporting.ts'
import { createPassingTracer, withoutPropagation } from './tracing/tracing.ts'
import type { Tracer } from './tracing/tracing.ts'
import { logWarnings } from './logging/warnings.ts'
import { userAgent, version } from './version.ts'

/** A running service. */
export interface Service {
  app: FastifyInstance
  /** The URL of the service, such as `http://127.0.0.1:8080`. */
  url: string
  /** The URL of `/metrics` when it has a port of its own. */
  metricsUrl: string | undefined
  /** Reloads callers, certificates and credentials. Logs errors and keeps the previous values then. */
  reload (): Promise<void>
  /** Records the changes in flight with an unknown outcome, because the process exits immediately. */
  cut (): void
  /** Stops within `SHUTDOWN_DELAY_MS` and `SHUTDOWN_GRACE_MS`. Returns whether all requests had ended. */
  stop (): Promise<boolean>
}

/**
 * Wires the service and listens.
 *
 * @throws {ConfigError} with all errors of the configured files
 * @throws {Error} of the operating system if the service cannot listen on the address, such as EADDRINUSE
 */
export async function startService (config: Config, logger: Logger, outputs: Outputs): Promise<Service> {
  const { app, metricsApp, callers, connections, cos, lifecycle, reloader, reporting } =
    await assemble(config, logger, outputs)
  const ends: Array<() => void> = []
  app.addHook('onClose', async () => { for (const end of ends) end() })
  // Local credentials are loaded before the first request. /readyz reports remote ones that are unavailable.
  await cos.accounts.start()
  const { host, port, metricsPort, shutdownDelayMs: delayMs, shutdownGraceMs: graceMs } = config
  // The metrics port is opened first, so that a port in use stops the start before a request is served.
  const metricsUrl = await metricsApp?.listen({ host, port: Number(metricsPort) })
  const url = await app.listen({ host, port })
  const auth = config.auth === 'none' ? 'none' : 'required'
  logger.info({ version, node: process.version, auth, ...sourcesOf(config.cos, cos), features: featuresOf(config) }, 'started')
  // The operator must be warned that authentication is disabled, even if LOG_LEVEL is error.
  ends.push(reporting.watch())
  ends.push(logWarnings(config, callers.unreachable(), logger.child({}, { level: 'warn' })))
  return {
    app,
    url,
    metricsUrl,
    reload: () => reloader.reloadAll(),
    cut: () => { reportAborted(lifecycle) },
    stop: () => shutDown(app, lifecycle, connections, { delayMs, graceMs })
  }
}

/** Opens the files and wires the parts. The application closes them when it closes. */
async function assemble (config: Config, logger: Logger, outputs: Outputs) {
  // The wall clock is for points in time that the service exchanges with others. Its steps must not affect durations.
  const now = Date.now
  const { timeOrigin } = performance
  const steadyNow = () => timeOrigin + performance.now()
  const reloader = createReloader(logger, now)
  const fetcher = createFetcher(config.cos.proxies)
  const verifier = await openVerifier(config.auth, { now, steadyNow, log: logger, fetcher })
  const metrics = createMetrics(version)
  const maxStreams = config.reports.isEnabled ? config.reports.maxStreams : undefined
  const { watch } = reloader
  const createCos = () =>
    createCosClient(config.cos, { fetcher, log: logger, metrics, now, steadyNow, userAgent, watch, maxStreams })
  const { audit, callers, cos, tls } = await openFiles(config, { createCos, logger, outputs, reloader, verifier })
  const scheme = tls === undefined ? 'http' : 'https'
  const tracer = await openTracer(config, { version, steadyNow, log: logger, scheme })
  const connections = new ConnectionRegistry({ onClosed: metrics.connectionClosed })
  const lifecycle = createLifecycle()
  const { perMinute, redisUrl } = config.rateLimit
  const redis = redisUrl && await connectRedis(redisUrl, logger)
  const reporting = createReporting(config, cos, { connections, metrics, log: logger, steadyNow })
  const monitored = { audit, connections, cos, outputs, redis, reloader, slots: reporting.slots }
  const app = await buildApp({
    ...createChanges(config.cos, cos, audit, steadyNow),
    allowedHosts: config.allowedHosts,
    audit,
    callers,
    components: () => componentsOf(monitored),
    connections,
    credentialsError: cos.accounts.unavailableReason,
    deadlineMs: config.cos.deadlineMs,
    documents: readOpenApiDocuments(),
    lifecycle,
    logger,
    metrics,
    now: steadyNow,
    rateLimits: { perMinute, byAddress: config.auth === 'none', redis },
    readOnly: config.readOnly,
    reports: reporting,
    regions: cos.regions,
    servesMetrics: config.metricsPort === undefined,
    tls,
    tracer,
    trustedProxies: config.trustedProxies,
    version
  })
  const metricsApp = config.metricsPort === undefined ? undefined : await buildMetricsApp({ logger, metrics })
  for (const each of [app, metricsApp]) if (each !== undefined) each.server.keepAliveTimeout = config.keepAliveTimeoutMs
  const renewal = config.tls && tls && addTlsRenewal(app, config.tls, tls, connections)
  if (config.tls !== undefined && renewal !== undefined) reloader.watch('TLS_*', pathsOf(config.tls), renewal.reload)
  metrics.addReadings(readingsOf(monitored, renewal))
  app.addHook('onClose', async () => {
    for (const each of [reloader, cos.accounts, redis]) each?.close()
    // Changes continue after their callers disconnect. No connection then keeps the application open.
    await cos.attempts.settled()
    await Promise.all([cos.transport.close(), tracer.close(), metricsApp?.close()])
  })
  return { app, metricsApp, callers, connections, cos, lifecycle, reloader, reporting }
}

interface FileDependencies {
  createCos: () => CosClient
  logger: Logger
  outputs: Outputs
  reloader: Reloader
  verifier: JwtVerifier | undefined
}

/**
 * Reads accounts, callers and certificates, and opens the audit log.
 *
 * @throws {ConfigError} with all errors of the files
 */
async function openFiles (config: Config, { createCos, logger, outputs, reloader, verifier }: FileDependencies) {
  const errors: string[] = []
  const collectErrors = async <T>(variable: string, open: () => T | Promise<T>): Promise<T | undefined> => {
    try {
      return await open()
    } catch (error) {
      errors.push(...error instanceof ConfigError ? error.issues : [`${variable}: ${(error as Error).message}`])
      return undefined
    }
  }
  const cos = await collectErrors('COS_ACCOUNTS_FILE', createCos)
  const callers = await collectErrors('CALLERS_FILE', () => watchCallers(config, verifier, reloader))
  const tls = await collectErrors('TLS_*', () => config.tls && readTls(config.tls))
  const audit = await collectErrors('AUDIT_LOG',
    () => createAuditLog(config.auditLog, outputs, logger.child({}, { level: 'error' })))
  if (cos === undefined || callers === undefined || audit === undefined || errors.length > 0) {
    throw new ConfigError(errors)
  }
  return { audit, callers, cos, tls }
}

/** Returns the sources of credentials for the log: that of `COS_CREDENTIALS`, or those of all accounts by name. */
function sourcesOf ({ accounts: { file } }: Config['cos'], { accounts }: CosClient): object {
  const sources = Object.fromEntries(accounts.list().map(({ name, source }) => [name, source.name]))
  return file === undefined ? { credentials: sources['default'] } : { credentials: 'accounts-file', accounts: sources }
}

/** Creates the operations on configurations and on desired sets. Both share their locks. */
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

/** Creates the tracer. The SDK is loaded only if traces are enabled, because loading costs start-up time and memory. */
async function openTracer (
  { traces, propagation }: Config, options: Omit<OtelOptions, 'protocol'>
): Promise<Tracer> {
  const tracer = traces === undefined
    ? createPassingTracer()
    : await (await import('./tracing/otel.ts')).startOtelTracer({ ...options, ...traces })
  return propagation ? tracer : withoutPropagation(tracer)
}

async function watchCallers (
  config: Config, verifier: JwtVerifier | undefined, reloader: Reloader
): Promise<Pick<Callers, 'identify' | 'unreachable'>> {
  const { auth } = config
  if (auth === 'none') return createAnyone()
  // The file can change while it is read for the first time.
  reloader.watch('CALLERS_FILE', [auth.callersFile], async () => { await (await opened).reload() })
  const opened = openCallers(auth, config.tls, verifier)
  void verifier?.start()
  return await opened
}

function pathsOf ({ certFile, keyFile, clientCaFile }: TlsConfig): string[] {
  return [certFile, keyFile, clientCaFile].filter(each => each !== undefined)
}
