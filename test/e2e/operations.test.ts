import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { createServer as createHttpServer } from 'node:http'
import { createServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import { exportSPKI, importJWK, SignJWT } from 'jose'
import type { JWK } from 'jose'
import t from 'tap'
import { createAuthority } from '../certificates.ts'
import { as, callersFile, everything, hashOf, withKey } from '../callers-file.ts'
import type { CallerEntry } from '../callers-file.ts'
import { startIssuer } from '../doubles/issuer.ts'
import type { TokenIssuer } from '../doubles/issuer.ts'
import { startMetadataDouble } from '../doubles/metadata.ts'
import { startRedis } from '../redis-server.ts'
import { refuseSecrets, secret } from '../secrets.ts'
import { at, bucket, configuration, secrets, startTestEmulator } from '../start.ts'
import { startProgram } from './program.ts'
import type { Program } from './program.ts'

interface Test {
  teardown (handler: () => unknown): void
}
interface StartedService extends Program {
  url: string
  port: string
  /** Sends a request and returns status, headers and parsed body. */
  call (method: string, path: string, headers?: Record<string, string>, body?: object): Promise<Reply>
}
interface Reply {
  status: number
  headers: Headers
  json: { code?: string, detail?: string } | undefined
}

const collection = `/buckets/${bucket}/inventories`
const keyPair = { COS_SECRET_ID: secrets.secretId, COS_SECRET_KEY: secrets.secretKey, COS_TOKEN: secrets.token }
const nowhere = '127.0.0.1:1'

// Most of the time is spent waiting for timers and processes.
t.jobs = 3

t.test('only a permitted caller succeeds, and stdout has an audit line for every change', async t => {
  const emulator = await startTestEmulator(t)
  const { environment } = callersFile(t, [withKey('admin', everything), withKey('nobody', [])])
  const service = await startService(t, emulator.address, environment)
  t.equal((await service.call('PUT', at('a'), as('admin'), configuration)).status, 204)
  t.equal((await service.call('GET', collection, as('admin'))).status, 200)
  t.match(await service.call('PUT', at('a'), as('stranger'), configuration), { status: 401, json: { code: 'Unauthenticated' } })
  t.match(await service.call('DELETE', at('a'), as('nobody')), { status: 403, json: { code: 'CallerNotAllowed' } })
  t.equal((await service.call('DELETE', at('a'))).status, 401)
  t.equal(emulator.requests.length, 2)
  // Output of the process arrives after its responses; it is complete at the exit.
  service.process.kill('SIGTERM')
  t.equal(await service.exit, 0)
  t.equal(service.stderr(), '')

  const lines = linesOf(service.stdout())
  const audits = lines.filter(({ type }) => type === 'audit')
  t.match(audits, [
    { caller: 'admin', action: 'cos:PutBucketInventory', bucket, id: 'a', outcome: 'success', status: 204, address: '127.0.0.1' },
    { caller: null, action: 'cos:PutBucketInventory', outcome: 'denied', status: 401 },
    { caller: 'nobody', action: 'cos:DeleteBucketInventory', outcome: 'denied', status: 403 },
    { caller: null, action: 'cos:DeleteBucketInventory', outcome: 'denied', status: 401 }
  ])
  t.equal(audits.length, 4)
  const others = lines.filter(({ type, msg }) => type === undefined && msg === 'request completed')
  t.strictSame(others.map(({ status }) => status), [204, 200, 401, 403, 401], 'the request log is complete')
  const ids = new Set(others.map(({ requestId }) => requestId))
  t.ok(audits.every(({ requestId }) => ids.has(requestId)), 'audit lines have the ids of these requests')
})

t.test('AUDIT_LOG=file writes audit lines to that file instead of stdout', async t => {
  const emulator = await startTestEmulator(t)
  const { environment } = callersFile(t, [withKey('admin', everything)])
  const path = `${t.testdir({})}/audit.log`
  const service = await startService(t, emulator.address, { ...environment, AUDIT_LOG: path })
  t.equal((await service.call('PUT', at('a'), as('admin'), configuration)).status, 204)
  t.equal((await service.call('PUT', at('a'), as('stranger'), configuration)).status, 401)
  const written = readFileSync(path, 'utf8')
  t.match(linesOf(written), [{ type: 'audit', caller: 'admin', outcome: 'success' }, { type: 'audit', caller: null, outcome: 'denied' }])
  t.doesNotThrow(() => { refuseSecrets(written) })
  t.equal(statSync(path).mode & 0o777, 0o600, 'only the owner may read it')

  renameSync(path, `${path}.1`)
  t.equal((await service.call('DELETE', at('a'), as('admin'))).status, 204)
  t.match(linesOf(readFileSync(path, 'utf8')), [{ action: 'cos:DeleteBucketInventory' }], 'rotated without a signal')
  service.process.kill('SIGTERM')
  t.equal(await service.exit, 0)
  t.notMatch(service.stdout(), /"audit"|"cos:/)
})

t.test('SIGHUP reloads the callers file and keeps the callers when it is invalid', async t => {
  const emulator = await startTestEmulator(t)
  const { environment } = callersFile(t, [withKey('first', everything)])
  const swap = (text: string) => {
    writeFileSync(`${environment.CALLERS_FILE}.new`, text)
    renameSync(`${environment.CALLERS_FILE}.new`, environment.CALLERS_FILE)
  }
  const service = await startService(t, emulator.address, environment)
  const statuses = async () => {
    const results = []
    for (const name of ['first', 'second', 'third']) results.push((await service.call('GET', collection, as(name))).status)
    return results
  }
  const readAgain = '"what":"CALLERS_FILE","msg":"reloaded"'
  t.strictSame(await statuses(), [200, 401, 401])
  t.notMatch(service.stdout(), readAgain)
  service.process.kill('SIGHUP')
  await service.until(new RegExp(readAgain))
  t.strictSame(await statuses(), [200, 401, 401], 'the signal reloads an unchanged file')

  swap(JSON.stringify({ callers: [withKey('second', everything)] }))
  service.process.kill('SIGHUP')
  await service.until(new RegExp(`${readAgain}[^]*${readAgain}`))
  t.strictSame(await statuses(), [401, 200, 401])

  const pasted = secret('a-key-that-was-pasted-into-the-file')
  for (const [invalid, cause] of [
    [JSON.stringify({ callers: [{ name: 'third', keys: [pasted], allow: everything }] }), /\/callers\/0\/keys\/0 must be/],
    [`{ "callers": [ ${pasted}`, /not JSON/]
  ] as const) {
    swap(invalid)
    service.process.kill('SIGHUP')
    await service.until(new RegExp(`"level":50[^\n]*"what":"CALLERS_FILE","cause":"[^\n]*${cause.source}[^\n]*reload failed`))
    t.strictSame(await statuses(), [401, 200, 401], 'the callers are unchanged')
  }
  t.equal(service.process.exitCode, null)
  swap(JSON.stringify({ callers: [withKey('third', everything)] }))
  service.process.kill('SIGHUP')
  await service.until(new RegExp(`not JSON[^]*${readAgain}`))
  t.strictSame(await statuses(), [401, 401, 200], 'a valid file is loaded again')
})

t.test('GET accepts tokens of the issuer and rejects forged ones when it is down too', async t => {
  const emulator = await startTestEmulator(t)
  const issuer = await startIssuer(t, { onSecret: secret })
  const byToken: CallerEntry = { name: 'pipeline', jwt: { claims: { sub: 'pipeline' } }, allow: everything }
  const { environment } = callersFile(t, [byToken, withKey('by-key', everything)])
  const service = await startService(t, emulator.address, { ...environment, ...jwtOf(issuer), RATE_LIMIT_PER_MINUTE: '100000' })
  const get = async (token: string) => await service.call('GET', collection, { authorization: `Bearer ${token}` })
  const past = Math.floor(Date.now() / 1000) - 60
  const forged: Array<[string, string]> = [
    ['no algorithm', unsigned({ iss: issuer.config.issuer, aud: issuer.config.audience, sub: 'pipeline', exp: past + 600 })],
    ['the public key as a shared secret', await signedWithPublicKey(issuer, { sub: 'pipeline', exp: past + 600 })],
    ['another audience', await issuer.sign({ sub: 'pipeline', aud: 'another' })],
    ['another issuer', await issuer.sign({ sub: 'pipeline', iss: 'https://evil.example' })],
    ['expired', await issuer.sign({ sub: 'pipeline', exp: past })],
    ['never expires', await issuer.sign({ sub: 'pipeline', exp: undefined })],
    ['not valid yet', await issuer.sign({ sub: 'pipeline', nbf: past + 600 })],
    ['an unpublished key', await issuer.sign({ sub: 'pipeline' }, { kid: 'unknown' })],
    ['another caller', await issuer.sign({ sub: 'pipelines' })],
    ['another payload', await withOtherPayload(issuer)],
    ['a truncated token', (await issuer.sign({ sub: 'pipeline' })).slice(0, -20)]
  ]
  const valid = await Promise.all((['RS256', 'ES256', 'EdDSA'] as const).map(async alg => await issuer.sign({ sub: 'pipeline' }, { alg })))
  const rejectAll = async () => {
    for (const [what, token] of forged) t.match(await get(token), { status: 401, json: { code: 'Unauthenticated' } }, what)
  }
  for (const token of valid) t.equal((await get(token)).status, 200)
  await rejectAll()
  await issuer.takeDown()
  for (const token of valid) t.equal((await get(token)).status, 200, 'the keys are cached')
  await rejectAll()
  t.equal((await service.call('GET', collection, as('by-key'))).status, 200)
  t.equal(issuer.calls, 2, 'at start, and once for all tokens with unknown keys')
  t.equal(emulator.requests.length, 2 * valid.length + 1)
})

t.test('GET with a token returns 503 until the keys of the issuer are fetched', async t => {
  const emulator = await startTestEmulator(t)
  const issuer = await startIssuer(t, { onSecret: secret })
  await issuer.takeDown()
  const byToken: CallerEntry = { name: 'pipeline', jwt: { claims: { sub: 'pipeline' } }, allow: everything }
  const { environment } = callersFile(t, [byToken, withKey('by-key', everything)])
  const service = await startService(t, emulator.address, { ...environment, ...jwtOf(issuer) })
  const token = await issuer.sign({ sub: 'pipeline' })
  const get = async () => await service.call('GET', collection, { authorization: `Bearer ${token}` })
  const first = await get()
  t.match(first, { status: 503, json: { code: 'IssuerUnreachable' } })
  t.equal(first.headers.get('retry-after'), '1')
  t.equal((await service.call('GET', collection, as('by-key'))).status, 200, 'a bearer key needs no issuer')
  t.equal((await service.call('GET', collection, as('unknown'))).status, 401)
  await service.until(/"level":40[^\n]*did not respond \(ECONNREFUSED\)[^\n]*tokens cannot be verified yet/)
  await issuer.bringBack()
  let response = await get()
  while (response.status === 503) response = await get()
  t.equal(response.status, 200, 'within a second')
})

t.test('two processes share a limit in Redis and lose no request when it is killed', async t => {
  const redis = await startRedis(t)
  const emulator = await startTestEmulator(t)
  const { environment } = callersFile(t, [withKey('limited', everything), withKey('busy', everything, { rateLimitPerMinute: 100_000 })])
  const shared = { ...environment, RATE_LIMIT_PER_MINUTE: '6', RATE_LIMIT_REDIS_URL: redis.url }
  const services = await Promise.all([1, 2].map(async () => await startService(t, emulator.address, shared)))
  const [one, other] = services as [StartedService, StartedService]
  const statuses = async (service: StartedService, count: number) => {
    const results = []
    for (let index = 0; index < count; index += 1) results.push((await service.call('GET', collection, as('limited'))).status)
    return results
  }
  t.strictSame([...await statuses(one, 4), ...await statuses(other, 4)], [200, 200, 200, 200, 200, 200, 429, 429])
  t.strictSame(await statuses(one, 1), [429])

  const load = { running: true, done: 0, failed: [] as Reply[] }
  const workers = [one, other, one, other].map(async service => {
    while (load.running) {
      const response = await service.call('GET', collection, as('busy'))
      if (response.status !== 200) load.failed.push(response)
      load.done += 1
    }
  })
  while (load.done < 50) await nextIteration()
  await redis.kill()
  await Promise.all(services.map(async service => await service.until(/"level":50,[^\n]*Redis unavailable, rate limit is off/)))
  const noticedAt = load.done
  while (load.done < noticedAt + 200) await nextIteration()
  load.running = false
  await Promise.all(workers)
  t.strictSame(load.failed, [], `${load.done} requests`)
  t.strictSame([...await statuses(one, 8), ...await statuses(other, 8)], Array(16).fill(200), 'there is no limit without Redis')
  await redis.startAgain()
  await Promise.all(services.map(async service => await service.until(/Redis available again/)))
  t.strictSame([...await statuses(one, 5), ...await statuses(other, 3)], [200, 200, 200, 200, 200, 200, 429, 429], 'the limit starts again')
})

t.test('health check exits with 0 while the service runs and with 1 after its end', async t => {
  const authority = await createAuthority()
  const { cert, key } = await authority.issue('the.name.callers.use')
  const dir = t.testdir({ 'tls.crt': cert, 'tls.key': key, 'ca.crt': authority.cert })
  const tls = { TLS_CERT_FILE: `${dir}/tls.crt`, TLS_KEY_FILE: `${dir}/tls.key` }
  const { environment } = callersFile(t, [])
  const check = (more: Record<string, string>) => startProgram(t, 'health-check', { ...keyPair, ...environment, ...more })
  for (const [what, more] of Object.entries({
    'plain HTTP': {},
    'every address': { HOST: '0.0.0.0' },
    TLS: tls,
    'TLS with certificates of clients': { ...tls, TLS_CLIENT_CA_FILE: `${dir}/ca.crt` }
  })) {
    const service = await startService(t, nowhere, { ...environment, ...more })
    const healthy = check({ ...more, PORT: service.port })
    t.strictSame([await healthy.exit, healthy.stdout() + healthy.stderr()], [0, ''], what)
    service.process.kill('SIGKILL')
    await service.exit
    const dead = check({ ...more, PORT: service.port })
    t.strictSame([await dead.exit, dead.stdout(), dead.stderr()], [1, '', 'health check failed: ECONNREFUSED\n'],
      `${what}: after its end`)
  }
})

t.test('health check prints one line when HOST, PORT or TLS is not valid', async t => {
  const program = startProgram(t, 'health-check', { PORT: 'http', TLS_KEY_FILE: '/key' })
  t.strictSame([await program.exit, program.stdout()], [1, ''])
  t.match(program.stderr(), /^health check failed: PORT must be an integer from 0 to 65535; TLS_CERT_FILE and .*\n$/)
})

t.test('health check exits with 0 when no other variable is valid', async t => {
  const { environment } = callersFile(t, [])
  const service = await startService(t, nowhere, environment)
  const program = startProgram(t, 'health-check', {
    PORT: service.port, COS_SECRET_KEY_FILE: '/none', CALLERS_FILE: '/none', COS_TIMEOUT_MS: 'soon'
  })
  t.strictSame([await program.exit, program.stdout(), program.stderr()], [0, '', ''])
})

t.test('health check exits with 1 when the response is not 200 or never arrives', async t => {
  const requested: unknown[] = []
  const statuses = [500, 503, 404, 301, 204]
  await Promise.all(statuses.map(async status => {
    const server = createHttpServer((request, response) => {
      requested.push(request.url)
      response.writeHead(status, { location: '/' }).end()
    })
    const program = startProgram(t, 'health-check', { PORT: await listen(t, server) })
    t.equal(await program.exit, 1, String(status))
    t.equal(program.stderr(), `health check failed: GET /livez returned ${status}\n`)
  }))
  t.strictSame(requested, Array(statuses.length).fill('/livez'))

  const { cert, key } = await (await createAuthority()).issue('x')
  const dir = t.testdir({ cert, key })
  const tls = { TLS_CERT_FILE: `${dir}/cert`, TLS_KEY_FILE: `${dir}/key` }
  const unresponsive = await listen(t, createServer(() => {}))
  const garbage = await listen(t, createServer(socket => { socket.on('error', () => {}).end('garbage\r\n\r\n') }))
  const exits = [unresponsive, garbage].flatMap(PORT => [{}, tls, { ...tls, TLS_CLIENT_CA_FILE: `${dir}/cert` }].map(async more =>
    await startProgram(t, 'health-check', { ...keyPair, AUTH: 'none', PORT, ...more }).exit))
  t.strictSame(await Promise.all(exits), Array(6).fill(1), 'no response, or an invalid one')
})

t.test('/readyz returns 503 with the cause until the metadata service is available', async t => {
  const emulator = await startTestEmulator(t, { credentials: [] })
  const metadata = await startMetadataDouble(t, {
    onSecret: secret, onIssued: issued => { emulator.setCredentials([issued]) }
  })
  await metadata.takeDown()
  const service = await startService(t, emulator.address, {
    ...none(keyPair), AUTH: 'none', COS_CREDENTIALS: 'cvm-role', METADATA_ENDPOINT: metadata.endpoint
  })
  await service.until(/"msg":"no valid credentials for COS"/)
  const cause = new RegExp(`${new URL(metadata.endpoint).host} did not respond \\(ECONNREFUSED\\)`)
  const down = { status: 503, json: { code: 'UpstreamCredentialsUnavailable', detail: cause } }
  t.match(await service.call('GET', '/readyz'), down)
  t.match(await service.call('GET', collection), down)
  t.equal((await service.call('GET', '/livez')).status, 200, 'a restart would not help')
  await metadata.bringBack()
  await service.until(/"msg":"new credentials for COS"/)
  t.equal((await service.call('GET', '/readyz')).status, 200)
  t.equal((await service.call('PUT', at('a'), {}, configuration)).status, 204)
  t.equal(metadata.issued.length, 1)
})

t.test('start fails with one message for all errors of a callers file, without quotes', async t => {
  const pasted = secret(`cip_${'p'.repeat(43)}`)
  const path = `${t.testdir({
    'callers.json': JSON.stringify({
      callers: [
        { name: 'pasted', keys: [pasted], allow: everything },
        { name: 'twice', keys: [hashOf('x')], allow: everything },
        { name: 'twice', keys: [hashOf('x')], allow: [{ actions: ['cos:DropEverything'], buckets: 'bBuUcCkKeEtT' }] },
        { name: 'keyless', allow: [] },
        { name: 'odd', certificate: { subject: 'nNoOtThHiInNgG' }, allow: [], [pasted]: 1 }
      ]
    })
  })}/callers.json`
  const program = startProgram(t, 'server', { ...keyPair, PORT: '0', CALLERS_FILE: path, AUDIT_LOG: `${path}/no-folder` })
  t.equal(await program.exit, 1)
  t.equal(program.stdout(), '')
  const [head, ...errors] = program.stderr().trimEnd().split('\n')
  t.equal(head, `The configuration has ${errors.length} errors:`)
  const places = errors.map(line => /^ {2}- CALLERS_FILE: (\S+)/.exec(line)?.[1])
  t.strictSame(places, [
    '/callers/0/keys/0', '/callers/2/allow/0/actions/0', '/callers/2/allow/0/buckets', '/callers/2/name', '/callers/2/keys/0',
    '/callers/3', '/callers/4', '/callers/4/certificate/subject', undefined
  ])
  t.match(errors[0], /must be .*paste its hash/)
  t.match(errors[6], /has a property that is not known here/)
  t.match(errors.at(-1), /^ {2}- AUDIT_LOG: /, 'errors of other variables are listed too')
  t.notMatch(program.stderr(), /pasted|twice|keyless|odd|DropEverything|bBuUcCkKeEtT|nNoOtThHiInNgG|sha256:[0-9a-f]/)

  const absent = startProgram(t, 'server', { ...keyPair, PORT: '0', CALLERS_FILE: '/nowhere/callers.json' })
  t.strictSame([await absent.exit, absent.stdout(), absent.stderr()],
    [1, '', 'The configuration has 1 error:\n  - CALLERS_FILE cannot be read: ENOENT\n'])
})

t.test('pipes and folders are rejected in place of a file, at start and at reload', async t => {
  const folder = t.testdir({ folder: {}, 'callers.json': JSON.stringify({ callers: [withKey('admin', everything)] }) })
  const absent = startProgram(t, 'server', { ...keyPair, PORT: '0', CALLERS_FILE: `${folder}/folder` })
  t.strictSame([await absent.exit, absent.stderr()], [1, 'The configuration has 1 error:\n  - CALLERS_FILE cannot be read: not a file\n'])
  const pipe = `${folder}/pipe`
  execFileSync('mkfifo', [pipe])
  const service = await startService(t, nowhere, {
    CALLERS_FILE: `${folder}/callers.json`, COS_CREDENTIALS: 'file', COS_CREDENTIALS_FILE: pipe
  })
  t.match(await service.call('GET', collection, as('admin')), { status: 503, json: { detail: /\(not a file\)/ } })
  renameSync(pipe, `${folder}/callers.json`)
  service.process.kill('SIGHUP')
  await service.until(/CALLERS_FILE cannot be read: not a file/)
  t.equal((await service.call('GET', collection, as('admin'))).status, 503, 'the callers are unchanged')
})

t.test('AUTH=none is logged for any LOG_LEVEL', async t => {
  const service = startProgram(t, 'server', { ...keyPair, PORT: '0', AUTH: 'none', LOG_LEVEL: 'silent' })
  await service.until(/AUTH=none, authentication is disabled/)
  service.process.kill('SIGTERM')
  t.equal(await service.exit, 0)
})

t.test('second signal ends the process and records the change in flight as unknown', async t => {
  const emulator = await startTestEmulator(t)
  emulator.addFault({ kind: 'hang', times: 1 })
  const service = await startService(t, emulator.address, { AUTH: 'none' })
  const aborted = service.call('PUT', at('cut'), {}, configuration).then(() => 'answered', () => 'aborted')
  while (emulator.connections === 0) await new Promise(resolve => { setImmediate(resolve) })
  service.process.kill('SIGTERM')
  await service.until(/"stopping"/)
  service.process.kill('SIGTERM')
  t.strictSame([await service.exit, await aborted], [1, 'aborted'])
  t.match(linesOf(service.stdout()).filter(({ type }) => type === 'audit'), [{ id: 'cut', outcome: 'unknown' }])
})

/** Starts the service as a process and waits until it listens. */
async function startService (
  t: Test, connectTo: string, environment: Record<string, string>
): Promise<StartedService> {
  const program = startProgram(t, 'server', {
    ...keyPair, PORT: '0', COS_SCHEME: 'http', COS_REGION: 'ap-guangzhou', COS_CONNECT_TO: connectTo, ...environment
  })
  const [, url = ''] = await program.until(/listening at (https?:[^"]+)"/)
  return {
    ...program,
    url,
    port: new URL(url).port,
    async call (method, path, headers = {}, body) {
      const response = await fetch(url + path, {
        method,
        headers: { ...headers, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
        body: body === undefined ? null : JSON.stringify(body)
      })
      const text = await response.text()
      return { status: response.status, headers: response.headers, json: text === '' ? undefined : JSON.parse(text) as object }
    }
  }
}

/** Returns the environment of a service that accepts tokens of an issuer. */
function jwtOf ({ config: { jwksUrl, issuer, audience } }: TokenIssuer): Record<string, string> {
  return { JWT_JWKS_URL: jwksUrl, JWT_ISSUER: issuer, JWT_AUDIENCE: audience }
}

function unsigned (claims: object): string {
  return secret([{ alg: 'none' }, claims].map(part => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.') + '.')
}

/** Signs with HMAC and the public key, for verifiers that would use the algorithm of the token. */
async function signedWithPublicKey ({ config, keys }: TokenIssuer, claims: Record<string, unknown>): Promise<string> {
  const [jwk] = keys as [JWK]
  const publicKey = await exportSPKI(await importJWK(jwk) as Parameters<typeof exportSPKI>[0])
  return secret(await new SignJWT({ iss: config.issuer, aud: config.audience, ...claims })
    .setProtectedHeader({ alg: 'HS256', kid: jwk.kid ?? '' })
    .sign(new TextEncoder().encode(publicKey)))
}

async function withOtherPayload (issuer: TokenIssuer): Promise<string> {
  const [[header], [, payload], [, , signature]] = [
    (await issuer.sign()).split('.'), (await issuer.sign({ sub: 'pipeline' })).split('.'), (await issuer.sign()).split('.')
  ] as [string[], string[], string[]]
  return secret([header, payload, signature].join('.'))
}

async function listen (t: Test, server: Server): Promise<string> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => { sockets.add(socket) })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return String((server.address() as AddressInfo).port)
}

/** Returns the same variables without values. */
function none (environment: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.keys(environment).map(name => [name, '']))
}

function linesOf (log: string): Array<Record<string, unknown>> {
  return log.split('\n').filter(line => line !== '').map(line => JSON.parse(line) as Record<string, unknown>)
}

/** Waits for the next event-loop iteration. */
async function nextIteration (): Promise<void> {
  await new Promise(resolve => { setImmediate(resolve) })
}
