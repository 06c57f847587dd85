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
import { startMetadataDouble } from '../doubles/metadata.ts'
import { startProgram } from '../e2e/program.ts'
import { secret } from '../secrets.ts'
import { createBareApp } from '../bare-app.ts'
import { at, bucket, configuration, otherBucket, secrets, start, startTestEmulator, startTestService, until } from '../start.ts'
import type { Answer, Running, Test } from '../start.ts'

const { IsEnabled: _, Schedule: __, ...job } = configuration
const collection = `/buckets/${bucket}/inventories`
const hourMs = 3_600_000

/** Every operation, and what it is answered where there is nothing yet. */
const operations: Array<[method: string, path: string, body: object | undefined, status: number]> = [
  ['PUT', at('a'), configuration, 204],
  ['GET', at('a'), undefined, 404],
  ['DELETE', at('a'), undefined, 204],
  ['POST', at('a'), job, 202],
  ['GET', collection, undefined, 200]
]

t.test('a read that nobody waits for any more is broken off at once', async t => {
  const upstream = await startSilentServer(t)
  const running = await startTestService(t, upstream.address, { COS_MAX_ATTEMPTS: '3', COS_TIMEOUT_MS: '60000' })
  for (const [index, path] of [at('a'), collection, `${collection}?all=true`].entries()) {
    const caller = ask(t, running, 'GET', path)
    const socket = await upstream.asked(index)
    caller.leave()
    await once(socket, 'close')
  }
  await until(async () => await metric(running, 'cos_calls_total', 'class="cancelled"') === 3)
  t.equal(await metric(running, 'cos_attempts_total', 'class="cancelled",code="CallerLeft"'), 3)
  t.equal(await metric(running, 'cos_retries_total', ''), 0)
  t.equal(await metric(running, 'cos_calls_in_flight', ''), 0)
  t.equal(running.logs().split('"caller left"').length - 1, 3)
  t.equal(upstream.requests(), 3, 'nothing was sent again')
})

t.test('a caller that leaves while a repeat of its read is due ends the waiting', async t => {
  const running = await start(t, { environment: { COS_MAX_ATTEMPTS: '3' } })
  const headers = { 'retry-after': '10' }
  running.emulator.addFault({ kind: 'error', status: 503, code: 'SlowDown', headers, times: 1 })
  const caller = ask(t, running, 'GET', at('a'))
  await until(() => running.logs().includes('trying COS again'))
  caller.leave()
  await until(async () => await metric(running, 'cos_calls_total', '') === 1)
  t.equal(await metric(running, 'cos_attempts_total', ''), 1)
  t.equal(running.emulator.requests.length, 1)
})

t.test('a change that was sent is driven to its end although nobody hears of it', async t => {
  const running = await start(t, { environment: { COS_MAX_ATTEMPTS: '3' } })
  const { emulator, audits } = running
  for (const [index, [method, path, body]] of operations.slice(0, 3).entries()) {
    if (method === 'GET') continue
    emulator.reset()
    emulator.addFault({ kind: 'latency', ms: 300, times: 1 })
    emulator.addFault({ kind: 'reset', times: 1 })
    const caller = ask(t, running, method, path, body)
    await until(() => emulator.requests.length === 1)
    caller.leave()
    await until(() => running.logs().split('"caller left"').length - 1 === Math.ceil((index + 1) / 2))
    await until(() => audits().length > index / 2)
    t.match(audits().at(-1), { outcome: 'success', status: 204, id: 'a', cosRequestId: /./ })
    t.equal(emulator.requests.length, 2, 'it was even repeated')
    t.equal(emulator.configurations(bucket).length, method === 'PUT' ? 1 : 0)
  }
  t.equal(await metric(running, 'cos_calls_total', 'class="ok"'), 2)
})

t.test('a change that waits for its turn is not sent when its caller has left', async t => {
  const running = await start(t, { environment: { COS_MAX_CONCURRENCY: '1', COS_TIMEOUT_MS: '60000' } })
  const { emulator, audits, logs } = running
  emulator.addFault({ kind: 'hang', times: 1 })
  const first = ask(t, running, 'GET', collection)
  await until(() => emulator.requests.length === 1)
  const waiting = ask(t, running, 'PUT', at('never'), configuration)
  await until(async () => await metric(running, 'cos_calls_waiting', '') === 1)
  waiting.leave()
  await until(() => audits().length === 1)
  t.match(audits(), [{ id: 'never', outcome: 'failure', status: 499, code: 'CallerLeft', cosRequestId: undefined }])
  t.match(logs(), /"caller left"/)
  t.equal(await metric(running, 'cos_calls_waiting', ''), 0)
  first.leave()
  t.equal((await running.call('GET', collection)).json.InventoryConfigurations.length, 0)
  t.strictSame(emulator.requests.map(({ method }) => method), ['GET', 'GET'], 'it was never sent')
})

t.test('who leaves a walk over all pages ends it with the page under way', async t => {
  const running = await start(t)
  const { emulator } = running
  const page = (token: number) => '<ListInventoryConfigurationResult><IsTruncated>true</IsTruncated>' +
    `<NextContinuationToken>t${token}</NextContinuationToken></ListInventoryConfigurationResult>`
  emulator.addFault({ kind: 'raw', status: 200, body: page(0), times: 1 })
  emulator.addFault({ kind: 'latency', ms: 300, times: 1 })
  for (let token = 1; token < 9; token++) emulator.addFault({ kind: 'raw', status: 200, body: page(token), times: 1 })
  const caller = ask(t, running, 'GET', `${collection}?all=true`)
  await until(() => emulator.requests.length === 2)
  caller.leave()
  await until(async () => await metric(running, 'cos_calls_total', 'class="cancelled"') === 1)
  t.equal(await metric(running, 'cos_calls_total', 'class="ok"'), 1)
  t.equal((await running.call('GET', '/livez')).status, 200)
  t.equal(emulator.requests.length, 2)
})

t.test('a page is read no further when its caller leaves', async t => {
  const running = await start(t)
  const filter = { Tag: Array.from({ length: 60 }, (_, index) => ({ Key: String(index), Value: 'value' })) }
  const large = { ...configuration, Filter: filter }
  const pieces = Array.from({ length: 1_000 }, (_, index) => toConfigurationXml(String(index), large))
  const body = `<ListInventoryConfigurationResult>${pieces.join('')}<IsTruncated>false</IsTruncated></ListInventoryConfigurationResult>`
  running.emulator.addFault({ kind: 'raw', status: 200, body, times: 1 })
  const caller = ask(t, running, 'GET', collection)
  await until(() => running.logs().includes('"COS answered"'))
  caller.leave()
  await until(async () => await metric(running, 'cos_calls_total', '') === 1)
  t.equal(await metric(running, 'cos_calls_total', 'class="cancelled"'), 1)
})

t.test('a job whose first answer was lost is not sent again, and its id says both things it can mean', async t => {
  const { call, emulator, audits } = await start(t, { environment: { COS_MAX_ATTEMPTS: '3' } })
  emulator.addFault({ kind: 'reset', after: 'effect', times: 1 })
  t.match((await call('POST', at('job'), job)).json, {
    status: 502,
    code: 'UpstreamUnreachable',
    detail: /not known\. Sent again, DuplicateInventoryId means that it has, unless the id was used before\./
  })
  t.equal(emulator.requests.length, 1)
  const { status, json } = await call('POST', at('job'), job)
  t.match([status, json.code], [409, 'DuplicateInventoryId'])
  t.match(json.detail, 'Either the id was used before, or an earlier request of yours for this job got through')
  t.match(json.detail, 'If you have sent this for the first time, take another id.')
  t.match(audits(), [{ outcome: 'unknown', status: 502 }, { outcome: 'failure', status: 409, code: 'DuplicateInventoryId' }])
})

t.test('what there is no room for is refused at once, and nothing of it is sent', async t => {
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
    t.match(json.detail, /as many calls to COS waiting as it takes\. Nothing was sent\. Try again in 1 s or later\.$/)
  }
  t.equal(emulator.requests.length, 1)
  t.match(audits().map(({ outcome, status, code }) => [outcome, status, code]), Array(3).fill(['failure', 503, 'Overloaded']))
  t.equal(await metric(running, 'cos_calls_shed_total', 'reason="queue_full"'), 5)
  t.equal(await metric(running, 'cos_calls_total', 'class="overloaded"'), 5)
  t.equal(await metric(running, 'cos_retries_total', ''), 0, 'it is the caller who tries again')
  caller.leave()
  await until(async () => await metric(running, 'cos_calls_in_flight', '') === 0)
  t.equal((await call('PUT', at('a'), configuration)).status, 204)
})

t.test('what waits for a host that does not answer is refused with the first that had no answer', async t => {
  const running = await start(t, { environment: { COS_MAX_CONCURRENCY: '1', COS_TIMEOUT_MS: '800' } })
  const { call, emulator } = running
  emulator.addFault({ kind: 'hang', times: 1 })
  const first = call('GET', collection)
  await until(() => emulator.requests.length === 1)
  const [second, elsewhere] = await Promise.all([call('PUT', at('a'), configuration), call('GET', `/buckets/${otherBucket}/inventories`)])
  t.match(second, {
    status: 503, json: { code: 'Overloaded', detail: /does not answer anybody at the moment\. Nothing was sent\./ }
  })
  t.match(await first, { status: 504, json: { code: 'UpstreamTimeout' } })
  t.equal(elsewhere.status, 200, 'other hosts have the slot')
  t.strictSame(running.audits().map(({ outcome }) => outcome), ['failure'])
  t.equal(await metric(running, 'cos_calls_shed_total', 'reason="silent_host"'), 1)
  t.equal((await call('PUT', at('a'), configuration)).status, 204, 'the next call finds out that it is back')
})

t.test('what has waited as long as an attempt may take is refused', async t => {
  const running = await start(t, { environment: { COS_MAX_CONCURRENCY: '1', COS_TIMEOUT_MS: '1000' } })
  const { call, emulator } = running
  emulator.addFault({ kind: 'latency', ms: 700, times: 2 })
  const answers = await Promise.all(Array.from({ length: 3 }, () => call('GET', collection)))
  t.strictSame(answers.map(({ status }) => status).sort(), [200, 200, 503])
  t.match(answers.find(({ status }) => status === 503)?.json, {
    code: 'Overloaded', detail: /has not got round to calling .* in time\. Nothing was sent\./
  })
  t.equal(emulator.requests.length, 2)
  t.equal(await metric(running, 'cos_calls_shed_total', 'reason="waited"'), 1)
})

t.test('Retry-After beyond the deadline is passed on, not waited for', async t => {
  const running = await start(t, { environment: { COS_MAX_ATTEMPTS: '3', COS_DEADLINE_MS: '5000' } })
  const { call, emulator } = running
  for (const [status, code] of [[503, 'ServiceUnavailable'], [503, 'SlowDown'], [429, 'TooManyRequests']] as const) {
    emulator.addFault({ kind: 'error', status, code, headers: { 'retry-after': '6' }, times: 1 })
    const startedAt = performance.now()
    const answer = await call('PUT', at('a'), configuration)
    t.strictSame([answer.status, answer.json.code, answer.headers['retry-after']], [503, code, '6'])
    t.ok(performance.now() - startedAt < 3000, 'at once')
  }
  t.equal(emulator.requests.length, 3)
  t.equal(await metric(running, 'cos_retries_denied_total', 'reason="deadline"'), 3)
})

t.test('a clock nine hours off costs the first call a second attempt, and no later one', async t => {
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
      t.equal(warnings.length, 1, 'the operator is told once')
      const skewMs = Number(/"skewMs":(-?\d+)/.exec(String(warnings))?.[1])
      t.ok(Math.abs(skewMs - hours * hourMs) < 5000, `${skewMs} ms`)
    }))
  }
})

t.test('with one attempt a clock and a key are mended for the next call', async t => {
  const { call, emulator } = await start(t)
  emulator.setClockOffset(9 * hourMs)
  t.match((await call('POST', at('a'), job)).json,
    { status: 502, code: 'UpstreamCredentialsRejected', cosCode: 'AccessDenied' }, 'its message is that the request has expired')
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
  t.equal(strict.requests.length, 2, 'not sent again')
  await until(() => service.logs().split('"new credentials for COS"').length - 1 === 2)
  t.equal((await service.call('PUT', at('a'), configuration)).status, 204)
  t.strictSame([strict.requests.length, metadata.calls], [3, 4], 'two loads, each of a role and its credentials')
  t.match(service.audits(), [{ outcome: 'failure' }, { outcome: 'success' }])
})

t.test('a connection that comes when nobody waits for it any more is not used for what has been given up', async t => {
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
  // A TLS handshake that begins waits here.
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
  caller.leave()
  await service.until(/"caller left"/)
  goOn()
  const next = await fetch(url + collection)
  t.equal(next.status, 200)
  t.strictSame(emulator.requests.map(({ target }) => target), ['/?inventory'], 'what was given up is not sent')
})

t.test('of very many hosts in trouble the first are forgotten by the budget', async t => {
  const budget = createRetryBudget(() => 0)
  // What all have together is earned by calls to others.
  const spend = (host: string) => {
    for (let calls = 0; calls < 11; calls++) budget.earn('busy')
    return budget.spend(host)
  }
  const saved = 20
  for (let count = 0; count < saved; count++) t.ok(spend('first'))
  for (let index = 1; index < 1000; index++) spend(`host-${index}`)
  t.notOk(spend('first'), 'a thousand are remembered')
  spend('host-1000')
  t.ok(spend('first'), 'and one that is forgotten begins anew')
})

t.test('the later the event loop, the more is refused, but never probes and metrics', async t => {
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
  for (const late of [1000, 60_000]) t.strictSame(await statuses(late, almostOne), [503, 200], `${late} ms is too late for all`)
  const refused = await app.inject('/work')
  t.strictSame([refused.statusCode, refused.headers['retry-after']], [503, '1'])
  t.match(refused.json(), { code: 'Overloaded', detail: /is overloaded\. Nothing was sent to COS\./ })
  t.ok(isMeasured)
  await app.close()
  t.notOk(isMeasured, 'the measurement ends with the application')
})

t.test('a loop that is held up is late on average, and less so as it recovers', async t => {
  const lateness = measureEventLoopDelay()
  t.teardown(lateness.close)
  t.equal(lateness.ms(), 0)
  const startedAt = performance.now()
  while (performance.now() - startedAt < 1500);
  await until(() => lateness.ms() > 0)
  const seen = lateness.ms()
  t.ok(seen > 150 && seen <= 200, `${seen} ms: one pause is no overload, however long`)
  await until(() => lateness.ms() < seen / 2)
})

t.test('a service whose loop is always late refuses everything but probes and metrics until it has caught up', async t => {
  // By a clock that runs twenty times as fast, every timer is late, and no call must be.
  const running = await start(t, { environment: { COS_TIMEOUT_MS: '600000', COS_DEADLINE_MS: '600000' } })
  const { call, emulator, audits } = running
  const now = performance.now.bind(performance)
  const startedAt = now()
  const clock = mock.method(performance, 'now', () => startedAt + 20 * (now() - startedAt))
  t.teardown(() => { clock.mock.restore() })
  const answers: Answer[] = []
  const put = async () => {
    const answer = await call('PUT', at('a'), configuration)
    answers.push(answer)
    return answer.status
  }
  await until(async () => await put() === 503)
  const refused = answers.at(-1)
  t.match([refused?.json.code, refused?.headers['retry-after']], ['Overloaded', '1'])
  for (const path of ['/livez', '/readyz', '/metrics']) {
    for (let count = 0; count < 20; count++) t.equal((await call('GET', path)).status, 200, path)
  }
  clock.mock.restore()
  await until(async () => await put() === 204)
  const made = answers.filter(({ status }) => status === 204).length
  t.equal(emulator.requests.length, made, 'nothing of what was refused was sent')
  t.equal(audits().length, made, 'nor was its caller asked who it was')
  t.equal(await metric(running, 'http_problems_total', 'code="Overloaded"'), answers.length - made)
})

/** A request whose caller may leave before it is answered. */
function ask (
  t: Assertions, { url }: Pick<Running, 'url'>, method: string, path: string, body?: object
): { leave: () => void } {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  const text = body === undefined ? '' : JSON.stringify(body)
  const head = body === undefined ? '' : `content-type: application/json\r\ncontent-length: ${Buffer.byteLength(text)}\r\n`
  socket.on('data', () => { t.fail(`${method} ${path} was answered`) })
  socket.write(`${method} ${path} HTTP/1.1\r\nhost: x\r\n${head}\r\n${text}`)
  t.teardown(() => { socket.destroy() })
  return { leave: () => { socket.destroy() } }
}

/** What is asked there is never answered. */
async function startSilentServer (t: Test) {
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
    /** The connection of the request of this number, once that has come. */
    async asked (index: number): Promise<Socket> {
      while (asked.length <= index) await once(server, 'asked')
      return asked[index] as Socket
    }
  }
}

/** What a metric is now, summed over the series with these labels. */
async function metric ({ call }: Pick<Running, 'call'>, name: string, labels: string): Promise<number> {
  const { text } = await call('GET', '/metrics')
  return text.split('\n')
    .filter(line => (line.startsWith(`${name} `) || line.startsWith(`${name}{`)) && line.includes(labels))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0)
}
