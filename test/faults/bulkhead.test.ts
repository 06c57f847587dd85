import t from 'tap'
import { countBy, createCaller, isFull, openLoop, quantile } from './load.ts'
import type { Reply } from './load.ts'
import { bucketRegions, startEmulatorProcess, startServiceProcess } from './processes.ts'

const [failingBucket, healthyBucket] = ['sick-1250000000', 'well-1250000000']
// Both hosts are in one region, which counts as healthy while one of them is.
const buckets = [{ name: failingBucket, region: 'ap-guangzhou' }, { name: healthyBucket, region: 'ap-guangzhou' }]
const perSecond = 100
const seconds = isFull ? 12 : 3
/** The short form uses the median: with 300 samples, one pause of the machine changes a p99. */
const share = isFull ? 0.99 : 0.5
/** Latency of COS. It is far above the delay of a busy machine, so that two p99 can be compared. */
const latencyMs = 100
const timeoutMs = 1000

t.test('p99 of a healthy host at most doubles when another host never responds', async t => {
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
    const [ofFailing, ofHealthy] = await Promise.all([
      openLoop(perSecond, seconds, () => list(failingBucket)),
      openLoop(perSecond, seconds, () => list(healthyBucket))
    ])
    return { ofFailing, ofHealthy }
  }
  await emulator.addFault({ kind: 'latency', ms: latencyMs })
  await openLoop(perSecond, 1, index => list(index % 2 === 0 ? failingBucket : healthyBucket))

  const healthy = await onBoth()
  await emulator.addFault({ kind: 'hang', match: { bucket: failingBucket } })
  const failing = await onBoth()

  const total = perSecond * seconds
  t.strictSame(countBy([...healthy.ofFailing, ...healthy.ofHealthy], ({ status }) => status), { 200: 2 * total })
  t.strictSame(countBy(failing.ofHealthy, ({ status }) => status), { 200: total })
  t.match(Object.keys(countBy(failing.ofFailing, ({ status, code }) => `${status} ${code}`)).sort(),
    ['503 Overloaded', '504 UpstreamTimeout'])
  const typical = (replies: Reply[]) => quantile(replies.map(({ ms }) => ms), share)
  const [before, meanwhile] = [typical(healthy.ofHealthy), typical(failing.ofHealthy)]
  t.comment(`p${100 * share} of the healthy host: ${before.toFixed(1)} ms, while the other never responds ${meanwhile.toFixed(1)} ms`)
  t.comment(`the unresponsive host: ${JSON.stringify(countBy(failing.ofFailing, ({ status, code }) => `${status} ${code}`))}`)
  t.ok(meanwhile <= 2 * before, `${meanwhile.toFixed(1)} ms <= 2 x ${before.toFixed(1)} ms`)
  // One call at a time probes the host. Other calls wait for the result of its attempt and no longer.
  const rejectedMs = failing.ofFailing.filter(({ code }) => code === 'Overloaded').map(({ ms }) => ms)
  t.ok(quantile(rejectedMs, 1) < 1.5 * timeoutMs, `rejected after ${quantile(rejectedMs, 1).toFixed()} ms at most`)

  await emulator.clearFaults()
  const again = await openLoop(10, 1.5, () => list(failingBucket))
  t.equal(again.at(-1)?.status, 200, 'the host is called again when it responds')
})
