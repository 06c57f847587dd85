import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { createServer } from 'node:tls'
import { fileURLToPath } from 'node:url'
import { generate } from 'selfsigned'
import t from 'tap'
import { at, bucket, configuration, secrets, startTestEmulator } from '../start.ts'

const host = `${bucket}.cos.ap-guangzhou.myqcloud.com`

t.test('over TLS, COS_CONNECT_TO changes where the socket goes and nothing else', async t => {
  const emulator = await startTestEmulator(t)
  const { private: key, cert } = await generate([{ name: 'commonName', value: host }], {
    extensions: [{ name: 'subjectAltName', altNames: [{ type: 2, value: host }] }]
  })
  const names: unknown[] = []
  const gateway = createServer({ key, cert }, socket => {
    names.push(socket.servername)
    const upstream = connect(emulator.port, emulator.host)
    socket.pipe(upstream).pipe(socket)
    for (const each of [socket, upstream]) each.on('error', () => { socket.destroy() })
  })
  gateway.listen(0, '127.0.0.1')
  await once(gateway, 'listening')
  t.teardown(() => gateway.close())
  const ca = join(t.testdir({}), 'ca.pem')
  writeFileSync(ca, cert)

  const service = spawn(process.execPath, ['--import', 'tsx', fileURLToPath(new URL('../../src/server.ts', import.meta.url))], {
    env: {
      PATH: process.env['PATH'],
      NODE_EXTRA_CA_CERTS: ca,
      AUTH: 'none',
      PORT: '0',
      COS_SECRET_ID: secrets.secretId,
      COS_SECRET_KEY: secrets.secretKey,
      COS_TOKEN: secrets.token,
      COS_REGION: 'ap-guangzhou',
      COS_CONNECT_TO: `127.0.0.1:${(gateway.address() as AddressInfo).port}`
    },
    stdio: ['ignore', 'pipe', 'inherit']
  })
  t.teardown(() => service.kill())
  let url = ''
  for await (const line of createInterface(service.stdout)) {
    url = /Server listening at (http:[^"]+)/.exec(line)?.[1] ?? ''
    if (url !== '') break
  }
  service.stdout.resume()

  const headers = { 'content-type': 'application/json' }
  const put = await fetch(url + at('secure'), { method: 'PUT', headers, body: JSON.stringify(configuration) })
  t.equal(put.status, 204)
  const get = await fetch(url + at('secure'))
  t.strictSame(await get.json(), { Id: 'secure', ...configuration })
  t.ok(names.length > 0)
  t.ok(names.every(name => name === host), 'the TLS name is the bucket host')
  t.strictSame([...new Set(emulator.requests.map(each => each.host))], [host], 'and so is the Host that is signed')

  const exit = once(service, 'exit')
  service.kill('SIGTERM')
  t.strictSame(await exit, [0, null])
})
