import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { ConfigError, readConfig } from '../../src/config.ts'

const required = { AUTH: 'none', COS_SECRET_ID: 'AKIDexample', COS_SECRET_KEY: 'keyOfTheExample' }

function faultsOf (environment: Record<string, string>): string[] {
  try {
    readConfig(environment)
    return []
  } catch (error) {
    return (error as ConfigError).faults
  }
}

t.test('the defaults are those of the documentation', async t => {
  t.strictSame(readConfig(required), {
    host: '127.0.0.1',
    port: 8080,
    logLevel: 'info',
    readOnly: false,
    shutdownDelayMs: 0,
    shutdownGraceMs: 10_000,
    cos: {
      credentials: { secretId: 'AKIDexample', secretKey: 'keyOfTheExample', token: undefined },
      region: undefined,
      bucketRegions: new Map(),
      scheme: 'https',
      endpoint: '{bucket}.cos.{region}.myqcloud.com',
      connectTo: undefined,
      timeoutMs: 5_000,
      deadlineMs: 15_000,
      maxConnections: 64
    },
    notInForce: []
  })
})

t.test('every variable is taken', async t => {
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
    COS_REGION_DISCOVERY: 'false',
    COS_MAX_ATTEMPTS: '3',
    TRUST_PROXY: 'false',
    RATE_LIMIT_PER_MINUTE: '0'
  })
  t.match(config, {
    host: '::1',
    port: 0,
    logLevel: 'trace',
    readOnly: true,
    shutdownDelayMs: 1,
    shutdownGraceMs: 2,
    notInForce: ['COS_MAX_ATTEMPTS', 'RATE_LIMIT_PER_MINUTE']
  })
  t.match(config.cos, {
    credentials: { token: 'token' },
    region: 'ap-guangzhou',
    scheme: 'http',
    connectTo: { host: '::1', port: 9000 },
    endpoint: '{bucket}.cos.{region}.tencentcos.cn:8080',
    timeoutMs: 3,
    deadlineMs: 4,
    maxConnections: 5
  })
  t.strictSame([...config.cos.bucketRegions], [['a-1', 'ap-beijing'], ['b-2', 'ap-tokyo']])
  t.strictSame(readConfig({ ...required, COS_CONNECT_TO: 'emulator:9000' }).cos.connectTo, { host: 'emulator', port: 9000 })
  t.equal(readConfig({ ...required, COS_REGION: '', HOST: '' }).host, '127.0.0.1', 'empty counts as not set')
})

t.test('every fault is named at once, and no secret with it', async t => {
  const environment = {
    COS_SECRET_ID: 'AKID with blanks',
    COS_SECRET_KEY: ' padded-secret-key',
    COS_TOKEN: 'token\nwith-line-feed',
    COS_CREDENTIALS: 'cvm-role',
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
    SHUTDOWN_GRACE_MS: '3600001',
    COS_REGION_DISCOVERY: 'true',
    TRUST_PROXY: '10.0.0.1',
    COS_MAX_ATTEMPTS: 'many',
    CALLERS_FILE: '/callers.json'
  }
  const faults = faultsOf(environment)
  for (const name of Object.keys(environment)) {
    if (name !== 'AUTH') t.ok(faults.some(fault => fault.startsWith(name) || fault.includes(`${name}=`)), name)
  }
  t.equal(faults.filter(fault => fault.startsWith('COS_BUCKET_REGIONS')).length, 5)
  const message = new ConfigError(faults).message
  t.match(message, new RegExp(`^The configuration has ${faults.length} faults:\n  - `))
  t.notMatch(message, /with blanks|padded|line-feed|nobucket/)
  t.match(new ConfigError(['x']).message, /1 fault:/)
})

t.test('it does not start without keys or without saying who may call', async t => {
  const faults = faultsOf({})
  t.match(faults, [/AUTH=none/, /COS_SECRET_ID is required/, /COS_SECRET_KEY is required/])
})

t.test('AUTH=none stays on this machine unless told otherwise', async t => {
  for (const HOST of ['127.0.0.1', '127.8.8.8', 'localhost', '::1']) t.strictSame(faultsOf({ ...required, HOST }), [], HOST)
  for (const HOST of ['0.0.0.0', '::', '10.0.0.1', 'example.com', '127.example.com']) {
    t.match(faultsOf({ ...required, HOST }), [/AUTH_NONE_ANYWHERE=true/], HOST)
    t.strictSame(faultsOf({ ...required, HOST, AUTH_NONE_ANYWHERE: 'true' }), [], HOST)
  }
})

t.test('an endpoint template begins with the bucket and may end with a port', async t => {
  for (const COS_ENDPOINT of ['{bucket}.cos.{region}.myqcloud.com', '{bucket}.cos-{region}.private:1', '{bucket}.localhost:65535']) {
    t.strictSame(faultsOf({ ...required, COS_ENDPOINT }), [], COS_ENDPOINT)
  }
  for (const COS_ENDPOINT of ['cos.{region}.com', '{bucket}.COS.com', '{bucket}.a.com:0', '{bucket}.a.com:65536', '{bucket}.a.com/x',
    '{bucket}.a@b.com', '{bucket}', 'https://{bucket}.a.com', '{bucket}..com']) {
    t.match(faultsOf({ ...required, COS_ENDPOINT }), [/^COS_ENDPOINT/], COS_ENDPOINT)
  }
  for (const COS_CONNECT_TO of ['localhost', 'a:0', 'a:65536', 'http://a:1', '::1:9000', 'a b:1']) {
    t.match(faultsOf({ ...required, COS_CONNECT_TO }), [/^COS_CONNECT_TO/], COS_CONNECT_TO)
  }
})

t.test('NAME_FILE gives the value of NAME', async t => {
  const dir = t.testdir({})
  const path = join(dir, 'key')
  for (const [content, value] of [['from-file\n', 'from-file'], ['from-file\r\n', 'from-file'], ['from-file', 'from-file']] as const) {
    writeFileSync(path, content)
    const { COS_SECRET_KEY: _, ...rest } = required
    t.equal(readConfig({ ...rest, COS_SECRET_KEY_FILE: path }).cos.credentials.secretKey, value)
  }
  t.match(faultsOf({ ...required, COS_SECRET_KEY_FILE: path }), [/COS_SECRET_KEY and COS_SECRET_KEY_FILE are both set/])
  t.strictSame(faultsOf({ ...required, PORT_FILE: 'a-secret-in-the-wrong-place' }), ['PORT_FILE cannot be read: ENOENT'])
  t.match(faultsOf({ ...required, JWT_JWKS_URL_FILE: path }), [/^JWT_JWKS_URL is not supported/])
  t.strictSame(faultsOf({ ...required, COS_CREDENTIALS_FILE: path }),
    ['COS_CREDENTIALS_FILE is not supported by this version: unset it'], 'which is no file form of COS_CREDENTIALS')
  t.notMatch(faultsOf({ AUTH: 'none', COS_SECRET_KEY_FILE: path, COS_SECRET_ID: 'x' }).join(), /from-file/)
})
