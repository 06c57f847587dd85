import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer as createHttpServer } from 'node:http'
import { connect } from 'node:net'
import type { AddressInfo, Server } from 'node:net'
import { tmpdir } from 'node:os'
import { createServer as createTlsServer } from 'node:tls'
import { generate } from 'selfsigned'
import t from 'tap'
import { runChecks } from '../../src/check/checks.ts'
import type { Check } from '../../src/check/checks.ts'
import { checkConnection, checkDns } from '../../src/check/connection.ts'
import { textOf } from '../../src/check/cos-failure.ts'
import { lineOf, reportTo } from '../../src/check/finding.ts'
import type { Finding } from '../../src/check/finding.ts'
import { callersFile, everything, withKey } from '../callers-file.ts'
import type { Certified } from '../certificates.ts'
import { startIssuer } from '../doubles/issuer.ts'
import { startMetadataDouble } from '../doubles/metadata.ts'
import { startRespServer } from '../doubles/resp-server.ts'
import { controlTime } from '../doubles/time.ts'
import { freePort } from '../free-port.ts'
import { startRedis } from '../redis-server.ts'
import { refuseSecrets, secret } from '../secrets.ts'
import { bucket, otherBucket, secrets, startTestEmulator } from '../start.ts'
import type { Test } from '../start.ts'

type Variables = Record<string, string>

const keyPair = { COS_SECRET_ID: secrets.secretId, COS_SECRET_KEY: secrets.secretKey, COS_TOKEN: secrets.token }
const region = { COS_REGION: 'ap-guangzhou', COS_BUCKET_REGIONS: `${bucket}=ap-guangzhou` }
const minutesMs = 60_000

/** Returns the lines of the check, which must contain no secret. */
async function linesOf (
  environment: Variables, target: { bucket?: string, region?: string } = {}, options?: Parameters<typeof runChecks>[2]
): Promise<string[]> {
  const lines: string[] = []
  for await (const finding of runChecks(environment, { bucket: undefined, region: undefined, ...target }, options)) {
    lines.push(lineOf(finding))
  }
  refuseSecrets(lines.join('\n'))
  return lines
}

const errorsIn = (lines: string[]) => lines.filter(line => line.startsWith('error '))
const lineFor = (check: string, lines: string[]) => lines.filter(line => line.split(/ +/)[1] === check).join('\n')

/** Starts an emulator and returns the variables of a service that works with it. */
async function startCos (t: Test, options: Parameters<typeof startTestEmulator>[1] = {}) {
  const emulator = await startTestEmulator(t, options)
  const environment = { AUTH: 'none', COS_SCHEME: 'http', COS_CONNECT_TO: emulator.address, ...region, ...keyPair }
  return { emulator, environment }
}

async function listen (t: Test, server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => { server.close() })
  return (server.address() as AddressInfo).port
}

const dayMs = 86_400_000
const curve = { keyType: 'ec', curve: 'P-256', algorithm: 'sha256' } as const

/** Issues a certificate that is valid between two days from now. Without an issuer it is self-signed. */
async function certify (
  name: string, issuer?: Certified, { from = -1, to = 100 }: { from?: number, to?: number } = {}
): Promise<Certified> {
  const { cert, private: key } = await generate([{ name: 'commonName', value: name }], {
    ...curve,
    ...issuer === undefined ? {} : { ca: issuer },
    notBeforeDate: new Date(Date.now() + from * dayMs),
    notAfterDate: new Date(Date.now() + to * dayMs),
    extensions: [
      { name: 'basicConstraints', cA: true, critical: true }, { name: 'keyUsage', keyCertSign: true, digitalSignature: true, critical: true }
    ]
  })
  return { cert, key }
}

const pem = (...certified: Certified[]) => certified.map(({ cert }) => cert).join('\n')

/** Writes a certificate and a key, and the authorities of clients if they are given. Returns their variables. */
function tlsFiles (t: { testdir (files: Variables): string }, cert: string, key: string, ca?: string): Variables {
  const folder = t.testdir({ 'tls.crt': cert, 'tls.key': key, 'ca.crt': ca ?? '' })
  return {
    TLS_CERT_FILE: `${folder}/tls.crt`,
    TLS_KEY_FILE: `${folder}/tls.key`,
    ...ca === undefined ? {} : { TLS_CLIENT_CA_FILE: `${folder}/ca.crt` }
  }
}

t.test('check has no error when everything works', async t => {
  const { environment } = await startCos(t)
  const redis = await startRedis(t)
  const issuer = await startIssuer(t)
  const root = await certify('Test CA')
  const server = await certify('inventory.internal', root)
  const lines = await linesOf({
    ...environment,
    ...callersFile(t, [withKey('billing', everything)]).environment,
    ...tlsFiles(t, pem(server, root), server.key, root.cert),
    JWT_JWKS_URL: issuer.config.jwksUrl,
    JWT_ISSUER: issuer.config.issuer,
    JWT_AUDIENCE: issuer.config.audience,
    AUDIT_LOG: `${tmpdir()}/audit.log`,
    REDIS_URL: redis.url
  })
  const [host, port] = environment.COS_CONNECT_TO.split(':')
  t.strictSame(lines, [
    'ok      configuration All variables are valid.',
    'ok      callers       CALLERS_FILE is valid.',
    'ok      issuer        The key set at JWT_JWKS_URL was fetched.',
    'ok      audit         The file of AUDIT_LOG can be written.',
    `ok      certificate   TLS_CERT_FILE matches TLS_KEY_FILE and is valid until ${dayOf(100)}. Clients must trust CN=Test CA.`,
    `ok      dns           ${host} (COS_CONNECT_TO) is 127.0.0.1.`,
    `ok      connection    ${host}:${port} (COS_CONNECT_TO) accepts connections.`,
    'ok      credentials   COS accepts the credentials: LIST of the inventories of examplebucket-1250000000 (ap-guangzhou) succeeded.',
    'ok      clock         The clock of this machine is that of COS.',
    `ok      redis         Redis at ${new URL(redis.url).host} counts requests.`
  ])
})

function dayOf (days: number): string {
  return new Date(Date.now() + days * dayMs).toISOString().slice(0, 10)
}

t.test('check names the cause of a broken set-up in one line', async t => {
  const { emulator, environment } = await startCos(t)
  const redis = await startRedis(t)
  const closed = await freePort()
  const server = await certify('inventory.internal')
  const other = await certify('inventory.internal')
  const table: Array<[name: string, change: Variables, line: RegExp | string, prepare?: () => () => void]> = [
    ['wrong secret key', { COS_SECRET_KEY: secret('wrongKeywrongKeywrongKeywrongKey') },
      'error   credentials   The secret key does not belong to the secret id. Correct the key (COS_CREDENTIALS=env).'],
    ['unknown secret id', { COS_SECRET_ID: 'AKIDunknownUNKNOWNunknownUNKNOWN0000' },
      'error   credentials   COS does not know the secret id, or the token of a temporary key is missing. Correct them (COS_CREDENTIALS=env).'],
    ['expired token', { COS_TOKEN: secret('expiredTokenexpiredToken') },
      'error   credentials   The token of the temporary key has expired. Get a new one (COS_CREDENTIALS=env).'],
    ['wrong region', { COS_BUCKET_REGIONS: `${bucket}=ap-shanghai` },
      'error   credentials   There is no bucket examplebucket-1250000000 in ap-shanghai. Correct COS_REGION, COS_BUCKET_REGIONS or the bucket.'],
    ['missing bucket', { COS_BUCKET_REGIONS: 'nothing-1250000000=ap-guangzhou' },
      'error   credentials   There is no bucket nothing-1250000000 in ap-guangzhou. Correct COS_REGION, COS_BUCKET_REGIONS or the bucket.'],
    ['host that does not resolve', { COS_CONNECT_TO: 'no-such-host.invalid:80' },
      /^error {3}dns {11}The name no-such-host\.invalid does not resolve: E\w+\. Correct COS_CONNECT_TO, or the DNS of this machine\.$/],
    ['closed port', { COS_CONNECT_TO: `127.0.0.1:${closed}` },
      `error   connection    127.0.0.1:${closed} does not accept connections: ECONNREFUSED. Correct COS_CONNECT_TO, or let this machine reach it.`],
    ['proxy that does not listen', { COS_CONNECT_TO: '', HTTP_PROXY: `http://user:${secret('passwordOfTheProxy')}@127.0.0.1:${closed}` },
      `error   connection    127.0.0.1:${closed} does not accept connections: ECONNREFUSED. Correct HTTP_PROXY, or let this machine reach it.`],
    ['clock 20 min behind', {}, 'error   clock         The clock of this machine is 20 min behind COS, which rejects signatures of this time. ' +
      'Synchronize the clock.', withOffset(20 * minutesMs)],
    ['clock 20 min ahead', {}, 'error   clock         The clock of this machine is 20 min ahead of COS, which rejects signatures of this time. ' +
      'Synchronize the clock.', withOffset(-20 * minutesMs)],
    ['callers file that is not valid', callersFile(t, [withKey('billing', [{ actions: ['cos:Everything'], buckets: ['*'] }])]).environment,
      /^error {3}callers {7}CALLERS_FILE: \/callers\/0\/allow\/0\/actions\/0 must be .*$/],
    ['callers file that does not exist', { AUTH: 'required', CALLERS_FILE: '/nothing/callers.json' },
      'error   callers       CALLERS_FILE cannot be read: ENOENT.'],
    ['key of another certificate', tlsFiles(t, server.cert, other.key), 'error   certificate   TLS_CERT_FILE and TLS_KEY_FILE do not match.'],
    ['Redis that does not run', { REDIS_URL: `redis://127.0.0.1:${closed}` },
      `error   redis         Redis at 127.0.0.1:${closed} is unavailable: ECONNREFUSED. Correct REDIS_URL, or start Redis.`],
    ['wrong password of Redis', { REDIS_URL: redis.url.replace(/:\w+@/, `:${secret('wrongPasswordOfRedis')}@`) },
      `error   redis         Redis at ${new URL(redis.url).host} is unavailable: WRONGPASS. Correct user and password in REDIS_URL.`],
    ['issuer that does not run', {
      ...callersFile(t, [withKey('billing', everything)]).environment,
      JWT_JWKS_URL: `http://127.0.0.1:${closed}/keys`,
      JWT_ISSUER: 'issuer',
      JWT_AUDIENCE: 'inventory'
    }, /^error {3}issuer {8}The key set at JWT_JWKS_URL cannot be fetched: .*127\.0\.0\.1:\d+.*\. Correct the URL, or allow the connection\.$/],
    ['audit log in a folder that does not exist', { AUDIT_LOG: '/nothing/audit.log' },
      'error   audit         The file of AUDIT_LOG cannot be written: ENOENT. Let the user of the service write it, or correct AUDIT_LOG.'],
    ['audit log that is a folder', { AUDIT_LOG: tmpdir() },
      'error   audit         The file of AUDIT_LOG cannot be written: EISDIR. Let the user of the service write it, or correct AUDIT_LOG.'],
    ['key without permission', {}, 'error   credentials   The credentials lack cos:GetBucketInventory and cos:ListBucketInventory on ' +
      'examplebucket-1250000000. Allow it in CAM.', withFault({ status: 403, code: 'AccessDenied' })],
    ['malformed variable', { PORT: 'http' }, 'error   configuration PORT must be an integer from 0 to 65535.']
  ]
  function withOffset (ms: number) {
    return () => {
      emulator.setClockOffset(ms)
      return () => { emulator.setClockOffset(0) }
    }
  }
  function withFault (error: { status: number, code: string }) {
    return () => {
      emulator.addFault({ kind: 'error', ...error })
      return () => { emulator.clearFaults() }
    }
  }
  for (const [name, change, line, prepare] of table) {
    const restore = prepare?.()
    const errors = errorsIn(await linesOf({ ...environment, ...change }))
    restore?.()
    t.equal(errors.length, 1, name, { errors })
    if (typeof line === 'string') t.equal(errors[0], line, name)
    else t.match(errors[0], line, name)
  }
})

t.test('configuration has a line for each error and each warning', async t => {
  const lines = await linesOf({ AUTH: 'none', PORT: 'http', COS_SECRET_ID: secrets.secretId, LOG_LEVEL: 'all', REDIS_URL: 'redis' })
  t.equal(errorsIn(lines).length, 4)
  t.match(lines.join('\n'), /COS_SECRET_KEY is required/)
  for (const check of ['credentials', 'redis']) {
    t.equal(lineFor(check, lines), `warning ${check.padEnd(13)} Not checked, because a variable of this check is invalid.`)
  }
  t.match(lineFor('certificate', lines), /^ok /, 'a check without an invalid variable runs')
  const { environment } = await startCos(t)
  t.strictSame(lineFor('configuration', await linesOf({
    ...environment, COS_ROLE_ARN: 'role', TKE_REGION: 'x', COS_ROLE_SESSION_NAME: 'session', OTEL_PROPAGATORS: 'b3'
  })).split('\n'), [
    'warning configuration AUTH=none, authentication is disabled.',
    'warning configuration Variables are set but have no effect (variables=COS_ROLE_ARN,COS_ROLE_SESSION_NAME).',
    'warning configuration Variable has an unsupported value (variable=OTEL_PROPAGATORS, used=none).',
    'ok      configuration All variables are valid.'
  ])
})

t.test('audit log may be a stream, or a file that exists', async t => {
  const { environment } = await startCos(t)
  const path = `${t.testdir({ audit: '' })}/audit`
  for (const [target, text] of [['stderr', 'Audit lines go to stderr.'], [path, 'The file of AUDIT_LOG can be written.']]) {
    t.equal(lineFor('audit', await linesOf({ ...environment, AUDIT_LOG: String(target) })), `ok      audit         ${text}`)
  }
})

t.test('callers without a way to authenticate are a warning', async t => {
  const { environment } = await startCos(t)
  const callers = callersFile(t, [
    { name: 'portal', jwt: { claims: { sub: 'portal' } }, allow: everything },
    { name: 'billing', certificate: { san: 'billing.example' }, allow: everything }
  ]).environment
  const line = async (more: Variables) => lineFor('callers', await linesOf({ ...environment, ...callers, ...more }))
  t.equal(await line({}), 'warning callers       These callers cannot authenticate: portal, billing. Set JWT_JWKS_URL for jwt, and ' +
    'TLS_CLIENT_CA_FILE for certificate.')
  const issuer = { JWT_JWKS_URL: 'https://issuer.example/keys', JWT_ISSUER: 'https://issuer.example', JWT_AUDIENCE: 'inventory' }
  t.match(await line(issuer), /authenticate: billing\. /)
})

t.test('dates, order and strength of certificates are checked', async t => {
  const { environment } = await startCos(t)
  const root = await certify('Test CA')
  const middle = await certify('Intermediate', root)
  const line = async (cert: string, key: string, ca?: string) =>
    lineFor('certificate', await linesOf({ ...environment, ...tlsFiles(t, cert, key, ca) }))
  const issued = (days: { from?: number, to?: number }) => certify('inventory', middle, days)
  const [server, expired, early, soon] =
    await Promise.all([issued({}), issued({ to: -0.5 }), issued({ from: 2 }), issued({ to: 3 })])
  t.match(await line(pem(server, middle), server.key), /^ok .* Clients must trust CN=Test CA\.$/)
  t.equal(await line(pem(expired, middle), expired.key),
    `error   certificate   TLS_CERT_FILE: certificate 1 (CN=inventory) expired on ${dayOf(-0.5)}. Replace it.`)
  t.equal(await line(early.cert, early.key),
    `error   certificate   TLS_CERT_FILE: certificate 1 (CN=inventory) is not valid before ${dayOf(2)}. Use another one, or set the clock.`)
  t.match((await line(pem(soon, middle), soon.key)).split('\n'), [
    `warning certificate   TLS_CERT_FILE: certificate 1 (CN=inventory) expires on ${dayOf(3)}. Replace it.`, /^ok /
  ])
  t.equal(await line(pem(server, root), server.key), 'error   certificate   TLS_CERT_FILE: certificate 2 did not issue certificate 1, ' +
    'CN=Intermediate did. Put the certificate of the service first, then each issuer.')
  const namesake = await certify('Intermediate')
  t.match(await line(pem(server, namesake), server.key), /certificate 2 did not issue certificate 1/, 'the key is another')
  const old = await certify('Old CA', undefined, { to: -0.5 })
  t.match(await line(server.cert, server.key, pem(root, old)),
    /^error {3}certificate {3}TLS_CLIENT_CA_FILE: certificate 2 \(CN=Old CA\) expired on [\d-]+\. Replace it\.$/)
  const weak = await generate([{ name: 'commonName', value: 'weak' }], { keySize: 512 })
  t.match(await line(weak.cert, weak.private), /^error {3}certificate {3}OpenSSL rejects .*: ERR_\w+\. Use/)
})

t.test('bucket comes from the arguments, the regions, the watched reports or GET Service', async t => {
  const { emulator, environment } = await startCos(t)
  const { COS_BUCKET_REGIONS: _, ...without } = environment
  const line = async (more: Variables, target = {}) => lineFor('credentials', await linesOf({ ...without, ...more }, target))
  t.match(await line({ COS_BUCKET_REGIONS: `${otherBucket}=ap-shanghai` }, { bucket }), /LIST .* examplebucket-\d+ \(ap-guangzhou\)/)
  t.match(await line({}, { bucket: otherBucket, region: 'ap-shanghai' }), /LIST .* logs-\d+ \(ap-shanghai\)/)
  t.match(await line({ REPORTS: 'true', REPORTS_WATCH: `${bucket}/*` }), /LIST .* examplebucket-\d+ \(ap-guangzhou\)/)
  const discovery = { COS_REGION: '', COS_REGION_DISCOVERY: 'true' }
  t.match(await line(discovery, { bucket: otherBucket }), /LIST .* logs-\d+ \(ap-shanghai\)/)
  t.equal(await line(discovery), 'ok      credentials   COS accepts the credentials: GET Service listed 2 buckets.')
  t.equal(await line(discovery, { bucket: 'nothing-1250000000' }),
    'error   credentials   There is no bucket nothing-1250000000 in the account. Correct COS_REGION, COS_BUCKET_REGIONS or the bucket.')
  t.equal(await line({ COS_REGION: '' }, { bucket }),
    'error   credentials   No region is known for examplebucket-1250000000. Set COS_REGION or COS_BUCKET_REGIONS, or add --region.')
  emulator.setCredentials([{ ...secrets, actions: [] }])
  t.equal(await line(discovery), 'error   credentials   The credentials lack cos:GetService. Allow it in CAM.')
})

t.test('credentials are loaded when no bucket is known', async t => {
  const { emulator, environment: { COS_BUCKET_REGIONS: _, ...environment } } = await startCos(t)
  t.equal(lineFor('credentials', await linesOf(environment)),
    'warning credentials   COS was not called, because no bucket is configured. Name one with --bucket.')
  const metadata = await startMetadataDouble(t, { onSecret: secret })
  const role = { ...environment, COS_SECRET_ID: '', COS_SECRET_KEY: '', COS_TOKEN: '', COS_CREDENTIALS: 'cvm-role', METADATA_ENDPOINT: metadata.endpoint }
  metadata.answer = { status: 500, body: '' }
  const { host } = new URL(metadata.endpoint)
  t.equal(lineFor('credentials', await linesOf(role)), `error   credentials   There are no credentials: ${host} returned 500.`)
  t.equal(lineFor('credentials', await linesOf(role, { bucket })),
    `error   credentials   There are no valid credentials for COS: ${host} returned 500.`)
  t.strictSame(emulator.requests, [])
})

t.test('each account of an accounts file is checked', async t => {
  const [one, two, three] = ['1250000000', '1260000000', '1270000000']
  const key = { secretId: 'AKIDsecondSECONDsecondSECONDsecond00', secretKey: secret('secretKeyOfTheSecondAccount') }
  const { secretId, secretKey, token } = secrets
  const { emulator, environment: all } = await startCos(t, {
    credentials: [{ ...secrets, appId: one }, { ...key, appId: two }],
    buckets: [{ name: bucket, region: 'ap-guangzhou' }, { name: `logs-${two}`, region: 'ap-guangzhou' }]
  })
  const environment = { ...all, COS_SECRET_ID: '', COS_SECRET_KEY: '', COS_TOKEN: '' }
  const dir = t.testdir({ one: JSON.stringify({ secretId, secretKey, token }), two: JSON.stringify(key) })
  const write = (accounts: object) => { writeFileSync(`${dir}/accounts`, JSON.stringify({ accounts })) }
  const [ofOne, ofTwo] = ['one', 'two'].map(name => ({ source: 'file', path: `${dir}/${name}` }))
  const lines = async (more: Variables = {}, target = {}) =>
    lineFor('credentials', await linesOf({ ...environment, COS_ACCOUNTS_FILE: `${dir}/accounts`, ...more }, target)).split('\n')
  const accepted = (account: string | undefined, name: string) =>
    `ok      credentials   Account ${account}: COS accepts the credentials: LIST of the inventories of ${name} (ap-guangzhou) succeeded.`
  const notCalled = `warning credentials   Account ${two}: COS was not called, because no bucket is configured. Name one with --bucket.`

  write({ [`${one}`]: ofOne, [`${two}`]: ofTwo })
  t.strictSame(await lines(), [accepted(one, bucket), notCalled])
  t.strictSame(await lines({}, { bucket: `logs-${two}` }), [accepted(one, bucket), accepted(two, `logs-${two}`)])
  t.equal(lineFor('connection', await linesOf({ ...environment, COS_ACCOUNTS_FILE: `${dir}/accounts` }, { bucket: `logs-${two}` }))
    .split('\n').length, 1, 'the same host is checked once')
  t.match(await lines({ COS_REGION: '', COS_BUCKET_REGIONS: '', COS_REGION_DISCOVERY: 'true' }),
    [/^ok .* Account 1250000000: .* GET Service listed 1 buckets/, /^ok .* Account 1260000000: .* GET Service listed 1 buckets/])
  t.strictSame(await lines({}, { bucket: `logs-${three}` }), [
    accepted(one, bucket), notCalled, `error   credentials   COS_ACCOUNTS_FILE has no account for logs-${three}. Add its APPID or default, or correct the bucket.`
  ])

  write({ [`${one}`]: ofTwo, [`${two}`]: { source: 'file', path: '/nowhere' } })
  t.strictSame(await lines(), [
    `error   credentials   Account ${one}: The credentials lack cos:GetBucketInventory and cos:ListBucketInventory on ${bucket}. Allow it in CAM.`,
    `error   credentials   Account ${two}: There are no credentials: the credentials file cannot be read (ENOENT).`
  ])
  emulator.setCredentials([])
  t.match(await lines(), [`error   credentials   Account ${one}: COS does not know the secret id, or the token of a temporary key is missing. ` +
    `Correct them (account ${one}, file).`])
  write({ [`${one}`]: { source: 'env' } })
  t.strictSame(await lines(), [`error   credentials   COS_ACCOUNTS_FILE: /accounts/${one} needs COS_SECRET_ID and COS_SECRET_KEY.`])
})

t.test('clock is a warning when COS accepts its time, and unknown without COS', async t => {
  const { emulator, environment } = await startCos(t)
  emulator.setClockOffset(-5 * minutesMs)
  t.equal(lineFor('clock', await linesOf(environment)),
    'warning clock         The clock of this machine is 5 min ahead of COS. Synchronize the clock.')
  emulator.setClockOffset(-30_000)
  t.match(lineFor('clock', await linesOf(environment)), /is (29|30|31) s ahead of COS\./)
  emulator.setClockOffset(20 * minutesMs)
  const once = await linesOf({ ...environment, COS_MAX_ATTEMPTS: '1' })
  t.match([lineFor('clock', once), lineFor('credentials', once)],
    [/^error .* 20 min behind COS/, 'error   credentials   COS rejected the time of the signature.'])
  emulator.setClockOffset(0)
  emulator.addFault({ kind: 'error', status: 403, code: 'Forbidden', form: 'html' })
  t.equal(lineFor('clock', await linesOf(environment)), 'warning clock         Not checked, because there is no response of COS.')
})

t.test('proxy and COS without a proxy are reached as calls reach them', async t => {
  const { emulator, environment } = await startCos(t)
  const proxy = createHttpServer()
  proxy.on('connect', (_, socket) => {
    const onward = connect(emulator.port, emulator.host, () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
      socket.pipe(onward).pipe(socket)
    })
  })
  t.teardown(() => { proxy.closeAllConnections() })
  const port = await listen(t, proxy)
  const direct = { ...environment, COS_CONNECT_TO: '' }
  const proxied = await linesOf({ ...direct, HTTP_PROXY: `http://localhost:${port}` })
  t.match(lineFor('dns', proxied), /^ok .* localhost \(HTTP_PROXY\) is (127\.0\.0\.1|::1)\.$/)
  t.match([lineFor('connection', proxied), lineFor('credentials', proxied)], [/^ok/, /^ok/])
  const unknown = await linesOf({ ...direct, COS_ENDPOINT: '{bucket}.{region}.invalid' })
  t.match(lineFor('dns', unknown),
    /^error .* name examplebucket-1250000000\.ap-guangzhou\.invalid does not resolve: E\w+\. Correct bucket and region, or the DNS/)
  t.equal(lineFor('connection', unknown), '')
  for (const [url, host] of [['https://[::1]', '::1:443'], ['http://127.0.0.9', '127.0.0.9:80']] as const) {
    const lines = await linesOf({ ...direct, HTTP_PROXY: url })
    t.match(lineFor('connection', lines), new RegExp(`${host} does not accept connections: E\\w+\\. `), url)
    t.equal(lineFor('credentials', lines), 'warning credentials   Not checked, because COS cannot be reached.')
  }
})

t.test('certificate of COS that is not trusted is named', async t => {
  const { environment } = await startCos(t)
  const { cert, key } = await certify('gateway')
  const gateway = createTlsServer({ cert, key }).on('tlsClientError', () => {})
  const port = await listen(t, gateway)
  const lines = await linesOf({ ...environment, COS_SCHEME: 'https', COS_CONNECT_TO: `127.0.0.1:${port}` })
  t.match(errorsIn(lines), [/^error {3}credentials {3}The certificate of examplebucket-.*\.com is not trusted: \w+\. If a gateway decrypts TLS, set NODE_EXTRA_CA_CERTS\.$/])
})

t.test('permission that Redis lacks is named', async t => {
  const { environment } = await startCos(t)
  const redis = await startRespServer(t)
  const line = async (reply: string) => {
    redis.reply = () => reply
    return lineFor('redis', await linesOf({ ...environment, REDIS_URL: redis.url }))
  }
  t.match(await line('-NOPERM this user has no permissions\r\n'), /^error .* is unavailable: NOPERM\. Allow \+eval/)
  t.match(await line('-NOAUTH Authentication required.\r\n'), /^error .* is unavailable: NOAUTH\. Add user/)
})

t.test('look-up and connection end after 5 s', async t => {
  const time = controlTime(t)
  const hop = { host: '127.0.0.1', port: 1, variable: 'COS_CONNECT_TO' }
  const findings: Finding[] = []
  for (const check of [checkDns, checkConnection]) {
    const result = check(hop, reportTo(findings, 'way'))
    time.expire(5_000)
    t.equal(await result, false)
  }
  t.match(findings, [{ level: 'error', text: /does not resolve: TIMEOUT\./ }, { level: 'error', text: /connections: TIMEOUT\./ }])
})

t.test('an unexpected error of a call is thrown', async t => {
  const call = { bucket, region: undefined, host: 'x', action: 'x', origin: 'COS_CREDENTIALS=env' }
  t.throws(() => textOf(new TypeError('x'), call), TypeError)
})

t.test('failure and timeout of a check are findings, and other checks run', async t => {
  const { environment } = await startCos(t)
  const check = (name: string, run: Check['run']): Check => ({ name, variables: /never/, run })
  const report = (findings: Finding[]) => { reportTo(findings, 'late').ok('One\nline\u0085.') }
  let end = () => {}
  const ended = new Promise<void>(resolve => { end = resolve })
  const lines = await linesOf(environment, {}, {
    limitMs: 50,
    all: [
      check('broken', () => { throw new TypeError(secrets.secretKey) }),
      check('rejected', async () => { throw Object.assign(new Error(secrets.secretKey), { code: 'EBROKEN' }) }),
      check('late', async (_, __, findings) => {
        report(findings)
        await ended
        report(findings)
      })
    ]
  })
  t.strictSame(lines.slice(-4), [
    'error   broken        Unexpected error (TypeError).',
    'error   rejected      Unexpected error (EBROKEN).',
    'ok      late          One line .',
    'error   late          There is no result within 0.05 s.'
  ])
  // The check may end, and its later finding is ignored.
  end()
})
