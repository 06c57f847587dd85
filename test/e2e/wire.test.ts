import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { createServer as createTlsServer } from 'node:tls'
import { generate } from 'selfsigned'
import t from 'tap'
import { at, bucket, configuration, secrets, startTestEmulator } from '../start.ts'
import { startService } from './started-service.ts'

const bucketHost = `${bucket}.cos.ap-guangzhou.myqcloud.com`

t.test('output and responses contain no secret or signature at LOG_LEVEL=trace', async t => {
  const emulator = await startTestEmulator(t)
  const service = await startService(t, emulator.address, { LOG_LEVEL: 'trace' })
  // Only the call without a response from COS needs a short timeout.
  const withShortTimeout = await startService(t, emulator.address, { LOG_LEVEL: 'trace', COS_TIMEOUT_MS: '500' })
  const headers = { authorization: 'Bearer cCaAlLlLeErRkKeEyY', 'content-type': 'application/json' }
  let received = ''
  const exchange = async (method: 'GET' | 'PUT', { url } = service) => {
    const body = method === 'PUT' ? JSON.stringify(configuration) : null
    const response = await fetch(`${url}${at('daily')}`, { method, headers, body })
    received += JSON.stringify([...response.headers]) + await response.text()
    return response.status
  }

  t.equal(await exchange('PUT'), 204)
  t.equal(await exchange('GET'), 200)
  for (const kind of ['garbage', 'hang', 'reset', 'reset-mid-answer', 'cut'] as const) {
    emulator.addFault({ kind, times: 3 })
    t.ok(await exchange('GET', kind === 'hang' ? withShortTimeout : service) >= 502, kind)
    emulator.clearFaults()
  }
  emulator.setCredentials([{ secretId: secrets.secretId, secretKey: 'another' }])
  t.equal(await exchange('PUT'), 502)

  const services = [service, withShortTimeout]
  for (const each of services) each.process.kill('SIGTERM')
  t.strictSame(await Promise.all(services.map(each => each.exit)), [0, 0])
  const output = services.map(each => each.stdout() + each.stderr()).join('')
  t.match(service.stdout(), /COS responded/, 'attempts were logged')
  t.match(withShortTimeout.stdout(), /COS did not respond/, 'attempts without a response were logged')
  for (const secret of [
    secrets.secretKey, secrets.token, 'q-signature', 'q-sign-algorithm', 'StringToSign', 'cCaAlLlLeErRkKeEyY'
  ]) {
    t.notOk(output.includes(secret), `${secret} is not in the output`)
    t.notOk(received.includes(secret), `${secret} is not in a response`)
  }
})

t.test('COS_CONNECT_TO changes only the address of the connection over TLS', async t => {
  const emulator = await startTestEmulator(t)
  const { private: key, cert } = await generate([{ name: 'commonName', value: bucketHost }], {
    extensions: [{ name: 'subjectAltName', altNames: [{ type: 2, value: bucketHost }] }]
  })
  const names: unknown[] = []
  const gateway = createTlsServer({ key, cert }, socket => {
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

  const gatewayAddress = `127.0.0.1:${(gateway.address() as AddressInfo).port}`
  const { url } = await startService(t, gatewayAddress, { NODE_EXTRA_CA_CERTS: ca, COS_SCHEME: 'https' })

  const headers = { 'content-type': 'application/json' }
  const put = await fetch(url + at('secure'), { method: 'PUT', headers, body: JSON.stringify(configuration) })
  t.equal(put.status, 204)
  const get = await fetch(url + at('secure'))
  t.strictSame(await get.json(), { Id: 'secure', ...configuration })
  t.ok(names.length > 0)
  t.ok(names.every(name => name === bucketHost), 'the TLS name is the bucket host')
  t.strictSame([...new Set(emulator.requests.map(each => each.host))], [bucketHost], 'the signed Host is the bucket host')
})
