import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect } from 'node:net'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import t from 'tap'
import { request } from 'undici'
import { createFetcher } from '../../src/outbound/fetch-json.ts'
import { createProxiedAgent } from '../../src/outbound/proxied-agent.ts'
import { Secret } from '../../src/secret.ts'

t.test('fetchText uses the proxy of the scheme', async t => {
  const target = createServer((_, response) => { response.end('{"a":1}') }).listen(0, '127.0.0.1')
  const requested: string[] = []
  const proxy = createServer().on('connect', ({ url = '' }, socket) => {
    requested.push(url)
    const onward = connect((target.address() as AddressInfo).port, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
      socket.pipe(onward).pipe(socket)
    })
  }).listen(0, '127.0.0.1')
  await Promise.all([once(target, 'listening'), once(proxy, 'listening')])
  t.teardown(() => {
    for (const each of [target, proxy]) each.close().closeAllConnections()
  })
  const url = new Secret(`http://127.0.0.1:${(proxy.address() as AddressInfo).port}`)
  const { fetchJson } = createFetcher({ http: { url, except: 'direct.localhost' }, https: undefined })
  t.strictSame(await fetchJson('http://issuer.example/keys'), { a: 1 })
  t.strictSame(requested, ['issuer.example:80'])
  const local = `http://127.0.0.1:${(target.address() as AddressInfo).port}/`
  t.equal(await createFetcher({ http: undefined, https: { url, except: '' } }).fetchText(local), '{"a":1}', 'the proxy for HTTPS is not used')
  t.equal(await createFetcher({ http: { url, except: '127.0.0.1' }, https: undefined }).fetchText(local), '{"a":1}', 'NO_PROXY')
  t.equal(await createFetcher({ http: undefined, https: undefined }).fetchText(local), '{"a":1}')
  t.equal(requested.length, 1)
  const closed = createFetcher({ http: undefined, https: { url: new Secret('http://127.0.0.1:1'), except: '' } })
  await t.rejects(closed.fetchText('https://issuer.example/keys'), { name: 'FetchError', message: 'issuer.example did not respond (ECONNREFUSED)' })
})

for (const [kind, response] of [['never responds', ''], ['responds too late', 'HTTP/1.1 200 OK\r\n\r\n']] as const) {
  t.test(`connection attempt closes its connection when the proxy ${kind}`, async t => {
    const proxy = createServer().listen(0, '127.0.0.1')
    const sockets: Duplex[] = []
    const ends: Array<Promise<unknown>> = []
    proxy.on('connect', (_, socket) => {
      sockets.push(socket)
      ends.push(once(socket, 'end'))
      socket.resume().on('end', () => { socket.end() })
    })
    await once(proxy, 'listening')
    t.teardown(() => { proxy.close() })
    const url = new Secret(`http://127.0.0.1:${(proxy.address() as AddressInfo).port}`)
    const agent = createProxiedAgent({ url, except: '' }, 300, {})
    await t.rejects(request('http://target.example/', { dispatcher: agent }), { name: 'ProxyError', code: 'TIMEOUT' })
    for (const socket of sockets) socket.write(response)
    await Promise.all(ends)
    t.equal(ends.length, 1)
  })
}
