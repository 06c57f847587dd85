import { once } from 'node:events'
import { createServer } from 'node:http'
import type { IncomingHttpHeaders, RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'tap'
import { Agent, request } from 'undici'
import { setDeadlineFactor } from '../../src/changes/desired-set.ts'
import { maxBodyBytes, maxSetBytes } from '../../src/contract/requests.ts'
import { readConfig } from '../../src/config/config.ts'
import { problemTable } from '../../src/errors.ts'
import { freePort } from '../free-port.ts'
import { startNginx, temporaryFolder, writeConfiguration } from './nginx.ts'
import { read, run } from './tools.ts'

interface Test {
  teardown (handler: () => unknown): void
}

interface Received {
  method: string | undefined
  url: string | undefined
  headers: IncomingHttpHeaders
}

/** Starts a replica with this response and records its requests. */
async function startReplica (t: Test, respond: RequestListener): Promise<{ address: string, received: Received[] }> {
  const received: Received[] = []
  const server = createServer((incoming, outgoing) => {
    const { method, url, headers } = incoming
    received.push({ method, url, headers })
    incoming.resume().once('end', () => { respond(incoming, outgoing) })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(async () => {
    server.close()
    server.closeAllConnections()
    await once(server, 'close')
  })
  return { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, received }
}

const serving: RequestListener = (_, outgoing) => { outgoing.end('served') }
const stopping: RequestListener = (_, outgoing) => {
  outgoing.writeHead(503, { 'retry-after': '1', connection: 'close' }).end('stopping')
}
const breaking: RequestListener = incoming => { incoming.socket.destroy() }

/** Sends requests over connections that end with the test. */
function caller (t: Test, url: string) {
  const dispatcher = new Agent()
  t.teardown(() => dispatcher.destroy())
  return async (method: string, path: string, { body = null, headers = {} }: {
    body?: Buffer | null, headers?: Record<string, string>
  } = {}) => {
    const response = await request(`${url}${path}`, { method: method as 'GET', body, headers, dispatcher })
    return { status: response.statusCode, headers: response.headers, text: await response.body.text() }
  }
}

const directive = (name: string) =>
  [...read('deploy/nginx.conf').matchAll(new RegExp(`^ *${name} (.+);$`, 'gm'))].map(([, value]) => value)

test('nginx accepts deploy/nginx.conf', async t => {
  const folder = temporaryFolder(t)
  const path = writeConfiguration(folder, 8081, ['127.0.0.1:8082', '127.0.0.1:8083'])
  const { code, output } = run('nginx', ['-t', '-p', folder, '-c', path])
  t.equal(code, 0, output)
})

test('deploy/nginx.conf has the body limits and longer timeouts than the service', async t => {
  const { cos: { deadlineMs } } = readConfig({ AUTH: 'none', COS_SECRET_ID: 'id', COS_SECRET_KEY: 'key' })
  t.strictSame(directive('client_max_body_size'), [`${maxBodyBytes / 1024}k`, `${maxSetBytes / 1024 ** 2}m`])
  for (const name of ['proxy_read_timeout', 'proxy_send_timeout']) {
    t.ok(Number.parseInt(directive(name)[0] ?? '') * 1000 > deadlineMs, name)
  }
  t.ok(Number.parseInt(directive('proxy_read_timeout')[1] ?? '') * 1000 > setDeadlineFactor * deadlineMs, 'timeout of sets')
})

test('nginx forwards method, path and headers, and replaces X-Forwarded-For', async t => {
  const { address, received } = await startReplica(t, serving)
  const call = caller(t, (await startNginx(t, [address])).url)
  const headers = {
    'x-request-id': 'id-of-the-caller',
    traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    tracestate: 'a=b',
    authorization: 'Bearer some-key'
  }
  const path = '/buckets/b-1//inventories/a%2Fb%2E%2E?region=x%2By'
  await call('GET', path, { headers: { ...headers, 'x-forwarded-for': '203.0.113.7, 10.0.0.1' } })
  t.match(received, [{ method: 'GET', url: path, headers: { ...headers, 'x-forwarded-for': '127.0.0.1' } }])
  t.equal(received[0]?.headers['x-forwarded-for'], '127.0.0.1', 'the header of the caller is removed')

  await call('GET', '/', { headers: { 'x-request-id': '"no id"' } })
  t.match(received[1]?.headers['x-request-id'], /^[0-9a-f]{32}$/)
})

test('nginx sends all requests of a bucket to one replica and spreads buckets', async t => {
  const replicas = [await startReplica(t, serving), await startReplica(t, serving)]
  const call = caller(t, (await startNginx(t, replicas.map(({ address }) => address))).url)
  const buckets = Array.from({ length: 40 }, (_, index) => `bucket-${index}-1250000000`)
  for (const bucket of buckets) {
    for (const rest of ['inventories', 'inventories/daily?dry-run=true', 'inventories/daily/reports/latest']) {
      await call('GET', `/buckets/${bucket}/${rest}`)
    }
  }
  const bucketsOf = ({ received }: { received: Received[] }) =>
    new Set(received.map(({ url = '' }) => /^\/buckets\/([^/]+)/.exec(url)?.[1]))
  const [first, second] = replicas.map(bucketsOf) as [Set<string>, Set<string>]
  t.equal(first.size + second.size, buckets.length, 'no bucket reaches both replicas')
  t.ok(first.size > 5 && second.size > 5, `${first.size} and ${second.size} buckets`)

  const before = replicas.map(({ received }) => received.length)
  for (let count = 0; count < 4; count++) await call('GET', '/openapi.json')
  t.strictSame(replicas.map(({ received }, index) => received.length - (before[index] ?? 0)), [2, 2], 'replicas take turns')
})

test('nginx sends a bucket to the other replica while its own is down or returns 503', async t => {
  for (const first of [await startReplica(t, stopping), { address: `127.0.0.1:${await freePort()}` }]) {
    const healthy = await startReplica(t, serving)
    const call = caller(t, (await startNginx(t, [first.address, healthy.address])).url)
    for (let index = 0; index < 20; index++) {
      t.match(await call('PUT', `/buckets/b-${index}/inventories/a`, { body: Buffer.from('{}') }), { status: 200, text: 'served' })
    }
    t.equal(healthy.received.length, 20)
  }
})

test('nginx sends requests to the other replica when one returns 503', async t => {
  const [failing, healthy] = [await startReplica(t, stopping), await startReplica(t, serving)]
  const call = caller(t, (await startNginx(t, [failing.address, healthy.address])).url)
  for (const method of ['GET', 'PUT', 'DELETE', 'GET', 'PUT', 'DELETE']) {
    t.match(await call(method, '/', { body: method === 'PUT' ? Buffer.from('{}') : null }), { status: 200, text: 'served' })
  }
  t.ok(failing.received.length > 1, 'a replica that returned 503 still gets requests')
  t.equal(healthy.received.length, 6)
})

test('nginx does not retry POST when a replica fails', async t => {
  for (const [name, respond, expected] of [
    ['response 503', stopping, { status: 503, headers: { 'retry-after': '1' }, text: 'stopping' }],
    ['connection closed', breaking, { status: 502, headers: { 'content-type': 'application/problem+json' } }]
  ] as const) {
    const replicas = [await startReplica(t, respond), await startReplica(t, respond)]
    const call = caller(t, (await startNginx(t, replicas.map(({ address }) => address))).url)
    t.match(await call('POST', '/', { body: Buffer.from('{}') }), expected, name)
    t.equal(replicas.flatMap(({ received }) => received).length, 1, `${name}: one replica receives it`)
  }
})

test('nginx retries any method when a replica is unreachable', async t => {
  const { address, received } = await startReplica(t, serving)
  const call = caller(t, (await startNginx(t, [`127.0.0.1:${await freePort()}`, address])).url)
  for (const method of ['POST', 'GET', 'PUT', 'POST']) {
    t.match(await call(method, '/', { body: method === 'GET' ? null : Buffer.from('{}') }), { status: 200 }, method)
  }
  t.strictSame(received.map(each => each.method), ['POST', 'GET', 'PUT', 'POST'])
})

test('nginx retries PUT when a replica closes the connection', async t => {
  const [failing, healthy] = [await startReplica(t, breaking), await startReplica(t, serving)]
  const call = caller(t, (await startNginx(t, [failing.address, healthy.address])).url)
  for (const body of ['{}', '{"second": true}']) t.match(await call('PUT', '/', { body: Buffer.from(body) }), { status: 200 })
  t.strictSame([failing.received.length > 0, healthy.received.length], [true, 2])
})

test('nginx returns problem documents with codes and titles of the service', async t => {
  const { address, received } = await startReplica(t, serving)
  const call = caller(t, (await startNginx(t, [address])).url)
  t.match(await call('PUT', '/', { body: Buffer.alloc(maxBodyBytes) }), { status: 200 })
  const rejected = [
    await call('PUT', '/', { body: Buffer.alloc(maxBodyBytes + 1), headers: { 'x-request-id': 'large' } }),
    await caller(t, (await startNginx(t, [`127.0.0.1:${await freePort()}`])).url)('GET', '/', { headers: { 'x-request-id': 'nobody' } })
  ]
  t.equal(received.length, 1)
  t.strictSame(rejected.map(({ text }) => JSON.parse(text).code), ['PayloadTooLarge', 'UpstreamUnreachable'])
  t.strictSame(rejected.map(({ headers }) => headers['x-request-id']), ['large', 'nobody'])
  for (const { status, headers, text } of rejected) {
    const { code, requestId, title } = JSON.parse(text)
    t.equal(headers['content-type'], 'application/problem+json')
    t.equal(headers['x-request-id'], requestId)
    t.match(problemTable[code as keyof typeof problemTable], { status, title })
  }
  const codes = [...read('deploy/nginx.conf').matchAll(/return (\d+) '.*"title":"([^"]+)","status":(\d+),.*"code":"(\w+)"/g)]
  t.equal(codes.length, 3)
  for (const [line, returned, title, status, code] of codes) {
    t.match(problemTable[code as keyof typeof problemTable], { status: Number(status), title }, line)
    t.equal(returned, status)
  }
})
