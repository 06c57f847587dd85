/** Requests as gateways, proxies and HTTP clients write them. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect } from 'node:net'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import t from 'tap'
import { until } from '../start.ts'
import { dial, exchange } from '../raw-connection.ts'
import { at, bucket, configuration, start, startTestEmulator, startTestService } from '../start.ts'
import type { Test } from '../start.ts'

const list = `/buckets/${bucket}/inventories`
const problem = { status: 400, code: 'ValidationFailed' }

t.test('GET, HEAD and DELETE accept a chunked body only when it is empty', async t => {
  const { call, emulator, url } = await start(t)
  await call('PUT', at('a'), configuration)
  const head = (method: string, path: string, headers = '') =>
    `${method} ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${headers}Transfer-Encoding: chunked\r\n\r\n`
  for (const [method, path, status] of [
    ['GET', at('a'), 200], ['HEAD', at('a'), 200], ['GET', list, 200], ['GET', `${list}?all=true`, 200], ['GET', '/livez', 200],
    ['GET', '/openapi.json', 200], ['DELETE', at('a'), 204], ['DELETE', at('a'), 204]
  ] as const) {
    for (const type of ['', 'Content-Type: application/json\r\n', 'Content-Type: text/xml\r\n']) {
      t.equal((await exchange(t, url, `${head(method, path, type)}0\r\n\r\n`)).status, status, `${method} ${path} ${type}`)
    }
  }
  t.strictSame(emulator.configurations(bucket), [])
  await call('PUT', at('a'), configuration)
  for (const [method, path] of [['GET', at('a')], ['GET', list], ['DELETE', at('a')]] as const) {
    // The body never ends, because its first byte is enough to reject it.
    t.match(await exchange(t, url, `${head(method, path)}2\r\n{}\r\n`), problem, `${method} ${path}`)
  }
  t.equal(emulator.configurations(bucket).length, 1, 'the configuration is not deleted')
})

t.test('DELETE is not sent to COS when its chunked body never ends', async t => {
  const { audits, emulator, service, url } = await start(t)
  const socket = await dial(t, url)
  socket.write(`DELETE ${at('a')} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n`)
  await once(service.app.server, 'request')
  socket.destroy()
  await once(socket, 'close')
  t.equal((await exchange(t, url, 'GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')).status, 200)
  await until(() => audits().length === 1)
  t.match(audits(), [{ action: 'cos:DeleteBucketInventory', outcome: 'failure', code: 'MalformedRequest' }], 'the disconnect is recorded at once')
  t.strictSame(emulator.requests, [])
})

t.test('X-Forwarded-For may contain ports, brackets and mapped addresses', async t => {
  const { call, logs } = await start(t, { environment: { TRUST_PROXY: '127.0.0.1,10.0.0.0/8,2001:db8:1::/48' } })
  for (const [header, address] of [
    ['203.0.113.1:50001', '203.0.113.1'], ['203.0.113.2', '203.0.113.2'], ['[2001:db8::1]:50001', '2001:db8::1'], ['[2001:db8::2]', '2001:db8::2'],
    ['2001:db8::3', '2001:db8::3'], ['"[2001:db8::4]:5"', '2001:db8::4'], ['::ffff:203.0.113.3', '203.0.113.3'], ['::FFFF:cb00:7104', '203.0.113.4'],
    ['[::ffff:203.0.113.5]:1', '203.0.113.5'], ['203.0.113.6:1, 10.0.0.1:2, 10.0.0.2', '203.0.113.6'],
    ['198.51.100.1, 203.0.113.7:1,[2001:db8:1::1]:443', '203.0.113.7'], ['fe80::1%eth0', 'fe80::1'],
    ['unknown', '127.0.0.1'], ['203.0.113.8:x', '127.0.0.1'], ['[203.0.113.9', '127.0.0.1'], [':1', '127.0.0.1']
  ] as const) {
    const { headers } = await call('GET', '/nothing', undefined, { 'x-forwarded-for': header })
    const line = logs().split('\n').find(each => each.includes(String(headers['x-request-id'])) && each.includes('"address"'))
    t.equal((JSON.parse(String(line)) as { address: string }).address, address, header)
  }
})

t.test('GET returns 429 per client address when the proxy adds ports', async t => {
  const { call } = await start(t, { environment: { TRUST_PROXY: '127.0.0.1', RATE_LIMIT_PER_MINUTE: '1' } })
  const from = async (address: string) => (await call('GET', list, undefined, { 'x-forwarded-for': address })).status
  t.strictSame([await from('203.0.113.1:50001'), await from('203.0.113.2:50001'), await from('203.0.113.1:50002')], [200, 200, 429])
})

t.test('Content-Type, Accept and Accept-Encoding are parsed, not searched for text', async t => {
  const { call, url } = await start(t)
  for (const [type, status] of [
    ['application/json; profile="a;charset=latin1"', 204], ['application/json;', 204], ['Application/JSON ; Charset="UTF-8"', 204],
    ['application/json; charset=utf8', 204], ['application/json; charset="latin1"', 415], ['application/json; charset=latin1; charset=utf-8', 415],
    ['application/jsonx', 415], ['text/plain; a=application/json', 415], ['application/json, text/plain', 415]
  ] as const) t.equal((await call('PUT', at('a'), JSON.stringify(configuration), { 'content-type': type })).status, status, type)
  const body = JSON.stringify(configuration)
  const untyped = `PUT ${at('a')} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`
  t.match(await exchange(t, url, untyped), { status: 415, code: 'UnsupportedMediaType' }, 'no Content-Type')
  const empty = { InventoryConfigurations: [] }
  for (const [accept, type] of [
    ['application/x-ndjson', 'x-ndjson'], ['application/x-ndjson;q=0.5, application/json;q=0.4', 'x-ndjson'], ['APPLICATION/X-NDJSON, */*;q=0.1', 'x-ndjson'],
    ['application/json;q=0.5, application/x-ndjson;q=0.4', 'json'], ['application/x-ndjson;q=0', 'json'], ['application/x-ndjsonx', 'json'],
    ['text/application/x-ndjson', 'json'], ['*/*', 'json'], ['application/*', 'json'], ['text/html', 'json']
  ] as const) t.match((await call('PUT', list, empty, { accept })).headers['content-type'], `application/${type}`, accept)
  for (const [coding, isCompressed] of [
    ['gzip', true], ['br, GZIP;q=0.5', true], ['*', true], ['gzip;q=0', false], ['gzip;q=0.4, identity', false], ['xgzip', false], ['', false]
  ] as const) {
    const { headers } = await call('GET', '/openapi.yaml', undefined, { 'accept-encoding': coding })
    t.equal(headers['content-encoding'] === 'gzip', isCompressed, coding)
  }
})

t.test('a connection is closed when it is idle for longer than KEEP_ALIVE_TIMEOUT_MS', async t => {
  const { url } = await start(t, { environment: { KEEP_ALIVE_TIMEOUT_MS: '50' } })
  const socket = await dial(t, url)
  socket.resume().write('GET /livez HTTP/1.1\r\nHost: x\r\n\r\n')
  await once(socket, 'close')
  t.pass('the service closed the connection')
  const { service } = await start(t)
  t.equal(service.app.server.keepAliveTimeout, 72_000)
})

/** Starts a proxy that connects to one address and records the targets of CONNECT. */
async function startProxy (t: Test, to: string): Promise<{ address: string, asked: string[] }> {
  const asked: string[] = []
  const server = createServer((_, response) => { response.writeHead(500).end() })
  server.on('connect', ({ url, headers }, socket, head) => {
    asked.push(`${url} ${headers['proxy-authorization'] ?? ''}`.trim())
    const [host, port] = to.split(':')
    const onward = connect(Number(port), host, () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
      onward.write(head)
      socket.pipe(onward).pipe(socket)
    })
    for (const each of [socket, onward]) each.on('error', () => { socket.destroy() })
    t.teardown(() => { onward.destroy() })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, asked }
}

t.test('PUT and GET reach COS through the proxy when HTTP_PROXY is set', async t => {
  const emulator = await startTestEmulator(t)
  const proxy = await startProxy(t, emulator.address)
  const password = 'pPaAsSsSwWoOrRdD'
  const variables = { COS_CONNECT_TO: '', HTTP_PROXY: `http://user:${password}@${proxy.address}` }
  const { call, logs } = await startTestService(t, emulator.address, variables)
  t.equal((await call('PUT', at('a'), configuration)).status, 204)
  t.equal((await call('GET', at('a'))).status, 200)
  const credentials = `Basic ${Buffer.from(`user:${password}`).toString('base64')}`
  t.strictSame(proxy.asked, [`${bucket}.cos.ap-guangzhou.myqcloud.com:80 ${credentials}`])
  t.notMatch(logs(), password)
  t.match((await call('GET', '/metrics')).text, 'cos_connections')

  const lower = await startTestService(t, emulator.address, { COS_CONNECT_TO: '', http_proxy: `http://${proxy.address}`, HTTP_PROXY: 'http://127.0.0.1:1' })
  t.equal((await lower.call('GET', at('a'))).status, 200, 'http_proxy takes precedence')
  t.equal(proxy.asked.length, 2)

  const direct = await startTestService(t, emulator.address, { HTTP_PROXY: 'http://127.0.0.1:1', HTTPS_PROXY: 'http://127.0.0.1:1' })
  t.equal((await direct.call('GET', at('a'))).status, 200, 'COS_CONNECT_TO takes precedence')

  const https = await startTestService(t, emulator.address, { COS_CONNECT_TO: '', COS_ENDPOINT: '{bucket}.{region}.localhost', HTTPS_PROXY: `http://${proxy.address}` })
  await https.call('GET', at('a'))
  t.equal(proxy.asked.length, 2, 'the proxy for HTTPS is not used for HTTP')

  const plain = await startTestService(t, emulator.address, { COS_CONNECT_TO: '', COS_SCHEME: 'https', COS_ENDPOINT: '{bucket}.{region}.localhost', HTTP_PROXY: `http://${proxy.address}` })
  await plain.call('GET', at('a'))
  t.equal(proxy.asked.length, 2, 'the proxy for HTTP is not used for HTTPS')

  for (const [url, reason] of [['http://127.0.0.1:1', 'ECONNREFUSED'], ['http://proxy.invalid:3128', 'ENOTFOUND|EAI_AGAIN']] as const) {
    const closed = await startTestService(t, emulator.address, { COS_CONNECT_TO: '', HTTP_PROXY: url, COS_MAX_ATTEMPTS: '2' })
    t.match((await closed.call('GET', at('a'))).json, { status: 502, code: 'UpstreamUnreachable', detail: new RegExp(`the proxy did not connect to .* \\((${reason})\\)`) })
    t.match(closed.logs(), '"attempts":2', 'the call is retried')
  }
  const unreachable = await startProxy(t, '127.0.0.1:1')
  const failing = await startTestService(t, emulator.address, { COS_CONNECT_TO: '', HTTP_PROXY: `http://${unreachable.address}` })
  t.match((await failing.call('GET', at('a'))).json, { status: 502, code: 'UpstreamUnreachable' })
  await until(() => unreachable.asked.length > 0)
})

t.test('GET returns 502 or 504 when the proxy rejects or stalls, then recovers', async t => {
  const emulator = await startTestEmulator(t)
  let isStalled = false
  const stalled: Duplex[] = []
  let asked = 0
  const server = createServer().on('connect', (_, socket: Duplex) => {
    asked += 1
    socket.on('error', () => {})
    if (isStalled) {
      stalled.push(socket)
      return
    }
    const onward = connect(Number(emulator.address.split(':')[1]), '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
      socket.pipe(onward).pipe(socket)
    }).on('error', () => {})
    t.teardown(() => { onward.destroy() })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const each of stalled) each.destroy()
    server.closeAllConnections()
    server.close()
  })
  const HTTP_PROXY = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const { call } = await startTestService(t, emulator.address, { COS_CONNECT_TO: '', HTTP_PROXY, COS_TIMEOUT_MS: '1000', COS_MAX_CONNECTIONS: '2' })
  isStalled = true
  const during = await Promise.all([call('GET', at('a')), call('GET', at('a'))])
  t.match(during.map(({ status }) => status), [/50[24]/, /50[24]/])
  isStalled = false
  t.equal((await call('GET', at('a'))).status, 404, 'the next request gets a new connection')
  t.equal(asked, 3)

  const rejecting = createServer().on('connect', (_, socket: Duplex) => { socket.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n') })
  rejecting.listen(0, '127.0.0.1')
  await once(rejecting, 'listening')
  t.teardown(() => rejecting.close())
  const rejected = await startTestService(t, emulator.address, { COS_CONNECT_TO: '', HTTP_PROXY: `http://127.0.0.1:${(rejecting.address() as AddressInfo).port}` })
  t.match((await rejected.call('GET', at('a'))).json, { code: 'UpstreamUnreachable', detail: /the proxy did not connect to .* \(407\)/ })
})

t.test('GET bypasses the proxy when NO_PROXY names the host', async t => {
  const emulator = await startTestEmulator(t)
  const proxy = await startProxy(t, emulator.address)
  for (const [except, count] of [['other.example', 1], ['cos.ap-guangzhou.localhost', 1], [`${bucket}.cos.ap-guangzhou.localhost`, 1], ['localhost', 1]] as const) {
    const variables = { COS_CONNECT_TO: '', COS_ENDPOINT: '{bucket}.cos.{region}.localhost', HTTP_PROXY: `http://${proxy.address}`, NO_PROXY: except }
    const { call } = await startTestService(t, emulator.address, variables)
    proxy.asked.length = 0
    await call('GET', at('a'))
    t.equal(proxy.asked.length, except === 'other.example' ? count : 0, except)
  }
})
