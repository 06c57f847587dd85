import { strict as assert } from 'node:assert'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { RequestListener } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import fc from 'fast-check'
import t from 'tap'
import type { Test } from 'tap'
import { Agent, buildConnector } from 'undici'
import { createConnectionCache } from '../../src/cos/client/connection-cache.ts'
import { until } from '../start.ts'

/** Starts a server for any host, and an agent whose connections are cached. */
async function start (t: Test, maxIdle: number, respond: RequestListener = (_, response) => { response.end('done') }) {
  const hosts = new Map<Socket, string>()
  let accepted = 0
  const server = createServer((request, response) => {
    hosts.set(request.socket, String(request.headers.host))
    respond(request, response)
  })
  server.on('connection', (socket: Socket) => {
    accepted += 1
    socket.on('close', () => { hosts.delete(socket) })
  })
  server.keepAliveTimeout = 600_000
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const cache = createConnectionCache(maxIdle)
  const connect = buildConnector({})
  const agent = new Agent({
    factory: cache.createPool,
    connect: (target, callback) => { connect({ ...target, hostname: '127.0.0.1', port: String(port) }, callback) }
  })
  t.teardown(async () => {
    await agent.destroy()
    server.closeAllConnections()
    server.close()
  })
  return {
    cache,
    server,
    accepted: () => accepted,
    hosts: () => [...hosts.values()].sort(),
    async get (host: string): Promise<string> {
      const { body } = await agent.request({ origin: `http://${host}.test`, path: '/', method: 'GET' })
      return body.text()
    }
  }
}

t.test('the connection whose last request ended first is closed', async t => {
  const { cache, get, hosts, accepted } = await start(t, 2)
  for (const host of ['a', 'b', 'c', 'b', 'd']) t.equal(await get(host), 'done')
  await until(() => hosts().length === 2)
  t.strictSame(hosts(), ['b.test', 'd.test'])
  t.strictSame(cache.count(), { open: 2, busy: 0 })
  t.equal(accepted(), 4)
  await get('d')
  t.equal(accepted(), 4)
})

t.test('the hosts that were used last keep their connections', async t => {
  const maxIdle = 3
  const { cache, get, hosts } = await start(t, maxIdle)
  let used: string[] = []
  await fc.assert(fc.asyncProperty(fc.array(fc.constantFrom('a', 'b', 'c', 'd', 'e'), { maxLength: 12 }), async sequence => {
    for (const host of sequence) {
      await get(host)
      // The connection is free a moment after its response.
      await until(() => cache.count().busy === 0)
      used = [...used.filter(each => each !== host), host].slice(-maxIdle)
    }
    await until(() => hosts().length === used.length)
    assert.deepEqual(hosts(), used.map(host => `${host}.test`).sort())
  }), { numRuns: 100 })
})

t.test('connections with a request stay open beyond the limit', async t => {
  const waiting: Array<() => void> = []
  const { cache, get } = await start(t, 1, (_, response) => { waiting.push(() => response.end('done')) })
  const replies = ['a', 'a', 'b', 'c'].map(get)
  await until(() => waiting.length === 4)
  t.strictSame(cache.count(), { open: 4, busy: 4 })
  for (const respond of waiting) respond()
  t.strictSame(await Promise.all(replies), ['done', 'done', 'done', 'done'])
  await until(() => cache.count().open === 1)
  t.equal(cache.count().busy, 0)
})

t.test('limit of 0 keeps no connection, and requests in a queue still succeed', async t => {
  const { cache, get, accepted } = await start(t, 0)
  t.strictSame(await Promise.all(['a', 'a', 'a'].map(get)), ['done', 'done', 'done'])
  await until(() => cache.count().open === 0)
  t.equal(await get('a'), 'done')
  t.equal(accepted(), 4)
})

t.test('connection that the server closes is not counted', async t => {
  const { cache, get, server } = await start(t, 2)
  await get('a')
  t.equal(cache.count().open, 1)
  server.closeIdleConnections()
  await until(() => cache.count().open === 0)
  t.equal(await get('a'), 'done')
})
