import { mkdirSync, renameSync, symlinkSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { startMetadataDouble } from '../doubles/metadata.ts'
import type { IssuedCredentials } from '../doubles/metadata.ts'
import { startStsDouble } from '../doubles/sts.ts'
import { controlTime, longTimeouts } from '../doubles/time.ts'
import { everything, hashOf, keyOf } from '../callers-file.ts'
import { secret } from '../secrets.ts'
import { at, bucket, configuration, secrets, startTestEmulator, startTestService as startWithOneAttempt } from '../start.ts'
import type { Running } from '../start.ts'

const collection = `/buckets/${bucket}/inventories`
const roleArn = 'qcs::cam::uin/100000000001:roleName/inventory'
/** Lifetime of credentials that are refreshed, in milliseconds. */
const lifetimeMs = 600_000
/** Time from issue to refresh in milliseconds. A refresh starts when 18 % to 22 % of the lifetime remain. */
const untilRefreshMs = 0.85 * lifetimeMs

/** Starts the service with two attempts, because a rejected key uses one. */
const startTestService: typeof startWithOneAttempt = (t, connectTo, environment) =>
  startWithOneAttempt(t, connectTo, { COS_MAX_ATTEMPTS: '2', ...environment })

/** Starts an emulator that accepts only the credentials issued last. */
async function startStrictEmulator (t: { teardown (handler: () => unknown): void }) {
  const emulator = await startTestEmulator(t, { credentials: [] })
  const options = {
    onSecret: secret,
    onIssued: (issued: IssuedCredentials) => { emulator.setCredentials([issued]) }
  }
  return { emulator, options }
}

const putAndGet = async ({ call }: Pick<Running, 'call'>) =>
  [(await call('PUT', at('a'), configuration)).status, (await call('GET', at('a'))).status, (await call('GET', '/readyz')).status]

t.test('PUT returns 204 and GET 200 with the credentials of a CVM role', async t => {
  const { emulator, options } = await startStrictEmulator(t)
  const metadata = await startMetadataDouble(t, options)
  const service = await startTestService(t, emulator.address,
    { COS_CREDENTIALS: 'cvm-role', METADATA_ENDPOINT: metadata.endpoint, COS_SECRET_ID: '', COS_SECRET_KEY: '', COS_TOKEN: '' })
  t.strictSame(await putAndGet(service), [204, 200, 200])
  t.equal(metadata.issued.length, 1)
  t.match(service.logs(), /"source":"cvm-role","expiresAt":"20[^"]+","msg":"new credentials for COS"/)
})

t.test('GET returns 200 with a new web identity token when COS rejects the old key', async t => {
  const { emulator, options } = await startStrictEmulator(t)
  const webIdentityToken = secret('webIdentityTokenOfThePod')
  const sts = await startStsDouble(t, { ...options, subjects: { roleArn, providerId: 'tke', webIdentityToken } })
  const dir = t.testdir({ token: webIdentityToken })
  const service = await startTestService(t, emulator.address, {
    COS_CREDENTIALS: 'oidc',
    STS_ENDPOINT: sts.endpoint,
    TKE_REGION: 'ap-guangzhou',
    TKE_PROVIDER_ID: 'tke',
    TKE_ROLE_ARN: roleArn,
    TKE_WEB_IDENTITY_TOKEN_FILE: `${dir}/token`
  })
  t.strictSame(await putAndGet(service), [204, 200, 200])
  sts.subjects.webIdentityToken = secret('renewedIdentityTokenOfThePod')
  writeFileSync(`${dir}/token`, sts.subjects.webIdentityToken)
  emulator.setCredentials([])
  t.equal((await service.call('GET', at('a'))).status, 200, 'the call is retried with the refreshed key')
  t.equal(sts.issued.length, 2)
})

t.test('PUT returns 204 with an assumed role, GET returns 503 when STS rejects the role', async t => {
  const { emulator, options } = await startStrictEmulator(t)
  const sts = await startStsDouble(t, { ...options, subjects: { roleArn, sessionName: 'mine', keys: [secrets] } })
  const environment = { COS_CREDENTIALS: 'assume-role', STS_ENDPOINT: sts.endpoint, COS_ROLE_ARN: roleArn, COS_ROLE_SESSION_NAME: 'mine' }
  t.strictSame(await putAndGet(await startTestService(t, emulator.address, environment)), [204, 200, 200])
  const rejected = await startTestService(t, emulator.address, { ...environment, COS_ROLE_ARN: `${roleArn}x` })
  t.match(await rejected.call('GET', at('a')), {
    status: 503, json: { code: 'UpstreamCredentialsUnavailable', detail: /127\.0\.0\.1:\d+ rejected AssumeRole: / }, headers: { 'retry-after': '1' }
  })
})

t.test('the credentials file is reloaded when it changes, an invalid one is ignored', async t => {
  const emulator = await startTestEmulator(t)
  const dir = t.testdir({ 'credentials.json': profile(secrets) })
  const path = `${dir}/credentials.json`
  const service = await startTestService(t, emulator.address, { COS_CREDENTIALS: 'file', COS_CREDENTIALS_FILE: path })
  t.strictSame(await putAndGet(service), [204, 200, 200])
  writeFileSync(path, `[default]\nsecret_id = ${secrets.secretId}\n`)
  await service.service.reload()
  t.match(service.logs(), /"level":50[^\n]*"what":"COS_CREDENTIALS"[^\n]*SecretKey is missing[^\n]*reload failed, keeping previous value/)
  t.strictSame(await putAndGet(service), [204, 200, 200])

  const next = { secretId: 'AKIDnextNEXTnextNEXTnextNEXTnextNEXT', secretKey: secret('nextSecretKeyOfTheFile'), token: secret('nextTokenOfTheFile') }
  writeFileSync(`${dir}/new`, JSON.stringify({ TmpSecretId: next.secretId, TmpSecretKey: next.secretKey, Token: next.token, Expiration: '2999-01-01T00:00:00Z' }))
  renameSync(`${dir}/new`, path)
  while (!service.logs().includes('2999-01-01')) await nextIteration()
  emulator.setCredentials([next])
  t.strictSame(await putAndGet(service), [204, 200, 200])

  const without = await startTestService(t, emulator.address, { COS_CREDENTIALS: 'file', COS_CREDENTIALS_FILE: `${dir}/later.json` })
  t.match(await without.call('GET', '/readyz'), { status: 503, json: { detail: /credentials file cannot be read \(ENOENT\)/ } })
  writeFileSync(`${dir}/later.json`, profile(next))
  while ((await without.call('GET', '/readyz')).status !== 200) await nextIteration()
  t.strictSame(await putAndGet(without), [204, 200, 200])
})

t.test('PUT returns 204 with the new key when the file of COS_SECRET_ID changes', async t => {
  const emulator = await startTestEmulator(t)
  const dir = t.testdir({ id: secrets.secretId, key: secrets.secretKey, token: secrets.token })
  const service = await startTestService(t, emulator.address, {
    COS_SECRET_ID: '',
    COS_SECRET_KEY: '',
    COS_TOKEN: '',
    COS_SECRET_ID_FILE: `${dir}/id`,
    COS_SECRET_KEY_FILE: `${dir}/key`,
    COS_TOKEN_FILE: `${dir}/token`
  })
  t.strictSame(await putAndGet(service), [204, 200, 200])
  const next = { ...secrets, secretId: 'AKIDnextNEXTnextNEXTnextNEXTnextNEXT' }
  writeFileSync(`${dir}/id`, next.secretId)
  emulator.setCredentials([next])
  t.strictSame(await putAndGet(service), [204, 200, 200], 'the first request uses the new key')
})

t.test('POST returns 502 when COS rejects every key, and 50 requests share refreshes', async t => {
  const emulator = await startTestEmulator(t)
  const metadata = await startMetadataDouble(t, { onSecret: secret })
  const service = await startTestService(t, emulator.address, { COS_CREDENTIALS: 'cvm-role', METADATA_ENDPOINT: metadata.endpoint })
  // Refreshes are at least a second apart.
  controlTime(t).stop()
  const responses = await Promise.all(Array.from({ length: 50 }, async () => service.call('POST', at('once'), job)))
  for (const response of responses) t.match(response, { status: 502, json: { code: 'UpstreamCredentialsRejected', cosCode: 'InvalidAccessKeyId' } })
  t.ok(metadata.issued.length <= 3, `${metadata.issued.length} issued`)
  t.ok(emulator.requests.length <= 100)
})

t.test('POST is not retried when an error of another kind mentions a credential code', async t => {
  const { emulator, options } = await startStrictEmulator(t)
  const metadata = await startMetadataDouble(t, options)
  const service = await startTestService(t, emulator.address, { COS_CREDENTIALS: 'cvm-role', METADATA_ENDPOINT: metadata.endpoint })
  const responses: Array<[number, string, string]> = [
    [500, 'InternalError', 'job ExpiredToken accepted, but its answer was lost'], [500, 'ExpiredToken', ''], [409, 'AccessDenied', 'ExpiredToken'],
    [400, 'InvalidArgument', 'the prefix InvalidAccessKeyId is not valid']
  ]
  for (const [status, code, message] of responses) {
    const before = emulator.requests.length
    const body = `<Error><Code>${code}</Code><Message>${message}</Message></Error>`
    emulator.addFault({ kind: 'raw', status, headers: { 'x-cos-request-id': 'r', 'content-type': 'application/xml' }, body, times: 1 })
    t.match((await service.call('POST', at('once'), job)).json, { code })
    t.equal(emulator.requests.length, before + 1, `${status} ${code}`)
  }
  t.equal(metadata.issued.length, 1)
})

t.test('GET returns 502 in time when the credential source never responds', async t => {
  const time = controlTime(t)
  const { emulator, options } = await startStrictEmulator(t)
  const metadata = await startMetadataDouble(t, options)
  const service = await startTestService(t, emulator.address,
    { COS_CREDENTIALS: 'cvm-role', METADATA_ENDPOINT: metadata.endpoint, ...longTimeouts })
  t.strictSame(await putAndGet(service), [204, 200, 200])
  emulator.setCredentials([])
  metadata.answer = 'hang'
  const calls = metadata.calls
  const response = service.call('GET', at('a'))
  await metadata.arrived(calls + 1)
  time.expire(Number(longTimeouts.COS_DEADLINE_MS))
  t.match(await response, { status: 502, json: { code: 'UpstreamCredentialsRejected' } })
})

t.test('no request fails while callers and keys are replaced under load', async t => {
  const time = controlTime(t)
  const { emulator, options } = await startStrictEmulator(t)
  const metadata = await startMetadataDouble(t, { ...options, lifetimeMs })
  const caller = (...names: string[]) => ({ name: 'rotating', keys: names.map(name => hashOf(keyOf(name))), allow: everything, rateLimitPerMinute: 0 })
  // Kubernetes mounts a secret as a link to a link and swaps the inner one.
  const dir = t.testdir({ one: { 'callers.json': JSON.stringify({ callers: [caller('k1')] }) } })
  symlinkSync('one', `${dir}/..data`)
  symlinkSync('..data/callers.json', `${dir}/callers.json`)
  const swap = (name: string, ...keys: string[]) => {
    mkdirSync(`${dir}/${name}`)
    writeFileSync(`${dir}/${name}/callers.json`, JSON.stringify({ callers: [caller(...keys)] }))
    symlinkSync(name, `${dir}/..data_tmp`)
    renameSync(`${dir}/..data_tmp`, `${dir}/..data`)
  }
  const { call, service, logs } = await startTestService(t, emulator.address, {
    AUTH: 'required',
    CALLERS_FILE: `${dir}/callers.json`,
    COS_CREDENTIALS: 'cvm-role',
    METADATA_ENDPOINT: metadata.endpoint,
    COS_TIMEOUT_MS: '3600000',
    COS_DEADLINE_MS: '3600000'
  })
  const swapsRead = () => logs().split('"what":"CALLERS_FILE","msg":"reloaded"').length - 1

  const load = { key: 'k1', done: 0, running: true }
  const failures: unknown[] = []
  const worker = async () => {
    while (load.running) {
      const { key } = load
      const { status, text } = await call('GET', collection, undefined, { authorization: `Bearer ${keyOf(key)}` })
      if (status !== 200) failures.push([key, status, text])
      load.done += 1
    }
  }
  const workers = Promise.all(Array.from({ length: 4 }, worker))
  swap('two', 'k1', 'k2')
  while (swapsRead() < 1) await nextIteration()
  load.key = 'k2'
  const doneBefore = load.done
  while (load.done < doneBefore + 20) await nextIteration()
  swap('three', 'k2', 'k3')
  while (swapsRead() < 2) await nextIteration()
  load.key = 'k3'
  writeFileSync(`${dir}/callers.json`, '{ not json')
  await service.reload()
  t.match(logs(), /"level":50[^\n]*CALLERS_FILE[^\n]*reload failed/)
  swap('four', 'k3')
  for (let refresh = 1; refresh <= 3; refresh++) {
    while (load.done < 500 * refresh) await nextIteration()
    time.pass(untilRefreshMs)
    time.expire(60_000)
    while (metadata.issued.length <= refresh) await nextIteration()
  }
  while (swapsRead() < 3 || load.done < 2000) await nextIteration()
  load.running = false
  await workers
  t.strictSame(failures, [])
  t.ok(load.done >= 2000, `${load.done} requests, ${metadata.issued.length} key pairs`)
  t.equal((await call('GET', collection, undefined, { authorization: `Bearer ${keyOf('k1')}` })).status, 401, 'the first key is rejected')
})

t.test('GET returns 503 when the key expires and STS is unavailable, then recovers', async t => {
  const time = controlTime(t)
  const { emulator, options } = await startStrictEmulator(t)
  const sts = await startStsDouble(t, { ...options, lifetimeMs, subjects: { roleArn, keys: [secrets] } })
  const service = await startTestService(t, emulator.address,
    { COS_CREDENTIALS: 'assume-role', STS_ENDPOINT: sts.endpoint, COS_ROLE_ARN: roleArn })
  t.strictSame(await putAndGet(service), [204, 200, 200])
  await sts.takeDown()
  time.pass(untilRefreshMs)
  time.expire(60_000)
  const isKept = /"level":40[^\n]*"msg":"refresh failed, keeping previous credentials for COS"/
  while (!isKept.test(service.logs())) await nextIteration()
  t.equal((await service.call('GET', at('a'))).status, 200, 'the key is used until it expires')
  // STS states the expiry in whole seconds, and the last second is included.
  time.pass(lifetimeMs - untilRefreshMs + 2_000)
  const down = { status: 503, json: { code: 'UpstreamCredentialsUnavailable', detail: /127\.0\.0\.1:\d+ did not respond \(ECONNREFUSED\)/ } }
  t.match(await service.call('GET', '/readyz'), down)
  t.match(await service.call('GET', at('a')), down)
  t.equal((await service.call('GET', '/livez')).status, 200)
  await sts.bringBack()
  while ((await service.call('GET', '/readyz')).status !== 200) await nextIteration()
  for (const line of service.logs().split('\n').filter(line => line.includes('"retryAt"'))) {
    const { time: failedAt, retryAt } = JSON.parse(line) as { time: number, retryAt: string }
    t.ok(Date.parse(retryAt) - failedAt <= 5_000, 'the next attempt follows within the longest backoff')
  }
  t.strictSame(await putAndGet(service), [204, 200, 200])
})

const { IsEnabled: _, Schedule: __, ...job } = configuration

function profile ({ secretId, secretKey, token }: IssuedCredentials): string {
  return `[default]\nsecret_id = ${secretId}\nsecret_key = ${secretKey}\ntoken = ${token}\n`
}

/** Waits for one iteration of the event loop, in which sockets, files and timers proceed. */
async function nextIteration (): Promise<void> {
  await new Promise(resolve => { setImmediate(resolve) })
}
