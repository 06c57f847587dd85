import { X509Certificate } from 'node:crypto'
import { existsSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { version } from '../../src/version.ts'
import { callersFile, everything, withKey } from '../callers-file.ts'
import { createAuthority } from '../certificates.ts'
import { startMetadataDouble } from '../doubles/metadata.ts'
import { startRedis } from '../redis-server.ts'
import { secret } from '../secrets.ts'
import { at, configuration, secrets, start, until } from '../start.ts'
import type { Running } from '../start.ts'

const verbose = '/readyz?verbose'

/** Returns the states of the components by name. */
async function statesOf ({ call }: Pick<Running, 'call'>, path = verbose): Promise<Record<string, string>> {
  const { components } = (await call('GET', path)).json as { components: Array<{ name: string, state: string }> }
  return Object.fromEntries(components.map(({ name, state }) => [name, state]))
}

/** Returns the value of a series of `/metrics`; undefined if there is none. */
async function valueOf ({ call }: Pick<Running, 'call'>, series: string): Promise<number | undefined> {
  const line = (await call('GET', '/metrics')).text.split('\n').find(each => each.startsWith(`${series} `))
  return line === undefined ? undefined : Number(line.slice(series.length))
}

t.test('/readyz lists the components only when verbose is given', async t => {
  const running = await start(t)
  t.strictSame((await running.call('GET', '/readyz')).json, { status: 'ok' })
  t.strictSame((await running.call('GET', '/readyz?other=1')).json, { status: 'ok' })
  for (const path of [verbose, `${verbose}=`, `${verbose}=true&verbose=1`]) {
    const { status, json } = await running.call('GET', path)
    t.match({ status, json }, { status: 200, json: { status: 'ok' } }, path)
    t.strictSame(await statesOf(running, path),
      { credentials: 'ok', accounts: 'disabled', callers: 'disabled', tls: 'disabled', auditLog: 'ok', redis: 'disabled' })
  }
  t.equal((await running.call('HEAD', verbose)).status, 200)
  for (const absent of ['tls_certificate_expiry_timestamp_seconds', 'redis_up']) t.equal(await valueOf(running, absent), undefined)
})

t.test('/readyz and metrics show a bad callers file until a good one is read', async t => {
  const { environment } = callersFile(t, [withKey('billing', everything)])
  const before = Date.now() / 1000
  const running = await start(t, { environment })
  const series = 'config_last_reload_successful{file="CALLERS_FILE"}'
  const time = 'config_last_reload_success_timestamp_seconds{file="CALLERS_FILE"}'
  const readAt = await valueOf(running, time) ?? 0
  t.ok(readAt >= before && readAt <= Date.now() / 1000, 'the time of the start')
  t.equal(await valueOf(running, series), 1)

  writeFileSync(environment.CALLERS_FILE, '{"callers": [{"name": "secret-name"}]}')
  await running.service.reload()
  t.strictSame([await valueOf(running, series), await valueOf(running, time)], [0, readAt])
  const { status, json, text } = await running.call('GET', verbose)
  t.match({ status, json }, {
    status: 200,
    json: { components: [{ name: 'credentials', account: 'default', state: 'ok' }, { name: 'accounts' }, { name: 'callers', state: 'outdated', readAt: new Date(readAt * 1000).toISOString() }] }
  })
  t.notMatch(text, /secret-name|callers\.json|needs at least/, 'neither path nor content')

  writeFileSync(environment.CALLERS_FILE, '{"callers": []}')
  await running.service.reload()
  t.equal(await valueOf(running, series), 1)
  t.ok(Number(await valueOf(running, time)) >= readAt)
  t.match(await statesOf(running), { callers: 'ok' })
})

t.test('credentials are outdated only until the loader itself succeeds', async t => {
  const metadata = await startMetadataDouble(t, { onSecret: secret })
  const running = await start(t, { environment: { COS_CREDENTIALS: 'cvm-role', METADATA_ENDPOINT: metadata.endpoint } })
  const series = 'config_last_reload_successful{file="COS_CREDENTIALS",account="default"}'
  await until(async () => (await running.call('GET', '/readyz')).status === 200)
  t.equal(await valueOf(running, series), 1)
  metadata.answer = { status: 500, body: '' }
  await running.service.reload()
  t.match([await valueOf(running, series), (await statesOf(running))['credentials']], [0, 'outdated'])
  metadata.answer = undefined
  await until(async () => await valueOf(running, series) === 1)
  t.match(await statesOf(running), { credentials: 'ok' })
  t.notOk(/COS_CREDENTIALS[^\n]*"msg":"reloaded"/.test(running.logs()), 'no reload followed')
  t.equal(await valueOf(running, series.replace('successful', 'success_timestamp_seconds')), undefined, 'no file is read')
  t.notMatch((await running.call('GET', verbose)).text, 'readAt')
})

t.test('the time of the credentials moves when the loader reads the file again', async t => {
  const file = `${t.testdir({ key: JSON.stringify(secrets) })}/key`
  const running = await start(t, { environment: { COS_CREDENTIALS: 'file', COS_CREDENTIALS_FILE: file, COS_MAX_ATTEMPTS: '2' } })
  const series = 'config_last_reload_success_timestamp_seconds{file="COS_CREDENTIALS",account="default"}'
  const readAt = Number(await valueOf(running, series))
  await until(() => Date.now() / 1000 > readAt)
  running.emulator.setCredentials([])
  t.match((await running.call('GET', at('a'))).json, { code: 'UpstreamCredentialsRejected' })
  const laterAt = Number(await valueOf(running, series))
  t.ok(laterAt > readAt, 'a rejected key is loaded again')
  const { json } = await running.call('GET', verbose)
  t.match(json, { components: [{ name: 'credentials', state: 'ok', readAt: new Date(laterAt * 1000).toISOString() }] })
})

t.test('/readyz?verbose returns 503 with components without credentials and at shutdown', async t => {
  const running = await start(t, {
    environment: { COS_CREDENTIALS: 'file', COS_CREDENTIALS_FILE: '/nowhere/key', SHUTDOWN_DELAY_MS: '1000' }
  })
  t.match(await running.call('GET', verbose), {
    status: 503,
    headers: { 'content-type': 'application/problem+json' },
    json: { code: 'UpstreamCredentialsUnavailable', components: [{ name: 'credentials', state: 'failing' }] }
  })
  t.equal((await running.call('GET', '/readyz')).json.components, undefined)
  const stopped = running.service.stop()
  t.match(await running.call('GET', verbose), { status: 503, json: { code: 'ShuttingDown', components: [{}, {}, {}, {}, {}, {}] } })
  t.equal(await stopped, true)
})

t.test('an audit file that rejects lines is failing until it accepts them', async t => {
  const path = `${t.testdir({})}/audit.log`
  const running = await start(t, { environment: { AUDIT_LOG: path } })
  const audit = async () => [
    (await statesOf(running))['auditLog'], await valueOf(running, 'audit_log_writable'), await valueOf(running, 'audit_write_failures_total')
  ]
  t.strictSame(await audit(), ['ok', 1, 0])
  rmSync(path)
  symlinkSync('/dev/full', path)
  t.equal((await running.call('PUT', at('a'), configuration)).status, 204)
  t.strictSame(await audit(), ['failing', 0, 1])
  rmSync(path)
  await until(() => existsSync(path))
  t.strictSame(await audit(), ['ok', 1, 1])
  t.match(readFileSync(path, 'utf8'), /"id":"a"/, 'the file has the line that it rejected')
})

t.test('Redis is failing while it is unavailable, and the service stays ready', async t => {
  const redis = await startRedis(t)
  const running = await start(t, { environment: { REDIS_URL: redis.url } })
  t.match(await statesOf(running), { redis: 'ok' })
  await redis.kill()
  while ((await statesOf(running))['redis'] !== 'failing') await new Promise(resolve => { setImmediate(resolve) })
  t.equal((await running.call('GET', verbose)).status, 200)
})

t.test('the line at the start names version, sources and features without values', async t => {
  const { environment } = callersFile(t, [])
  const { logs } = await start(t, { environment: { ...environment, REPORTS: 'true', COS_SECRETKEY: 'misplaced-value' } })
  const lines = logs().split('\n').filter(line => line !== '').map(line => JSON.parse(line) as { msg: string })
  t.strictSame(lines.filter(({ msg }) => msg === 'started').map(({ ...fields }) => ({ ...fields, time: 0, pid: 0, hostname: '' })), [{
    level: 30,
    time: 0,
    pid: 0,
    hostname: '',
    version,
    node: process.version,
    auth: 'required',
    credentials: 'env',
    features: ['rate-limit', 'connect-to', 'reports'],
    msg: 'started'
  }])
  t.match(lines.filter(({ msg }) => msg.startsWith('variables are unknown')), [{ level: 40, variables: ['COS_SECRETKEY'] }])
  t.notMatch(logs(), 'misplaced-value')
  t.match((await start(t)).logs(), /"auth":"none","credentials":"env","features":\["connect-to"\],"msg":"started"/)
})

t.test('the expiry metric is that of the first certificate of the chain to expire', async t => {
  const authority = await createAuthority()
  const [short, long] = [await authority.issue('localhost'), authority.cert]
  const dir = t.testdir({})
  const expiryOf = (pem: string) => Date.parse(new X509Certificate(pem).validTo) / 1000
  t.ok(expiryOf(short.cert) < expiryOf(long))
  writeFileSync(`${dir}/tls.crt`, `${short.cert}\n${long}`)
  writeFileSync(`${dir}/tls.key`, short.key)
  const { service } = await start(t, {
    environment: { TLS_CERT_FILE: `${dir}/tls.crt`, TLS_KEY_FILE: `${dir}/tls.key`, METRICS_PORT: '0' }
  })
  const scraped = async () => {
    const text = await (await fetch(`${service.metricsUrl}/metrics`)).text()
    return Number(/^tls_certificate_expiry_timestamp_seconds (.*)$/m.exec(text)?.[1])
  }
  t.equal(await scraped(), expiryOf(short.cert))

  const other = await authority.issue('localhost', { days: 30 })
  writeFileSync(`${dir}/tls.key`, other.key)
  writeFileSync(`${dir}/tls.crt`, `${other.cert}\n${short.cert.replaceAll('CERTIFICATE', 'TRUSTED CERTIFICATE')}`)
  await service.reload()
  t.equal(await scraped(), expiryOf(short.cert), 'the certificate of an authority expires first')
  writeFileSync(`${dir}/tls.crt`, other.cert)
  await service.reload()
  t.equal(await scraped(), expiryOf(other.cert))
})
