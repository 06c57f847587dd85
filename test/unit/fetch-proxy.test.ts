import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect } from 'node:net'
import type { AddressInfo } from 'node:net'
import t from 'tap'

t.test('fetchText uses the proxy of the environment unless the call is direct', async t => {
  const target = createServer((_, response) => { response.end('{"a":1}') }).listen(0, '127.0.0.1')
  const asked: string[] = []
  const proxy = createServer().on('connect', ({ url = '' }, socket) => {
    asked.push(url)
    const onward = connect((target.address() as AddressInfo).port, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
      socket.pipe(onward).pipe(socket)
    })
  }).listen(0, '127.0.0.1')
  await Promise.all([once(target, 'listening'), once(proxy, 'listening')])
  t.teardown(() => {
    for (const each of [target, proxy]) each.close().closeAllConnections()
  })
  // The agent reads the environment at the first call.
  process.env['HTTP_PROXY'] = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`
  const { fetchJson, fetchText } = await import('../../src/fetch-json.ts')
  t.strictSame(await fetchJson('http://issuer.example/keys'), { a: 1 })
  t.strictSame(asked, ['issuer.example:80'])
  const url = `http://127.0.0.1:${(target.address() as AddressInfo).port}/`
  t.equal(await fetchText(url, { isDirect: true }), '{"a":1}')
  t.equal(asked.length, 1)
})
