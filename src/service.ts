import { readFileSync } from 'node:fs'
import type { FastifyInstance } from 'fastify'
import type { Logger } from 'pino'
import { buildApp, buildMetricsApp } from './app.ts'
import { createAuditLog, rejectUnaudited } from './logging/audit-log.ts'
import { createAnyone } from './callers/anyone.ts'
import { createCallers } from './callers/callers.ts'
import type { Callers } from './callers/callers.ts'
import type { JwtOptions, JwtVerifier } from './callers/jwt.ts'
import { createVersionedInventories } from './changes/versioned-inventories.ts'
import { createCheckedInventories } from './changes/checked-inventories.ts'
import { createDesiredSets } from './changes/desired-set.ts'
import { createLocks } from './changes/locks.ts'
import { isBucketAndRegion } from './config/formats.ts'
import type { Config, TlsConfig } from './config/config.ts'
import { ConfigError } from './config/environment.ts'
import { createAttempts } from './cos/client/retry.ts'
import { createBucketList } from './cos/regions/bucket-list.ts'
import { createConcurrencyLimiter } from './cos/client/concurrency-limiter.ts'
import { createCosClock } from './cos/client/clock.ts'
import { createCredentialProvider } from './cos/credentials/provider.ts'
import { createCredentialSource } from './cos/credentials/source.ts'
import { createInventories } from './cos/inventories.ts'
import { createRegions } from './cos/regions/regions.ts'
import { createRetryBudget } from './cos/client/retry-budget.ts'
import { createTransport } from './cos/client/transport.ts'
import { createFetcher } from './outbound/fetch-json.ts'
import { ConnectionRegistry } from './http/connections/connection-registry.ts'
import { readOpenApiDocuments } from './http/documentation.ts'
import { createLifecycle, reportAborted, shutDown } from './http/connections/graceful-shutdown.ts'
import { addTlsRenewal, readTls } from './http/connections/tls.ts'
import type { Outputs } from './logging/log.ts'
import { createMetrics } from './metrics.ts'
import type { OtelOptions } from './tracing/otel.ts'
import { connectRedis } from './outbound/redis.ts'
import { createReloader } from './files/reload.ts'
import type { Reloader } from './files/reload.ts'
import { readTextFile } from './files/text-file.ts'
import { createPassingTracer, withoutPropagation } from './tracing/tracing.ts'
import type { Tracer } from './tracing/tracing.ts'
import { logWarnings } from './logging/warnings.ts'

/** A running service. */
export interface Service {
  app: FastifyInstance
  /** Where it listens, such as `http://127.0.0.1:8080`. */
  url: string
  /** Where `/metrics` is when it has a port of its own. */
  metricsUrl: string | undefined
  /** Reads callers, certificates and credentials again, as SIGHUP asks for. What is faulty is logged and not taken. */
  reload (): Promise<void>
  /** Writes off what is under way, because the process ends at once. */
  cut (): void
  /** Stops as `SHUTDOWN_DELAY_MS` and `SHUTDOWN_GRACE_MS` say; gives whether every request had ended. */
  stop (): Promise<boolean>
}

/** This package's version. */
export const version = (JSON.parse(
  readFileSync(new URL('../package.json', import.meta.url), 'utf8')
) as { version: string }).version

/**
 * Wires the parts together and listens.
 *
 * @throws {ConfigError} naming every fault of the files that the configuration points to
 * @throws {Error} of the operating system when the address cannot be listened on, such as EADDRINUSE
 */
export async function startService (config: Config, logger: Logger, outputs: Outputs): Promise<Service> {
  // The wall clock is for instants that others state or read. Its steps must neither prolong nor shorten a duration.
  const now = Date.now
  const { timeOrigin } = performance
  const steadyNow = () => timeOrigin + performance.now()
  const reloader = createReloader(logger)
  const faults: string[] = []
  const orFault = <T>(what: string, read: () => T): T | undefined => {
    try {
      return read()
    } catch (error) {
      faults.push(...error instanceof ConfigError ? error.issues : [`${what}: ${(error as Error).message}`])
      return undefined
    }
  }
  const fetcher = createFetcher(config.cos.proxies)
  const verifier = await openVerifier(config, { now, steadyNow, log: logger, fetcher })
  const callers = orFault('CALLERS_FILE', () => openCallers(config, verifier, reloader))
  const tls = orFault('TLS_*', () => config.tls && readTls(config.tls))
  const audit = orFault('AUDIT_LOG', () => createAuditLog(config.auditLog, outputs, logger.child({}, { level: 'error' })))
  if (callers === undefined || audit === undefined || faults.length > 0) throw new ConfigError(faults)

  const source = createCredentialSource(config.cos.credentials, now, fetcher)
  const credentials = createCredentialProvider(source, { now, steadyNow, log: logger })
  const metrics = createMetrics(version)
  const scheme = tls === undefined ? 'http' : 'https'
  const tracer = await openTracer(config, { version, steadyNow, log: logger, scheme })
  const clock = createCosClock({ now, steadyNow, log: logger })
  const { deadlineMs, maxConcurrency, maxConnections: maxPerHost, queueLimit, timeoutMs: maxWaitMs } = config.cos
  const limiter = createConcurrencyLimiter(
    { maxConcurrency, maxPerHost, queueLimit, maxWaitMs }, { now: steadyNow, shed: metrics.shed })
  const userAgent = `cos-inventory-proxy/${version}`
  const transport = createTransport(config.cos, { now: steadyNow, clock, userAgent })
  const budget = createRetryBudget(steadyNow)
  const observer = metrics
  const attempts = createAttempts(
    config.cos, { limiter, budget, clock, credentials, observer, transport, now: steadyNow })
  const listBuckets = createBucketList(config.cos, { attempts, now: steadyNow, isBucketAndRegion })
  const regions = createRegions(config.cos, { listBuckets, log: logger, now: steadyNow })
  const inventories = createCheckedInventories(
    createInventories(config.cos, { attempts }), () => { rejectUnaudited(audit) })
  const locks = createLocks({ queueLimit, reserveMs: Math.min(maxWaitMs, deadlineMs / 2), now: steadyNow })
  const connections = new ConnectionRegistry({ onClosed: metrics.connectionClosed })
  const { perMinute, redisUrl } = config.rateLimit
  const redis = redisUrl && await connectRedis(redisUrl, logger)
  metrics.addReadings({
    occupation: limiter.occupation,
    connections: transport.connections,
    backlog: () => connections.backlog(),
    credentialsExpireAt: credentials.expiresAt,
    credentialsFault: credentials.fault,
    skewMs: clock.skewMs,
    redisUp: redis?.isUp,
    droppedLogLines: () => outputs.stdout.droppedLines() + outputs.stderr.droppedLines()
  })
  const lifecycle = createLifecycle()
  const app = await buildApp({
    allowedHosts: config.allowedHosts,
    audit,
    callers,
    inventories: createVersionedInventories({ inventories, locks, regions }),
    connections,
    deadlineMs,
    documents: readOpenApiDocuments(),
    desiredSets: createDesiredSets({ inventories, locks, deadlineMs, now: steadyNow }),
    lifecycle,
    logger,
    metrics,
    metricsHere: config.metricsPort === undefined,
    now: steadyNow,
    rateLimits: { perMinute, byAddress: config.auth === 'none', redis },
    readOnly: config.readOnly,
    regions,
    fault: () => credentials.fault(),
    tls,
    tracer,
    trustedProxies: config.trustedProxies,
    version
  })
  const { host, port, metricsPort } = config
  const metricsApp = metricsPort === undefined ? undefined : await buildMetricsApp({ logger, metrics })
  for (const each of [app, metricsApp]) if (each !== undefined) each.server.keepAliveTimeout = config.keepAliveTimeoutMs
  if (config.tls !== undefined && tls !== undefined) {
    reloader.watch('TLS_*', pathsOf(config.tls), addTlsRenewal(app, config.tls, tls, connections))
  }
  reloader.watch('COS_CREDENTIALS', source.files, () => credentials.reload())
  const ends: Array<() => void> = []
  app.addHook('onClose', async () => {
    for (const end of ends) end()
    reloader.close()
    credentials.close()
    redis?.close()
    // Changes whose callers have left go on without a connection of ours.
    await attempts.settled()
    await Promise.all([transport.close(), tracer.close(), metricsApp?.close()])
  })
  const firstLoad = credentials.start()
  // What is at hand is there before the first request. A service that gives credentials may be away; /readyz says so.
  if (source.isLocal) await firstLoad
  // First, so that a port that is taken stops the start before anybody is served.
  const metricsUrl = await metricsApp?.listen({ host, port: Number(metricsPort) })
  const url = await app.listen({ host, port })
  // Whatever LOG_LEVEL says: who silences the log must still be told that the door is open.
  ends.push(logWarnings(config, callers.unreachable(), logger.child({}, { level: 'warn' })))
  const { shutdownDelayMs: delayMs, shutdownGraceMs: graceMs } = config
  return {
    app,
    url,
    metricsUrl,
    reload: () => reloader.reloadAll(),
    cut: () => { reportAborted(lifecycle) },
    stop: () => shutDown(app, lifecycle, connections, { delayMs, graceMs })
  }
}

/** The SDK is loaded only for traces: loading costs start-up time and memory. */
async function openTracer (
  { traces, propagation }: Config, options: Omit<OtelOptions, 'protocol'>
): Promise<Tracer> {
  const tracer = traces === undefined
    ? createPassingTracer()
    : await (await import('./tracing/otel.ts')).startOtelTracer({ ...options, ...traces })
  return propagation ? tracer : withoutPropagation(tracer)
}

/** What checks tokens is loaded where there are any to check: loading costs start-up time. */
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
