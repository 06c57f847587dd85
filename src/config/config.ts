import { isIP, isIPv4, isIPv6 } from 'node:net'
import { bucketMaxLength, bucketPattern, regionPattern } from '../contract/inventory.ts'
import { namesOfOtherSources, readCredentials } from './credentials.ts'
import type { CredentialsConfig } from './credentials.ts'
import { ConfigError, EnvironmentReader } from './environment.ts'
import type { Environment } from './environment.ts'
import type { Proxy } from '../proxied-agent.ts'
import { Secret } from '../secret.ts'

/** How the tokens of callers are checked. */
export interface JwtConfig {
  jwksUrl: string
  issuer: string
  audience: string
}

/** Paths of PEM files. */
export interface TlsConfig {
  certFile: string
  keyFile: string
  /** Certificates of clients are required and must come from one of these authorities. */
  clientCaFile: string | undefined
}

/** HTTP proxies by the scheme of the target. */
export interface Proxies {
  http: Proxy | undefined
  https: Proxy | undefined
}

type LogLevel = typeof logLevels[number]

/** Encodings of OTLP over HTTP. The first is the default (OpenTelemetry specification, OTLP exporter). */
export type TraceProtocol = typeof traceProtocols[number]

/** Everything the service can be told, checked. Times are milliseconds. */
export interface Config {
  host: string
  port: number
  logLevel: LogLevel
  readOnly: boolean
  /** How long a connection may be idle between two requests. */
  keepAliveTimeoutMs: number
  shutdownDelayMs: number
  shutdownGraceMs: number
  /** Addresses and networks whose `X-Forwarded-For` is believed. */
  trustedProxies: string[]
  /** Who may call: everyone, or the callers of a file. */
  auth: 'none' | { callersFile: string, jwt: JwtConfig | undefined }
  /** Host names that are served with AUTH=none, besides those of loopback; undefined with AUTH=required. */
  allowedHosts: string[] | undefined
  tls: TlsConfig | undefined
  /** `stdout`, `stderr` or a path. */
  auditLog: string
  /** Requests a minute for each caller, 0 for any number. */
  rateLimit: { perMinute: number, redisUrl: Secret | undefined }
  cos: {
    credentials: CredentialsConfig
    region: string | undefined
    bucketRegions: ReadonlyMap<string, string>
    /** Whether COS is asked where a bucket is for which no region is configured. */
    regionDiscovery: boolean
    scheme: 'http' | 'https'
    endpoint: string
    connectTo: { host: string, port: number } | undefined
    /** Undefined where none is set. */
    proxies: Proxies
    timeoutMs: number
    deadlineMs: number
    maxAttempts: number
    /** Sockets, and calls at once, for each bucket host. */
    maxConnections: number
    /** Calls at once to all hosts. */
    maxConcurrency: number
    /** Calls that wait for one of these to end. */
    queueLimit: number
  }
  /** Where `/metrics` is, when not where everything else is. */
  metricsPort: number | undefined
  /** How traces are encoded; undefined without traces. The OpenTelemetry SDK reads all other settings itself. */
  traces: { protocol: TraceProtocol } | undefined
  /** Whether W3C Trace Context is read from requests and sent to COS. */
  propagation: boolean
  /** Variables whose value has a part that is not supported, and the value used instead. */
  unsupported: Array<{ variable: string, used: string }>
  /** Variables that are set although nothing acts on them. */
  notInForce: string[]
}

const logLevels = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const
const traceProtocols = ['http/protobuf', 'http/json'] as const
const longestTimeMs = 3_600_000
const bucketRegex = new RegExp(bucketPattern, 'u')
const regionRegex = new RegExp(regionPattern, 'u')

/**
 * Reads the configuration from environment variables. Each may also be given as `NAME_FILE`, a file that holds
 * the value. An empty variable counts as not set.
 *
 * @throws {ConfigError} naming every fault, when there is any
 */
export function readConfig (environment: Environment): Config {
  const reader = new EnvironmentReader(environment)
  const { faults } = reader
  const { host, port, tls } = readListenerFrom(reader)
  const auth = readAuth(reader, host)
  const regionOfAll = region(reader.value('COS_REGION'), faults)
  const template = endpoint(reader.value('COS_ENDPOINT'), faults)
  const unsupported: Config['unsupported'] = []
  const config: Config = {
    host,
    port,
    logLevel: reader.choice('LOG_LEVEL', 'info', logLevels),
    readOnly: reader.flag('READ_ONLY'),
    keepAliveTimeoutMs: reader.integer('KEEP_ALIVE_TIMEOUT_MS', 72_000, 1, longestTimeMs),
    shutdownDelayMs: reader.integer('SHUTDOWN_DELAY_MS', 0, 0, longestTimeMs),
    shutdownGraceMs: reader.integer('SHUTDOWN_GRACE_MS', 10_000, 0, longestTimeMs),
    trustedProxies: trustedProxies(reader.value('TRUST_PROXY'), faults),
    auth,
    allowedHosts: allowedHosts(reader, auth, host),
    tls,
    auditLog: auditTarget(reader.value('AUDIT_LOG') ?? 'stdout'),
    rateLimit: {
      // Those whom nobody knows can only be told apart by address, which is worth a limit to those who ask for one.
      perMinute: reader.integer('RATE_LIMIT_PER_MINUTE', auth === 'none' ? 0 : 600, 0, 10_000_000),
      redisUrl: redisUrl(reader)
    },
    cos: {
      credentials: readCredentials(reader, environment, regionOfAll),
      region: regionOfAll,
      bucketRegions: bucketRegions(reader.value('COS_BUCKET_REGIONS'), faults),
      regionDiscovery: regionDiscovery(reader, template),
      scheme: reader.choice('COS_SCHEME', 'https', ['https', 'http']),
      endpoint: template,
      connectTo: connectTo(reader.value('COS_CONNECT_TO'), faults),
      proxies: readProxies(reader),
      timeoutMs: reader.integer('COS_TIMEOUT_MS', 5_000, 1, longestTimeMs),
      deadlineMs: reader.integer('COS_DEADLINE_MS', 15_000, 1, longestTimeMs),
      maxAttempts: reader.integer('COS_MAX_ATTEMPTS', 3, 1, 10),
      maxConnections: reader.integer('COS_MAX_CONNECTIONS', 64, 1, 10_000),
      maxConcurrency: reader.integer('COS_MAX_CONCURRENCY', 256, 1, 10_000),
      queueLimit: reader.integer('COS_QUEUE_LIMIT', 1_024, 0, 100_000)
    },
    metricsPort: metricsPort(reader, port),
    traces: traces(reader, unsupported),
    propagation: isSelected(reader, 'OTEL_PROPAGATORS', 'tracecontext', unsupported),
    unsupported,
    notInForce: [...namesOfOtherSources(reader), ...auth === 'none' ? [] : ['ALLOWED_HOSTS']].filter(name => reader.has(name))
  }
  if (faults.length > 0) throw new ConfigError(faults)
  return config
}

/** Where the service listens, and whether it speaks TLS there. */
export type Listener = Pick<Config, 'host' | 'port' | 'tls'>

/**
 * Reads HOST, PORT and the TLS variables only, for a process beside the service that needs no secret.
 *
 * @throws {ConfigError} naming every configuration error of these
 */
export function readListener (environment: Environment): Listener {
  const reader = new EnvironmentReader(environment)
  const listener = readListenerFrom(reader)
  if (reader.faults.length > 0) throw new ConfigError(reader.faults)
  return listener
}

function readListenerFrom (reader: EnvironmentReader): Listener {
  const named = reader.value('HOST') ?? 'localhost'
  // By name it would be two servers, of which everything but the routes concerns the first only.
  const host = named === 'localhost' ? '127.0.0.1' : named
  return { host, port: reader.integer('PORT', 8080, 0, 65535), tls: readTls(reader) }
}

function readAuth (reader: EnvironmentReader, host: string): Config['auth'] {
  const { faults } = reader
  const auth = reader.choice('AUTH', 'required', ['required', 'none'])
  const anywhere = reader.flag('AUTH_NONE_ANYWHERE')
  const callersFile = reader.value('CALLERS_FILE')
  const jwksUrl = reader.url('JWT_JWKS_URL', ['https:', 'http:'])
  const [issuer, audience] = [reader.value('JWT_ISSUER'), reader.value('JWT_AUDIENCE')]
  const jwt = jwksUrl !== undefined && issuer !== undefined && audience !== undefined
    ? { jwksUrl, issuer, audience }
    : undefined
  const jwtNames = ['JWT_JWKS_URL', 'JWT_ISSUER', 'JWT_AUDIENCE'].filter(name => reader.has(name))
  if (jwtNames.length % 3 > 0) {
    faults.push(`${jwtNames.join(' and ')} alone ${jwtNames.length === 1 ? 'does' : 'do'} not say which tokens to take: ` +
      'set JWT_JWKS_URL, JWT_ISSUER and JWT_AUDIENCE')
  }
  if (auth === 'none') {
    const named = [...callersFile === undefined ? [] : ['CALLERS_FILE'], ...jwtNames]
    if (named.length > 0) faults.push(`AUTH=none lets everyone in, so that ${named.join(', ')} would mean nothing: unset one or the other`)
    if (!anywhere && !isLoopback(host)) {
      faults.push('AUTH=none lets everyone in, and HOST is an address that other machines reach: ' +
        'set HOST=127.0.0.1, or AUTH_NONE_ANYWHERE=true if something in front decides who may call')
    }
    return 'none'
  }
  if (callersFile === undefined) {
    faults.push('AUTH=required needs CALLERS_FILE, which says who may call and do what (or set AUTH=none to try the service out)')
    return 'none'
  }
  return { callersFile, jwt }
}

/** Opened once more by name, a file that stdout is redirected to would be overwritten from its beginning. */
const outputPaths = new Map([
  ...['/dev/stdout', ...descriptorPaths(1)].map(path => [path, 'stdout'] as const),
  ...['/dev/stderr', ...descriptorPaths(2)].map(path => [path, 'stderr'] as const)
])

function descriptorPaths (descriptor: number): string[] {
  return [`/dev/fd/${descriptor}`, `/proc/self/fd/${descriptor}`, `/proc/${process.pid}/fd/${descriptor}`]
}

function auditTarget (text: string): string {
  return outputPaths.get(text) ?? text
}

/** The names of ALLOWED_HOSTS and the address that is listened on, as they are written in a Host header. */
function allowedHosts (reader: EnvironmentReader, auth: Config['auth'], host: string): string[] | undefined {
  const names = (reader.value('ALLOWED_HOSTS') ?? '').split(',').map(each => each.trim().toLowerCase()).filter(each => each !== '')
  if (!names.every(each => hostName.test(each))) {
    reader.faults.push('ALLOWED_HOSTS must be host names or addresses without port, such as proxy.internal,10.0.0.1, comma separated')
  }
  return auth === 'none' ? [...names, isIPv6(host) ? `[${host}]` : host] : undefined
}

const hostName = /^(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])$/

function metricsPort (reader: EnvironmentReader, port: number): number | undefined {
  if (!reader.has('METRICS_PORT')) return undefined
  const own = reader.integer('METRICS_PORT', 0, 0, 65535)
  if (own !== 0 && own === port) reader.faults.push('METRICS_PORT is PORT: leave it out to have /metrics there')
  return own
}

const otelBatchSize = 'OTEL_BSP_MAX_EXPORT_BATCH_SIZE'

/** Reads whether and how traces are exported. Without them no other variable is checked. */
function traces (reader: EnvironmentReader, unsupported: Config['unsupported']): Config['traces'] {
  if (isSdkDisabled(reader, unsupported) || !isSelected(reader, 'OTEL_TRACES_EXPORTER', 'otlp', unsupported)) return undefined
  const variables = ['OTEL_EXPORTER_OTLP_ENDPOINT', 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT']
  for (const name of variables) {
    if (reader.path(name) !== undefined) reader.faults.push(`${name}_FILE does nothing: the OpenTelemetry SDK reads ${name} itself`)
  }
  for (const name of [...variables, otelBatchSize]) {
    if (reader.isExact(name)) continue
    reader.faults.push(`${name} must have neither quotation marks nor blanks around it: the OpenTelemetry SDK reads it itself`)
  }
  const isOn = variables.map(name => reader.url(name, ['https:', 'http:'])).some(each => each !== undefined)
  if (!isOn) return undefined
  // A batch of nothing would keep the SDK busy forever.
  reader.integer(otelBatchSize, 512, 1, 1_000_000)
  return { protocol: traceProtocol(reader, unsupported) }
}

/** Every value but true means false (OpenTelemetry specification, boolean values). */
function isSdkDisabled (reader: EnvironmentReader, unsupported: Config['unsupported']): boolean {
  const [value = 'false'] = listOf(reader, 'OTEL_SDK_DISABLED')
  if (!['true', 'false'].includes(value)) unsupported.push({ variable: 'OTEL_SDK_DISABLED', used: 'false' })
  return value === 'true'
}

function traceProtocol (reader: EnvironmentReader, unsupported: Config['unsupported']): TraceProtocol {
  const [variable, value] = ['OTEL_EXPORTER_OTLP_TRACES_PROTOCOL', 'OTEL_EXPORTER_OTLP_PROTOCOL']
    .map(name => [name, listOf(reader, name)[0]] as const).find(([, value]) => value !== undefined) ?? []
  const [fallback] = traceProtocols
  if (variable === undefined) return fallback
  if (value === 'grpc') reader.faults.push(`${variable}=grpc is not supported: use ${traceProtocols.join(' or ')}`)
  const protocol = traceProtocols.find(each => each === value)
  if (protocol === undefined) unsupported.push({ variable, used: fallback })
  return protocol ?? fallback
}

/** Returns whether a list names the one supported value, which is the default. Ignores other names with a warning. */
function isSelected (
  reader: EnvironmentReader, variable: string, supported: string, unsupported: Config['unsupported']
): boolean {
  const list = listOf(reader, variable)
  if (list.length === 0) return true
  const isNamed = list.includes(supported)
  const isOther = (name: string) => name !== supported && name !== 'none'
  if (list.some(isOther)) unsupported.push({ variable, used: isNamed ? supported : 'none' })
  return isNamed
}

/** Returns the names of a comma separated list in lower case: these values are case-insensitive. */
function listOf (reader: EnvironmentReader, variable: string): string[] {
  return (reader.value(variable) ?? '').toLowerCase().split(',').map(each => each.trim()).filter(each => each !== '')
}

function readTls (reader: EnvironmentReader): TlsConfig | undefined {
  const certFile = reader.value('TLS_CERT_FILE')
  const keyFile = reader.value('TLS_KEY_FILE')
  const clientCaFile = reader.value('TLS_CLIENT_CA_FILE')
  if (certFile !== undefined && keyFile !== undefined) return { certFile, keyFile, clientCaFile }
  if ([certFile, keyFile, clientCaFile].some(each => each !== undefined)) {
    reader.faults.push('TLS_CERT_FILE and TLS_KEY_FILE are needed together, and TLS_CLIENT_CA_FILE needs both')
  }
  return undefined
}

/** Reads REDIS_URL or its alias RATE_LIMIT_REDIS_URL. Rejects URLs that would make the Redis client throw. */
function redisUrl (reader: EnvironmentReader): Secret | undefined {
  const { faults } = reader
  const urls = ['REDIS_URL', 'RATE_LIMIT_REDIS_URL'].flatMap(name => {
    const text = reader.value(name)
    return text === undefined ? [] : [{ name, text }]
  })
  const [first, alias] = urls
  if (first === undefined) return undefined
  if (alias !== undefined && alias.text !== first.text) {
    faults.push(`${first.name} and its alias ${alias.name} differ: unset one of them`)
  }
  const { name, text } = first
  const issue = redisUrlIssue(text)
  if (issue !== undefined) faults.push(`${name} ${issue} (its value is not shown)`)
  // The client recognizes a scheme in lower case only. It would send the password of REDISS:// without encryption.
  return new Secret(URL.parse(text)?.href ?? text)
}

const redisSchemes = 'use redis:// or rediss:// with one host'
const clusterScheme = /^(?:rediss?[+-])?(?:sentinel|cluster)s?:/i
const maxDatabase = 2_147_483_647

/** Returns what makes a URL of Redis unusable, as the end of a sentence that begins with the variable. */
function redisUrlIssue (text: string): string | undefined {
  const [scheme] = clusterScheme.exec(text) ?? []
  if (scheme !== undefined) return `begins with ${scheme.toLowerCase()}//, which is not supported: ${redisSchemes}`
  const hosts = text.split(/[/?#]+/)[1]?.split('@').at(-1)
  if (hosts?.includes(',') === true) return `has several hosts, which is not supported: ${redisSchemes}`
  const url = URL.parse(text)
  if (url === null || !['redis:', 'rediss:'].includes(url.protocol) || url.hostname === '' || !isPercentEncoded(url)) {
    return 'must be redis://host:port/database or rediss://host:port/database'
  }
  // Parameters would replace settings of the client, such as the limits of time.
  if (url.search !== '' || url.hash !== '') return 'must not have a query or a fragment'
  const database = /^\/?([0-9]{0,10})$/.exec(url.pathname)?.[1]
  if (database === undefined || Number(database) > maxDatabase) {
    return `must end with a database from 0 to ${maxDatabase} or without one`
  }
  return undefined
}

/** Returns whether user and password can be decoded. */
function isPercentEncoded ({ username, password }: URL): boolean {
  try {
    for (const each of [username, password]) decodeURIComponent(each)
    return true
  } catch {
    return false
  }
}

/** As other programs read them: the lower-case name wins. */
function readProxies (reader: EnvironmentReader): Proxies {
  const valueOf = (name: string) => reader.value(name.toLowerCase()) ?? reader.value(name)
  const except = valueOf('NO_PROXY') ?? ''
  const proxyOf = (name: string): Proxy | undefined => {
    const text = valueOf(name)
    if (text === undefined) return undefined
    const issue = proxyIssue(URL.parse(text))
    if (issue !== undefined) reader.faults.push(`${name} must ${issue} (its value is not shown)`)
    return { url: new Secret(text), except }
  }
  return { http: proxyOf('HTTP_PROXY'), https: proxyOf('HTTPS_PROXY') }
}

/** Returns what the URL of a proxy must do besides, as the end of a sentence. */
function proxyIssue (url: URL | null): string | undefined {
  if (url === null || !['http:', 'https:'].includes(url.protocol)) return 'be a URL that begins with http:// or https://'
  if (!isPercentEncoded(url)) return 'have user and password in percent-encoding'
  // Of one alone nothing would be sent.
  return (url.username === '') === (url.password === '') ? undefined : 'have both user and password, or neither'
}

function trustedProxies (text: string | undefined, faults: string[]): string[] {
  if (text === undefined || text === 'false') return []
  const addresses = text.split(',').map(each => each.trim())
  if (!addresses.every(isNetwork)) {
    faults.push('TRUST_PROXY must be false, or addresses and networks such as 10.0.0.1,10.1.0.0/16, comma separated')
  }
  return addresses
}

/** An address, or a network in CIDR notation (RFC 4632, RFC 4291 section 2.3). */
function isNetwork (text: string): boolean {
  const [address = '', bits, ...rest] = text.split('/')
  if (!isIP(address) || rest.length > 0) return false
  const longest = isIPv4(address) ? 32 : 128
  return bits === undefined || (/^[0-9]{1,3}$/.test(bits) && Number(bits) > 0 && Number(bits) <= longest)
}

function isLoopback (host: string): boolean {
  return (isIPv4(host) && host.startsWith('127.')) || (isIPv6(host) && host === '::1')
}

function region (text: string | undefined, faults: string[]): string | undefined {
  if (text !== undefined && !regionRegex.test(text)) {
    faults.push('COS_REGION must be a COS region such as ap-guangzhou')
  }
  return text
}

function bucketRegions (text: string | undefined, faults: string[]): Map<string, string> {
  const regions = new Map<string, string>()
  const pairs = text?.split(',').map(each => each.trim()).filter(each => each !== '') ?? []
  for (const [index, pair] of pairs.entries()) {
    const [bucket = '', where = '', ...rest] = pair.split('=')
    if (!isPlace(bucket, where) || rest.length > 0) {
      faults.push(`COS_BUCKET_REGIONS: pair ${index + 1} is not bucket-appid=region`)
    } else if (regions.has(bucket)) {
      faults.push(`COS_BUCKET_REGIONS names ${bucket} twice`)
    } else {
      regions.set(bucket, where)
    }
  }
  return regions
}

/**
 * Whether these have the shape of a bucket and a region (COS documents 13312 and 6224). What has not must not become
 * part of a host name.
 */
export function isPlace (bucket: string, region: string): boolean {
  return bucket.length <= bucketMaxLength && bucketRegex.test(bucket) && regionRegex.test(region)
}

function regionDiscovery (reader: EnvironmentReader, template: string): boolean {
  const isOn = reader.flag('COS_REGION_DISCOVERY')
  if (isOn && !template.includes('{region}')) {
    reader.faults.push('COS_REGION_DISCOVERY=true means nothing with a COS_ENDPOINT without {region}: ' +
      'its hosts are where they are, so unset one or the other')
  }
  return isOn
}

function endpoint (text: string | undefined, faults: string[]): string {
  const template = text ?? '{bucket}.cos.{region}.myqcloud.com'
  const host = /^\{bucket\}\.((?:[a-z0-9-]|\{region\})+(?:\.(?:[a-z0-9-]|\{region\})+)*)(?::([0-9]{1,5}))?$/.exec(template)
  const example = template.replace('{bucket}', 'b-1').replaceAll('{region}', 'ap-guangzhou')
  if (host === null || Number(host[2] ?? 443) < 1 || !URL.canParse(`https://${example}`)) {
    faults.push('COS_ENDPOINT must be a lower-case host template such as {bucket}.cos.{region}.myqcloud.com, ' +
      'which begins with the bucket and may end with a :port')
  }
  return template
}

function connectTo (text: string | undefined, faults: string[]): { host: string, port: number } | undefined {
  if (text === undefined) return undefined
  const [, ipv6, name, digits] = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+)):([0-9]{1,5})$/.exec(text) ?? []
  const host = ipv6 !== undefined && isIPv6(ipv6) ? ipv6 : name
  const port = Number(digits)
  if (host !== undefined && port >= 1 && port <= 65535) return { host, port }
  faults.push('COS_CONNECT_TO must be host:port, an IPv6 address in brackets')
  return undefined
}
