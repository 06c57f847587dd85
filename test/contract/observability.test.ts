import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { METHODS } from 'node:http'
import { connect, createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import type { Test as Assertions } from 'tap'
import type { Emulator } from '../../src/emulator/server.ts'
import { version } from '../../src/version.ts'
import { as, callersFile, everything, withKey } from '../callers-file.ts'
import { environment as toolEnvironment, missing } from '../deploy/tools.ts'
import { startCollector } from '../doubles/collector.ts'
import type { CollectedSpan } from '../doubles/collector.ts'
import { startMetadataDouble } from '../doubles/metadata.ts'
import { attemptMs, controlTime, longTimeouts } from '../doubles/time.ts'
import { startProgram } from '../e2e/program.ts'
import { refuseSecrets, secret } from '../secrets.ts'
import { at, bucket, configuration, otherBucket, secrets, start, startTestEmulator, startTestService, until } from '../start.ts'
import type { Answer, Running, Test } from '../start.ts'

interface Series {
  name: string
  labels: Record<string, string>
  value: number
}
interface Line { level: number, msg: string, [field: string]: unknown }

const { IsEnabled: _, Schedule: __, ...job } = configuration
const one = '/buckets/:bucket/inventories/:id'
const all = '/buckets/:bucket/inventories'
const collection = `/buckets/${bucket}/inventories`
const traceId = '4bf92f3577b34da6a3ce929d0e0e4736'
const spanId = '00f067aa0ba902b7'
const traceparent = `00-${traceId}-${spanId}-01`
const tracestate = 'congo=t61rcWkgMzE,rojo=00f067aa0ba902b7'

t.test('every counter has the expected value after a known sequence of requests', async t => {
  const { environment } = callersFile(t, [
    withKey('billing', everything),
    withKey('reader', [{ actions: ['cos:GetBucketInventory'], buckets: ['*'] }]),
    withKey('limited', everything, { rateLimitPerMinute: 1 })
  ])
  const time = controlTime(t)
  // The Retry-After of one response exceeds the deadline, so that response is not retried.
  const limits = { COS_TIMEOUT_MS: '40000', COS_DEADLINE_MS: '55000' }
  const running = await start(t, { environment: { ...environment, COS_MAX_ATTEMPTS: '3', ...limits } })
  const { call, emulator, url } = running
  const billing = as('billing')
  const expect = async (status: number, ...request: Parameters<Running['call']>) => {
    t.equal((await call(...request)).status, status, request.slice(0, 2).join(' '))
  }
  await expect(204, 'PUT', at('a'), configuration, billing)
  await expect(200, 'GET', at('a'), undefined, billing)
  await expect(200, 'HEAD', at('a'), undefined, billing)
  await expect(404, 'GET', at('none'), undefined, billing)
  await expect(401, 'GET', at('a'))
  await expect(403, 'DELETE', at('a'), undefined, as('reader'))
  await expect(200, 'GET', collection, undefined, as('limited'))
  await expect(429, 'GET', collection, undefined, as('limited'))
  await expect(400, 'PUT', at('a'), {}, billing)
  emulator.addFault({ kind: 'error', status: 503, code: 'SlowDown', times: 2 })
  await expect(204, 'PUT', at('a'), configuration, billing)
  emulator.addFault({ kind: 'error', status: 503, code: 'ServiceUnavailable', headers: { 'retry-after': '60' }, times: 1 })
  await expect(503, 'GET', at('a'), undefined, billing)
  emulator.addFault({ kind: 'garbage', times: 1 })
  await expect(502, 'POST', at('job'), job, billing)
  await expect(202, 'POST', at('job'), job, billing)
  emulator.addFault({ kind: 'reset', times: 1 })
  await expect(204, 'DELETE', at('a'), undefined, billing)
  emulator.addFault({ kind: 'error', status: 500, code: 'InternalError', times: 3 })
  await expect(502, 'GET', collection, undefined, billing)
  emulator.addFault({ kind: 'hang', times: 3 })
  const before = emulator.requests.length
  const withoutResponse = expect(504, 'GET', at('a'), undefined, billing)
  for (const attempt of [1, 2, 3]) {
    await until(() => emulator.requests.length === before + attempt)
    time.expire(40_000)
  }
  await withoutResponse
  await expect(404, 'GET', at('a'), undefined, billing)
  await expect(404, 'GET', '/nothing')
  await expect(405, 'OPTIONS', at('a'))
  emulator.addFault({ kind: 'hang', times: 1 })
  await disconnect(t, running, { method: 'GET', url: url + at('a'), headers: billing })
  await until(async () => count(await scrape(running), 'cos_calls_total', { class: 'cancelled' }) === 1)

  const series = (await scrape(running)).filter(({ labels }) => labels['route'] !== '/metrics')
  t.strictSame(counts(series, 'http_requests_total', 'method', 'route', 'status'), {
    [`PUT ${one} 204`]: 2,
    [`PUT ${one} 400`]: 1,
    [`GET ${one} 200`]: 1,
    [`HEAD ${one} 200`]: 1,
    [`GET ${one} 404`]: 2,
    [`GET ${one} 401`]: 1,
    [`DELETE ${one} 403`]: 1,
    [`GET ${all} 200`]: 1,
    [`GET ${all} 429`]: 1,
    [`GET ${one} 503`]: 1,
    [`POST ${one} 502`]: 1,
    [`POST ${one} 202`]: 1,
    [`DELETE ${one} 204`]: 1,
    [`GET ${all} 502`]: 1,
    [`GET ${one} 504`]: 1,
    'GET none 404': 1,
    'OPTIONS none 405': 1,
    [`GET ${one} 499`]: 1
  })
  t.strictSame(counts(series, 'http_request_duration_seconds_count', 'method', 'route'), {
    [`PUT ${one}`]: 3,
    [`GET ${one}`]: 7,
    [`HEAD ${one}`]: 1,
    [`DELETE ${one}`]: 2,
    [`POST ${one}`]: 2,
    [`GET ${all}`]: 3,
    'GET none': 1,
    'OPTIONS none': 1
  })
  t.strictSame(counts(series, 'http_problems_total', 'code'), {
    InventoryConfigurationNotFoundError: 2,
    Unauthenticated: 1,
    CallerNotAllowed: 1,
    RateLimited: 1,
    ValidationFailed: 1,
    ServiceUnavailable: 1,
    UpstreamInvalidResponse: 1,
    InternalError: 1,
    UpstreamTimeout: 1,
    RouteNotFound: 1,
    MethodNotAllowed: 1
  })
  t.strictSame(counts(series, 'caller_requests_total', 'caller', 'status'), {
    'billing 204': 3,
    'billing 200': 2,
    'billing 404': 2,
    'billing 400': 1,
    'billing 503': 1,
    'billing 502': 2,
    'billing 202': 1,
    'billing 504': 1,
    'billing 499': 1,
    'reader 403': 1,
    'limited 200': 1,
    'limited 429': 1
  })
  const calls = {
    'PutBucketInventory ok': 2,
    'GetBucketInventory ok': 2,
    'GetBucketInventory caller': 2,
    'ListBucketInventory ok': 1,
    'GetBucketInventory throttled': 1,
    'PostBucketInventory invalid': 1,
    'PostBucketInventory ok': 1,
    'DeleteBucketInventory ok': 1,
    'ListBucketInventory server': 1,
    'GetBucketInventory timeout': 1,
    'GetBucketInventory cancelled': 1
  }
  t.strictSame(counts(series, 'cos_calls_total', 'operation', 'class'), calls)
  t.strictSame(counts(series, 'cos_call_duration_seconds_count', 'operation'), {
    PutBucketInventory: 2,
    GetBucketInventory: 7,
    ListBucketInventory: 2,
    PostBucketInventory: 2,
    DeleteBucketInventory: 1
  })
  t.strictSame(counts(series, 'cos_attempts_total', 'operation', 'class', 'code'), {
    'PutBucketInventory ok ': 2,
    'GetBucketInventory ok ': 2,
    'GetBucketInventory caller InventoryConfigurationNotFoundError': 2,
    'ListBucketInventory ok ': 1,
    'PutBucketInventory throttled SlowDown': 2,
    'GetBucketInventory throttled ServiceUnavailable': 1,
    'PostBucketInventory invalid UpstreamInvalidResponse': 1,
    'PostBucketInventory ok ': 1,
    'DeleteBucketInventory unreachable UpstreamUnreachable': 1,
    'DeleteBucketInventory ok ': 1,
    'ListBucketInventory server InternalError': 3,
    'GetBucketInventory timeout UpstreamTimeout': 3,
    'GetBucketInventory cancelled CallerLeft': 1
  })
  const attempts = {
    PutBucketInventory: 4,
    GetBucketInventory: 9,
    ListBucketInventory: 4,
    PostBucketInventory: 2,
    DeleteBucketInventory: 2
  }
  t.strictSame(counts(series, 'cos_attempt_duration_seconds_count', 'operation'), attempts)
  t.strictSame(counts(series, 'cos_queue_wait_seconds_count'), { '': 21 }, 'each attempt has had a permit')
  t.equal(emulator.requests.length, 21)
  t.strictSame(counts(series, 'cos_retries_total', 'operation', 'class'), {
    'PutBucketInventory throttled': 2,
    'DeleteBucketInventory unreachable': 1,
    'ListBucketInventory server': 2,
    'GetBucketInventory timeout': 2
  })
  t.strictSame(counts(series, 'cos_retries_denied_total', 'reason'), { budget: 0, deadline: 1 })
  t.strictSame(counts(series, 'cos_calls_shed_total', 'reason'), { queue_full: 0, waited: 0, unresponsive_host: 0 })
})

t.test('requests count for the caller anyone when AUTH is none, and scrapes count too', async t => {
  const running = await start(t)
  await running.call('GET', collection)
  await scrape(running)
  const series = await scrape(running)
  t.strictSame(counts(series, 'caller_requests_total', 'caller', 'status'), { 'anyone 200': 1 })
  t.strictSame(counts(series, 'http_requests_total', 'method', 'route', 'status'), { [`GET ${all} 200`]: 1, 'GET /metrics 200': 1 })
})

t.test('GET of /metrics returns valid Prometheus text with the version', async t => {
  const running = await start(t, { environment: { COS_MAX_ATTEMPTS: '2' } })
  running.emulator.addFault({ kind: 'error', status: 503, code: 'SlowDown', times: 1 })
  await running.call('GET', at('none'))
  const response = await running.call('GET', '/metrics')
  t.equal(response.status, 200)
  t.equal(response.headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8')
  const build = read(response.text).filter(({ name }) => name === 'cos_inventory_proxy_build_info')
  t.strictSame(build, [{ name: 'cos_inventory_proxy_build_info', labels: { version, node: process.version }, value: 1 }])
  const names = new Set(read(response.text).map(({ name }) => name))
  for (const name of ['nodejs_eventloop_lag_p99_seconds', 'process_resident_memory_bytes', 'process_start_time_seconds']) {
    t.ok(names.has(name), name)
  }
  const { error, status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], {
    input: response.text, encoding: 'utf8', env: toolEnvironment
  })
  if (error !== undefined) throw missing('promtool', error)
  // The service cannot change the names of prom-client.
  const complaints = (stdout + stderr).split('\n').filter(line => line !== '' && !/^(nodejs|process)_/.test(line))
  t.strictSame(complaints, [])
  t.ok(status === 0 || status === 3, `promtool could read it (${status})`)
})

t.test('no series is added when callers or COS send unknown names', async t => {
  const running = await start(t, { environment: { COS_MAX_CONNECTIONS: '2' } })
  const { call, emulator } = running
  const methods = METHODS.filter(method => method !== 'CONNECT')
  const madeUp = async (index: number) => {
    const name = `made-up-${index}`
    await call('GET', `/buckets/${name}-1250000000/inventories/${name}`)
    await call('GET', `/buckets/${name}-1250000000/inventories?continuation-token=${name}`)
    await call('PUT', `/buckets/${name}/inventories/${name}`, configuration)
    await call('PUT', at(name, `?dry-run=true&region=ap-${name}`), configuration)
    await call('GET', `/${name}/${name}?${name}=${name}`, undefined, { 'user-agent': name, 'x-request-id': name })
    emulator.addFault({ kind: 'error', status: 400, code: `Made.Up-${index}`, times: 1 })
    await call('DELETE', at(name))
    emulator.addFault({ kind: 'error', status: 418, code: `Made.Up-${index}`, form: 'json', times: 1 })
    await call('POST', at(name), job)
  }
  const askWithEveryMethod = async (path: string) => {
    for (const method of methods) await call(method, path).catch(() => {})
    await call('MADE-UP', path)
  }
  await madeUp(0)
  await askWithEveryMethod('/made-up-0')
  await scrape(running)
  const before = ours(await scrape(running)).map(nameOf).sort()
  for (let index = 1; index <= 200; index++) await madeUp(index)
  for (const path of ['/made-up-1', '/made-up-2/made-up']) await askWithEveryMethod(path)
  const after = ours(await scrape(running))
  t.strictSame(after.map(nameOf).sort(), before)
  const { text } = await call('GET', '/metrics')
  t.notMatch(text, /made.up/i)
  for (const each of [bucket, 'myqcloud', secrets.secretId, 'AKID']) t.notOk(text.includes(each), each)
  refuseSecrets(text)

  t.strictSame([...new Set(after.map(({ labels }) => labels['method']))].sort(),
    ['DELETE', 'GET', 'HEAD', 'OPTIONS', 'PATCH', 'POST', 'PUT', 'other', undefined])
  t.strictSame([...new Set(after.map(({ labels }) => labels['route']))].sort(), [all, one, '/metrics', 'none', undefined].sort())
  t.equal(count(after, 'http_problems_total', { code: 'other' }), 402)
  t.equal(count(after, 'cos_attempts_total', { class: 'caller', code: 'other' }), 402)
})

t.test('METRICS_PORT serves only /metrics and closes when the service stops', async t => {
  const { call, service, ...running } = await start(t, { environment: { METRICS_PORT: '0' } })
  const { metricsUrl = '' } = service
  t.match(metricsUrl, /^http:\/\/127\.0\.0\.1:\d+$/)
  t.not(new URL(metricsUrl).port, new URL(running.url).port)
  t.match(await call('GET', '/metrics'), { status: 404, json: { code: 'RouteNotFound' } })
  const ask = async (path: string, method = 'GET') => {
    const response = await fetch(metricsUrl + path, { method })
    return { status: response.status, headers: response.headers, text: await response.text() }
  }
  await call('GET', collection)
  const { status, headers, text } = await ask('/metrics')
  t.strictSame([status, headers.get('content-type')], [200, 'text/plain; version=0.0.4; charset=utf-8'])
  t.strictSame(counts(read(text), 'http_requests_total', 'method', 'route', 'status'),
    { 'GET none 404': 1, [`GET ${all} 200`]: 1 }, 'requests to this port are not counted')
  for (const path of ['/', '/livez', '/readyz', '/docs', '/openapi.json', at('a'), collection]) {
    const response = await ask(path)
    t.equal(response.headers.get('content-type'), 'application/problem+json')
    t.match(JSON.parse(response.text), { status: 404, code: 'RouteNotFound', instance: path, requestId: /./ })
  }
  const rejected = await ask('/metrics', 'POST')
  t.match(JSON.parse(rejected.text), { status: 405, code: 'MethodNotAllowed' })
  t.strictSame([rejected.headers.get('allow'), rejected.headers.get('x-content-type-options')], ['GET, HEAD', 'nosniff'])
  t.equal((await ask('/%zz')).status, 400)
  t.strictSame(running.audits(), [])

  await service.stop()
  await t.rejects(fetch(`${metricsUrl}/metrics`), { cause: { code: 'ECONNREFUSED' } })
})

t.test('the start fails when METRICS_PORT is in use', async t => {
  const taken = createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  t.teardown(() => taken.close())
  const { port } = taken.address() as AddressInfo
  await t.rejects(startTestService(t, '127.0.0.1:1', { METRICS_PORT: String(port) }), { code: 'EADDRINUSE', port })
})

t.test('gauges count requests, calls and connections in flight', async t => {
  const running = await start(t, { environment: { COS_MAX_CONCURRENCY: '1', METRICS_PORT: '0' } })
  const { emulator, url } = running
  t.strictSame(await gauges(running),
    { requests: 0, inFlight: 0, waiting: 0, unresponsiveHosts: 0, open: 0, busy: 0 }, 'every gauge is 0 after the start')
  emulator.addFault({ kind: 'hang', times: 1 })
  const [first, second] = [new AbortController(), new AbortController()]
  const aborted = [t.rejects(fetch(url + at('a'), first))]
  await until(() => emulator.requests.length === 1)
  t.strictSame(await gauges(running), { requests: 1, inFlight: 1, waiting: 0, unresponsiveHosts: 0, open: 1, busy: 1 })
  aborted.push(t.rejects(fetch(url + at('b'), second)))
  await until(async () => (await gauges(running)).waiting === 1)
  t.match(await gauges(running), { requests: 2, inFlight: 1, waiting: 1, open: 1, busy: 1 })
  second.abort()
  await until(async () => (await gauges(running)).requests === 1)
  t.match(await gauges(running), { inFlight: 1, waiting: 0 })
  first.abort()
  await Promise.all(aborted)
  await until(async () => (await gauges(running)).inFlight === 0)
  t.equal((await running.call('GET', collection)).status, 200)
  t.strictSame(await gauges(running),
    { requests: 0, inFlight: 0, waiting: 0, unresponsiveHosts: 0, open: 1, busy: 0 }, 'the connection stays open')
})

t.test('cos_unresponsive_hosts counts unresponsive hosts until they respond', async t => {
  const time = controlTime(t)
  const running = await start(t, { environment: { ...longTimeouts, METRICS_PORT: '0' } })
  const { call, emulator } = running
  emulator.addFault({ kind: 'hang', times: 2 })
  const both = [collection, `/buckets/${otherBucket}/inventories`]
  const responses = both.map(path => call('GET', path))
  await until(() => emulator.requests.length === 2)
  both.forEach(() => { time.expire(attemptMs) })
  t.strictSame((await Promise.all(responses)).map(({ status }) => status), [504, 504])
  t.equal((await gauges(running)).unresponsiveHosts, 2)
  t.equal((await call('GET', collection)).status, 200)
  t.equal((await gauges(running)).unresponsiveHosts, 1)
  t.equal((await call('GET', both[1] as string)).status, 200)
  t.equal((await gauges(running)).unresponsiveHosts, 0)
})

t.test('cos_credentials metrics include the expiry when the credentials have one', async t => {
  const permanent = await start(t)
  t.strictSame(named(await scrape(permanent), 'cos_credentials_'), { cos_credentials_available: 1 })

  const expiration = '2999-01-01T00:00:00Z'
  const { secretId: TmpSecretId, secretKey: TmpSecretKey, token: Token } = secrets
  const temporary = { TmpSecretId, TmpSecretKey, Token, Expiration: expiration }
  const path = `${t.testdir({ 'credentials.json': JSON.stringify(temporary) })}/credentials.json`
  const file = { COS_CREDENTIALS: 'file', COS_CREDENTIALS_FILE: path }
  const fromFile = await startTestService(t, permanent.emulator.address, file)
  t.strictSame(named(await scrape(fromFile), 'cos_credentials_'), {
    cos_credentials_available: 1, cos_credentials_expiry_timestamp_seconds: Date.parse(expiration) / 1000 + 0.999
  }, 'the credentials are valid until the end of the second')

  const metadata = await startMetadataDouble(t, { onSecret: secret })
  await metadata.takeDown()
  const role = await startTestService(t, permanent.emulator.address,
    { COS_CREDENTIALS: 'cvm-role', METADATA_ENDPOINT: metadata.endpoint, COS_SECRET_ID: '', COS_SECRET_KEY: '', COS_TOKEN: '' })
  t.strictSame(named(await scrape(role), 'cos_credentials_'), { cos_credentials_available: 0 })
  await metadata.bringBack()
  await until(async () => named(await scrape(role), 'cos_credentials_')['cos_credentials_available'] === 1)
  const expiresAt = Number(named(await scrape(role), 'cos_credentials_')['cos_credentials_expiry_timestamp_seconds'])
  const leftSeconds = expiresAt - Date.now() / 1000
  t.ok(leftSeconds > 7100 && leftSeconds < 7202, `${leftSeconds} s`)
})

t.test('cos_clock_skew_seconds is the skew after COS rejected the time of a request', async t => {
  const running = await start(t, { environment: { COS_MAX_ATTEMPTS: '2' } })
  const skew = async () => named(await scrape(running), 'cos_clock_')['cos_clock_skew_seconds'] ?? NaN
  t.equal(await skew(), 0)
  for (const hours of [9, -9]) {
    running.emulator.setClockOffset(hours * 3_600_000)
    t.equal((await running.call('GET', collection)).status, 200)
    const seen = await skew()
    t.ok(Math.abs(seen - hours * 3600) < 5, `${hours} h: ${seen} s`)
  }
})

t.test('each request logs one line with caller, operation and result', async t => {
  const { environment } = callersFile(t, [withKey('billing', everything)])
  const running = await start(t, { environment: { ...environment, COS_MAX_ATTEMPTS: '2' } })
  const { call, emulator, url } = running
  emulator.addFault({ kind: 'error', status: 500, code: 'InternalError', times: 1 })
  const responses = [
    await call('PUT', at('a', '?region=ap-guangzhou'), configuration, { ...as('billing'), traceparent }),
    await call('GET', at('none'), undefined, { ...as('billing'), traceparent: 'not-one', tracestate }),
    await call('GET', at('a')),
    await call('GET', '/nothing')
  ]
  const lines = responses.map(response => requestLine(running, response))
  const common = { level: 30, msg: 'request completed', address: '127.0.0.1' }
  t.match(lines[0], {
    ...common,
    traceId,
    method: 'PUT',
    path: at('a'),
    route: one,
    operation: 'putInventory',
    bucket,
    caller: 'billing',
    attempts: 2,
    status: 204,
    code: undefined,
    cosRequestId: responses[0]?.headers['x-cos-request-id']
  })
  t.match(lines[1], {
    ...common,
    traceId: undefined,
    operation: 'getInventory',
    bucket,
    caller: 'billing',
    attempts: 1,
    status: 404,
    code: 'InventoryConfigurationNotFoundError',
    cosRequestId: responses[1]?.headers['x-cos-request-id']
  })
  t.match(lines[2], { ...common, operation: 'getInventory', caller: undefined, attempts: 0, status: 401, cosRequestId: undefined })
  t.match(lines[3], { ...common, operation: undefined, bucket: undefined, attempts: 0, status: 404, code: 'RouteNotFound' })
  for (const line of lines) {
    const durationMs = Number(line?.['durationMs'])
    t.ok(durationMs > 0 && durationMs < 60_000, `${durationMs} ms`)
  }
  const ofFirst = linesOf(running, responses[0])
  const details = ofFirst.filter(({ level }) => level === 20).map(line => [line.msg, line['attempt'], line['status'], line['traceId']])
  t.strictSame(details, [
    ['COS responded', 1, 500, traceId], ['retrying call to COS', 1, undefined, traceId], ['COS responded', 2, 200, traceId]
  ], 'attempts are logged at debug level')

  emulator.addFault({ kind: 'hang', times: 1 })
  await disconnect(t, running, { method: 'GET', url: url + at('a'), headers: { ...as('billing'), traceparent } })
  await until(() => log(running).some(({ msg }) => msg === 'caller disconnected'))
  const aborted = log(running).find(({ msg }) => msg === 'caller disconnected')
  t.match(aborted, { level: 30, traceId, operation: 'getInventory', bucket, caller: 'billing', attempts: 1, status: undefined })
  await until(() => log(running).some(({ msg }) => msg === 'COS did not respond'))
  const ofAborted = log(running).filter(({ requestId }) => requestId === aborted?.['requestId'])
  t.strictSame(ofAborted.map(({ level, msg }) => [level, msg]), [[30, 'caller disconnected'], [20, 'COS did not respond']],
    'no other line is logged')
})

t.test('pipelined requests are canceled when their connection closes', async t => {
  const running = await start(t, { environment: { COS_TIMEOUT_MS: '60000' } })
  const { emulator, url } = running
  emulator.addFault({ kind: 'hang', times: 2 })
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  const request = (path: string) => `GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`
  socket.write(request(at('a')) + request(at('b')) + request('/livez'))
  await until(() => emulator.requests.length === 2)
  socket.destroy()
  const counters = async () => {
    const series = await scrape(running)
    return {
      // The scrape counts itself.
      inFlight: count(series, 'http_requests_in_flight', {}) - 1,
      left: count(series, 'http_requests_total', { status: '499' }),
      cancelled: count(series, 'cos_calls_total', { class: 'cancelled' }),
      lines: log(running).filter(({ msg }) => msg === 'caller disconnected').length
    }
  }
  const limit = performance.now() + 5000
  await until(async () => (await counters()).cancelled === 2 || performance.now() > limit)
  t.strictSame(await counters(), { inFlight: 0, left: 3, cancelled: 2, lines: 3 })
})

t.test('probes and scrapes are logged only at debug level', async t => {
  const running = await start(t)
  for (const path of ['/livez', '/readyz', '/metrics']) {
    const response = await running.call('GET', path)
    t.strictSame(linesOf(running, response).map(({ level, msg, route }) => [level, msg, route]), [[20, 'request completed', path]])
  }
})

t.test('traceparent and tracestate are sent to COS unchanged and unsigned', async t => {
  const { call, emulator } = await start(t, { environment: { COS_MAX_ATTEMPTS: '2' } })
  const sent = (index: number) => {
    const { traceparent, tracestate, authorization = '' } = emulator.requests[index]?.headers ?? {}
    t.notMatch(authorization, 'trace')
    return { traceparent, tracestate }
  }
  emulator.addFault({ kind: 'error', status: 500, code: 'InternalError', times: 1 })
  t.equal((await call('PUT', at('a'), configuration, { traceparent, tracestate })).status, 204)
  t.strictSame([sent(0), sent(1)], [{ traceparent, tracestate }, { traceparent, tracestate }], 'every attempt has both headers')
  const responses = [
    await call('GET', at('a')),
    await call('GET', at('a'), undefined, { traceparent: traceparent.toUpperCase(), tracestate }),
    await call('GET', at('a'), undefined, { tracestate }),
    await call('GET', at('a'), undefined, { traceparent: `00-${traceId}-${'0'.repeat(16)}-01` })
  ]
  t.strictSame(responses.map(({ status }) => status), [200, 200, 200, 200])
  t.strictSame([2, 3, 4, 5].map(sent), Array(4).fill({ traceparent: undefined, tracestate: undefined }), 'malformed headers are not sent')
})

t.test('each request exports a span with a child span for each attempt', async t => {
  const collector = await startCollector(t)
  const exporter = {
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json', OTEL_BSP_SCHEDULE_DELAY: '20'
  }
  setEnvironment(t, exporter)
  const running = await start(t, { environment: { ...exporter, COS_MAX_ATTEMPTS: '3' } })
  const { call, emulator } = running
  emulator.addFault({ kind: 'error', status: 503, code: 'SlowDown', times: 2 })
  const put = await call('PUT', at('a'), configuration, { traceparent, tracestate })
  t.equal(put.status, 204)
  const [request, attempts] = divide(await collector.taken(4))
  t.match(request, {
    name: `PUT ${one}`,
    traceId,
    parentSpanId: spanId,
    attributes: { 'http.response.status_code': 204, 'request.id': put.headers['x-request-id'], 'caller.name': 'anyone' }
  })
  t.strictSame(attempts.map(({ name, traceId, parentSpanId }) => [name, traceId, parentSpanId]),
    Array(3).fill(['PutBucketInventory', traceId, request?.spanId]))
  t.strictSame(attempts.map(({ attributes, status }) =>
    [attributes['http.request.resend_count'], attributes['http.response.status_code'], attributes['error.type'], status]),
  [[undefined, 503, 'SlowDown', 2], [1, 503, 'SlowDown', 2], [2, 200, undefined, 0]])
  t.equal(attempts[2]?.attributes['cos.request_id'], put.headers['x-cos-request-id'])
  const sent = emulator.requests.map(({ headers }) => [headers['traceparent'], headers['tracestate']])
  t.strictSame(sent, attempts.map(({ spanId }) => [`00-${traceId}-${spanId}-01`, tracestate]), 'COS receives the span id of each attempt')
  t.equal(requestLine(running, put)?.['traceId'], traceId)

  collector.spans.length = 0
  const get = await call('GET', at('a'))
  const [begun, [only]] = divide(await collector.taken(2))
  t.match(begun?.traceId, /^[0-9a-f]{32}$/)
  t.not(begun?.traceId, traceId)
  t.ok([undefined, ''].includes(begun?.parentSpanId), 'a request without a trace starts one')
  t.strictSame([only?.traceId, only?.parentSpanId], [begun?.traceId, begun?.spanId])
  t.equal(requestLine(running, get)?.['traceId'], begun?.traceId, 'the log contains the trace id')
  refuseSecrets(JSON.stringify(collector.exports))
})

t.test('a process exports every span on exit, and loads no SDK without an endpoint', async t => {
  const collector = await startCollector(t)
  const emulator = await startTestEmulator(t)
  const exporter = {
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json', OTEL_BSP_SCHEDULE_DELAY: '60000'
  }
  t.ok(await loadedBy(t, emulator, exporter) > 0)
  const kinds = collector.spans.map(({ kind }) => kind)
  t.strictSame([kinds.filter(kind => kind === 2).length, kinds.filter(kind => kind === 3).length], [20, 20])
  t.match(collector.spans[0]?.resource, { 'service.name': 'cos-inventory-proxy', 'service.version': version })
  t.equal(await loadedBy(t, emulator, {}), 0)
  t.equal(collector.spans.length, 40)
})

t.test('a process sends protobuf by default and no span when OTEL_SDK_DISABLED is true', async t => {
  const collector = await startCollector(t)
  const emulator = await startTestEmulator(t)
  const exporter = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_BSP_SCHEDULE_DELAY: '60000' }
  t.equal(await loadedBy(t, emulator, { ...exporter, OTEL_SDK_DISABLED: 'TRUE', OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' }), 0)
  t.strictSame(collector.exports, [])
  t.ok(await loadedBy(t, emulator, exporter) > 0)
  t.ok(collector.exports.length > 0)
  t.ok(collector.exports.every(({ headers }) => headers['content-type'] === 'application/x-protobuf'))
})

/** Runs a service for 20 requests and returns how many modules of the SDK it has loaded. */
async function loadedBy (t: Assertions, emulator: Emulator, environment: Record<string, string>): Promise<number> {
  const loaded = `import{createRequire}from'node:module';const{cache}=createRequire('file:///x/');process.on('exit',()=>{
    process._rawDebug('loaded '+Object.keys(cache).filter(path=>/.@opentelemetry.sdk/.test(path)).length)})`
  const program = startProgram(t, 'server', {
    COS_SECRET_ID: secrets.secretId,
    COS_SECRET_KEY: secrets.secretKey,
    COS_TOKEN: secrets.token,
    AUTH: 'none',
    PORT: '0',
    COS_SCHEME: 'http',
    COS_REGION: 'ap-guangzhou',
    COS_CONNECT_TO: emulator.address,
    NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(loaded)}`,
    ...environment
  })
  const [, url = ''] = await program.until(/listening at (http:[^"]+)"/i)
  for (let index = 0; index < 20; index++) t.equal((await fetch(`${url}${collection}`)).status, 200)
  program.process.kill('SIGTERM')
  t.equal(await program.exit, 0)
  return Number(/^loaded (\d+)$/m.exec(program.stderr())?.[1])
}

t.test('no traceparent is sent to COS when OTEL_PROPAGATORS is none', async t => {
  const running = await start(t, { environment: { OTEL_PROPAGATORS: 'none' } })
  const get = await running.call('GET', at('a'), undefined, { traceparent, tracestate })
  t.strictSame(running.emulator.requests.map(({ headers }) => [headers['traceparent'], headers['tracestate']]),
    [[undefined, undefined]])
  t.equal(requestLine(running, get)?.['traceId'], undefined)
  t.notMatch(running.logs(), /unsupported value/)
})

t.test('a warning names each variable with an unsupported value at the start', async t => {
  const { logs } = await start(t, { environment: { OTEL_PROPAGATORS: 'tracecontext,baggage', OTEL_SDK_DISABLED: 'yes' } })
  const warnings = logs().split('\n').filter(line => line.includes('unsupported value')).map(line => JSON.parse(line) as unknown)
  t.match(warnings, [
    { level: 40, variable: 'OTEL_SDK_DISABLED', used: 'false', msg: 'variable has an unsupported value' },
    { level: 40, variable: 'OTEL_PROPAGATORS', used: 'tracecontext' }
  ])
  t.equal(warnings.length, 2)
})

/** Reads the Prometheus text format (version 0.0.4), whose label values here need no unescaping. */
function read (text: string): Series[] {
  return text.split('\n').filter(line => line !== '' && !line.startsWith('#')).map(line => {
    const [, name = '', labels = '', value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? []
    const pairs = [...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, label = '', value = '']) => [label, value])
    return { name, labels: Object.fromEntries(pairs) as Record<string, string>, value: Number(value) }
  })
}

async function scrape ({ service, url }: Pick<Running, 'service' | 'url'>): Promise<Series[]> {
  const response = await fetch(`${service.metricsUrl ?? url}/metrics`)
  return read(await response.text())
}

/** Returns the values of a metric, keyed by the values of all its labels. */
function counts (series: Series[], name: string, ...labels: string[]): Record<string, number> {
  return Object.fromEntries(series.filter(each => each.name === name).map(({ labels: found, value }) => {
    const others = Object.keys(found).filter(label => !labels.includes(label))
    return [[...labels.map(label => found[label]), ...others].join(' '), value]
  }))
}

function count (series: Series[], name: string, labels: Record<string, string>): number {
  return series.filter(each => each.name === name)
    .filter(each => Object.entries(labels).every(([label, value]) => each.labels[label] === value))
    .reduce((sum, { value }) => sum + value, 0)
}

/** Returns the values of metrics without labels whose names have this prefix. */
function named (series: Series[], prefix: string): Record<string, number> {
  const found = series.filter(({ name }) => name.startsWith(prefix))
  return Object.fromEntries(found.map(({ name, value }) => [name, value]))
}

async function gauges (running: Running) {
  const series = await scrape(running)
  const value = (name: string, labels = {}) => count(series, name, labels)
  return {
    requests: value('http_requests_in_flight'),
    inFlight: value('cos_calls_in_flight'),
    waiting: value('cos_calls_waiting'),
    unresponsiveHosts: value('cos_unresponsive_hosts'),
    open: value('cos_connections', { state: 'open' }),
    busy: value('cos_connections', { state: 'busy' })
  }
}

/** Returns the series without those of the process, which change over time. */
function ours (series: Series[]): Series[] {
  return series.filter(({ name }) => !/^(nodejs|process)_/.test(name))
}

function nameOf ({ name, labels }: Series): string {
  return `${name} ${JSON.stringify(labels)}`
}

/** Sends a request and disconnects as soon as COS has received the call. */
async function disconnect (
  t: Assertions, { emulator }: Running,
  { url, ...request }: { url: string, method: string, headers: Record<string, string> }
): Promise<void> {
  const before = emulator.requests.length
  const controller = new AbortController()
  const aborted = t.rejects(fetch(url, { ...request, signal: controller.signal }), { name: 'AbortError' })
  await until(() => emulator.requests.length > before)
  controller.abort()
  await aborted
}

function log ({ logs }: Pick<Running, 'logs'>): Line[] {
  return logs().split('\n').filter(line => line !== '').map(line => JSON.parse(line) as Line)
}

/** Returns the log lines of the request with this response. */
function linesOf (running: Running, response: Answer | undefined): Line[] {
  return log(running).filter(({ requestId }) => requestId === response?.headers['x-request-id'])
}

/** Returns the only line above debug level of the request with this response. */
function requestLine (running: Running, response: Answer): Line | undefined {
  const [line, ...others] = linesOf(running, response).filter(({ level }) => level > 20)
  if (others.length > 0) throw new Error(`more than one line: ${JSON.stringify(others)}`)
  return line
}

/** Returns the span of a request and those of its attempts in order. */
function divide (spans: CollectedSpan[]): [CollectedSpan | undefined, CollectedSpan[]] {
  return [spans.find(({ kind }) => kind === 2), spans.filter(({ kind }) => kind === 3)]
}

/** Sets variables that the SDK reads itself, until the end of the test. */
function setEnvironment (t: Test, environment: Record<string, string>): void {
  for (const [name, value] of Object.entries(environment)) {
    process.env[name] = value
    t.teardown(() => { delete process.env[name] })
  }
}
