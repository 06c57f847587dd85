import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { bucket, startTestEmulator } from '../start.ts'
import { dial, idleConnection, put, startGate, startService, untilClosing } from './started-service.ts'

t.test('SIGTERM lets a request in flight finish before the process exits', async t => {
  const emulator = await startTestEmulator(t)
  const page = (rest: string) =>
    `<ListInventoryConfigurationResult>${rest}</ListInventoryConfigurationResult>`
  for (const rest of [
    '<IsTruncated>true</IsTruncated><NextContinuationToken>next</NextContinuationToken>',
    '<IsTruncated>false</IsTruncated>'
  ]) {
    emulator.addFault({
      kind: 'raw', times: 1, status: 200, headers: { 'content-type': 'application/xml' }, body: page(rest)
    })
  }
  const gate = await startGate(t, emulator)
  const service = await startService(t, gate.address)

  // The client keeps the connection open, so only the service can close it.
  const socket = await dial(service)
  const response = text(socket)
  socket.write(`GET /buckets/${bucket}/inventories?all=true HTTP/1.1\r\nhost: x\r\n\r\n`)
  await gate.reached
  service.process.kill('SIGTERM')
  await untilClosing(service)
  gate.open()

  t.match(await response, /^HTTP\/1\.1 200 OK\r\n[^]*\r\nconnection: close\r\n[^]*\r\n\r\n\{"InventoryConfigurations":\[\],"IsTruncated":false\}$/)
  t.equal(await service.exit, 0)
  t.equal(emulator.requests.length, 2, 'later calls to COS are still made')
  t.notMatch(service.stdout(), /were aborted/)
})

t.test('SIGTERM closes idle connections without delay', async t => {
  const service = await startService(t, '127.0.0.1:1')
  const [unused, used] = [await dial(service), await dial(service)]
  const ends = [text(unused), text(used)]
  used.write('GET /livez HTTP/1.1\r\nhost: x\r\n\r\n')
  await once(used, 'readable')
  service.process.kill('SIGTERM')
  t.equal(await service.exit, 0)
  t.notMatch(service.stdout(), /were aborted/)
  t.match(await Promise.all(ends), ['', /^HTTP\/1\.1 200 OK\r\n/])
})

t.test('first request of an open connection gets 503 after SIGTERM', async t => {
  const service = await startService(t, '127.0.0.1:1')
  const idle = await idleConnection(service)
  const socket = await dial(service)
  const response = text(socket)
  service.process.kill('SIGTERM')
  await idle.ended
  // From version 26, Node closes connections without a request when a server closes.
  const closedByNode = Number(process.versions.node.split('.', 1)[0]) >= 26
  if (!closedByNode) socket.write('GET /livez HTTP/1.1\r\nhost: x\r\n\r\n')
  const received = (await response).replace(/^HTTP\/1\.1 503 .*"code":"ShuttingDown".*$/s, 'ShuttingDown')
  t.equal(received, closedByNode ? '' : 'ShuttingDown')
  t.equal(await service.exit, 0)
})

t.test('/readyz returns 503 during SHUTDOWN_DELAY_MS while other requests are served', async t => {
  const emulator = await startTestEmulator(t)
  const service = await startService(t, emulator.address, { SHUTDOWN_DELAY_MS: '2000' })
  const signalledAt = performance.now()
  service.process.kill('SIGTERM')
  await service.until(/"msg":"stopping"/)

  const ready = await fetch(`${service.url}/readyz`)
  t.strictSame([ready.status, ready.headers.get('content-type')], [503, 'application/problem+json'])
  t.match(await ready.json(), { status: 503, code: 'ShuttingDown' })
  t.equal((await fetch(`${service.url}/livez`)).status, 200)
  t.equal((await put(service, 'daily')).status, 204)
  t.equal(await service.exit, 0)
  // Timers of another process may be slightly ahead of this clock.
  t.ok(performance.now() - signalledAt > 1900, 'the process waited for the delay')
})
