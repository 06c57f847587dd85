import { once } from 'node:events'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { setImmediate as nextIteration } from 'node:timers/promises'
import t from 'tap'
import type { Test } from 'tap'
import type { Emulator } from '../../src/emulator/server.ts'
import { at as pathOf, bucket, configuration, otherBucket, start as startWithEmulator, startTestEmulator } from '../start.ts'
import { at, countBy, isFull, until } from './load.ts'
import { logOf, startServiceProcess } from './processes.ts'
import type { ServiceProcess } from './processes.ts'

// The full form exceeds the default time limit of a file.
if (isFull) t.setTimeout(600_000)

/** Latency of COS: long enough for a signal between request and response. */
const latencyMs = 300
const requests = 200
const rounds = isFull ? 5 : 1
/** Time between the requests and the signal. */
const delaysMs = isFull ? [0, 1, 5, 20] : [0, 5]

for (let round = 1; round <= rounds; round++) {
  t.test(`${requests} requests in flight finish when SIGTERM ends the process (${round})`, async t => {
    const { emulator, service } = await start(t, { COS_MAX_CONNECTIONS: String(requests) })
    // No response is sent before the signal has arrived, even on a busy machine.
    emulator.addFault({ kind: 'latency', ms: 3_000 })
    const lines = await Promise.all(Array.from({ length: requests }, () => dial(t, service.port)))
    const [idle, used] = [await dial(t, service.port), await dial(t, service.port)]
    used.send(get('/livez'))
    await used.response()
    for (const line of lines) line.send(get(pathOf('daily')))
    await until(() => emulator.requests.length, received => received > 0)
    service.process.kill('SIGTERM')
    const responses = await Promise.all(lines.map(line => line.response()))
    t.strictSame(countBy(responses, ({ status }) => status), { 200: requests })
    const closing = responses.filter(({ head }) => /^connection: close$/im.test(head)).length
    t.equal(closing, requests, 'each response has Connection: close')
    t.strictSame(await Promise.all([idle, used].map(line => line.end)), ['', ''], 'idle connections are closed')
    await checkEnd(t, service, emulator)
  })

  for (const delayMs of delaysMs) {
    for (const [name, connections, isUsed] of [['fresh', requests, false], ['kept-alive', 20, true]] as const) {
      const title = `${connections} ${name} connections get responses when SIGTERM comes after ${delayMs} ms`
      t.test(`${title} (${round})`, async t => {
        const { emulator, service } = await start(t)
        const lines = await Promise.all(Array.from({ length: connections }, () => dial(t, service.port)))
        if (isUsed) {
          for (const line of lines) line.send(get('/livez'))
          await Promise.all(lines.map(line => line.response()))
        }
        for (const [index, line] of lines.entries()) line.send(index % 4 === 0 ? put(`new-${index}`) : get(pathOf('daily')))
        await at(delayMs, () => service.process.kill('SIGTERM'))
        const responses = await Promise.all(lines.map(line => line.response()))
        const puts = connections / 4
        t.strictSame(countBy(responses, ({ status }) => status), { 200: connections - puts, 204: puts })
        t.equal(emulator.configurations(otherBucket).length, puts, 'acknowledged changes are stored')
        await checkEnd(t, service, emulator)
      })
    }
  }
}

t.test('stopping service rejects connections, and late requests on open ones get 503', async t => {
  // In the process of the test, because the service waits only 100 ms for the last requests.
  const { call, service } = await startWithEmulator(t)
  t.equal((await call('PUT', pathOf('daily'), configuration)).status, 204)
  const port = Number(new URL(service.url).port)
  // A connection with a partial request is not idle, so the caller may send the remaining bytes.
  const [soon, late] = [await dial(t, port), await dial(t, port)]
  const [head, rest] = [get(pathOf('daily')).slice(0, 9), get(pathOf('daily')).slice(9)]
  for (const line of [soon, late]) line.send(head)
  const before = await dial(t, port)
  before.send(get('/livez'))
  await before.response()
  const stopped = service.stop()
  while (service.app.server.listening) await nextIteration()
  soon.send(rest)
  t.ok(await isClosed(port))
  // The service closes idle connections when it no longer waits for requests in transit.
  await before.end
  late.send(rest)
  const [served, rejected] = await Promise.all([soon, late].map(line => line.response()))
  t.equal(served?.status, 200)
  t.equal(rejected?.status, 503)
  t.match(rejected?.head, /^retry-after: 1$/im)
  t.match(rejected?.body, '"code":"ShuttingDown"')
  t.match([served?.head, rejected?.head], Array(2).fill(/^connection: close$/im))
  t.equal(await stopped, true, 'no request was aborted')
})

t.test('second SIGTERM ends the process with 1 at once', async t => {
  const { emulator, service } = await start(t, {
    COS_TIMEOUT_MS: '600000', COS_DEADLINE_MS: '600000', SHUTDOWN_GRACE_MS: '600000'
  })
  emulator.addFault({ kind: 'hang' })
  const line = await dial(t, service.port)
  line.send(get(pathOf('daily')))
  await until(() => emulator.requests.length, received => received === 1)
  service.process.kill('SIGTERM')
  await until(() => service.stdout(), stdout => stdout.includes('"stopping"'))
  const startedAt = performance.now()
  service.process.kill('SIGTERM')
  t.equal(await service.exit, 1)
  const ms = performance.now() - startedAt
  t.ok(ms < 60_000, `it took ${ms.toFixed()} ms`)
  t.equal(await line.end, '', 'the caller receives nothing')
})

/** A raw connection, because these tests depend on the time of each write and on the end of the connection. */
interface Line {
  send (request: string): void
  /** Returns the next complete response; status 0 when the connection ends first. */
  response (): Promise<{ status: number, head: string, body: string }>
  /** The bytes after the last response, when the connection has ended. */
  end: Promise<string>
}

async function dial (t: Test, port: number): Promise<Line> {
  const socket: Socket = connect(port, '127.0.0.1').setEncoding('utf8')
  t.teardown(() => socket.destroy())
  let received = ''
  let failure = ''
  socket.on('data', (text: string) => { received += text })
  const end = new Promise<string>(resolve => {
    socket.on('error', ({ message }) => { failure = message }).on('close', () => { resolve(received) })
  })
  await once(socket, 'connect')
  const take = () => {
    const [whole = '', head = '', status] = /^(HTTP\/1\.1 (\d+) [^]*?)\r\n\r\n/.exec(received) ?? []
    const length = Number(/^content-length: (\d+)$/im.exec(head)?.[1] ?? 0)
    if (whole === '' || received.length < whole.length + length) return undefined
    const body = received.slice(whole.length, whole.length + length)
    received = received.slice(whole.length + length)
    return { status: Number(status), head, body }
  }
  return {
    send: request => { socket.write(request) },
    async response () {
      for (;;) {
        const response = take()
        if (response !== undefined) return response
        if (socket.closed) return { status: 0, head: failure, body: received }
        await Promise.race([once(socket, 'data').catch(() => {}), end])
      }
    },
    end
  }
}

function get (path: string): string {
  return `GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`
}

function put (id: string): string {
  const body = JSON.stringify({
    ...configuration,
    Destination: { COSBucketDestination: { Format: 'CSV', Bucket: 'qcs::cos:ap-shanghai::reports-1250000000' } }
  })
  const head = `PUT /buckets/${otherBucket}/inventories/${id}?region=ap-shanghai HTTP/1.1`
  return `${head}\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`
}

async function start (
  t: Test, environment: Record<string, string> = {}
): Promise<{ emulator: Emulator, service: ServiceProcess }> {
  const emulator = await startTestEmulator(t)
  const service = await startServiceProcess(t, emulator.address, environment)
  const headers = { 'content-type': 'application/json', connection: 'close' }
  const created = await fetch(`${service.url}${pathOf('daily')}`, { method: 'PUT', headers, body: JSON.stringify(configuration) })
  t.equal(created.status, 204)
  emulator.requests.length = 0
  emulator.addFault({ kind: 'latency', ms: latencyMs })
  return { emulator, service }
}

async function isClosed (port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  return await new Promise<boolean>(resolve => socket
    .once('connect', () => { resolve(false) })
    // A connection in the accept queue is reset instead.
    .on('error', ({ code }: NodeJS.ErrnoException) => { resolve(code === 'ECONNREFUSED') }))
    .finally(() => socket.destroy())
}

async function checkEnd (t: Test, service: ServiceProcess, emulator: Emulator): Promise<void> {
  t.equal(await service.exit, 0)
  t.equal(service.stderr(), '')
  const lines = logOf(service)
  t.strictSame(lines.filter(({ level, msg }) => level >= 50 || /were aborted/.test(msg)), [], 'no request was aborted')
  t.equal(lines.at(-1)?.msg, 'stopped')
  t.equal(emulator.configurations(bucket).length, 1)
}
