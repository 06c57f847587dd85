import t from 'tap'
import { startTestEmulator, bucket, otherBucket, at as pathOf, configuration } from '../start.ts'
import { closedLoop, countBy, createCaller, isFull, openLoop, quantile, until } from './load.ts'
import { metric, residentMiB, startEmulatorProcess, startServiceProcess } from './processes.ts'
import { startRelay } from './failing-hosts.ts'

const collection = `/buckets/${bucket}/inventories`

t.test('service serves its capacity and rejects the rest under fivefold load', async t => {
  const latencyMs = 100
  // Capacity is 200 calls per second. The short form shares the machine with other tests, so it uses half.
  const concurrency = isFull ? 20 : 10
  // The short form uses a long timeout, which calls with a permit never reach on a slow machine.
  const waitMs = isFull ? 1000 : 5000
  const emulator = await startEmulatorProcess(t, [{ name: bucket, region: 'ap-guangzhou' }])
  const service = await startServiceProcess(t, emulator.address, {
    COS_MAX_CONCURRENCY: String(concurrency),
    COS_QUEUE_LIMIT: String(concurrency),
    COS_TIMEOUT_MS: String(waitMs)
  })
  const caller = createCaller(t, service.url)
  const list = () => caller.call('GET', collection)
  await emulator.addFault({ kind: 'latency', ms: latencyMs })
  // The service needs warm-up, because compilation of its code takes more time than its calls.
  await closedLoop(6 * concurrency, 2000, list)

  const sample = 20 * concurrency
  const startedAt = performance.now()
  const calm = await closedLoop(concurrency, sample, list)
  const capacity = sample / (performance.now() - startedAt) * 1000
  t.strictSame(countBy(calm, ({ status }) => status), { 200: sample })
  const restingMiB = residentMiB(service.pid)

  const seconds = isFull ? 15 : 3
  const offered = 5 * concurrency * 1000 / latencyMs
  const replies = await openLoop(offered, seconds, list)
  const served = replies.filter(({ status }) => status === 200)
  const rejected = replies.filter(({ status }) => status !== 200)
  const [servedMs, rejectedMs] = [served, rejected].map(each => each.map(({ ms }) => ms)) as [number[], number[]]
  const goodput = served.length / seconds
  t.comment(`capacity ${capacity.toFixed()}/s; offered ${offered}/s: ${goodput.toFixed()}/s served`)
  t.comment(`served p50 ${quantile(servedMs, 0.5).toFixed()} ms, p99 ${quantile(servedMs, 0.99).toFixed()} ms; ` +
    `rejected p50 ${quantile(rejectedMs, 0.5).toFixed(1)} ms, p99 ${quantile(rejectedMs, 0.99).toFixed(1)} ms`)
  if (isFull) {
    // These limits need a machine that runs nothing else.
    t.ok(goodput >= 0.8 * capacity, `${goodput.toFixed()}/s of ${capacity.toFixed()}/s`)
    // A call waits at most COS_TIMEOUT_MS for a permit, then takes the time of COS. The limit allows twice that time.
    t.ok(quantile(servedMs, 1) <= waitMs + 2 * latencyMs, 'responses arrive in time')
    t.ok(quantile(rejectedMs, 0.5) < latencyMs, 'requests are rejected in less time than COS needs')
  }
  t.strictSame(Object.keys(countBy(rejected, ({ status, code }) => `${status} ${code}`)), ['503 Overloaded'])
  t.strictSame(rejected.filter(({ headers }) => !/^[1-9]\d*$/.test(String(headers['retry-after']))), [], 'each response has Retry-After')
  t.ok(quantile(rejectedMs, 0.5) < quantile(servedMs, 0.5), 'a rejection takes less time than a response of COS')
  // A request uses about 10 KiB, so a leak of rejected requests would exceed the limit. Smaller growth is garbage that
  // was not collected yet.
  const grownMiB = residentMiB(service.pid) - restingMiB
  t.comment(`memory ${restingMiB.toFixed()} MiB, ${grownMiB.toFixed()} MiB more under overload`)
  t.ok(grownMiB < 96, `memory grew by ${grownMiB.toFixed()} MiB`)

  t.equal(await metric(service.url, 'cos_calls_waiting'), 0)

  const after = await closedLoop(concurrency, 100, list)
  t.strictSame(countBy(after, ({ status }) => status), { 200: 100 }, 'the service works as before')
})

t.test('service rejects no request right after its start on a slow machine', async t => {
  const emulator = await startTestEmulator(t)
  // Four services share fewer cores, so each starts as slowly as on a small share of one.
  const replies = await Promise.all(Array.from({ length: 4 }, async () => {
    const service = await startServiceProcess(t, emulator.address)
    const caller = createCaller(t, service.url)
    return await openLoop(50, 0.4, () => caller.call('GET', collection))
  }))
  t.strictSame(countBy(replies.flat(), ({ status, code }) => `${status} ${code ?? ''}`), { '200 ': 80 })
})

t.test('queued call is dropped and a read aborted when the caller disconnects', async t => {
  const emulator = await startTestEmulator(t)
  const relay = await startRelay(t, emulator)
  const limits = { COS_TIMEOUT_MS: '60000', COS_DEADLINE_MS: '120000' }
  const service = await startServiceProcess(t, relay.address, { COS_MAX_CONCURRENCY: '1', ...limits })
  const caller = createCaller(t, service.url)
  const waiting = () => metric(service.url, 'cos_calls_waiting')

  emulator.addFault({ kind: 'hang', times: 1 })
  const reader = new AbortController()
  const read = caller.call('GET', collection, undefined, reader.signal)
  await until(() => emulator.requests.length, received => received === 1)
  const impatient = new AbortController()
  const dropped = caller.call('PUT', pathOf('left'), configuration, impatient.signal)
  await until(waiting, count => count === 1)
  const patient = caller.call('PUT', pathOf('stayed'), configuration)
  await until(waiting, count => count === 2)
  t.equal(emulator.requests.length, 1, 'one call at a time')

  impatient.abort()
  t.equal((await dropped).status, 0)
  await until(waiting, count => count === 1)
  t.equal(relay.ended(), 0)
  reader.abort()
  t.equal((await read).status, 0)
  const stayed = await patient
  t.equal(stayed.status, 204)
  t.ok(stayed.ms < Number(limits.COS_TIMEOUT_MS), `the call started when the reader disconnected, not at its timeout (${stayed.ms.toFixed()} ms)`)
  t.equal(relay.ended(), 1, 'only the connection of the read was closed')
  t.strictSame(emulator.requests.map(({ method }) => method), ['GET', 'PUT'])
  t.equal(emulator.configurations(bucket).length, 1)
})

t.test('PUT in flight finishes and keeps its permit when the caller disconnects', async t => {
  const emulator = await startTestEmulator(t)
  const relay = await startRelay(t, emulator)
  const service = await startServiceProcess(t, relay.address, {
    COS_MAX_CONCURRENCY: '1', COS_BUCKET_REGIONS: `${otherBucket}=ap-shanghai`
  })
  const caller = createCaller(t, service.url)
  emulator.addFault({ kind: 'latency', ms: 300, times: 1 })
  const disconnecting = new AbortController()
  const disconnected = caller.call('PUT', pathOf('left'), configuration, disconnecting.signal)
  await until(() => emulator.requests.length, received => received === 1)
  disconnecting.abort()
  t.equal((await disconnected).status, 0)
  const next = await caller.call('GET', pathOf('left'))
  t.equal(next.status, 200, 'the next call reads the written configuration')
  t.strictSame(emulator.requests.map(({ method, status }) => [method, status]), [['PUT', 200], ['GET', 200]])
  t.match(service.stdout(), /"type":"audit".*"id":"left".*"outcome":"success"/)
})
