import { readFileSync } from 'node:fs'
import { isIPv4, isIPv6 } from 'node:net'
import { bucketMaxLength, bucketPattern, regionPattern } from './contract/inventory.ts'

/** A key pair of Tencent Cloud, with a token when it is a temporary one. */
export interface Credentials {
  secretId: string
  secretKey: string
  token: string | undefined
}

type LogLevel = typeof logLevels[number]

/** Everything the service can be told, checked. Times are milliseconds. */
export interface Config {
  host: string
  port: number
  logLevel: LogLevel
  readOnly: boolean
  shutdownDelayMs: number
  shutdownGraceMs: number
  cos: {
    credentials: Credentials
    region: string | undefined
    bucketRegions: ReadonlyMap<string, string>
    scheme: 'http' | 'https'
    endpoint: string
    connectTo: { host: string, port: number } | undefined
    timeoutMs: number
    deadlineMs: number
    maxConnections: number
  }
  /** Variables that are set to something this version accepts but does not act on. */
  notInForce: string[]
}

/** What {@link readConfig} throws: every fault of the environment at once, no value of a secret in any of them. */
export class ConfigError extends Error {
  readonly faults: string[]

  constructor (faults: string[]) {
    super(`The configuration has ${faults.length === 1 ? '1 fault' : `${faults.length} faults`}:\n` +
      faults.map(fault => `  - ${fault}`).join('\n'))
    this.name = 'ConfigError'
    this.faults = faults
  }
}

const logLevels = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const
const longestTimeMs = 3_600_000
const bucketRegex = new RegExp(bucketPattern, 'u')
const regionRegex = new RegExp(regionPattern, 'u')

/** Settings that would be dangerous to ignore: with them the service does not start. */
const unsupported = [
  'CALLERS_FILE', 'JWT_JWKS_URL', 'JWT_ISSUER', 'JWT_AUDIENCE', 'TLS_CERT_FILE', 'TLS_KEY_FILE',
  'TLS_CLIENT_CA_FILE', 'RATE_LIMIT_REDIS_URL', 'AUDIT_LOG', 'METRICS_PORT', 'COS_CREDENTIALS_FILE'
]
const notActedOn = ['COS_MAX_ATTEMPTS', 'RATE_LIMIT_PER_MINUTE', 'COS_MAX_CONCURRENCY', 'COS_QUEUE_LIMIT']

type Environment = Readonly<Record<string, string | undefined>>

/**
 * Reads the configuration from environment variables. Each may also be given as `NAME_FILE`, a file that holds
 * the value. An empty variable counts as not set.
 *
 * @throws {ConfigError} naming every fault, when there is any
 */
export function readConfig (environment: Environment): Config {
  const faults: string[] = []
  const value = (name: string) => readVariable(environment, name, faults)

  const integer = (name: string, fallback: number, min: number, max: number) => {
    const text = value(name)
    if (text === undefined) return fallback
    const number = /^[0-9]{1,10}$/.test(text) ? Number(text) : NaN
    if (number >= min && number <= max) return number
    faults.push(`${name} must be an integer from ${min} to ${max}`)
    return fallback
  }
  const choice = <const T extends string>(name: string, fallback: T, choices: readonly T[]): T => {
    const text = value(name)
    if (text === undefined) return fallback
    const found = choices.find(each => each === text)
    if (found !== undefined) return found
    faults.push(`${name} must be one of ${choices.join(', ')}`)
    return fallback
  }
  const flag = (name: string) => choice(name, 'false', ['true', 'false']) === 'true'
  const secret = (name: string, required: boolean) => {
    const text = value(name)
    if (text === undefined) {
      if (required) faults.push(`${name} is required (or ${name}_FILE)`)
    } else if (!/^[\x21-\x7E]+$/.test(text)) {
      faults.push(`${name} must be visible ASCII without blanks (its value is not shown)`)
    }
    return text
  }

  const host = value('HOST') ?? '127.0.0.1'
  const auth = choice('AUTH', 'required', ['required', 'none'])
  const anywhere = flag('AUTH_NONE_ANYWHERE')
  if (auth === 'required') {
    faults.push('AUTH=required needs callers, which this version cannot know: ' +
      'set AUTH=none and let only trusted callers reach the port')
  } else if (!anywhere && !isLoopback(host)) {
    faults.push('AUTH=none lets everyone in, and HOST is an address that other machines reach: ' +
      'set HOST=127.0.0.1, or AUTH_NONE_ANYWHERE=true if something in front decides who may call')
  }
  for (const name of unsupported) {
    if (isSet(environment[name]) || isSet(environment[`${name}_FILE`])) {
      faults.push(`${name} is not supported by this version: unset it`)
    }
  }
  choice('COS_CREDENTIALS', 'env', ['env'])
  choice('COS_REGION_DISCOVERY', 'false', ['false'])
  choice('TRUST_PROXY', 'false', ['false'])
  for (const name of notActedOn) integer(name, 0, 0, Number.MAX_SAFE_INTEGER)

  const config: Config = {
    host,
    port: integer('PORT', 8080, 0, 65535),
    logLevel: choice('LOG_LEVEL', 'info', logLevels),
    readOnly: flag('READ_ONLY'),
    shutdownDelayMs: integer('SHUTDOWN_DELAY_MS', 0, 0, longestTimeMs),
    shutdownGraceMs: integer('SHUTDOWN_GRACE_MS', 10_000, 0, longestTimeMs),
    cos: {
      credentials: {
        secretId: secret('COS_SECRET_ID', true) ?? '',
        secretKey: secret('COS_SECRET_KEY', true) ?? '',
        token: secret('COS_TOKEN', false)
      },
      region: region(value('COS_REGION'), faults),
      bucketRegions: bucketRegions(value('COS_BUCKET_REGIONS'), faults),
      scheme: choice('COS_SCHEME', 'https', ['https', 'http']),
      endpoint: endpoint(value('COS_ENDPOINT'), faults),
      connectTo: connectTo(value('COS_CONNECT_TO'), faults),
      timeoutMs: integer('COS_TIMEOUT_MS', 5_000, 1, longestTimeMs),
      deadlineMs: integer('COS_DEADLINE_MS', 15_000, 1, longestTimeMs),
      maxConnections: integer('COS_MAX_CONNECTIONS', 64, 1, 10_000)
    },
    notInForce: notActedOn.filter(name => isSet(environment[name]) || isSet(environment[`${name}_FILE`]))
  }
  if (faults.length > 0) throw new ConfigError(faults)
  return config
}

function isSet (text: string | undefined): text is string {
  return text !== undefined && text !== ''
}

function readVariable (environment: Environment, name: string, faults: string[]): string | undefined {
  const direct = environment[name]
  // COS_CREDENTIALS_FILE is a variable of its own.
  const path = unsupported.includes(`${name}_FILE`) ? undefined : environment[`${name}_FILE`]
  if (!isSet(path)) return isSet(direct) ? direct : undefined
  if (isSet(direct)) {
    faults.push(`${name} and ${name}_FILE are both set: use one`)
    return undefined
  }
  try {
    // Editors and `echo` end a file with a line feed that is no part of the secret.
    return readFileSync(path, 'utf8').replace(/\r?\n$/, '')
  } catch (error) {
    // Not the path: whoever takes NAME_FILE for NAME has put the secret there.
    faults.push(`${name}_FILE cannot be read: ${(error as NodeJS.ErrnoException).code}`)
    return undefined
  }
}

function isLoopback (host: string): boolean {
  return host === 'localhost' || (isIPv4(host) && host.startsWith('127.')) || (isIPv6(host) && host === '::1')
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
    if (bucket.length > bucketMaxLength || !bucketRegex.test(bucket) || !regionRegex.test(where) || rest.length > 0) {
      faults.push(`COS_BUCKET_REGIONS: pair ${index + 1} is not bucket-appid=region`)
    } else if (regions.has(bucket)) {
      faults.push(`COS_BUCKET_REGIONS names ${bucket} twice`)
    } else {
      regions.set(bucket, where)
    }
  }
  return regions
}

function endpoint (text: string | undefined, faults: string[]): string {
  const template = text ?? '{bucket}.cos.{region}.myqcloud.com'
  const host = /^\{bucket\}\.((?:[a-z0-9-]|\{region\})+(?:\.(?:[a-z0-9-]|\{region\})+)*)(?::([0-9]{1,5}))?$/.exec(template)
  if (host === null || Number(host[2] ?? 443) < 1 || Number(host[2] ?? 443) > 65535) {
    faults.push('COS_ENDPOINT must be a lower-case host template that begins with {bucket}. ' +
      'such as {bucket}.cos.{region}.myqcloud.com, with an optional :port')
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
