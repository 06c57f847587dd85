import { once } from 'node:events'
import { createServer } from 'node:http'
import type { IncomingHttpHeaders, RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'tap'
import { Agent, request } from 'undici'
import { deadlinesOfSet } from '../../src/changes/desired-set.ts'
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

/** A replica of our making, and what it got. */
async function startReplica (t: Test, answer: RequestListener): Promise<{ address: string, received: Received[] }> {
  const received: Received[] = []
  const server = createServer((incoming, outgoing) => {
    const { method, url, headers } = incoming
    received.push({ method, url, headers })
    incoming.resume().once('end', () => { answer(incoming, outgoing) })
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
    const answer = await request(`${url}${path}`, { method: method as 'GET', body, headers, dispatcher })
    return { status: answer.statusCode, headers: answer.headers, text: await answer.body.text() }
  }
}

const directive = (name: string) =>
  [...read('deploy/nginx.conf').matchAll(new RegExp(`^ *${name} (.+);$`, 'gm'))].map(([, value]) => value)

test('nginx takes deploy/nginx.conf', async t => {
  const folder = temporaryFolder(t)
  const path = writeConfiguration(folder, 8081, ['127.0.0.1:8082', '127.0.0.1:8083'])
  const { code, output } = run('nginx', ['-t', '-p', folder, '-c', path])
  t.equal(code, 0, output)
})

test('deploy/nginx.conf has the limits of the service', async t => {
  const { cos: { deadlineMs } } = readConfig({ AUTH: 'none', COS_SECRET_ID: 'id', COS_SECRET_KEY: 'key' })
  t.strictSame(directive('client_max_body_size'), [`${maxBodyBytes / 1024}k`, `${maxSetBytes / 1024 ** 2}m`])
  for (const name of ['proxy_read_timeout', 'proxy_send_timeout']) {
    t.ok(Number.parseInt(directive(name)[0] ?? '') * 1000 > deadlineMs, name)
  }
  t.ok(Number.parseInt(directive('proxy_read_timeout')[1] ?? '') * 1000 > deadlinesOfSet * deadlineMs, 'that of sets')
})

test('a request reaches the replica as it was sent, but for the address', async t => {
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
  t.equal(received[0]?.headers['x-forwarded-for'], '127.0.0.1', 'and nothing of what the caller said it was')

  await call('GET', '/', { headers: { 'x-request-id': '"no id"' } })
  t.match(received[1]?.headers['x-request-id'], /^[0-9a-f]{32}$/)
})

test('while one replica stops, the other serves', async t => {
  const [bad, good] = [await startReplica(t, stopping), await startReplica(t, serving)]
  const call = caller(t, (await startNginx(t, [bad.address, good.address])).url)
  for (const method of ['GET', 'PUT', 'DELETE', 'GET', 'PUT', 'DELETE']) {
    t.match(await call(method, '/', { body: method === 'PUT' ? Buffer.from('{}') : null }), { status: 200, text: 'served' })
  }
  t.ok(bad.received.length > 1, 'it is asked again, because one 503 need not mean that all are')
  t.equal(good.received.length, 6)
})

test('a POST is not sent twice', async t => {
  for (const [name, answer, expected] of [
    ['answered 503', stopping, { status: 503, headers: { 'retry-after': '1' }, text: 'stopping' }],
    ['broken off', breaking, { status: 502, headers: { 'content-type': 'application/problem+json' } }]
  ] as const) {
    const replicas = [await startReplica(t, answer), await startReplica(t, answer)]
    const call = caller(t, (await startNginx(t, replicas.map(({ address }) => address))).url)
    t.match(await call('POST', '/', { body: Buffer.from('{}') }), expected, name)
    t.equal(replicas.flatMap(({ received }) => received).length, 1, `${name}, and nobody else got it`)
  }
})

test('a replica that cannot be reached costs no request, POST neither', async t => {
  const { address, received } = await startReplica(t, serving)
  const call = caller(t, (await startNginx(t, [`127.0.0.1:${await freePort()}`, address])).url)
  for (const method of ['POST', 'GET', 'PUT', 'POST']) {
    t.match(await call(method, '/', { body: method === 'GET' ? null : Buffer.from('{}') }), { status: 200 }, method)
  }
  t.strictSame(received.map(each => each.method), ['POST', 'GET', 'PUT', 'POST'])
})

test('a PUT that breaks off is sent to the next', async t => {
  const [bad, good] = [await startReplica(t, breaking), await startReplica(t, serving)]
  const call = caller(t, (await startNginx(t, [bad.address, good.address])).url)
  for (const body of ['{}', '{"second": true}']) t.match(await call('PUT', '/', { body: Buffer.from(body) }), { status: 200 })
  t.strictSame([bad.received.length > 0, good.received.length], [true, 2])
})

test('what nginx answers itself is a problem document with a code of the service', async t => {
  const { address, received } = await startReplica(t, serving)
  const call = caller(t, (await startNginx(t, [address])).url)
  t.match(await call('PUT', '/', { body: Buffer.alloc(maxBodyBytes) }), { status: 200 })
  const refused = [
    await call('PUT', '/', { body: Buffer.alloc(maxBodyBytes + 1), headers: { 'x-request-id': 'large' } }),
    await caller(t, (await startNginx(t, [`127.0.0.1:${await freePort()}`])).url)('GET', '/', { headers: { 'x-request-id': 'nobody' } })
  ]
  t.equal(received.length, 1)
  t.strictSame(refused.map(({ text }) => JSON.parse(text).code), ['PayloadTooLarge', 'UpstreamUnreachable'])
  t.strictSame(refused.map(({ headers }) => headers['x-request-id']), ['large', 'nobody'])
  for (const { status, headers, text } of refused) {
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
