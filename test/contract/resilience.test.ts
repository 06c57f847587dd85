import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { join } from 'node:path'
import { mock } from 'node:test'
import { createServer as createTlsServer } from 'node:tls'
import { generate } from 'selfsigned'
import t from 'tap'
import type { Test as Assertions } from 'tap'
import { toConfigurationXml } from '../../src/cos/xml/inventory-xml.ts'
import { createRetryBudget } from '../../src/cos/client/retry-budget.ts'
import { admission } from '../../src/http/admission.ts'
import { measureEventLoopDelay } from '../../src/http/load-shedding.ts'
import { startGated } from '../doubles/gate.ts'
import { startMetadataDouble } from '../doubles/metadata.ts'
import { attemptMs, controlTime, longTimeouts } from '../doubles/time.ts'
import { startProgram } from '../e2e/program.ts'
import { secret } from '../secrets.ts'
import { createBareApp } from '../bare-app.ts'
import { at, bucket, configuration, otherBucket, secrets, start, startTestEmulator, startTestService, until } from '../start.ts'
import type { Answer, Running, Test } from '../start.ts'

const { IsEnabled: _, Schedule: __, ...job } = configuration
const collection = `/buckets/${bucket}/inventories`
const hourMs = 3_600_000

/** All operations, with their statuses in an empty bucket. */
const operations: Array<[method: string, path: string, body: object | undefined, status: number]> = [
  ['PUT', at('a'), configuration, 204],
  ['GET', at('a'), undefined, 404],
  ['DELETE', at('a'), undefined, 204],
  ['POST', at('a'), job, 202],
  ['GET', collection, undefined, 200]
]

t.test('GET is aborted at once when its caller disconnects', async t => {
  const upstream = await startUnresponsiveServer(t)
  const running = await startTestService(t, upstream.address, { COS_MAX_ATTEMPTS: '3', COS_TIMEOUT_MS: '60000' })
  for (const [index, path] of [at('a'), collection, `${collection}?all=true`].entries()) {
    const caller = ask(t, running, 'GET', path)
    const socket = await upstream.asked(index)
    caller.disconnect()
    await once(socket, 'close')
  }
  await until(async () => await metric(running, 'cos_calls_total', 'class="cancelled"') === 3)
  t.equal(await metric(running, 'cos_attempts_total', 'class="cancelled",code="CallerLeft"'), 3)
  t.equal(await metric(running, 'cos_retries_total', ''), 0)
  t.equal(await metric(running, 'cos_calls_in_flight', ''), 0)
  t.equal(running.logs().split('"caller disconnected"').length - 1, 3)
  t.equal(upstream.requests(), 3, 'no call was retried')
})

t.test('GET is not retried when its caller disconnects before the retry', async t => {
  const running = await start(t, { environment: { COS_MAX_ATTEMPTS: '3' } })
  const headers = { 'retry-after': '10' }
  running.emulator.addFault({ kind: 'error', status: 503, code: 'SlowDown', headers, times: 1 })
  const caller = ask(t, running, 'GET', at('a'))
  await until(() => running.logs().includes('retrying call to COS'))
  caller.disconnect()
  await until(async () => await metric(running, 'cos_calls_total', '') === 1)
  t.equal(await metric(running, 'cos_attempts_total', ''), 1)
  t.equal(running.emulator.requests.length, 1)
})

t.test('PUT and DELETE finish when their caller disconnects after the call was sent', async t => {
  const running = await start(t, { environment: { COS_MAX_ATTEMPTS: '3' } })
  const { emulator, audits } = running
  for (const [index, [method, path, body]] of operations.slice(0, 3).entries()) {
    if (method === 'GET') continue
    emulator.reset()
    emulator.addFault({ kind: 'latency', ms: 300, times: 1 })
    emulator.addFault({ kind: 'reset', times: 1 })
    const caller = ask(t, running, method, path, body)
    await until(() => emulator.requests.length === 1)
    caller.disconnect()
    await until(() => running.logs().split('"caller disconnected"').length - 1 === Math.ceil((index + 1) / 2))
    await until(() => audits().length > index / 2)
    t.match(audits().at(-1), { outcome: 'success', status: 204, id: 'a', cosRequestId: /./ })
    t.equal(emulator.requests.length, 2, 'the call was retried')
    t.equal(emulator.configurations(bucket).length, method === 'PUT' ? 1 : 0)
  }
  t.equal(await metric(running, 'cos_calls_total', 'class="ok"'), 2)
})

t.test('PUT is not sent when its caller disconnects while it waits for a permit', async t => {
  const running = await start(t, { environment: { COS_MAX_CONCURRENCY: '1', COS_TIMEOUT_MS: '60000' } })
  const { emulator, audits, logs } = running
  emulator.addFault({ kind: 'hang', times: 1 })
  const first = ask(t, running, 'GET', collection)
  await until(() => emulator.requests.length === 1)
  const waiting = ask(t, running, 'PUT', at('never'), configuration)
  await until(async () => await metric(running, 'cos_calls_waiting', '') === 1)
  waiting.disconnect()
  await until(() => audits().length === 1)
  t.match(audits(), [{ id: 'never', outcome: 'failure', status: 499, code: 'CallerLeft', cosRequestId: undefined }])
  t.match(logs(), /"caller disconnected"/)
  t.equal(await metric(running, 'cos_calls_waiting', ''), 0)
  first.disconnect()
  t.equal((await running.call('GET', collection)).json.InventoryConfigurations.length, 0)
  t.strictSame(emulator.requests.map(({ method }) => method), ['GET', 'GET'], 'PUT was never sent')
})

t.test('GET with all=true fetches no further page when its caller disconnects', async t => {
  const running = await start(t)
  const { emulator } = running
  const page = (token: number) => '<ListInventoryConfigurationResult><IsTruncated>true</IsTruncated>' +
    `<NextContinuationToken>t${token}</NextContinuationToken></ListInventoryConfigurationResult>`
  emulator.addFault({ kind: 'raw', status: 200, body: page(0), times: 1 })
  emulator.addFault({ kind: 'latency', ms: 300, times: 1 })
  for (let token = 1; token < 9; token++) emulator.addFault({ kind: 'raw', status: 200, body: page(token), times: 1 })
  const caller = ask(t, running, 'GET', `${collection}?all=true`)
  await until(() => emulator.requests.length === 2)
  caller.disconnect()
  await until(async () => await metric(running, 'cos_calls_total', 'class="cancelled"') === 1)
  t.equal(await metric(running, 'cos_calls_total', 'class="ok"'), 1)
  t.equal((await running.call('GET', '/livez')).status, 200)
  t.equal(emulator.requests.length, 2)
})

t.test('GET stops reading a page when its caller disconnects', async t => {
  const running = await start(t)
  const filter = { Tag: Array.from({ length: 60 }, (_, index) => ({ Key: String(index), Value: 'value' })) }
  const large = { ...configuration, Filter: filter }
  const pieces = Array.from({ length: 1_000 }, (_, index) => toConfigurationXml(String(index), large))
  const body = `<ListInventoryConfigurationResult>${pieces.join('')}<IsTruncated>false</IsTruncated></ListInventoryConfigurationResult>`
  running.emulator.addFault({ kind: 'raw', status: 200, body, times: 1 })
  const caller = ask(t, running, 'GET', collection)
  await until(() => running.logs().includes('"COS responded"'))
  caller.disconnect()
  await until(async () => await metric(running, 'cos_calls_total', '') === 1)
  t.equal(await metric(running, 'cos_calls_total', 'class="cancelled"'), 1)
})

t.test('POST is not retried when its response is lost, and a second POST returns 409', async t => {
  const { call, emulator, audits } = await start(t, { environment: { COS_MAX_ATTEMPTS: '3' } })
  emulator.addFault({ kind: 'reset', after: 'effect', times: 1 })
  t.match((await call('POST', at('job'), job)).json, {
    status: 502,
    code: 'UpstreamUnreachable',
    detail: /not known\. Send the same request again\. DuplicateInventoryId then means that COS started the job, unless the id was used before\./
  })
  t.equal(emulator.requests.length, 1)
  const { status, json } = await call('POST', at('job'), job)
  t.match([status, json.code], [409, 'DuplicateInventoryId'])
  t.match(json.detail, 'If an earlier request for this job had no response, the job may be running')
  t.match(json.detail, 'Otherwise use another id.')
  t.match(audits(), [{ outcome: 'unknown', status: 502 }, { outcome: 'failure', status: 409, code: 'DuplicateInventoryId' }])
})

t.test('requests return 503 and send nothing when permits and queue are full', async t => {
  const running = await start(t, {
    environment: { COS_MAX_CONCURRENCY: '1', COS_QUEUE_LIMIT: '0', COS_TIMEOUT_MS: '60000', COS_MAX_ATTEMPTS: '3' }
  })
  const { call, emulator, audits } = running
  emulator.addFault({ kind: 'hang', times: 1 })
  const caller = ask(t, running, 'GET', collection)
  await until(() => emulator.requests.length === 1)
  for (const [method, path, body] of operations) {
    const { status, headers, json } = await call(method, path, body)
    t.strictSame([method, status, json.code, headers['retry-after']], [method, 503, 'Overloaded', '1'])
    t.match(json.detail, /^The queue of calls to COS is full\. Nothing was sent to COS; retry after 1 s\.$/)
  }
  t.equal(emulator.requests.length, 1)
  t.match(audits().map(({ outcome, status, code }) => [outcome, status, code]), Array(3).fill(['failure', 503, 'Overloaded']))
  t.equal(await metric(running, 'cos_calls_shed_total', 'reason="queue_full"'), 5)
  t.equal(await metric(running, 'cos_calls_total', 'class="overloaded"'), 5)
  t.equal(await metric(running, 'cos_retries_total', ''), 0, 'the service does not retry')
  caller.disconnect()
  await until(async () => await metric(running, 'cos_calls_in_flight', '') === 0)
  t.equal((await call('PUT', at('a'), configuration)).status, 204)
})

t.test('PUT returns 503 when the host it waits for is found unresponsive', async t => {
  const time = controlTime(t)
  const running = await start(t, { environment: { COS_MAX_CONCURRENCY: '1', ...longTimeouts } })
  const { call, emulator } = running
  emulator.addFault({ kind: 'hang', times: 1 })
  const first = call('GET', collection)
  await until(() => emulator.requests.length === 1)
  const waiting = [call('PUT', at('a'), configuration), call('GET', `/buckets/${otherBucket}/inventories`)]
  await until(async () => await metric(running, 'cos_calls_waiting', '') === 2)
  time.expire(attemptMs)
  const [second, elsewhere] = await Promise.all(waiting)
  t.match(second, {
    status: 503, json: { code: 'Overloaded', detail: /is unresponsive\. Nothing was sent to COS; retry after 1 s\./ }
  })
  t.match(await first, { status: 504, json: { code: 'UpstreamTimeout' } })
  t.equal(elsewhere?.status, 200, 'another host gets the permit')
  t.strictSame(running.audits().map(({ outcome }) => outcome), ['failure'])
  t.equal(await metric(running, 'cos_calls_shed_total', 'reason="unresponsive_host"'), 1)
  t.equal((await call('PUT', at('a'), configuration)).status, 204, 'the next call reaches the host')
})

t.test('GET returns 503 when it has waited for COS_TIMEOUT_MS', async t => {
  const time = controlTime(t)
  const running = await startGated(t, { COS_MAX_CONCURRENCY: '1', ...longTimeouts })
  const { call, emulator, gate } = running
  gate.holds = () => true
  const waiting = Array.from({ length: 3 }, () => call('GET', collection))
  await until(async () => gate.held.length === 1 && await metric(running, 'cos_calls_waiting', '') === 2)
  gate.held.shift()?.()
  await until(() => gate.held.length === 1)
  // The last call began to wait before the held attempt, so its timer is the oldest.
  time.expire(attemptMs)
  await until(async () => await metric(running, 'cos_calls_waiting', '') === 0)
  gate.open()
  const responses = await Promise.all(waiting)
  t.strictSame(responses.map(({ status }) => status).sort(), [200, 200, 503])
  t.match(responses.find(({ status }) => status === 503)?.json, {
    code: 'Overloaded', detail: /The call to .* waited too long for a permit\. Nothing was sent to COS; retry after 1 s\./
  })
  t.equal(emulator.requests.length, 2)
  t.equal(await metric(running, 'cos_calls_shed_total', 'reason="waited"'), 1)
})

t.test('PUT returns 503 at once when Retry-After is beyond the deadline', async t => {
  const running = await start(t, { environment: { COS_MAX_ATTEMPTS: '3', COS_TIMEOUT_MS: '60000', COS_DEADLINE_MS: '60000' } })
  const { call, emulator } = running
  for (const [status, code] of [[503, 'ServiceUnavailable'], [503, 'SlowDown'], [429, 'TooManyRequests']] as const) {
    emulator.addFault({ kind: 'error', status, code, headers: { 'retry-after': '61' }, times: 1 })
    const startedAt = performance.now()
    const response = await call('PUT', at('a'), configuration)
    t.strictSame([response.status, response.json.code, response.headers['retry-after']], [503, code, '61'])
    t.ok(performance.now() - startedAt < 60_000, 'the service does not wait for Retry-After')
  }
  t.equal(emulator.requests.length, 3)
  t.equal(await metric(running, 'cos_retries_denied_total', 'reason="deadline"'), 3)
  t.equal(await metric(running, 'cos_retries_total', ''), 0, 'no retry was started')
})

t.test('only the first call is retried when the clock is nine hours off', async t => {
  for (const hours of [9, -9]) {
    await Promise.all(operations.map(async ([method, path, body, status]) => {
      const name = `${method} ${path}, ${hours} h`
      const { call, emulator, logs } = await start(t, { environment: { COS_MAX_ATTEMPTS: '3' } })
      emulator.setClockOffset(hours * hourMs)
      t.equal((await call(method, path, body)).status, status, name)
      const first = ['PUT', 'POST'].includes(method) ? 200 : status
      t.strictSame(emulator.requests.map(({ status }) => status), [403, first], name)
      for (const [method, path, body] of operations.toReversed()) t.ok((await call(method, path, body)).status < 500)
      t.equal(emulator.requests.length, 2 + operations.length, name)
      const warnings = logs().split('\n').filter(line => line.includes('"level":40') && line.includes('skewMs'))
      t.equal(warnings.length, 1, 'the skew is logged once')
      const skewMs = Number(/"skewMs":(-?\d+)/.exec(String(warnings))?.[1])
      t.ok(Math.abs(skewMs - hours * hourMs) < 5000, `${skewMs} ms`)
    }))
  }
})

t.test('clock and key are corrected for the next call when one attempt is allowed', async t => {
  const { call, emulator } = await start(t)
  emulator.setClockOffset(9 * hourMs)
  t.match((await call('POST', at('a'), job)).json,
    { status: 502, code: 'UpstreamCredentialsRejected', cosCode: 'AccessDenied' }, 'the message of COS is that the request has expired')
  t.equal((await call('POST', at('a'), job)).status, 202)
  t.equal(emulator.requests.length, 2)

  const strict = await startTestEmulator(t, { credentials: [] })
  const metadata = await startMetadataDouble(t, {
    onSecret: secret, onIssued: issued => { strict.setCredentials([issued]) }
  })
  const service = await startTestService(t, strict.address,
    { COS_CREDENTIALS: 'cvm-role', METADATA_ENDPOINT: metadata.endpoint, COS_SECRET_ID: '', COS_SECRET_KEY: '', COS_TOKEN: '' })
  t.equal((await service.call('GET', collection)).status, 200)
  strict.setCredentials([])
  t.match((await service.call('PUT', at('a'), configuration)).json,
    { status: 502, code: 'UpstreamCredentialsRejected', cosCode: 'InvalidAccessKeyId' })
  t.equal(strict.requests.length, 2, 'the call is not retried')
  await until(() => service.logs().split('"new credentials for COS"').length - 1 === 2)
  t.equal((await service.call('PUT', at('a'), configuration)).status, 204)
  t.strictSame([strict.requests.length, metadata.calls], [3, 4], 'two loads, each of a role and its credentials')
  t.match(service.audits(), [{ outcome: 'failure' }, { outcome: 'success' }])
})

t.test('GET is not sent on a late connection when its caller has disconnected', async t => {
  const emulator = await startTestEmulator(t)
  const host = `${bucket}.cos.ap-guangzhou.myqcloud.com`
  const { private: key, cert } = await generate([{ name: 'commonName', value: host }], {
    extensions: [{ name: 'subjectAltName', altNames: [{ type: 2, value: host }] }]
  })
  const sockets = new Set<Socket>()
  const keep = (socket: Socket) => sockets.add(socket.on('error', () => {}))
  const secured = createTlsServer({ key, cert }, socket => {
    const onward = connect(emulator.port, emulator.host)
    for (const each of [socket, onward]) keep(each)
    socket.pipe(onward).pipe(socket)
  })
  let goOn = () => {}
  const mayGoOn = new Promise<void>(resolve => { goOn = resolve })
  // Each TLS handshake waits here.
  const gate = createServer({ pauseOnConnect: true }, socket => {
    keep(socket)
    void mayGoOn.then(() => { secured.emit('connection', socket) })
  })
  gate.listen(0, '127.0.0.1')
  await once(gate, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    gate.close()
  })
  const service = startProgram(t, 'server', {
    AUTH: 'none',
    ALLOWED_HOSTS: 'x',
    PORT: '0',
    COS_SECRET_ID: secrets.secretId,
    COS_SECRET_KEY: secrets.secretKey,
    COS_TOKEN: secrets.token,
    COS_REGION: 'ap-guangzhou',
    COS_CONNECT_TO: `127.0.0.1:${(gate.address() as AddressInfo).port}`,
    NODE_EXTRA_CA_CERTS: join(t.testdir({ 'ca.pem': cert }), 'ca.pem')
  })
  const [, url = ''] = await service.until(/listening at (http:[^"]+)"/i)
  const caller = ask(t, { url }, 'GET', at('left'))
  await once(gate, 'connection')
  caller.disconnect()
  await service.until(/"caller disconnected"/)
  goOn()
  const next = await fetch(url + collection)
  t.equal(next.status, 200)
  t.strictSame(emulator.requests.map(({ target }) => target), ['/?inventory'], 'the aborted GET is not sent')
})

t.test('the retry budget forgets the first host when it tracks more than a thousand', async t => {
  const budget = createRetryBudget(() => 0)
  // Calls to another host earn the budget that all hosts share.
  const spend = (host: string) => {
    for (let calls = 0; calls < 11; calls++) budget.earn('busy')
    return budget.spend(host)
  }
  const saved = 20
  for (let count = 0; count < saved; count++) t.ok(spend('first'))
  for (let index = 1; index < 1000; index++) spend(`host-${index}`)
  t.notOk(spend('first'), 'a thousand hosts are tracked')
  spend('host-1000')
  t.ok(spend('first'), 'a forgotten host starts with a new budget')
})

t.test('requests return 503 more often as the event loop lags, probes return 200', async t => {
  let lateMs = 0
  let chance = 0
  let isMeasured = true
  const lateness = { ms: () => lateMs, close: () => { isMeasured = false } }
  const app = await createBareApp(t)
  await app.register(admission, {
    lifecycle: { phase: 'serving' }, allowedHosts: undefined, eventLoopDelay: lateness, random: () => chance
  })
  app.get('/work', async () => 'done')
  app.get('/probe', { config: { isProbe: true } }, async () => 'done')
  const statuses = async (late: number, random: number) => {
    lateMs = late
    chance = random
    return [(await app.inject('/work')).statusCode, (await app.inject('/probe')).statusCode]
  }
  const almostOne = 1 - Number.EPSILON
  for (const late of [0, 100, 499, 500]) t.strictSame(await statuses(late, 0), [200, 200], `${late} ms is tolerated`)
  t.strictSame(await statuses(501, 0), [503, 200])
  t.strictSame(await statuses(501, 0.01), [200, 200])
  t.strictSame(await statuses(750, 0.49), [503, 200])
  t.strictSame(await statuses(750, 0.5), [200, 200])
  for (const late of [1000, 60_000]) t.strictSame(await statuses(late, almostOne), [503, 200], `${late} ms rejects all requests`)
  const rejected = await app.inject('/work')
  t.strictSame([rejected.statusCode, rejected.headers['retry-after']], [503, '1'])
  t.match(rejected.json(), { code: 'Overloaded', detail: /is overloaded\. Nothing was sent to COS\./ })
  t.ok(isMeasured)
  await app.close()
  t.notOk(isMeasured, 'the measurement ends with the application')
})

t.test('lateness is an average that rises after one long pause and then falls', async t => {
  let now = 0
  mock.timers.enable({ apis: ['setInterval'] })
  const clock = mock.method(performance, 'now', () => now)
  t.teardown(() => {
    mock.timers.reset()
    clock.mock.restore()
  })
  const lateness = measureEventLoopDelay()
  t.teardown(lateness.close)
  /** Runs the timer of the measurement late by a number of milliseconds. */
  const sample = (lateMs: number) => {
    now += 100 + lateMs
    mock.timers.tick(100)
    return Math.round(lateness.ms())
  }
  t.equal(lateness.ms(), 0)
  t.equal(sample(0), 0)
  t.equal(sample(1500), 200, 'one long pause is no overload')
  t.strictSame([sample(0), sample(0), sample(0), sample(0)], [160, 128, 102, 82])
})

t.test('PUT returns 503 while the event loop is late, probes and metrics return 200', async t => {
  // A clock that runs twenty times as fast makes every timer late, so calls need high limits.
  const running = await start(t, { environment: { COS_TIMEOUT_MS: '600000', COS_DEADLINE_MS: '600000' } })
  const { call, emulator, audits } = running
  const now = performance.now.bind(performance)
  const startedAt = now()
  const clock = mock.method(performance, 'now', () => startedAt + 20 * (now() - startedAt))
  t.teardown(() => { clock.mock.restore() })
  const responses: Answer[] = []
  const put = async () => {
    const response = await call('PUT', at('a'), configuration)
    responses.push(response)
    return response.status
  }
  await until(async () => await put() === 503)
  const rejected = responses.at(-1)
  t.match([rejected?.json.code, rejected?.headers['retry-after']], ['Overloaded', '1'])
  for (const path of ['/livez', '/readyz', '/metrics']) {
    for (let count = 0; count < 20; count++) t.equal((await call('GET', path)).status, 200, path)
  }
  clock.mock.restore()
  await until(async () => await put() === 204)
  const accepted = responses.filter(({ status }) => status === 204).length
  t.equal(emulator.requests.length, accepted, 'rejected requests were not sent')
  t.equal(audits().length, accepted, 'rejected requests have no audit record')
  t.equal(await metric(running, 'http_problems_total', 'code="Overloaded"'), responses.length - accepted)
})

/** Sends a request whose caller can disconnect before the response. */
function ask (
  t: Assertions, { url }: Pick<Running, 'url'>, method: string, path: string, body?: object
): { disconnect: () => void } {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  const text = body === undefined ? '' : JSON.stringify(body)
  const head = body === undefined ? '' : `content-type: application/json\r\ncontent-length: ${Buffer.byteLength(text)}\r\n`
  socket.on('data', () => { t.fail(`${method} ${path} received a response`) })
  socket.write(`${method} ${path} HTTP/1.1\r\nhost: x\r\n${head}\r\n${text}`)
  t.teardown(() => { socket.destroy() })
  return { disconnect: () => { socket.destroy() } }
}

/** Starts a server that never responds. */
async function startUnresponsiveServer (t: Test) {
  const sockets = new Set<Socket>()
  const asked: Socket[] = []
  const server = createServer(socket => {
    sockets.add(socket.on('error', () => {}))
    socket.once('data', () => {
      asked.push(socket)
      server.emit('asked')
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests: () => asked.length,
    /** Returns the connection of the request with this index once it has arrived. */
    async asked (index: number): Promise<Socket> {
      while (asked.length <= index) await once(server, 'asked')
      return asked[index] as Socket
    }
  }
}

/** Returns the sum of a metric over the series with these labels. */
async function metric ({ call }: Pick<Running, 'call'>, name: string, labels: string): Promise<number> {
  const { text } = await call('GET', '/metrics')
  return text.split('\n')
    .filter(line => (line.startsWith(`${name} `) || line.startsWith(`${name}{`)) && line.includes(labels))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0)
}
