import t from 'tap'
import { closedLoop, countBy, createCaller, isFull, openLoop, quantile } from './load.ts'
import type { Reply } from './load.ts'
import { bucketRegions, startEmulatorProcess, startServiceProcess } from './processes.ts'

const [failingBucket, healthyBucket] = ['sick-1250000000', 'well-1250000000']
// Both hosts are in one region, which counts as healthy while one of them is.
const buckets = [{ name: failingBucket, region: 'ap-guangzhou' }, { name: healthyBucket, region: 'ap-guangzhou' }]
const seconds = 12
/** Requests to each host. */
const total = isFull ? 100 * seconds : 180
/** The short form uses the median: one pause of the machine delays a tenth of the samples, which changes a p99. */
const share = isFull ? 0.99 : 0.5
/** Latency of COS. It is far above the delay of a busy machine, so that two p99 can be compared. */
const latencyMs = 100
/** The short form uses a long timeout, which calls to the healthy host never reach on a slow machine. */
const timeoutMs = isFull ? 1000 : 5000

t.test('requests to a healthy host succeed when another host never responds', async t => {
  const emulator = await startEmulatorProcess(t, buckets)
  const service = await startServiceProcess(t, emulator.address, {
    COS_BUCKET_REGIONS: bucketRegions(buckets),
    COS_TIMEOUT_MS: String(timeoutMs),
    // A healthy host needs ten connections here. An unresponsive host without a limit would use all in half a second.
    COS_MAX_CONNECTIONS: '32',
    COS_MAX_CONCURRENCY: '48'
  })
  const caller = createCaller(t, service.url)
  const list = (bucket: string) => caller.call('GET', `/buckets/${bucket}/inventories`)
  const onBoth = async (): Promise<{ ofFailing: Reply[], ofHealthy: Reply[] }> => {
    // A slow machine cannot serve a fixed rate. More calls to the failing host wait than there are permits.
    const [ofFailing, ofHealthy] = await Promise.all(isFull
      ? [
          openLoop(total / seconds, seconds, () => list(failingBucket)),
          openLoop(total / seconds, seconds, () => list(healthyBucket))
        ]
      : [closedLoop(60, total, () => list(failingBucket)), closedLoop(10, total, () => list(healthyBucket))])
    return { ofFailing, ofHealthy }
  }
  await emulator.addFault({ kind: 'latency', ms: latencyMs })
  await closedLoop(10, 100, index => list(index % 2 === 0 ? failingBucket : healthyBucket))

  const healthy = await onBoth()
  await emulator.addFault({ kind: 'hang', match: { bucket: failingBucket } })
  const failing = await onBoth()

  t.strictSame(countBy([...healthy.ofFailing, ...healthy.ofHealthy], ({ status }) => status), { 200: 2 * total })
  t.strictSame(countBy(failing.ofHealthy, ({ status }) => status), { 200: total })
  t.match(Object.keys(countBy(failing.ofFailing, ({ status, code }) => `${status} ${code}`)).sort(),
    ['503 Overloaded', '504 UpstreamTimeout'])
  const typical = (replies: Reply[]) => quantile(replies.map(({ ms }) => ms), share)
  const [before, meanwhile] = [typical(healthy.ofHealthy), typical(failing.ofHealthy)]
  t.comment(`p${100 * share} of the healthy host: ${before.toFixed(1)} ms, while the other never responds ${meanwhile.toFixed(1)} ms`)
  t.comment(`the unresponsive host: ${JSON.stringify(countBy(failing.ofFailing, ({ status, code }) => `${status} ${code}`))}`)
  if (isFull) {
    // These limits need a machine that runs nothing else.
    t.ok(meanwhile <= 2 * before, `${meanwhile.toFixed(1)} ms <= 2 x ${before.toFixed(1)} ms`)
    // One call at a time probes the host. Other calls wait for the result of its attempt and no longer.
    const rejectedMs = failing.ofFailing.filter(({ code }) => code === 'Overloaded').map(({ ms }) => ms)
    t.ok(quantile(rejectedMs, 1) < 1.5 * timeoutMs, `rejected after ${quantile(rejectedMs, 1).toFixed()} ms at most`)
  }

  await emulator.clearFaults()
  const again = await openLoop(10, 1.5, () => list(failingBucket))
  t.equal(again.at(-1)?.status, 200, 'the host is called again when it responds')
})
