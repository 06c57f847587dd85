/** Limits of a connection: pipelining, clients that do not read, trailing bytes, disconnects. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { ConnectionRegistry } from '../../src/http/connections/connection-registry.ts'
import type { ClosingReason } from '../../src/http/connections/connection-limits.ts'
import { onExchangeEnd } from '../../src/http/connections/connection.ts'
import type { Exchange } from '../../src/http/connections/connection.ts'
import { createMetrics } from '../../src/metrics.ts'
import type { Metrics } from '../../src/metrics.ts'
import { as, callersFile, everything, keyOf, withKey } from '../callers-file.ts'
import { connectionsOf, dial, exchange } from '../raw-connection.ts'
import { at, bucket, configuration, start, until } from '../start.ts'
import type { Running, Test } from '../start.ts'

const collection = `/buckets/${bucket}/inventories`
const body = JSON.stringify(configuration)
const authorization = `Authorization: Bearer ${keyOf('admin')}\r\n`

async function startGuarded (t: Test, environment: Record<string, string> = {}): Promise<Running> {
  const callers = callersFile(t, [withKey('admin', everything, { rateLimitPerMinute: 0 })])
  return await start(t, { environment: { ...callers.environment, ...environment } })
}

async function metric ({ call }: Running, name: string): Promise<number> {
  const { text: metrics } = await call('GET', '/metrics')
  return Number(new RegExp(`^${name.replace(/[{}]/g, '\\$&')} (\\S+)$`, 'm').exec(metrics)?.[1])
}

/** Creates configurations whose LIST has several MB, and returns its length. */
async function fillBucket ({ call }: Running): Promise<number> {
  const prefix = 'p'.repeat(70_000)
  for (let index = 0; index < 100; index++) {
    await call('PUT', at(`large-${index}`), { ...configuration, Filter: { Prefix: prefix } }, as('admin'))
  }
  return (await call('GET', collection, undefined, as('admin'))).text.length
}

t.test('at most eight requests are in flight when 64 KiB are pipelined', async t => {
  const running = await startGuarded(t)
  const request = 'GET /openapi.json HTTP/1.1\r\nHost:\r\nAccept-Encoding:gzip\r\n\r\n'
  const count = Math.floor(65_536 / request.length)
  const socket = await dial(t, running.url)
  socket.pause().write(request.repeat(count))
  await until(async () => await metric(running, 'http_requests_waiting') > 0)
  t.ok(await metric(running, 'http_requests_in_flight') <= 9, 'eight requests and the scrape are in flight')
  t.ok(await metric(running, 'http_response_unsent_bytes') < 4 * 1024 * 1024, 'few responses are created ahead')
  let responses = 0
  let rest = ''
  socket.setEncoding('latin1').on('data', (data: string) => {
    const parts = (rest + data).split('HTTP/1.1 200 OK')
    responses += parts.length - 1
    rest = (parts.at(-1) ?? '').slice(-15)
  }).resume()
  await until(() => responses === count)
  await until(async () => await metric(running, 'http_response_unsent_bytes') === 0)
  t.strictSame([await metric(running, 'http_requests_waiting'), await metric(running, 'http_requests_in_flight')], [0, 1])
  t.equal(await metric(running, 'http_connections_closed_total{reason="stalled"}'), 0)
})

t.test('PUT returns 204 to each pipelined request in order', async t => {
  const { url, emulator, audits } = await startGuarded(t)
  const ids = Array.from({ length: 40 }, (_, index) => `id-${index}`)
  emulator.addFault({ kind: 'latency', ms: 20 })
  const socket = await dial(t, url)
  const responses = text(socket)
  socket.write(ids.map(id => `PUT ${at(id)} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nx-request-id: ${id}\r\n` +
    `${authorization}Content-Length: ${body.length}\r\n\r\n${body}`).join(''))
  socket.write('GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
  const received = await responses
  t.strictSame(received.match(/^x-request-id: id-\d+/gm), ids.map(id => `x-request-id: ${id}`))
  t.equal(received.match(/^HTTP\/1\.1 204 /gm)?.length, ids.length)
  t.equal(audits().filter(({ outcome }) => outcome === 'success').length, ids.length)
  t.equal(emulator.configurations(bucket).length, ids.length)
})

t.test('DELETE returns 204 when malformed bytes follow the request', async t => {
  const { url, emulator, call, audits } = await startGuarded(t)
  const head = (method: string, id: string, more = '') => `${method} ${at(id)} HTTP/1.1\r\nHost: x\r\n${authorization}${more}\r\n`
  for (const [id, behind] of [['a', '{}'], ['b', 'nonsense\r\n\r\n'], ['c', '\u0000'], ['d', 'GET / HTTP/9.9\r\n\r\n']] as const) {
    await call('PUT', at(id), configuration, as('admin'))
    const response = await exchange(t, url, head('DELETE', id) + behind)
    t.strictSame([response.status, emulator.configurations(bucket).length], [204, 0], id)
  }
  t.match(audits().filter(({ action }) => action === 'cos:DeleteBucketInventory').map(each => each.outcome),
    ['success', 'success', 'success', 'success'])
  const post = head('POST', 'once', 'Content-Type: application/json\r\nContent-Length: 2\r\n') + '{}{}'
  t.equal((await exchange(t, url, post)).code, 'ValidationFailed', 'a rejected request gets its own response too')
})

t.test('PUT returns one response when the rest of its body is malformed', async t => {
  const { url } = await startGuarded(t)
  const socket = await dial(t, url)
  const response = text(socket)
  socket.write(`PUT ${at('a')} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n`)
  t.equal((await response).match(/^HTTP\/1\.1 /gm)?.length, 1)
})

t.test('DELETE returns 431 when the request has more than 1,000 headers', async t => {
  const { url, call, emulator } = await startGuarded(t, { TRUST_PROXY: '127.0.0.1' })
  await call('PUT', at('a'), configuration, as('admin'))
  const before = emulator.requests.length
  const remove = (headers: string) => exchange(t, url,
    `DELETE ${at('a')} HTTP/1.1\r\nHost: x\r\n${authorization}${headers}If-Match: "other"\r\nConnection: close\r\n\r\n`)
  for (const count of [1_000, 1_500, 2_000]) {
    t.match(await remove('a:\r\n'.repeat(count)), { status: 431, code: 'RequestHeaderFieldsTooLarge' }, `${count} headers`)
  }
  t.equal(emulator.requests.length, before)
  const { status } = await remove('a:\r\n'.repeat(996))
  t.ok(status === 412, 'the last of 1,000 headers is read')
  t.equal(emulator.configurations(bucket).length, 1)
})

t.test('GET returns 400, 501 or 505 when target, coding or version is unsupported', async t => {
  const { url, emulator } = await startGuarded(t)
  const ask = (target: string, version = ' HTTP/1.1', more = '') =>
    exchange(t, url, `GET ${target}${version}\r\nHost: x\r\n${authorization}${more}Connection: close\r\n\r\n`)
  const cases: Array<[Promise<{ status: number, code: string | undefined }>, number, string]> = [
    [ask(`${collection}#?region=ap-shanghai`), 400, 'MalformedRequest'],
    [ask('/livez#a'), 400, 'MalformedRequest'],
    [ask(`/livez?${'a&'.repeat(50)}a`), 400, 'ValidationFailed'],
    [ask(`${collection}?${'region=ap-shanghai&'.repeat(60)}`), 400, 'ValidationFailed'],
    [ask('/livez', ' HTTP/2.0'), 505, 'HTTPVersionNotSupported'],
    [ask('/livez', ' HTTP/1.2'), 505, 'HTTPVersionNotSupported'],
    [ask('/livez', ' HTTP/3'), 505, 'HTTPVersionNotSupported'],
    [ask('/livez', ' HTTP/0.9'), 400, 'MalformedRequest'],
    [ask('/livez', ''), 400, 'MalformedRequest'],
    [exchange(t, url, 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), 505, 'HTTPVersionNotSupported'],
    [ask('/livez', ' HTTP/1.1', 'Host: y\r\n'), 400, 'MalformedRequest'],
    [ask(collection, ' HTTP/1.1', 'Transfer-Encoding: gzip, chunked\r\n'), 501, 'TransferCodingNotSupported'],
    [ask(collection, ' HTTP/1.1', 'Transfer-Encoding: deflate , CHUNKED\r\n'), 501, 'TransferCodingNotSupported']
  ]
  for (const [response, status, code] of cases) t.match(await response, { status, code })
  t.equal((await ask(`/livez?${'a&'.repeat(49)}a`)).status, 200, 'fifty parameters are read')
  t.strictSame(emulator.requests, [])
})

t.test('PUT returns 414 and is audited when a path segment is too long', async t => {
  const { call, audits } = await startGuarded(t)
  for (const path of [at('x'.repeat(9_000)), `/buckets/${'b'.repeat(9_000)}/inventories/a`]) {
    t.match(await call('PUT', path, configuration, as('admin')), { status: 414, json: { code: 'URITooLong' } })
  }
  t.match(audits(), Array(2).fill({ outcome: 'failure', status: 414, code: 'URITooLong', action: 'cos:PutBucketInventory' }))
  t.match(await call('GET', at('x'.repeat(9_000)), undefined, as('admin')), { status: 414 })
  t.equal(audits().length, 2, 'a read has no record')
})

t.test('requests return 403 when AUTH is none and Host is neither loopback nor allowed', async t => {
  const { url, emulator } = await start(t, { environment: { ALLOWED_HOSTS: 'proxy.internal, [::2]' } })
  const ask = (host: string, more = '', path = collection, method = 'GET') =>
    exchange(t, url, `${method} ${path} HTTP/1.1\r\n${host}${more}Connection: close\r\n\r\n`)
  for (const host of ['localhost', 'localhost:8080', 'LOCALHOST', 'a.localhost', '127.0.0.1:1', '127.9.9.9', '[::1]:8080', 'proxy.internal:80', '[::2]']) {
    t.equal((await ask(`Host: ${host}\r\n`)).status, 200, host)
  }
  const rejected = { status: 403, code: 'HostNotAllowed' }
  const served = emulator.requests.length
  for (const host of ['attacker.example', 'localhost.attacker.example', '127.0.0.1.attacker.example', '1.2.3.4', '', 'xlocalhost', '[::1', 'localhost:80:80']) {
    t.match(await ask(`Host: ${host}\r\n`), rejected, host)
    t.match(await ask(`Host: ${host}\r\n`, '', at('a'), 'DELETE'), rejected, host)
    t.equal((await ask(`Host: ${host}\r\n`, '', '/readyz')).status, 200, 'probes accept every Host')
  }
  const site = 'Sec-Fetch-Site: cross-site\r\n'
  t.match(await ask('Host: localhost\r\n', site), rejected)
  t.match(await ask('Host: localhost\r\n', `${site}Sec-Fetch-Mode: navigate\r\n`, at('a'), 'DELETE'), rejected)
  t.equal((await ask('Host: localhost\r\n', `${site}Sec-Fetch-Mode: navigate\r\n`, '/docs/')).status, 200, 'a link from another site opens the documentation')
  t.equal((await ask('Host: localhost\r\n', 'Sec-Fetch-Site: same-origin\r\n')).status, 200)
  t.equal(emulator.requests.length, served + 1)
  t.match(await exchange(t, url, `GET ${collection} HTTP/1.0\r\n\r\n`), rejected, 'HTTP/1.0 without Host')
  const guarded = await startGuarded(t)
  const request = `GET ${collection} HTTP/1.1\r\nHost: any.example\r\n${authorization}Connection: close\r\n\r\n`
  t.equal((await exchange(t, guarded.url, request)).status, 200, 'an authenticated caller may use any name')
})

t.test('unsent responses are counted while clients do not read', async t => {
  const running = await startGuarded(t)
  const length = await fillBucket(running)
  t.ok(length > 7_000_000)
  const sockets = await Promise.all(Array.from({ length: 2 }, async () => {
    const socket = await dial(t, running.url)
    socket.pause().write(`GET ${collection} HTTP/1.1\r\nHost: x\r\n${authorization}\r\n`)
    return socket
  }))
  await until(async () => await metric(running, 'http_response_unsent_bytes') === 2 * length)
  const { text: listed, status } = await running.call('GET', collection, undefined, as('admin'))
  t.strictSame([status, listed.length], [200, length], 'a client that reads gets the whole response')
  for (const socket of sockets) socket.destroy()
  await until(async () => await metric(running, 'http_response_unsent_bytes') === 0)
})

t.test('shutdown waits until a slow client has read its response', async t => {
  const running = await startGuarded(t, { SHUTDOWN_GRACE_MS: '60000' })
  const length = await fillBucket(running)
  const [socket, idle] = [await dial(t, running.url), await dial(t, running.url)]
  idle.write('GET /livez HTTP/1.1\r\nHost: x\r\n\r\n')
  await once(idle, 'data')
  const idleEnd = once(idle, 'close')
  socket.pause().write(`GET ${collection} HTTP/1.1\r\nHost: x\r\n${authorization}\r\n`)
  await until(async () => await metric(running, 'http_response_unsent_bytes') > 0)
  let isStopped = false
  const stop = running.service.stop().then(inTime => {
    isStopped = true
    return inTime
  })
  await idleEnd
  t.notOk(isStopped, 'an idle connection is closed at once')
  const received = await text(socket)
  t.equal(received.length - received.indexOf('\r\n\r\n') - 4, length)
  t.equal(await stop, true)
})

interface TestServer {
  server: Server
  connections: ConnectionRegistry
  url: string
  closed: ClosingReason[]
  metrics: Metrics
}

/** Starts a server with its own limits, whose responses `respond` writes. */
async function startServer (
  t: Test, limits: object, respond: (path: string, write: (body: string | Buffer) => void) => void
): Promise<TestServer> {
  const closed: ClosingReason[] = []
  const metrics = createMetrics('0')
  const onClosed = (reason: ClosingReason): void => {
    closed.push(reason)
    metrics.connectionClosed(reason)
  }
  const connections = new ConnectionRegistry({ onClosed, limits: { checkMs: 10, ...limits } })
  const server = createServer()
  connections.serve(server, (message, response) => {
    respond(String(message.url), bytes => {
      connections.addUnsent(connections.exchangeOf(message, response), bytes.length)
      response.end(bytes)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return { server, connections, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, closed, metrics }
}

const large = Buffer.alloc(16 * 1024 * 1024)

const ask = (socket: Socket, path = '/'): void => { socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`) }

t.test('a connection is closed when its client stops reading, not when it is slow', async t => {
  const limits = { stalledMs: 2_000 }
  const { closed, connections, server, url } = await startServer(t, limits, (_, write) => { write(large) })
  const [stalled, slow] = [await dial(t, url), await dial(t, url)]
  ask(stalled.pause())
  ask(slow)
  let received = 0
  slow.on('data', data => {
    received += data.length
    // The pauses last while the other client stalls, and each is far shorter than the limit.
    if (closed.length === 0) {
      slow.pause()
      setImmediate(() => slow.resume())
    }
  })
  await until(() => closed.length > 0)
  t.strictSame(closed, ['stalled'])
  await until(() => received > large.length)
  t.equal(connections.backlog().unsentBytes, 0)
  await until(async () => await connectionsOf(server) === 1)
  ask(slow)
  await until(() => received > 2 * large.length)
  t.strictSame(closed, ['stalled'], 'the connection stays open after a slow response')
})

t.test('an idle connection is not counted as stalled when it is closed', async t => {
  const { closed, server, url } = await startServer(t, {}, (_, write) => { write('small') })
  server.keepAliveTimeout = 1
  const socket = await dial(t, url)
  ask(socket)
  await once(socket.resume(), 'close')
  t.strictSame(closed, [])
})

t.test('the oldest response is aborted when unsent bytes exceed their limit', async t => {
  const limits = { maxUnsentBytes: 40 * 1024 * 1024 }
  const { closed, connections, metrics, url } = await startServer(t, limits, (_, write) => { write(large) })
  const sockets: Socket[] = []
  const ended: number[] = []
  for (const index of [0, 1, 2]) {
    const socket = await dial(t, url)
    sockets.push(socket)
    socket.once('close', () => { ended.push(index) })
    ask(socket.pause())
    await until(() => connections.arrived.requests === index + 1)
  }
  await until(() => closed.length === 1)
  t.strictSame(closed, ['unsent_limit'])
  sockets[0]?.resume()
  await until(() => ended.length === 1)
  t.strictSame(ended, [0])
  t.equal(connections.backlog().unsentBytes, 2 * large.length)
  t.match(await metrics.scrape(), 'http_connections_closed_total{reason="unsent_limit"} 1')
})

t.test('a connection is closed when too many pipelined requests wait', async t => {
  const limits = { maxInFlight: 1, maxWaiting: 5 }
  const { closed, connections, server, url } = await startServer(t, limits, () => {})
  const [modest, greedy] = [await dial(t, url), await dial(t, url)]
  const request = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'
  modest.write(request.repeat(4))
  await until(() => connections.backlog().waiting === 3)
  greedy.write(request.repeat(9))
  await once(greedy.resume(), 'close')
  t.strictSame([closed, connections.backlog().waiting], [['pipeline_limit'], 3])
  server.closeAllConnections()
  await until(() => connections.backlog().waiting === 0)
  await connections.drained()
  t.pass('no request is in flight')
})

t.test('the next pipelined request waits while many bytes are unsent', async t => {
  const { connections, url } = await startServer(t, {}, (_, write) => { write(large) })
  const socket = await dial(t, url)
  // One packet is needed, because the connection is not read while bytes are unsent.
  socket.pause().write('GET / HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(3))
  await until(() => connections.backlog().waiting > 0)
  t.equal(connections.arrived.requests, 1)
  let received = 0
  socket.on('data', data => { received += data.length }).resume()
  await until(() => received > 3 * large.length)
  t.equal(connections.arrived.requests, 3)
})

t.test('a connection is read again when its client has received an earlier response', async t => {
  const responses = new Map<string, (body: string | Buffer) => void>()
  const { connections, server, url } = await startServer(t, {}, (path, write) => { responses.set(path, write) })
  const accepted = once(server, 'connection')
  const socket = await dial(t, url)
  const connection = connections.of((await accepted)[0] as Socket)
  ask(socket.pause(), '/1')
  ask(socket, '/2')
  await until(() => responses.size === 2)
  responses.get('/1')?.(large)
  await until(() => connection?.isSending === true)
  let received = 0
  socket.on('data', data => { received += data.length }).resume()
  await until(() => received > large.length && connection?.isSending === false)
  ask(socket, '/3')
  await until(() => responses.size === 3)
  for (const path of ['/2', '/3']) responses.get(path)?.('')
  await connections.drained()
  t.equal(connections.backlog().unsentBytes, 0)
})

t.test('a callback is called at once when the exchange has ended', async t => {
  const exchanges: Exchange[] = []
  const { connections, url, server } = await startServer(t, {}, () => {})
  server.prependListener('request', (message, response) => {
    setImmediate(() => { exchanges.push(connections.exchangeOf(message, response)) })
  })
  const socket = await dial(t, url)
  ask(socket)
  await until(() => exchanges.length === 1)
  const [exchange] = exchanges as [Exchange]
  const calls: string[] = []
  onExchangeEnd(exchange, () => { calls.push('before') })
  socket.destroy()
  await until(() => exchange.hasEnded)
  onExchangeEnd(exchange, () => { calls.push('after') })
  t.strictSame(calls, ['before', 'after'])
})
