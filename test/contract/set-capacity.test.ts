import { once } from 'node:events'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { startGated } from '../doubles/gate.ts'
import { bucket, configuration, until } from '../start.ts'
import type { Running, Test } from '../start.ts'

const collection = `/buckets/${bucket}/inventories`
const MiB = 1024 * 1024
const overloaded = {
  status: 503,
  headers: { 'retry-after': '1', connection: 'close' },
  json: { code: 'Overloaded', detail: /Nothing was sent to COS\. Retry in 1 s\./ }
}

/** A set of one configuration in a body of this many bytes. */
const setOf = (id: string, bytes: number) =>
  JSON.stringify({ InventoryConfigurations: [{ ...configuration, Id: id }] }).padEnd(bytes)
const isAdmitted = async ({ call }: Running) => (await call('PUT', collection, '{}')).status === 400

t.test('PUT of a set returns 503 when 8 MiB of sets are in progress, /livez returns 200', async t => {
  const { gate, call, emulator } = await startGated(t)
  gate.holds = () => true
  const statuses: number[] = []
  const sets = Array.from({ length: 30 }, async (_, index) => {
    const response = await call('PUT', collection, setOf(`id-${index}`, 0.8 * MiB))
    statuses.push(response.status)
    return response
  })
  await until(() => statuses.length === 20)
  t.strictSame(new Set(statuses), new Set([503]), 'ten are admitted')
  t.equal((await call('GET', '/livez')).status, 200)
  t.equal(statuses.length, 20)
  await until(() => gate.held.length === 1)
  gate.open()
  const responses = await Promise.all(sets)
  const [admitted, rejected] = [200, 503].map(status => responses.filter(each => each.status === status))
  t.equal(admitted?.length, 10)
  t.match(rejected, Array(20).fill(overloaded))
  t.equal(emulator.configurations(bucket).length, 10)
  t.equal((await call('PUT', collection, setOf('later', MiB))).status, 200)
})

t.test('PUT of a set is admitted again when callers disconnect', async t => {
  const running = await startGated(t)
  const { gate, call, url, emulator } = running
  gate.holds = () => true
  const head = (more: string) => `PUT ${collection} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n${more}\r\n\r\n`
  const whole = head(`Content-Length: ${MiB}`) + setOf('a', MiB)
  // One waits for COS, six for the lock of the bucket, and one body is incomplete.
  const sockets: Socket[] = []
  for (const bytes of [...Array(7).fill(whole), whole.slice(0, MiB / 2)]) sockets.push(await dial(t, url, bytes))
  await until(async () => !await isAdmitted(running))
  t.match(await call('PUT', collection, '{}'), overloaded)
  const expectant = await dial(t, url, head('Content-Length: 2\r\nExpect: 100-continue'))
  t.match(await text(expectant), /^HTTP\/1\.1 503 /, 'the body is not requested')
  await until(() => gate.held.length === 1)
  for (const index of [7, 3]) {
    sockets[index]?.destroy()
    await until(() => isAdmitted(running))
    sockets[index] = await dial(t, url, head('Transfer-Encoding: chunked'))
    await until(async () => !await isAdmitted(running))
    t.pass('a body of unknown length counts as the largest')
  }
  t.equal((await call('GET', '/livez')).status, 200)
  t.strictSame(emulator.requests, [], 'no waiting set was sent')
  for (const socket of sockets) socket.destroy()
  gate.open()
  await until(() => isAdmitted(running))
  t.equal((await call('PUT', `${collection}?dry-run=true`, setOf('b', MiB))).status, 200)
})

t.test('PUT of a set sends nothing when its caller disconnects with the last byte', async t => {
  const running = await startGated(t)
  const { url, service, audits, emulator } = running
  const body = setOf('a', MiB)
  const socket = await dial(t, url,
    `PUT ${collection} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${MiB}\r\n\r\n${body.slice(0, -1)}`)
  const [request] = await once(service.app.server, 'request') as [{ once (event: 'end', listener: () => void): void, socket: Socket }]
  // The last byte arrives together with the end of the connection.
  request.once('end', () => { request.socket.destroy() })
  socket.write(' ')
  await until(() => audits().length === 1)
  t.match(audits(), [{ outcome: 'failure', code: 'MalformedRequest' }])
  t.strictSame(emulator.requests, [])
})

async function dial (t: Test, url: string, bytes: string): Promise<Socket> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1').on('error', () => {})
  t.teardown(() => socket.destroy())
  await once(socket, 'connect')
  socket.write(bytes)
  return socket
}
