import type { Proxy } from '../outbound/proxied-agent.ts'
import type { Secret } from '../secret.ts'
import { readAllowedHosts, readAuth } from './access.ts'
import type { AuthConfig } from './access.ts'
import { readAccounts } from './accounts.ts'
import type { AccountsConfig } from './accounts.ts'
import { namesOfOtherSources } from './credentials.ts'
import { ConfigError, EnvironmentReader } from './environment.ts'
import type { Environment, ValueOf, VariableName } from './environment.ts'
import { readListenerFrom } from './listener.ts'
import type { TlsConfig } from './listener.ts'
import { readPropagation, readTraces } from './traces.ts'
import type { TraceProtocol, UnsupportedValue } from './traces.ts'
import { unknownNames } from './unknown-variables.ts'

export type { TlsConfig } from './listener.ts'

/** HTTP proxies by the scheme of the target. */
export interface Proxies {
  http: Proxy | undefined
  https: Proxy | undefined
}

/** The configuration of the service, validated. Times are milliseconds. */
export interface Config {
  host: string
  port: number
  logLevel: ValueOf<'LOG_LEVEL'>
  readOnly: boolean
  /** Longest idle time of a connection. */
  keepAliveTimeoutMs: number
  shutdownDelayMs: number
  shutdownGraceMs: number
  /** Addresses and networks whose `X-Forwarded-For` is trusted. */
  trustedProxies: string[]
  /** Authentication of callers. */
  auth: AuthConfig
  /** Host names that are served with AUTH=none, besides those of loopback; undefined with AUTH=required. */
  allowedHosts: string[] | undefined
  tls: TlsConfig | undefined
  /** `stdout`, `stderr` or a path. */
  auditLog: string
  /** Requests a minute for each caller, 0 for any number. */
  rateLimit: { perMinute: number, redisUrl: Secret | undefined }
  cos: {
    accounts: AccountsConfig
    region: string | undefined
    bucketRegions: ReadonlyMap<string, string>
    /** Whether COS is asked for the region of a bucket that has no configured region. */
    regionDiscovery: boolean
    scheme: ValueOf<'COS_SCHEME'>
    endpoint: string
    connectTo: { host: string, port: number } | undefined
    /** Undefined if there is none. */
    proxies: Proxies
    timeoutMs: number
    deadlineMs: number
    maxAttempts: number
    /** Connections and concurrent calls for each bucket host. */
    maxConnections: number
    maxIdleConnections: number
    /** Concurrent calls to all hosts. */
    maxConcurrency: number
    /** Calls that may wait for a permit. */
    queueLimit: number
  }
  reports: {
    isEnabled: boolean
    /** Rows and data files that are sent at the same time. */
    maxStreams: number
    /** Configurations whose latest report is checked, each with an id or `*`. */
    watched: Array<{ bucket: string, id: string }>
    watchSeconds: number
  }
  /** Separate port for `/metrics`; undefined if it is on `port`. */
  metricsPort: number | undefined
  /** How traces are encoded; undefined without traces. The OpenTelemetry SDK reads all other settings itself. */
  traces: { protocol: TraceProtocol } | undefined
  /** Whether W3C Trace Context is read from requests and sent to COS. */
  propagation: boolean
  /** Variables whose value has a part that is not supported, and the value used instead. */
  unsupported: UnsupportedValue[]
  /** Variables that are set and have no effect. */
  ineffective: string[]
  /** Variables that look like those of this service and are none. */
  unknown: string[]
}

/**
 * Reads the configuration from environment variables, as `src/config/variables.ts` describes them.
 *
 * @throws {ConfigError} with every configuration error
 */
export function readConfig (environment: Environment): Config {
  const { config, issues } = readConfigAndIssues(environment)
  if (issues.length > 0) throw new ConfigError(issues)
  return config
}

/**
 * Reads the configuration as {@link readConfig} does, but returns the configuration errors. Each one names its
 * variables, whose values must not be used.
 */
export function readConfigAndIssues (environment: Environment): { config: Config, issues: string[] } {
  const reader = new EnvironmentReader(environment)
  const { host, port, tls } = readListenerFrom(reader)
  const auth = readAuth(reader, host)
  const regionOfAll = reader.read('COS_REGION')
  const endpoint = reader.read('COS_ENDPOINT')
  const unsupported: UnsupportedValue[] = []
  const config: Config = {
    host,
    port,
    logLevel: reader.read('LOG_LEVEL'),
    readOnly: reader.read('READ_ONLY'),
    keepAliveTimeoutMs: reader.read('KEEP_ALIVE_TIMEOUT_MS'),
    shutdownDelayMs: reader.read('SHUTDOWN_DELAY_MS'),
    shutdownGraceMs: reader.read('SHUTDOWN_GRACE_MS'),
    trustedProxies: reader.read('TRUST_PROXY'),
    auth,
    allowedHosts: readAllowedHosts(reader, auth, host),
    tls,
    auditLog: reader.read('AUDIT_LOG'),
    rateLimit: { perMinute: readRateLimit(reader, auth), redisUrl: readRedisUrl(reader) },
    cos: {
      accounts: readAccounts(reader, environment, regionOfAll),
      region: regionOfAll,
      bucketRegions: reader.read('COS_BUCKET_REGIONS'),
      regionDiscovery: readRegionDiscovery(reader, endpoint),
      scheme: reader.read('COS_SCHEME'),
      endpoint,
      connectTo: reader.read('COS_CONNECT_TO'),
      proxies: readProxies(reader),
      timeoutMs: reader.read('COS_TIMEOUT_MS'),
      deadlineMs: reader.read('COS_DEADLINE_MS'),
      maxAttempts: reader.read('COS_MAX_ATTEMPTS'),
      maxConnections: reader.read('COS_MAX_CONNECTIONS'),
      maxIdleConnections: reader.read('COS_MAX_IDLE_CONNECTIONS'),
      maxConcurrency: reader.read('COS_MAX_CONCURRENCY'),
      queueLimit: reader.read('COS_QUEUE_LIMIT')
    },
    reports: readReports(reader),
    metricsPort: readMetricsPort(reader, port),
    traces: readTraces(reader, unsupported),
    propagation: readPropagation(reader, unsupported),
    unsupported,
    ineffective: ineffectiveNames(reader, auth),
    unknown: unknownNames(environment)
  }
  return { config, issues: reader.issues }
}

/** Unauthenticated callers differ by address only, so that a limit for them must be set explicitly. */
function readRateLimit (reader: EnvironmentReader, auth: AuthConfig): number {
  return auth === 'none' && !reader.has('RATE_LIMIT_PER_MINUTE') ? 0 : reader.read('RATE_LIMIT_PER_MINUTE')
}

function readRedisUrl (reader: EnvironmentReader): Secret | undefined {
  const names = ['REDIS_URL', 'RATE_LIMIT_REDIS_URL'] as const
  const [first, alias] = names.filter(name => reader.text(name) !== undefined)
  if (first === undefined) return undefined
  if (alias !== undefined && reader.text(alias) !== reader.text(first)) {
    reader.issues.push(`${first} and its alias ${alias} differ: unset one of them`)
  }
  return reader.read(first)
}

function readRegionDiscovery (reader: EnvironmentReader, endpoint: string): boolean {
  const isOn = reader.read('COS_REGION_DISCOVERY')
  if (isOn && !endpoint.includes('{region}')) {
    reader.issues.push('COS_REGION_DISCOVERY=true has no effect with a COS_ENDPOINT without {region}: ' +
      'unset one or the other')
  }
  return isOn
}

function readProxies (reader: EnvironmentReader): Proxies {
  const except = reader.read('NO_PROXY')
  const proxyOf = (name: 'HTTP_PROXY' | 'HTTPS_PROXY'): Proxy | undefined => {
    const url = reader.read(name)
    return url && { url, except }
  }
  return { http: proxyOf('HTTP_PROXY'), https: proxyOf('HTTPS_PROXY') }
}

function readMetricsPort (reader: EnvironmentReader, port: number): number | undefined {
  const own = reader.read('METRICS_PORT')
  // 0 selects a different free port for each.
  if (own !== 0 && own === port) reader.issues.push('METRICS_PORT equals PORT: unset it to serve /metrics on PORT')
  return own
}

function readReports (reader: EnvironmentReader): Config['reports'] {
  const isEnabled = reader.read('REPORTS')
  const watched = reader.read('REPORTS_WATCH')
  if (!isEnabled && watched.length > 0) reader.issues.push('REPORTS_WATCH needs REPORTS=true')
  return {
    isEnabled, watched, maxStreams: reader.read('REPORTS_MAX_STREAMS'), watchSeconds: reader.read('REPORTS_WATCH_SECONDS')
  }
}

function ineffectiveNames (reader: EnvironmentReader, auth: AuthConfig): VariableName[] {
  const names: VariableName[] = [...namesOfOtherSources(reader), ...auth === 'none' ? [] : ['ALLOWED_HOSTS' as const]]
  return names.filter(name => reader.has(name))
}
