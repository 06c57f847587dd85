import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import type { Server } from 'node:http'
import { type Socket, connect } from 'node:net'
import t from 'tap'
import { createJournal } from '../../src/emulator/journal.ts'
import type { Emulator, Fault, ReceivedRequest } from '../../src/emulator/server.ts'
import { until } from '../start.ts'
import { type Sent, bucketHost, exchange, errorOf, send, startForTest, toHead, toPut } from './client.ts'

const mebibyte = 1024 * 1024
const list: Sent = { target: '/?inventory' }

/** An unsigned PUT of 1 MiB. */
function largePut (id: string): Sent {
  return { ...toPut(id, Buffer.alloc(mebibyte, 'x')), credential: null }
}

function sizeOfBodies ({ requests }: Pick<Emulator, 'requests'>): number {
  return requests.reduce((sum, { body }) => sum + body.length, 0)
}

t.test('journal keeps at most 16 MiB when unsigned clients send large bodies', async t => {
  const emulator = await startForTest(t)
  // The sum exceeds 64 MiB, so this fails unless each body is released with its request.
  for (let sent = 0; sent < 70; sent += 1) {
    t.strictSame(errorOf(await send(emulator, largePut(String(sent)))), [403, 'AccessDenied'])
  }
  t.ok(sizeOfBodies(emulator) <= 16 * mebibyte)
  t.ok(sizeOfBodies(emulator) >= 15 * mebibyte)
  t.equal(emulator.requests.at(-1)?.target, '/?inventory&id=69')
  emulator.requests.length = 0
  await send(emulator, largePut('after'))
  t.strictSame([emulator.requests.length, sizeOfBodies(emulator)], [1, mebibyte], 'a user has emptied the journal')
})

t.test('journal counts tiny headers and ignores the body of a dropped request', async t => {
  const toRequest = (headers: Record<string, string>): ReceivedRequest =>
    ({ method: 'GET', target: '/', host: '', headers, body: '', operation: 'Unknown', status: 0 })
  const headers = Object.fromEntries(Array.from({ length: 2000 }, (_, index) => [index.toString(36), '']))
  const journal = createJournal()
  const first = toRequest({})
  journal.add(first)
  for (let added = 0; added < 500; added += 1) journal.add(toRequest(headers))
  t.ok(journal.requests.length < 150, `${journal.requests.length} of 500 requests are kept`)
  journal.setBody(first, 'x'.repeat(mebibyte))
  t.equal(first.body, '')
})

t.test('emulator responds 503 when request bodies in flight exceed 64 MiB', async t => {
  const emulator = await startForTest(t)
  emulator.addFault({ kind: 'latency', ms: 3_600_000, times: 63 })
  for (let sent = 0; sent < 63; sent += 1) send(emulator, largePut(String(sent))).catch(() => {})
  await until(() => emulator.faults().length === 0)
  t.strictSame(errorOf(await send(emulator, largePut('64'))), [503, 'ServiceUnavailable'])
  t.equal(emulator.requests.at(-1)?.status, 503)
  const fault = await send(emulator, {
    ...largePut('a'), method: 'POST', target: '/_emulator/faults', host: 'localhost', headers: { 'Content-Type': 'application/json' }
  })
  t.equal(fault.status, 503)
  t.equal((await send(emulator, list)).status, 200)
})

t.test('fault queue rejects a fault when it has 10,000 faults or 16 MiB', async t => {
  const emulator = await startForTest(t)
  const full = { name: 'RangeError', message: 'the queue of faults is full; clear it first' }
  for (let added = 0; added < 10_000; added += 1) emulator.addFault({ kind: 'hang' })
  t.throws(() => emulator.addFault({ kind: 'hang' }), full)
  const { status, body } = await send(emulator, {
    method: 'POST',
    target: '/_emulator/faults',
    host: 'localhost',
    credential: null,
    headers: { 'Content-Type': 'application/json' },
    body: '{"kind":"hang"}'
  })
  t.strictSame([status, JSON.parse(body)], [409, { errors: [full.message] }])
  emulator.clearFaults()
  const large: Fault = { kind: 'raw', status: 200, body: 'x'.repeat(mebibyte) }
  for (let added = 0; added < 15; added += 1) emulator.addFault(large)
  t.throws(() => emulator.addFault(large), full)
})

t.test('emulator rejects a duplicate Host after 2,000 other headers', async t => {
  const emulator = await startForTest(t)
  const host = `Host: ${bucketHost}\r\n`
  const head = `GET /?inventory HTTP/1.1\r\n${host}${'a:\r\n'.repeat(2100)}${host}Connection: close\r\n\r\n`
  t.match(await exchange(emulator, head), /<Code>InvalidRequest</)
})

t.test('emulator accepts at most 4,096 connections', async t => {
  const emulator = await startForTest(t)
  const servers: Server[] = []
  const onRequest = (message: unknown) => { servers.push((message as { server: Server }).server) }
  subscribe('http.server.request.start', onRequest)
  t.teardown(() => unsubscribe('http.server.request.start', onRequest))
  await send(emulator, list)
  t.strictSame(servers.map(({ maxConnections }) => maxConnections), [4096])
})

t.test('emulator closes a connection whose client keeps its own side open', async t => {
  const emulator = await startForTest(t)
  const accepted: Socket[] = []
  const onSocket = (message: unknown) => { accepted.push((message as { socket: Socket }).socket) }
  subscribe('net.server.socket', onSocket)
  t.teardown(() => unsubscribe('net.server.socket', onSocket))
  const cases: Array<[string, Fault | undefined]> = [
    ['what is this\r\n\r\n', undefined],
    [toHead(list), { kind: 'cut', times: 1 }],
    [toHead(list), { kind: 'drip', ms: 0, times: 1 }]
  ]
  for (const [bytes, fault] of cases) {
    if (fault !== undefined) emulator.addFault(fault)
    const client = connect({ port: emulator.port, host: emulator.host, allowHalfOpen: true })
    t.teardown(() => client.destroy())
    client.write(bytes)
    await once(client.resume(), 'end')
    const socket = accepted.at(-1) as Socket
    if (!socket.closed) await once(socket, 'close')
    t.ok(socket.closed, fault?.kind ?? 'not HTTP')
  }
})
