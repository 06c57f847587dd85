/** Delivered reports under load: memory, disconnected callers, other requests, bombs and a stop. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { request } from 'undici'
import type { ReportOrder } from '../../src/emulator/server.ts'
import { at as pathOf, bucket, configuration } from '../start.ts'
import { endWithThisProcess } from '../child-guard.ts'
import { fromSource, startNode } from '../e2e/program.ts'
import { createCaller, isFull, quantile, until } from './load.ts'
import { logOf, metric, residentMiB, startEmulatorProcess, startServiceProcess } from './processes.ts'

if (isFull) t.setTimeout(900_000)

const fields = { Field: ['Size', 'LastModifiedDate', 'ETag', 'StorageClass', 'IsMultipartUploaded', 'ReplicationStatus'] }
const mostGrownMiB = 64

// All tests use these processes. Each test has a report of its own.
const emulator = await startEmulatorProcess(t, [{ name: bucket, region: 'ap-guangzhou' }])
const gateway = await startGateway(emulator.address)
const service = await startServiceProcess(t, gateway.address, { REPORTS: 'true', SHUTDOWN_GRACE_MS: '500' })
const { call } = createCaller(t, service.url)

/** Delivers a report of a new configuration, and returns the path of its rows. */
async function deliver (id: string, order: Pick<ReportOrder, 'count' | 'form'>): Promise<string> {
  const path = pathOf(id)
  await call('PUT', path, { ...configuration, Filter: undefined, OptionalFields: fields })
  await emulator.deliverReport({ bucket, id, date: '20261120', ...order })
  return `${path}/reports/20261120/rows`
}

/** Forwards connections, and says on how many a data file is requested. */
async function startGateway (target: string) {
  const [sockets, reading] = [new Set<Socket>(), new Set<Socket>()]
  const server = createServer(socket => {
    const upstream = connect(Number(target.split(':')[1]), '127.0.0.1')
    sockets.add(socket)
    socket.on('data', (chunk: Buffer) => { if (chunk.includes('.csv.gz HTTP')) reading.add(socket) })
    socket.on('close', () => {
      sockets.delete(socket)
      reading.delete(socket)
      upstream.destroy()
    })
    upstream.on('close', () => { socket.destroy() })
    for (const each of [socket, upstream]) each.on('error', () => {})
    socket.pipe(upstream).pipe(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    for (const each of sockets) each.destroy()
  })
  return { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, reading: () => reading.size }
}

/** Reads a response at a rate, and calls back after each chunk. */
async function readAt (
  rows: string, bytesPerSecond: number, onChunk: (bytes: number) => boolean
): Promise<void> {
  const { body } = await request(service.url + rows)
  const startedAt = performance.now()
  let bytes = 0
  for await (const chunk of body as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (!onChunk(bytes)) {
      body.destroy()
      break
    }
    const aheadMs = bytes / bytesPerSecond * 1_000 - (performance.now() - startedAt)
    if (aheadMs > 0) await sleep(aheadMs)
  }
}

t.test('memory stays flat whatever the length of the report and the speed of its reader', async t => {
  const count = isFull ? 5_000_000 : 150_000
  const rows = await deliver('flat', { count })
  await call('GET', `${rows}?limit=20000`)
  const idle = residentMiB(service.pid)
  let most = idle
  const watch = () => { most = Math.max(most, residentMiB(service.pid)) }
  const slowBytes = isFull ? 60_000_000 : 3_000_000
  await readAt(rows, 1_000_000, bytes => {
    watch()
    return bytes < slowBytes
  })
  t.ok(most - idle < mostGrownMiB, `a reader of 1 MB/s: ${(most - idle).toFixed()} MiB`)
  let lines = 0
  const { body } = await request(service.url + rows)
  for await (const chunk of body as AsyncIterable<Buffer>) {
    for (const byte of chunk) if (byte === 0x0A) lines += 1
    watch()
  }
  t.equal(lines, count)
  t.ok(most - idle < mostGrownMiB, `a fast reader: ${(most - idle).toFixed()} MiB`)
})

t.test('a caller that disconnects closes the connection to COS', async t => {
  const rows = await deliver('left', { count: 200_000 })
  const { body } = await request(service.url + rows)
  await once(body, 'readable')
  t.equal(gateway.reading(), 1)
  body.on('error', () => {})
  body.destroy()
  const left = performance.now()
  await until(gateway.reading, reading => reading === 0)
  t.ok(performance.now() - left < 3_000, 'within a second on an idle machine')
  await until(() => metric(service.url, 'report_streams'), streams => streams === 0)
})

t.test('four streams at once leave time for other requests', async t => {
  // The emulator makes each row while it sends it, and would itself delay the other requests.
  const upstream = startNode(t, [...fromSource, 'test/bench/report-upstream.ts'], {
    REPORT_ROWS: isFull ? '800000' : '150000'
  })
  const [, address = ''] = await upstream.until(/listening at http:\/\/(\S+)/)
  const service = await startServiceProcess(t, address, { REPORTS: 'true' })
  const { call } = createCaller(t, service.url)
  const path = `/buckets/${bucket}/inventories/daily-0000`
  async function latencies (): Promise<number[]> {
    const ms: number[] = []
    for (let count = 0; count < (isFull ? 2_000 : 100); count++) {
      const reply = await call('GET', path)
      t.equal(reply.status, 200)
      ms.push(reply.ms)
    }
    return ms
  }
  await latencies()
  const idle = quantile(await latencies(), 0.99)
  // Readers are processes of their own. This one would otherwise be busy with rows when its response arrives.
  for (const localAddress of ['127.0.0.1', '127.0.0.1', '127.0.0.2', '127.0.0.2']) {
    // With AUTH=none, streams are limited by address.
    const reader = spawn('curl', ['-sN', '-o', '/dev/null', '--interface', localAddress, `${service.url}${path}/reports/20261120/rows`])
    endWithThisProcess(reader)
    t.teardown(() => reader.kill())
  }
  await until(() => metric(service.url, 'report_streams'), streams => streams === 4)
  const busy = quantile(await latencies(), 0.99)
  t.equal(await metric(service.url, 'report_streams'), 4, 'all streams are still sent')
  t.comment(`p99 ${idle.toFixed(1)} ms idle, ${busy.toFixed(1)} ms beside four streams`)
  // All processes share the cores. On a busy machine only the long form compares times.
  if (isFull) t.ok(busy < Math.max(3 * idle, 60), `${busy.toFixed(1)} ms`)
})

t.test('a bomb, an endless line and a false size end the response at once', async t => {
  const forms = [{ compression: 'bomb' }, { row: 'huge' }, { row: 'unclosed-quote' }] as const
  for (const [index, form] of forms.entries()) {
    const rows = await deliver(`malformed-${index}`, { count: 2_000, form })
    const startedAt = performance.now()
    const failed = await request(service.url + rows).then(({ body, statusCode }) =>
      body.text().then(() => statusCode >= 500, () => true))
    t.ok(failed, JSON.stringify(form))
    t.ok(performance.now() - startedAt < 10_000, `${JSON.stringify(form)}: no waiting for the end`)
    await until(() => metric(service.url, 'report_streams'), streams => streams === 0)
  }
})

t.test('SIGTERM breaks a stream at the end of the grace period, with exit code 0', async t => {
  const rows = await deliver('stopped', { count: 200_000 })
  const { body } = await request(service.url + rows)
  await once(body, 'readable')
  service.process.kill('SIGTERM')
  // The reader does not read on, so the response cannot end by itself.
  t.equal(await service.exit, 0)
  await t.rejects(body.text(), 'the response is not complete')
  const records = logOf(service).filter(({ msg, id }) => msg === 'read' && id === 'stopped')
  t.match(records, [{ action: 'reports:ReadRows', outcome: 'failure', date: '20261120' }])
})
