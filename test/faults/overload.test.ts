import t from 'tap'
import { startTestEmulator, bucket, otherBucket, at as pathOf, configuration } from '../start.ts'
import { closedLoop, countBy, createCaller, isFull, openLoop, quantile, until } from './load.ts'
import { metric, residentMiB, startEmulatorProcess, startServiceProcess } from './processes.ts'
import { startRelay } from './sick-hosts.ts'

const collection = `/buckets/${bucket}/inventories`

t.test('offered five times what it can do, it does what it can, and refuses the rest at once', async t => {
  const latencyMs = 100
  // 200 calls a second; half of that in the short form, which shares the machine with other tests.
  const concurrency = isFull ? 20 : 10
  // In the short form no call that has a permit may run into it, however slow the machine.
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
  // Until code is compiled, the service is busier with itself than with anything offered.
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
  const refused = replies.filter(({ status }) => status !== 200)
  const [servedMs, refusedMs] = [served, refused].map(each => each.map(({ ms }) => ms)) as [number[], number[]]
  const goodput = served.length / seconds
  t.comment(`capacity ${capacity.toFixed()}/s; offered ${offered}/s: ${goodput.toFixed()}/s served`)
  t.comment(`served p50 ${quantile(servedMs, 0.5).toFixed()} ms, p99 ${quantile(servedMs, 0.99).toFixed()} ms; ` +
    `refused p50 ${quantile(refusedMs, 0.5).toFixed(1)} ms, p99 ${quantile(refusedMs, 0.99).toFixed(1)} ms`)
  if (isFull) {
    // These figures need a machine that does nothing else.
    t.ok(goodput >= 0.8 * capacity, `${goodput.toFixed()}/s of ${capacity.toFixed()}/s`)
    // No call waits longer than COS_TIMEOUT_MS for a permit; then it takes COS's time. Twice that for the machine.
    t.ok(quantile(servedMs, 1) <= waitMs + 2 * latencyMs, 'what is served is served in time')
    t.ok(quantile(refusedMs, 0.5) < latencyMs, 'what is refused is refused before COS could have answered')
  }
  t.strictSame(Object.keys(countBy(refused, ({ status, code }) => `${status} ${code}`)), ['503 Overloaded'])
  t.strictSame(refused.filter(({ headers }) => !/^[1-9]\d*$/.test(String(headers['retry-after']))), [], 'each says when to come back')
  t.ok(quantile(refusedMs, 0.5) < quantile(servedMs, 0.5), 'a refusal takes less time than a response of COS')
  // A request takes some 10 KiB: were those refused kept, there would be far more. Else it is what the collector, which
  // takes its time when there is much memory, has not come to yet.
  const grownMiB = residentMiB(service.pid) - restingMiB
  t.comment(`memory ${restingMiB.toFixed()} MiB, ${grownMiB.toFixed()} MiB more under overload`)
  t.ok(grownMiB < 96, `memory grew by ${grownMiB.toFixed()} MiB`)

  t.equal(await metric(service.url, 'cos_calls_waiting'), 0)

  const after = await closedLoop(concurrency, 100, list)
  t.strictSame(countBy(after, ({ status }) => status), { 200: 100 }, 'afterwards all is as before')
})

t.test('a service that has just started refuses nobody for being busy, however slow the machine', async t => {
  const emulator = await startTestEmulator(t)
  // More at once than there are cores, each of which starts as slowly as it would with a small share of one.
  const replies = await Promise.all(Array.from({ length: 4 }, async () => {
    const service = await startServiceProcess(t, emulator.address)
    const caller = createCaller(t, service.url)
    return await openLoop(50, 0.4, () => caller.call('GET', collection))
  }))
  t.strictSame(countBy(replies.flat(), ({ status, code }) => `${status} ${code ?? ''}`), { '200 ': 80 })
})

t.test('a caller that leaves gives its turn to the next one: a read is broken off, and a call that waits is never sent', async t => {
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
  const left = caller.call('PUT', pathOf('left'), configuration, impatient.signal)
  await until(waiting, count => count === 1)
  const patient = caller.call('PUT', pathOf('stayed'), configuration)
  await until(waiting, count => count === 2)
  t.equal(emulator.requests.length, 1, 'one call at a time')

  impatient.abort()
  t.equal((await left).status, 0)
  await until(waiting, count => count === 1)
  t.equal(relay.ended(), 0)
  reader.abort()
  t.equal((await read).status, 0)
  const stayed = await patient
  t.equal(stayed.status, 204)
  t.ok(stayed.ms < Number(limits.COS_TIMEOUT_MS), `its turn came when the reader left, not when the reader's time was up (${stayed.ms.toFixed()} ms)`)
  t.equal(relay.ended(), 1, 'the connection of the read, and no other')
  t.strictSame(emulator.requests.map(({ method }) => method), ['GET', 'PUT'])
  t.equal(emulator.configurations(bucket).length, 1)
})

t.test('a write that was sent is let finish when its caller leaves, and holds its place until then', async t => {
  const emulator = await startTestEmulator(t)
  const relay = await startRelay(t, emulator)
  const service = await startServiceProcess(t, relay.address, {
    COS_MAX_CONCURRENCY: '1', COS_BUCKET_REGIONS: `${otherBucket}=ap-shanghai`
  })
  const caller = createCaller(t, service.url)
  emulator.addFault({ kind: 'latency', ms: 300, times: 1 })
  const leaving = new AbortController()
  const left = caller.call('PUT', pathOf('left'), configuration, leaving.signal)
  await until(() => emulator.requests.length, received => received === 1)
  leaving.abort()
  t.equal((await left).status, 0)
  const next = await caller.call('GET', pathOf('left'))
  t.equal(next.status, 200, 'the next call finds what was written')
  t.strictSame(emulator.requests.map(({ method, status }) => [method, status]), [['PUT', 200], ['GET', 200]])
  t.match(service.stdout(), /"type":"audit".*"id":"left".*"outcome":"success"/)
})
