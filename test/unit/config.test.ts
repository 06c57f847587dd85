import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { inspect } from 'node:util'
import t from 'tap'
import { readConfig } from '../../src/config/config.ts'
import type { Config } from '../../src/config/config.ts'
import { ConfigError, EnvironmentReader } from '../../src/config/environment.ts'
import type { VariableName } from '../../src/config/environment.ts'
import { isBucketAndRegion } from '../../src/config/formats.ts'
import type { CredentialsConfig } from '../../src/config/credentials.ts'
import { readListener } from '../../src/config/listener.ts'
import { configurationReference } from '../../src/config/reference.ts'
import type { Variable } from '../../src/config/variable-types.ts'
import { sections, variables } from '../../src/config/variables.ts'
import { Secret } from '../../src/secret.ts'
import { variablesRead } from '../variables-read.ts'

const required = { AUTH: 'none', COS_SECRET_ID: 'AKIDexample', COS_SECRET_KEY: 'keyOfTheExample' }

/** Returns the source of credentials without an accounts file. */
function onlySource ({ cos: { accounts } }: Config): CredentialsConfig {
  const [[name, source] = []] = accounts.read()
  if (name !== 'default' || source === undefined) throw new Error(name)
  return source
}

/** Returns the key pair of a configuration in plain text. */
function pairOf (config: Config): string[] {
  const credentials = onlySource(config)
  if (credentials.source !== 'env') throw new Error(credentials.source)
  const { secretId, secretKey, token } = credentials.variables.read()
  return [secretId, secretKey.reveal(), ...token === undefined ? [] : [token.reveal()]]
}

function faultsOf (environment: Record<string, string>): string[] {
  try {
    readConfig(environment)
    return []
  } catch (error) {
    return (error as ConfigError).issues
  }
}

const rows = Object.entries(variables) as Array<[VariableName, Variable]>

t.test('variable table lists exactly the variables that the service reads', async t => {
  t.strictSame(Object.keys(variables).sort(), [...variablesRead()].sort())
  const listed = sections.flatMap(section => Object.keys(section.variables))
  t.strictSame(listed.sort(), Object.keys(variables).sort(), 'each once, in one section')
})

t.test('docs/configuration.md equals the printed variable table', async t => {
  const document = readFileSync(new URL('../../docs/configuration.md', import.meta.url), 'utf8')
  t.ok(document === configurationReference(), 'up to date; otherwise run `npm run docs`')
  t.strictSame(document.split('\n').filter(line => line.length > 120 && !line.startsWith('|')), [])
  const cells = document.split('\n').filter(line => line.startsWith('|')).map(line => line.split('|').length)
  t.strictSame([...new Set(cells)], [6], 'no description splits a row')
})

t.test('variable table has a valid value for every default', async t => {
  const reader = new EnvironmentReader({})
  for (const [name, variable] of rows) {
    t.equal(reader.read(name) !== undefined, variable.default !== undefined, name)
    t.strictSame(reader.issues, [], name)
  }
})

t.test('secret variable yields a Secret and is not shown when malformed', async t => {
  const secret = rows.filter(([, variable]) => variable.secret).map(([name]) => name)
  t.strictSame(secret.sort(), [
    'COS_SECRET_ID', 'COS_SECRET_KEY', 'COS_TOKEN', 'HTTPS_PROXY', 'HTTP_PROXY', 'RATE_LIMIT_REDIS_URL', 'REDIS_URL'
  ])
  for (const name of secret) {
    const reader = new EnvironmentReader({ [name]: 'hidden text' })
    t.ok(reader.read(name) instanceof Secret, name)
    t.match(reader.issues, [/ \(its value is not shown\)$/], name)
    t.notMatch(reader.issues.join(), /hidden/, name)
  }
})

t.test('readConfig returns the documented defaults when optional variables are unset', async t => {
  const { cos: { accounts, ...cos }, ...config } = readConfig(required)
  t.equal(accounts.file, undefined)
  t.equal(onlySource(readConfig(required)).source, 'env')
  t.strictSame({ ...config, cos }, {
    host: '127.0.0.1',
    port: 8080,
    logLevel: 'info',
    readOnly: false,
    keepAliveTimeoutMs: 72_000,
    shutdownDelayMs: 0,
    shutdownGraceMs: 20_000,
    trustedProxies: [],
    auth: 'none',
    allowedHosts: ['127.0.0.1'],
    tls: undefined,
    auditLog: 'stdout',
    rateLimit: { perMinute: 0, redisUrl: undefined },
    cos: {
      region: undefined,
      bucketRegions: new Map(),
      regionDiscovery: false,
      scheme: 'https',
      endpoint: '{bucket}.cos.{region}.myqcloud.com',
      connectTo: undefined,
      proxies: { http: undefined, https: undefined },
      timeoutMs: 5_000,
      deadlineMs: 15_000,
      maxAttempts: 3,
      maxConnections: 64,
      maxIdleConnections: 1000,
      maxConcurrency: 256,
      queueLimit: 1024
    },
    reports: { isEnabled: false, maxStreams: 4, watched: [], watchSeconds: 900 },
    metricsPort: undefined,
    traces: undefined,
    propagation: true,
    unsupported: [],
    ineffective: [],
    unknown: []
  })
})

t.test('readConfig returns the value of every variable', async t => {
  const config = readConfig({
    ...required,
    HOST: '::1',
    PORT: '0',
    LOG_LEVEL: 'trace',
    READ_ONLY: 'true',
    SHUTDOWN_DELAY_MS: '1',
    SHUTDOWN_GRACE_MS: '2',
    COS_TOKEN: 'token',
    COS_CREDENTIALS: 'env',
    COS_REGION: 'ap-guangzhou',
    COS_BUCKET_REGIONS: 'a-1=ap-beijing,b-2=ap-tokyo',
    COS_SCHEME: 'http',
    COS_ENDPOINT: '{bucket}.cos.{region}.tencentcos.cn:8080',
    COS_CONNECT_TO: '[::1]:9000',
    COS_TIMEOUT_MS: '3',
    COS_DEADLINE_MS: '4',
    COS_MAX_CONNECTIONS: '5',
    COS_REGION_DISCOVERY: 'true',
    COS_MAX_ATTEMPTS: '4',
    COS_MAX_CONCURRENCY: '6',
    COS_QUEUE_LIMIT: '0',
    METRICS_PORT: '9091',
    OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318',
    TRUST_PROXY: '10.0.0.1, 10.1.0.0/16,::1,fd00::/8',
    RATE_LIMIT_PER_MINUTE: '7',
    RATE_LIMIT_REDIS_URL: 'rediss://user:redis-password@redis:6379/1',
    AUDIT_LOG: '/var/log/audit',
    TLS_CERT_FILE: '/tls/cert',
    TLS_KEY_FILE: '/tls/key',
    TLS_CLIENT_CA_FILE: '/tls/ca'
  })
  t.match(config, {
    host: '::1',
    port: 0,
    logLevel: 'trace',
    readOnly: true,
    shutdownDelayMs: 1,
    shutdownGraceMs: 2,
    trustedProxies: ['10.0.0.1', '10.1.0.0/16', '::1', 'fd00::/8'],
    auditLog: '/var/log/audit',
    tls: { certFile: '/tls/cert', keyFile: '/tls/key', clientCaFile: '/tls/ca' },
    rateLimit: { perMinute: 7 },
    cos: { maxAttempts: 4, maxConnections: 5, maxConcurrency: 6, queueLimit: 0 },
    metricsPort: 9091,
    traces: { protocol: 'http/protobuf' },
    unsupported: [],
    ineffective: [],
    unknown: []
  })
  t.strictSame(pairOf(config), [required.COS_SECRET_ID, required.COS_SECRET_KEY, 'token'])
  t.equal(config.rateLimit.redisUrl?.reveal(), 'rediss://user:redis-password@redis:6379/1')
  t.notMatch(JSON.stringify(config) + inspect(config, { depth: 9 }), /redis-password|keyOfTheExample/)
  t.match(config.cos, {
    region: 'ap-guangzhou',
    scheme: 'http',
    connectTo: { host: '::1', port: 9000 },
    endpoint: '{bucket}.cos.{region}.tencentcos.cn:8080',
    regionDiscovery: true,
    timeoutMs: 3,
    deadlineMs: 4,
    maxConnections: 5
  })
  t.strictSame([...config.cos.bucketRegions], [['a-1', 'ap-beijing'], ['b-2', 'ap-tokyo']])
  t.strictSame(readConfig({ ...required, COS_CONNECT_TO: 'emulator:9000' }).cos.connectTo, { host: 'emulator', port: 9000 })
  t.equal(readConfig({ ...required, COS_REGION: '', HOST: '' }).host, '127.0.0.1', 'empty counts as not set')
  t.equal(readConfig({ ...required, HOST: 'localhost' }).host, '127.0.0.1', 'localhost becomes one address')
})

t.test('readListener reads HOST, PORT and TLS only', async t => {
  t.strictSame(readListener({}), { host: '127.0.0.1', port: 8080, tls: undefined })
  t.strictSame(readListener({ HOST: '::', PORT: '1', TLS_CERT_FILE: 'c', TLS_KEY_FILE: 'k', COS_SECRET_KEY_FILE: '/none' }),
    { host: '::', port: 1, tls: { certFile: 'c', keyFile: 'k', clientCaFile: undefined } })
  t.throws(() => readListener({ PORT: 'http' }), new ConfigError(['PORT must be an integer from 0 to 65535']))
})

t.test('AUDIT_LOG selects stdout or stderr by any path of that output', async t => {
  for (const [descriptor, name] of [[1, 'stdout'], [2, 'stderr']] as const) {
    const paths = [`/dev/${name}`, `/dev/fd/${descriptor}`, `/proc/self/fd/${descriptor}`, `/proc/${process.pid}/fd/${descriptor}`]
    for (const path of [name, ...paths]) t.equal(readConfig({ ...required, AUDIT_LOG: path }).auditLog, name, path)
  }
  t.equal(readConfig({ ...required, AUDIT_LOG: '/dev/fd/3' }).auditLog, '/dev/fd/3')
})

t.test('ConfigError lists every configuration error and shows no secret', async t => {
  const environment = {
    COS_SECRET_ID: 'AKID with blanks',
    COS_SECRET_KEY: 'padded-secret-key in-two',
    COS_TOKEN: 'token\nwith-line-feed',
    COS_CREDENTIALS: 'vault',
    STS_ENDPOINT: 'sts.tencentcloudapi.com',
    METADATA_ENDPOINT: 'ftp://metadata',
    COS_ROLE_SESSION_NAME: 'x',
    COS_REGION: 'Guangzhou',
    COS_BUCKET_REGIONS: 'nobucket=ap-beijing,a-1,a-1=cn-north,a-1=ap-beijing,a-1=ap-tokyo,a-1=b-c=d-e',
    COS_SCHEME: 'ftp',
    COS_ENDPOINT: 'cos.{region}.myqcloud.com/{bucket}',
    COS_CONNECT_TO: '[::zz]:9000',
    COS_TIMEOUT_MS: '0',
    COS_DEADLINE_MS: '1.5',
    COS_MAX_CONNECTIONS: 'many',
    HOST: '0.0.0.0',
    PORT: '65536',
    LOG_LEVEL: 'loud',
    READ_ONLY: 'yes',
    AUTH: 'none',
    SHUTDOWN_DELAY_MS: '-1',
    KEEP_ALIVE_TIMEOUT_MS: '0',
    HTTPS_PROXY: 'socks5://user:proxy-password@proxy',
    HTTP_PROXY: 'http://proxy-password:port',
    SHUTDOWN_GRACE_MS: '3600001',
    COS_REGION_DISCOVERY: 'yes',
    TRUST_PROXY: 'true',
    COS_MAX_ATTEMPTS: '11',
    COS_MAX_CONCURRENCY: '0',
    COS_QUEUE_LIMIT: '-1',
    METRICS_PORT: '65536',
    OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318',
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'ftp://collector',
    OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'grpc',
    OTEL_BSP_MAX_EXPORT_BATCH_SIZE: '0',
    RATE_LIMIT_PER_MINUTE: '-1',
    RATE_LIMIT_REDIS_URL: 'http://user:redis-password@redis',
    JWT_ISSUER: 'https://issuer.example',
    JWT_JWKS_URL: 'https://user:password@issuer.example',
    TLS_KEY_FILE: '/tls/key',
    CALLERS_FILE: '/callers.json'
  }
  const faults = faultsOf(environment)
  for (const name of Object.keys(environment)) {
    if (!['AUTH', 'OTEL_EXPORTER_OTLP_ENDPOINT'].includes(name)) t.ok(faults.some(fault => fault.includes(name)), name)
  }
  t.equal(faults.filter(fault => fault.startsWith('COS_BUCKET_REGIONS')).length, 5)
  const message = new ConfigError(faults).message
  t.match(message, new RegExp(`^The configuration has ${faults.length} errors:\n  - `))
  t.notMatch(message, /with blanks|padded|line-feed|nobucket|password@|redis-password|proxy-password/)
  t.match(new ConfigError(['x']).message, /1 error:/)
})

t.test('start fails when OTEL_EXPORTER_OTLP_ENDPOINT is given as a file', async t => {
  const path = join(t.testdir({ endpoint: 'http://collector:4318' }), 'endpoint')
  t.match(faultsOf({ ...required, OTEL_EXPORTER_OTLP_ENDPOINT_FILE: path }), [/^OTEL_EXPORTER_OTLP_ENDPOINT_FILE does nothing/])
  t.strictSame(readConfig({ ...required, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'https://collector/v1/traces' }).traces,
    { protocol: 'http/protobuf' })
})

const endpoint = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318' }
const protobuf = { protocol: 'http/protobuf' }
const protocol = 'OTEL_EXPORTER_OTLP_PROTOCOL'
const tracesProtocol = 'OTEL_EXPORTER_OTLP_TRACES_PROTOCOL'

t.test('traces follow the OpenTelemetry specification for each set of variables', async t => {
  type Unsupported = Array<[variable: string, used: string]>
  type Case = [environment: Record<string, string>, traces: unknown, unsupported?: Unsupported]
  const cases: Case[] = [
    [{ OTEL_SDK_DISABLED: 'true' }, undefined],
    [{ OTEL_SDK_DISABLED: ' TRUE ' }, undefined],
    [{ OTEL_SDK_DISABLED: 'False' }, protobuf],
    [{ OTEL_SDK_DISABLED: ' ' }, protobuf],
    [{ OTEL_SDK_DISABLED: '1' }, protobuf, [['OTEL_SDK_DISABLED', 'false']]],
    [{ OTEL_SDK_DISABLED: 'true', [protocol]: 'grpc', OTEL_BSP_MAX_EXPORT_BATCH_SIZE: '0' }, undefined],
    [{ OTEL_SDK_DISABLED: 'true', OTEL_EXPORTER_OTLP_ENDPOINT: 'collector:4317' }, undefined],
    [{ OTEL_TRACES_EXPORTER: 'otlp' }, protobuf],
    [{ OTEL_TRACES_EXPORTER: ', ' }, protobuf],
    [{ OTEL_TRACES_EXPORTER: 'None' }, undefined],
    [{ OTEL_TRACES_EXPORTER: 'none', [protocol]: 'grpc' }, undefined],
    [{ OTEL_TRACES_EXPORTER: 'console' }, undefined, [['OTEL_TRACES_EXPORTER', 'none']]],
    [{ OTEL_TRACES_EXPORTER: 'console, OTLP' }, protobuf, [['OTEL_TRACES_EXPORTER', 'otlp']]],
    [{ [protocol]: 'http/json' }, { protocol: 'http/json' }],
    [{ [protocol]: ' , ' }, protobuf],
    [{ [protocol]: 'HTTP/Protobuf' }, protobuf],
    [{ [protocol]: 'http/xml' }, protobuf, [[protocol, 'http/protobuf']]],
    [{ [protocol]: 'grpc', [tracesProtocol]: 'http/json' }, { protocol: 'http/json' }],
    [{ [protocol]: 'http/json', [tracesProtocol]: 'http' }, protobuf, [[tracesProtocol, 'http/protobuf']]],
    [{ [protocol]: 'http/json', [tracesProtocol]: '' }, { protocol: 'http/json' }],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: '', [protocol]: 'grpc', OTEL_BSP_MAX_EXPORT_BATCH_SIZE: '0' }, undefined],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: '', [protocol]: 'http/xml', [tracesProtocol]: 'grpc' }, undefined]
  ]
  for (const [environment, traces, unsupported = []] of cases) {
    const config = readConfig({ ...required, ...endpoint, ...environment })
    t.strictSame(config.traces, traces, JSON.stringify(environment))
    const warnings = config.unsupported.map(({ variable, used }) => [variable, used])
    t.strictSame(warnings, unsupported, JSON.stringify(environment))
  }
})

t.test('start fails when traces are on and the protocol is grpc', async t => {
  for (const name of [protocol, tracesProtocol]) {
    for (const value of ['grpc', 'GRPC']) {
      t.strictSame(faultsOf({ ...required, ...endpoint, [name]: value }),
        [`${name}=grpc is not supported: use http/protobuf or http/json`])
    }
  }
})

t.test('trace context is propagated unless OTEL_PROPAGATORS lacks tracecontext', async t => {
  const cases: Array<[value: string, isOn: boolean, used?: string]> = [
    ['', true], [' , ', true], ['tracecontext', true], ['TraceContext,tracecontext', true], ['none', false],
    ['tracecontext,baggage', true, 'tracecontext'], ['b3', false, 'none'], ['b3multi, baggage', false, 'none']
  ]
  for (const [OTEL_PROPAGATORS, isOn, used] of cases) {
    const { propagation, unsupported } = readConfig({ ...required, OTEL_PROPAGATORS, OTEL_SDK_DISABLED: 'true' })
    t.equal(propagation, isOn, OTEL_PROPAGATORS)
    t.strictSame(unsupported, used === undefined ? [] : [{ variable: 'OTEL_PROPAGATORS', used }], OTEL_PROPAGATORS)
  }
})

t.test('start fails when METRICS_PORT equals PORT, unless both are 0', async t => {
  t.match(faultsOf({ ...required, METRICS_PORT: '8080' }), [/^METRICS_PORT equals PORT/])
  t.match(faultsOf({ ...required, METRICS_PORT: '9091', PORT: '9091' }), [/^METRICS_PORT equals PORT/])
  t.equal(readConfig({ ...required, METRICS_PORT: '0', PORT: '0' }).metricsPort, 0, 'any free port')
})

t.test('start fails when AUTH, CALLERS_FILE and the COS key pair are unset', async t => {
  const faults = faultsOf({})
  t.match(faults, [/AUTH=required needs CALLERS_FILE/, /COS_SECRET_ID is required/, /COS_SECRET_KEY is required/])
})

t.test('AUTH=none requires AUTH_NONE_ANYWHERE=true when HOST is not a loopback address', async t => {
  for (const HOST of ['127.0.0.1', '127.8.8.8', 'localhost', '::1']) t.strictSame(faultsOf({ ...required, HOST }), [], HOST)
  for (const HOST of ['0.0.0.0', '::', '10.0.0.1', 'example.com', '127.example.com']) {
    t.match(faultsOf({ ...required, HOST }), [/AUTH_NONE_ANYWHERE=true/], HOST)
    t.strictSame(faultsOf({ ...required, HOST, AUTH_NONE_ANYWHERE: 'true' }), [], HOST)
  }
})

t.test('start fails when COS_ENDPOINT or COS_CONNECT_TO is malformed', async t => {
  for (const COS_ENDPOINT of ['{bucket}.cos.{region}.myqcloud.com', '{bucket}.cos-{region}.private:1', '{bucket}.localhost:65535']) {
    t.strictSame(faultsOf({ ...required, COS_ENDPOINT }), [], COS_ENDPOINT)
  }
  for (const COS_ENDPOINT of ['cos.{region}.com', '{bucket}.COS.com', '{bucket}.a.com:0', '{bucket}.a.com:65536', '{bucket}.a.com/x',
    '{bucket}.a@b.com', '{bucket}', '{bucket}.cos.{region}.1', 'https://{bucket}.a.com', '{bucket}..com']) {
    t.match(faultsOf({ ...required, COS_ENDPOINT }), [/^COS_ENDPOINT/], COS_ENDPOINT)
  }
  for (const COS_CONNECT_TO of ['localhost', 'a:0', 'a:65536', 'http://a:1', '::1:9000', 'a b:1']) {
    t.match(faultsOf({ ...required, COS_CONNECT_TO }), [/^COS_CONNECT_TO/], COS_CONNECT_TO)
  }
})

t.test('COS_REGION_DISCOVERY is rejected when COS_ENDPOINT lacks {region}', async t => {
  const COS_REGION_DISCOVERY = 'true'
  t.match(faultsOf({ ...required, COS_REGION_DISCOVERY, COS_ENDPOINT: '{bucket}.cos.accelerate.myqcloud.com' }),
    [/^COS_REGION_DISCOVERY=true has no effect with a COS_ENDPOINT without \{region\}/])
  t.equal(readConfig({ ...required, COS_REGION_DISCOVERY, COS_ENDPOINT: '{bucket}.{region}.private' }).cos.regionDiscovery, true)
  t.equal(readConfig({ ...required, COS_ENDPOINT: '{bucket}.private' }).cos.regionDiscovery, false)
})

t.test('isBucketAndRegion returns false when a bucket or region is malformed', async t => {
  t.ok(isBucketAndRegion('examplebucket-1250000000', 'ap-guangzhou'))
  for (const [name, region] of [
    ['examplebucket', 'ap-guangzhou'], ['a.b-1', 'ap-guangzhou'], ['', 'ap-guangzhou'], [`${'a'.repeat(62)}-1`, 'ap-guangzhou'],
    ['a-1', ''], ['a-1', 'guangzhou'], ['a-1', 'cn-north'], ['a-1', 'ap-guangzhou.evil.example'], ['a-1', 'ap-guangzhou\n']
  ] as const) t.notOk(isBucketAndRegion(name, region), `${name} ${region}`)
})

t.test('NAME_FILE supplies the value of NAME and is read again at each use', async t => {
  const dir = t.testdir({})
  const path = join(dir, 'key')
  for (const [content, value] of [['from-file\n', 'from-file'], ['from-file\r\n', 'from-file'], ['from-file', 'from-file']] as const) {
    writeFileSync(path, content)
    const { COS_SECRET_KEY: _, ...rest } = required
    const config = readConfig({ ...rest, COS_SECRET_KEY_FILE: path })
    t.strictSame(pairOf(config), [rest.COS_SECRET_ID, value])
    writeFileSync(path, 'another')
    t.strictSame(pairOf(config), [rest.COS_SECRET_ID, 'another'], 'a changed file is read again')
    rmSync(path)
    t.throws(() => pairOf(config), new ConfigError(['COS_SECRET_KEY_FILE cannot be read: ENOENT']))
  }
  writeFileSync(path, 'from-file')
  t.match(faultsOf({ ...required, COS_SECRET_KEY_FILE: path }), [/COS_SECRET_KEY and COS_SECRET_KEY_FILE are both set/])
  t.strictSame(faultsOf({ ...required, PORT_FILE: 'a-secret-in-the-wrong-place' }), ['PORT_FILE cannot be read: ENOENT'])
  t.match(faultsOf({ ...required, METRICS_PORT_FILE: path }), [/^METRICS_PORT must be an integer/])
  t.strictSame(readConfig({ ...required, COS_CREDENTIALS_FILE: path, COS_ROLE_ARN: 'r' }).ineffective, ['COS_CREDENTIALS_FILE', 'COS_ROLE_ARN'],
    'COS_CREDENTIALS_FILE is not the file form of COS_CREDENTIALS')
  t.notMatch(faultsOf({ AUTH: 'none', COS_SECRET_KEY_FILE: path, COS_SECRET_ID: 'x' }).join(), /from-file/)
})

t.test('AUTH=required reads CALLERS_FILE and requires all or none of the JWT settings', async t => {
  const { AUTH: _, ...keys } = required
  const jwt = { JWT_JWKS_URL: 'https://issuer.example/jwks', JWT_ISSUER: 'https://issuer.example', JWT_AUDIENCE: 'cos' }
  t.strictSame(readConfig({ ...keys, CALLERS_FILE: 'c.json' }).auth, { callersFile: 'c.json', jwt: undefined })
  t.equal(readConfig({ ...keys, CALLERS_FILE: 'c.json' }).rateLimit.perMinute, 600)
  t.strictSame(readConfig({ ...keys, CALLERS_FILE: 'c.json', HOST: '0.0.0.0', ...jwt }).auth, {
    callersFile: 'c.json',
    jwt: { jwksUrl: jwt.JWT_JWKS_URL, issuer: jwt.JWT_ISSUER, audience: jwt.JWT_AUDIENCE }
  })
  t.match(faultsOf({ ...keys, CALLERS_FILE: 'c.json', JWT_ISSUER: 'i' }), [/^JWT_ISSUER alone does not define/])
  t.match(faultsOf({ ...keys, CALLERS_FILE: 'c.json', JWT_ISSUER: 'i', JWT_AUDIENCE: 'a' }), [/^JWT_ISSUER and JWT_AUDIENCE alone do not/])
  t.match(faultsOf({ ...required, CALLERS_FILE: 'c.json', ...jwt }), [/^AUTH=none disables authentication, so that CALLERS_FILE, JWT_JWKS_URL,/])
})

t.test('start fails when REDIS_URL is not a URL of one server', async t => {
  const unusable: Array<[RegExp, string[]]> = [
    [/must be redis:\/\/host:port\/database or rediss:/, [
      'redis', 'http://redis', 'redis://', 'redis:redis', 'redis://:%zz@redis', 'redis://:p%@redis', 'redis://:%ff@redis',
      'redis://%e4:%bd%a0@redis', 'redis://redis:65536', 'unix:///run/redis.sock', '/run/redis.sock', '//redis', '6379'
    ]],
    [/must end with a database from 0 to 2147483647 or without one/, [
      'redis://redis/abc', 'redis://redis/-1', 'redis://redis/1.5', 'redis://redis/1e3', 'redis://redis/0x1', 'redis://redis/1/',
      'redis://redis//1', 'redis://redis/%31', 'redis://redis/2147483648', 'redis://redis/99999999999'
    ]],
    [/must not have a query or a fragment/, [
      'redis://redis?db=abc', 'redis://redis/0?sentinels=x', 'redis://redis/?enableOfflineQueue=1', 'rediss://redis#1'
    ]],
    [/has several hosts, which is not supported: use redis:\/\/ or rediss:\/\/ with one host/, [
      'redis://one:6379,two:6379', 'redis://one,two/0', 'redis://:pass@one:1,two:2/3', 'rediss://one,two?x=1'
    ]]
  ]
  for (const [issue, urls] of unusable) {
    for (const url of urls) {
      for (const name of ['REDIS_URL', 'RATE_LIMIT_REDIS_URL']) {
        const faults = faultsOf({ ...required, [name]: url })
        t.match(faults, [new RegExp(`^${name} ${issue.source}.* \\(its value is not shown\\)$`)], url)
        t.equal(faults.length, 1)
      }
    }
  }
})

t.test('start fails when REDIS_URL names Sentinel or Cluster', async t => {
  for (const scheme of [
    'redis+sentinel:', 'rediss+sentinel:', 'redis-sentinel:', 'sentinel:', 'sentinels:', 'redis-cluster:', 'redis+cluster:',
    'rediss-cluster:', 'cluster:'
  ]) {
    t.strictSame(faultsOf({ ...required, REDIS_URL: `${scheme.toUpperCase()}//:pass@one:26379,two:26379/primary/0` }), [
      `REDIS_URL begins with ${scheme}//, which is not supported: use redis:// or rediss:// with one host (its value is not shown)`
    ])
  }
})

t.test('REDIS_URL is accepted when it names one server', async t => {
  for (const [given, used] of [
    ['rediss://user:p%40ss@redis:6380/2'], ['redis://redis'], ['redis://redis/'], ['redis://redis/0'], ['redis://redis/2147483647'],
    ['redis://:a,b@redis:6379'], ['redis://[::1]:6379/1'], ['REDISS://:Pass@redis', 'rediss://:Pass@redis'],
    [' redis://redis\n', 'redis://redis']
  ] as Array<[string, string?]>) {
    t.equal(readConfig({ ...required, REDIS_URL: given }).rateLimit.redisUrl?.reveal(), used ?? given, given)
  }
})

t.test('RATE_LIMIT_REDIS_URL is an alias of REDIS_URL', async t => {
  const [url, other] = ['redis://:pass@redis', 'redis://:pass@other']
  const path = join(t.testdir({ url: `${url}\n` }), 'url')
  for (const environment of [
    { REDIS_URL: url }, { RATE_LIMIT_REDIS_URL: url }, { REDIS_URL: url, RATE_LIMIT_REDIS_URL: url },
    { REDIS_URL_FILE: path }, { RATE_LIMIT_REDIS_URL_FILE: path }, { REDIS_URL_FILE: path, RATE_LIMIT_REDIS_URL: url }
  ]) t.equal(readConfig({ ...required, ...environment }).rateLimit.redisUrl?.reveal(), url)
  for (const environment of [
    { REDIS_URL: url, RATE_LIMIT_REDIS_URL: other }, { REDIS_URL_FILE: path, RATE_LIMIT_REDIS_URL: other }
  ]) {
    t.strictSame(faultsOf({ ...required, ...environment }),
      ['REDIS_URL and its alias RATE_LIMIT_REDIS_URL differ: unset one of them'])
  }
})

t.test('ConfigError lists the first 200 errors when there are 1,000', async t => {
  const { message, issues } = new ConfigError(Array.from({ length: 1000 }, (_, index) => `fault ${index}`))
  t.equal(issues.length, 1000)
  t.match(message, /^The configuration has 1000 errors:\n[^]*fault 199\n {2}… and 800 more$/)
})

t.test('start fails when TLS is configured without both certificate and key', async t => {
  const [cert, key, ca] = [{ TLS_CERT_FILE: 'c' }, { TLS_KEY_FILE: 'k' }, { TLS_CLIENT_CA_FILE: 'a' }]
  t.strictSame(readConfig({ ...required, ...cert, ...key }).tls, { certFile: 'c', keyFile: 'k', clientCaFile: undefined })
  for (const some of [cert, key, ca, { ...cert, ...ca }, { ...key, ...ca }]) {
    t.match(faultsOf({ ...required, ...some }), [/^TLS_CERT_FILE and TLS_KEY_FILE are needed together/])
  }
})

t.test('start fails when a variable of the selected credential source is missing', async t => {
  const none = { AUTH: 'none' }
  const sourceOf = (environment: Record<string, string>) => onlySource(readConfig({ ...none, ...environment }))
  t.strictSame(sourceOf({ COS_CREDENTIALS: 'file', COS_CREDENTIALS_FILE: '/c' }), { source: 'file', path: '/c' })
  t.strictSame(sourceOf({ COS_CREDENTIALS: 'cvm-role' }),
    { source: 'cvm-role', metadataEndpoint: 'http://metadata.tencentyun.com' })
  t.match(sourceOf({ COS_CREDENTIALS: 'cvm-role', METADATA_ENDPOINT: 'http://127.0.0.1:1' }), { metadataEndpoint: 'http://127.0.0.1:1' })
  const tke = { TKE_REGION: 'ap-beijing', TKE_PROVIDER_ID: 'p', TKE_WEB_IDENTITY_TOKEN_FILE: '/t', TKE_ROLE_ARN: 'r' }
  t.strictSame(sourceOf({ COS_CREDENTIALS: 'oidc', ...tke }), {
    source: 'oidc', stsEndpoint: 'https://sts.tencentcloudapi.com', region: 'ap-beijing', providerId: 'p', tokenFile: '/t', roleArn: 'r'
  })
  const role = { ...required, COS_CREDENTIALS: 'assume-role', COS_ROLE_ARN: 'r' }
  t.match(sourceOf({ ...role, STS_ENDPOINT: 'http://sts' }),
    { source: 'assume-role', stsEndpoint: 'http://sts', region: 'ap-guangzhou', roleArn: 'r', sessionName: 'cos-inventory-proxy' })
  t.match(sourceOf({ ...role, COS_REGION: 'ap-tokyo', COS_ROLE_SESSION_NAME: 'mine' }), { region: 'ap-tokyo', sessionName: 'mine' })

  t.match(faultsOf({ ...none, COS_CREDENTIALS: 'file' }), [/^COS_CREDENTIALS_FILE is required with COS_CREDENTIALS=file$/])
  t.match(faultsOf({ ...none, COS_CREDENTIALS: 'oidc' }),
    [/^TKE_REGION/, /^TKE_PROVIDER_ID/, /^TKE_WEB_IDENTITY_TOKEN_FILE/, /^TKE_ROLE_ARN/])
  const based = { ...none, COS_CREDENTIALS: 'assume-role', COS_ROLE_ARN: 'r' }
  t.match(sourceOf({ ...based, COS_ROLE_BASE: 'file', COS_CREDENTIALS_FILE: '/c' }), { base: { source: 'file', path: '/c' } })
  t.match(sourceOf({ ...based, COS_ROLE_BASE: 'cvm-role' }), { base: { source: 'cvm-role' } })
  t.match(sourceOf({ ...based, ...tke, COS_ROLE_BASE: 'oidc' }), { roleArn: 'r', base: { source: 'oidc', roleArn: 'r' } })
  t.match(faultsOf({ ...based, COS_ROLE_BASE: 'oidc', ...tke, TKE_REGION: '' }), [/^TKE_REGION is required with COS_ROLE_BASE=oidc$/])
  t.match(faultsOf({ ...none, COS_CREDENTIALS: 'assume-role', COS_ROLE_BASE: 'file' }),
    [/^COS_CREDENTIALS_FILE is required with COS_ROLE_BASE=file$/, /^COS_ROLE_ARN is required with COS_CREDENTIALS=assume-role$/])
  t.match(faultsOf({ ...none, COS_CREDENTIALS: 'assume-role' }), [/^COS_SECRET_ID/, /^COS_SECRET_KEY/, /^COS_ROLE_ARN/])
})

t.test('start fails when TRUST_PROXY is not a list of addresses or networks', async t => {
  for (const TRUST_PROXY of ['true', '1', 'loopback', '10.0.0.0/33', '::1/129', '10.0.0.1/8/8', '10.0.0.0/0', '10.0.0.0/x', ',', 'proxy.example']) {
    t.match(faultsOf({ ...required, TRUST_PROXY }), [/^TRUST_PROXY/], TRUST_PROXY)
  }
})

t.test('ALLOWED_HOSTS accepts host names and addresses without a port only', t => {
  const allowed = (environment: Record<string, string>) => readConfig({ ...required, ...environment }).allowedHosts
  t.strictSame(allowed({ ALLOWED_HOSTS: 'proxy.internal, 10.0.0.1,[FD00::1],' }), ['proxy.internal', '10.0.0.1', '[fd00::1]', '127.0.0.1'])
  t.strictSame(allowed({ HOST: '::1' }), ['[::1]'], 'the listen address is always allowed')
  for (const ALLOWED_HOSTS of ['proxy.internal:8080', 'http://proxy', '*', 'a b', 'fd00::1']) {
    t.match(faultsOf({ ...required, ALLOWED_HOSTS }), [/^ALLOWED_HOSTS must be/], ALLOWED_HOSTS)
  }
  const guarded = readConfig({ ...required, AUTH: 'required', CALLERS_FILE: '/callers.json', ALLOWED_HOSTS: 'a' })
  t.strictSame([guarded.allowedHosts, guarded.ineffective], [undefined, ['ALLOWED_HOSTS']])
  t.end()
})

t.test('start fails when a proxy URL is malformed', async t => {
  for (const [url, issue] of [
    ['proxy:3128', /begins with http/], ['http://', /begins with http/], ['http://user:p%zz@proxy:3128', /percent-encoding/],
    ['http://user@proxy:3128', /both user and password/], ['http://:password@proxy:3128', /both user and password/]
  ] as const) {
    for (const name of ['HTTPS_PROXY', 'HTTP_PROXY']) {
      const faults = faultsOf({ ...required, [name]: url })
      t.match(faults, [new RegExp(`^${name} must .*${issue.source}`)], url)
      t.notMatch(faults.join(), /p%zz|user@|:password/)
    }
  }
  const { proxies } = readConfig({ ...required, HTTPS_PROXY: '"http://user:p%40ss@proxy:3128" ', NO_PROXY: 'a,b' }).cos
  t.match([proxies.https?.url.reveal(), proxies.https?.except, proxies.http], ['http://user:p%40ss@proxy:3128', 'a,b', undefined])
})
