import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import { pino } from 'pino'
import { generate } from 'selfsigned'
import t from 'tap'
import { readConfig } from '../../src/config/config.ts'
import { createAddressBook, inventoryTarget, serviceAddress, serviceTarget } from '../../src/cos/client/endpoints.ts'
import { Secret } from '../../src/secret.ts'
import { maxListBytes, successes } from '../../src/cos/operations.ts'
import { createTransport } from '../../src/cos/client/transport.ts'
import { attemptMs, controlTime, longTimeouts } from '../doubles/time.ts'
import { at, bucket, configuration, secrets, start, startTestEmulator, startTestService, until } from '../start.ts'
import type { Test } from '../start.ts'

/** Starts a server that passes every connection to `serve`, and returns its address. */
async function startRawServer (
  t: Test, serve: (socket: Socket) => void, server: Server = createServer(serve)
): Promise<string> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}

const collection = `/buckets/${bucket}/inventories`

/** Counts the bytes of response bodies that arrive from COS. */
function receivedFromCos (t: Test): { bytes: number } {
  const received = { bytes: 0 }
  const onChunk = (message: unknown) => {
    const { request, chunk } = message as { request: { origin: string }, chunk: Buffer }
    if (String(request.origin).includes('.cos.')) received.bytes += chunk.length
  }
  subscribe('undici:request:bodyChunkReceived', onChunk)
  t.teardown(() => unsubscribe('undici:request:bodyChunkReceived', onChunk))
  return received
}

t.test('the transport sends only inventory calls to buckets and GET Service to its host', async t => {
  const emulator = await startTestEmulator(t)
  const { cos } = readConfig({
    AUTH: 'none',
    COS_SECRET_ID: secrets.secretId,
    COS_SECRET_KEY: secrets.secretKey,
    COS_TOKEN: secrets.token,
    COS_SCHEME: 'http',
    COS_CONNECT_TO: emulator.address,
    COS_REGION: 'ap-guangzhou'
  })
  const transport = createTransport(cos, { now: Date.now, clock: Date, userAgent: 'test', maxStreams: undefined })
  t.teardown(() => transport.close())
  const bucketAddress = createAddressBook(cos)(bucket, undefined)
  const send = (method: 'PUT' | 'DELETE' | 'GET', target: string, leftMs = 1000, address = bucketAddress) => transport.send({
    method,
    target,
    address,
    credentials: {
      secretId: secrets.secretId,
      secretKey: new Secret(secrets.secretKey),
      token: new Secret(secrets.token)
    },
    number: 1,
    traceHeaders: {},
    success: successes.ListBucketInventory,
    deadlineAt: Date.now() + leftMs,
    log: pino({ level: 'silent' })
  })
  for (const target of ['/', '/?', '/object', '/?acl', '/?id=a&inventory', '/?inventory&id=', '/?inventory&id=a&acl', '/object?inventory']) {
    for (const method of ['PUT', 'DELETE', 'GET'] as const) {
      await t.rejects(send(method, target), { message: /not an inventory call/ }, `${method} ${target}`)
    }
  }
  await t.rejects(send('GET', serviceTarget()), { message: /not an inventory call/ })
  const service = serviceAddress(cos)
  for (const [method, target] of [
    ['GET', inventoryTarget({})], ['PUT', inventoryTarget({ id: 'a' })], ['PUT', serviceTarget()], ['DELETE', serviceTarget()], ['GET', '/']
  ] as const) {
    await t.rejects(send(method, target, 1000, service), { message: /not GET Service/ }, `${method} ${target}`)
  }
  t.strictSame(emulator.requests, [], 'no request was sent')
  t.equal(emulator.connections, 0)
  t.equal((await send('GET', '/?inventory')).status, 200)
  await t.rejects(send('GET', '/?inventory', -1), { code: 'UpstreamTimeout' }, 'no request is sent after the deadline')
  t.equal(emulator.requests.length, 1)
})

t.test('a call is never sent on a late connection when it was reported as not sent', async t => {
  const emulator = await startTestEmulator(t)
  const { cos } = readConfig({
    AUTH: 'none',
    COS_SECRET_ID: secrets.secretId,
    COS_SECRET_KEY: secrets.secretKey,
    COS_TOKEN: secrets.token,
    COS_SCHEME: 'http',
    COS_CONNECT_TO: emulator.address,
    COS_REGION: 'ap-guangzhou',
    COS_MAX_CONNECTIONS: '1'
  })
  const transport = createTransport(cos, { now: Date.now, clock: Date, userAgent: 'test', maxStreams: undefined })
  t.teardown(() => transport.close())
  const send = (method: 'PUT' | 'GET', leftMs: number) => transport.send({
    method,
    target: '/?inventory&id=a',
    address: createAddressBook(cos)(bucket, undefined),
    credentials: {
      secretId: secrets.secretId, secretKey: new Secret(secrets.secretKey), token: new Secret(secrets.token)
    },
    number: 1,
    traceHeaders: {},
    success: method === 'GET' ? successes.GetBucketInventory : successes.PutBucketInventory,
    deadlineAt: Date.now() + leftMs,
    log: pino({ level: 'silent' })
  })
  emulator.addFault({ kind: 'hang', times: 1 })
  const first = t.rejects(send('GET', 400), { code: 'UpstreamTimeout', wasSent: true })
  await t.rejects(send('PUT', 100), { code: 'UpstreamTimeout', wasSent: false })
  const third = send('GET', 10_000)
  await first
  t.equal((await third).status, 404)
  t.strictSame(emulator.requests.map(({ method }) => method), ['GET', 'GET'])
})

t.test('signatures cover host, token, content headers and parameters for 16 minutes', async t => {
  const { call, emulator } = await start(t)
  await call('PUT', at('a'), configuration)
  await call('GET', at('a'))
  await call('GET', `${collection}?continuation-token=a%2Bb`)
  const signed = emulator.requests.map(({ headers }) => new URLSearchParams(headers['authorization']))
  t.strictSame(signed.map(each => each.get('q-header-list')), [
    'content-length;content-md5;content-type;host;x-cos-security-token', 'host;x-cos-security-token', 'host;x-cos-security-token'
  ], 'a bucket with strict signature rules accepts the request')
  t.strictSame(signed.map(each => each.get('q-url-param-list')), ['id;inventory', 'id;inventory', 'continuation-token;inventory'])
  for (const each of signed) {
    const [from = 0, until = 0] = each.get('q-sign-time')?.split(';').map(Number) ?? []
    t.equal(until - from, 960)
    t.ok(Math.abs(Date.now() / 1000 - 60 - from) < 5)
    t.equal(each.get('q-key-time'), each.get('q-sign-time'))
  }
  t.strictSame(emulator.requests.map(({ headers }) => headers['content-type']), ['application/xml', undefined, undefined])
})

t.test('a hundred sequential requests use one connection', async t => {
  const { call, emulator } = await start(t)
  await call('PUT', at('a'), configuration)
  for (let count = 0; count < 100; count++) t.equal((await call('GET', at('a'))).status, 200)
  t.equal(emulator.connections, 1)
})

t.test('600 concurrent pairs of PUT and GET succeed within COS_MAX_CONNECTIONS', async t => {
  const { call, emulator } = await start(t, { environment: { COS_MAX_CONNECTIONS: '8', COS_TIMEOUT_MS: '15000' } })
  const pairs = await Promise.all(Array.from({ length: 600 }, async (_, index) => {
    const body = { ...configuration, Filter: { Prefix: `p-${index}` } }
    const put = await call('PUT', at(`id-${index}`), body)
    const get = await call('GET', at(`id-${index}`))
    return put.status === 204 && get.status === 200 && JSON.stringify(get.json.Filter) === JSON.stringify(body.Filter)
  }))
  t.equal(pairs.filter(right => right).length, 600)
  t.ok(emulator.connections <= 8, `${emulator.connections} connections`)
})

t.test('GET returns 504 when COS never responds, responds late or sends a slow body', async t => {
  const time = controlTime(t)
  const { call, emulator } = await start(t, { environment: longTimeouts })
  await call('PUT', at('a'), configuration)
  const received = receivedFromCos(t)
  for (const fault of [{ kind: 'hang' }, { kind: 'drip', ms: 20 }, { kind: 'latency', ms: 5000 }] as const) {
    emulator.addFault(fault)
    emulator.requests.length = 0
    received.bytes = 0
    const response = call('GET', at('a'))
    await until(() => emulator.requests.length === 1 && (fault.kind !== 'drip' || received.bytes > 3))
    time.expire(attemptMs)
    t.match((await response).json, { status: 504, code: 'UpstreamTimeout' }, fault.kind)
    emulator.clearFaults()
  }
  t.equal((await call('GET', at('a'))).status, 200)
})

t.test('GET with all=true returns 504 when its pages take longer than the deadline', async t => {
  const time = controlTime(t)
  const { call, emulator } = await start(t, { environment: { COS_TIMEOUT_MS: '200000', COS_DEADLINE_MS: '250000' } })
  let token = 0
  const page = () => `<ListInventoryConfigurationResult><IsTruncated>true</IsTruncated><NextContinuationToken>t${token++}` +
    '</NextContinuationToken></ListInventoryConfigurationResult>'
  for (let count = 0; count < 40; count++) emulator.addFault({ kind: 'raw', status: 200, body: page(), times: 1 })
  const onRequest = () => { time.pass(100_000) }
  subscribe('undici:client:sendHeaders', onRequest)
  t.teardown(() => unsubscribe('undici:client:sendHeaders', onRequest))
  t.match((await call('GET', `${collection}?all=true`)).json, { status: 504, code: 'UpstreamTimeout' })
  t.equal(emulator.requests.length, 3, 'no page is requested after the deadline')
})

t.test('GET returns 504 when a server accepts the connection and sends no byte', async t => {
  const time = controlTime(t)
  let isConnected = false
  const { call } = await startTestService(t, await startRawServer(t, () => { isConnected = true }), longTimeouts)
  const response = call('GET', at('a'))
  await until(() => isConnected)
  time.expire(attemptMs)
  t.match((await response).json, { status: 504, code: 'UpstreamTimeout' })
})

t.test('GET and DELETE return 502 when a response is truncated or malformed', async t => {
  const { call, emulator } = await start(t)
  await call('PUT', at('a'), configuration)
  for (const fault of [{ kind: 'cut' }, { kind: 'cut', bytes: 0 }, { kind: 'reset' }, { kind: 'reset-mid-answer' }] as const) {
    emulator.addFault({ ...fault, times: 1 })
    t.match((await call('GET', at('a'))).json, { status: 502, code: 'UpstreamUnreachable' }, fault.kind)
    emulator.addFault({ ...fault, times: 1, after: 'effect' })
    t.match((await call('DELETE', at('a'))).json, { status: 502, code: 'UpstreamUnreachable' }, fault.kind)
    await call('PUT', at('a'), configuration)
  }
  t.equal((await call('GET', at('a'))).status, 200)

  const body = '<InventoryConfiguration><Id>a</Id></InventoryConfiguration>'
  const responses: Array<[string, string, object]> = [
    ['no length, truncated', `\r\n${body.slice(0, -1)}`, { status: 502, code: 'UpstreamInvalidResponse' }],
    ['no length, complete', `\r\n${body}`, { Id: 'a' }],
    ['chunked, no end', `transfer-encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n`, { code: 'UpstreamUnreachable' }],
    ['length too long', `content-length: ${body.length + 1}\r\n\r\n${body}`, { code: 'UpstreamUnreachable' }],
    ['not HTTP', '', { status: 502, code: 'UpstreamInvalidResponse' }],
    ['request id not ASCII', `x-cos-request-id: r\u00e9\r\n\r\n${body}`, { Id: 'a' }],
    ['two request ids', `x-cos-request-id: a\r\nx-cos-request-id: b\r\n\r\n${body}`, { Id: 'a' }]
  ]
  for (const [name, response, expected] of responses) {
    const address = await startRawServer(t, socket => {
      socket.once('data', () => { socket.end(response === '' ? 'SSH-2.0-x\r\n' : Buffer.from(`HTTP/1.1 200 OK\r\n${response}`, 'latin1')) })
    })
    const { call } = await startTestService(t, address)
    t.match((await call('GET', at('a'))).json, expected, name)
  }
  const huge = await startRawServer(t, socket => {
    socket.once('data', () => { socket.end(`HTTP/1.1 200 OK\r\nbig: ${'x'.repeat(100_000)}\r\n\r\n`) })
  })
  t.match((await (await startTestService(t, huge)).call('GET', at('a'))).json, { status: 502, code: 'UpstreamInvalidResponse' })
})

t.test('GET returns 502 for an endless list, and 200 for 1,000 large configurations', async t => {
  const { call, emulator } = await start(t)
  const received = receivedFromCos(t)
  emulator.addFault({ kind: 'raw', status: 200, body: 'x'.repeat(1024 * 1024), repeat: 300, times: 1 })
  t.match((await call('GET', collection)).json, { status: 502, code: 'UpstreamInvalidResponse', detail: /larger/ })
  t.ok(received.bytes > maxListBytes && received.bytes < 2 * maxListBytes, `${received.bytes} bytes were read`)

  const tags = '<Tag><Key>some-longer-key</Key><Value>some longer value of a tag</Value></Tag>'.repeat(60)
  const rich = Array.from({ length: 1000 }, (_, index) => `<InventoryConfiguration><Id>${index}</Id><Filter><And>${tags}</And></Filter>` +
    '</InventoryConfiguration>').join('')
  const body = `<ListInventoryConfigurationResult>${rich}<IsTruncated>false</IsTruncated></ListInventoryConfigurationResult>`
  t.ok(body.length > maxListBytes / 2)
  emulator.addFault({ kind: 'raw', status: 200, body, times: 1 })
  t.equal((await call('GET', collection)).json.InventoryConfigurations.length, 1000)
  t.equal((await call('GET', collection)).status, 200)
})

t.test('PUT returns 502 when COS redirects', async t => {
  const { call, emulator } = await start(t)
  for (const status of [301, 302, 303, 307, 308]) {
    emulator.addFault({ kind: 'raw', status, headers: { location: `http://${emulator.address}/` }, times: 1 })
    t.match((await call('PUT', at('a'), configuration)).json, { status: 502, code: 'UpstreamInvalidResponse' })
  }
  t.equal(emulator.requests.length, 5)
})

t.test('TLS names and verifies the bucket host when COS_CONNECT_TO is set', async t => {
  const { private: key, cert } = await generate([{ name: 'commonName', value: 'stranger.example' }])
  const names: unknown[] = []
  const server = createTlsServer({
    key,
    cert,
    SNICallback: (name, done) => {
      names.push(name)
      done(null)
    }
  })
  server.on('tlsClientError', () => {})
  const address = await startRawServer(t, () => {}, server)
  const { call } = await startTestService(t, address, { COS_SCHEME: 'https' })
  t.match((await call('GET', at('a'))).json, { status: 502, code: 'UpstreamUnreachable', detail: /DEPTH_ZERO_SELF_SIGNED_CERT/ })
  t.strictSame(names, [`${bucket}.cos.ap-guangzhou.myqcloud.com`])
})

t.test('responses, logs and URLs contain no secret, signature or token', async t => {
  const { call, emulator, logs } = await start(t)
  const responses = [await call('PUT', at('a'), configuration), await call('GET', at('a')), await call('GET', collection)]
  emulator.setCredentials([{ ...secrets, secretKey: 'anotherKey' }])
  responses.push(await call('GET', at('a')))
  emulator.addFault({ kind: 'garbage', times: 1 })
  responses.push(await call('GET', at('a')))
  const output = JSON.stringify(responses) + logs() + emulator.requests.map(({ target }) => target).join()
  t.match(emulator.requests[0]?.headers['authorization'], /q-signature=[0-9a-f]{40}$/)
  for (const { headers } of emulator.requests) {
    const signature = /q-signature=(.*)$/.exec(headers['authorization'] ?? '')?.[1] ?? ''
    t.notMatch(output, signature)
  }
  for (const secret of [secrets.secretKey, secrets.token, secrets.secretId]) t.notOk(output.includes(secret))
})

t.test('GET is retried when COS sends an unexpected 100 Continue', async t => {
  const body = '<InventoryConfiguration><Id>a</Id></InventoryConfiguration>'
  const whole = `HTTP/1.1 200 OK\r\nx-cos-request-id: r\r\ncontent-length: ${body.length}\r\n\r\n${body}`
  let interim = 'HTTP/1.1 100 Continue\r\n\r\n'
  let connections = 0
  const address = await startRawServer(t, socket => {
    connections += 1
    socket.on('data', () => {
      socket.write(interim + whole)
      if (interim.includes('100')) interim = ''
    })
  })
  const retrying = await startTestService(t, address, { COS_MAX_ATTEMPTS: '2' })
  t.match(await retrying.call('GET', at('a')), { status: 200, json: { Id: 'a' } })
  t.equal(connections, 2)
  interim = 'HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n'
  const { call } = await startTestService(t, address)
  t.match(await call('GET', at('a')), { status: 200, json: { Id: 'a' } }, 'another interim response is ignored')
  interim = 'HTTP/1.1 100 Continue\r\n\r\n'
  t.match((await call('GET', at('a'))).json, { status: 502, code: 'UpstreamUnreachable' })
})
