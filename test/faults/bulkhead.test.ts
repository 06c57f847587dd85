import t from 'tap'
import { closedLoop, countBy, createCaller, isFull, openLoop, quantile } from './load.ts'
import type { Reply } from './load.ts'
import { bucketRegions, startEmulatorProcess, startServiceProcess } from './processes.ts'

const [sick, well] = ['sick-1250000000', 'well-1250000000']
// In one region, which is as good as its best host.
const buckets = [{ name: sick, region: 'ap-guangzhou' }, { name: well, region: 'ap-guangzhou' }]
const seconds = 12
/** Requests to each host. */
const total = isFull ? 100 * seconds : 180
/** In the short form p99 would tell of the machine: one pause of it hits a tenth of the samples. */
const share = isFull ? 0.99 : 0.5
/** Of COS. Far above what a busy machine adds to one request, so that the ratio of two p99 says something. */
const latencyMs = 100
/** In the short form no call to the healthy host may run into it, however slow the machine. */
const timeoutMs = isFull ? 1000 : 5000

t.test('a host that goes silent under load costs the callers of another one nothing', async t => {
  const emulator = await startEmulatorProcess(t, buckets)
  const service = await startServiceProcess(t, emulator.address, {
    COS_BUCKET_REGIONS: bucketRegions(buckets),
    COS_TIMEOUT_MS: String(timeoutMs),
    // A healthy host needs ten at a time here. A silent one that could have all would have them in half a second.
    COS_MAX_CONNECTIONS: '32',
    COS_MAX_CONCURRENCY: '48'
  })
  const caller = createCaller(t, service.url)
  const list = (bucket: string) => caller.call('GET', `/buckets/${bucket}/inventories`)
  const onBoth = async (): Promise<{ ofSick: Reply[], ofWell: Reply[] }> => {
    // A rate would be more than a slow machine can serve. More calls to the sick host wait than there are permits.
    const [ofSick, ofWell] = await Promise.all(isFull
      ? [openLoop(total / seconds, seconds, () => list(sick)), openLoop(total / seconds, seconds, () => list(well))]
      : [closedLoop(60, total, () => list(sick)), closedLoop(10, total, () => list(well))])
    return { ofSick, ofWell }
  }
  await emulator.addFault({ kind: 'latency', ms: latencyMs })
  await closedLoop(10, 100, index => list(index % 2 === 0 ? sick : well))

  const healthy = await onBoth()
  await emulator.addFault({ kind: 'hang', match: { bucket: sick } })
  const ill = await onBoth()

  t.strictSame(countBy([...healthy.ofSick, ...healthy.ofWell], ({ status }) => status), { 200: 2 * total })
  t.strictSame(countBy(ill.ofWell, ({ status }) => status), { 200: total })
  t.match(Object.keys(countBy(ill.ofSick, ({ status, code }) => `${status} ${code}`)).sort(),
    ['503 Overloaded', '504 UpstreamTimeout'])
  const typical = (replies: Reply[]) => quantile(replies.map(({ ms }) => ms), share)
  const [before, meanwhile] = [typical(healthy.ofWell), typical(ill.ofWell)]
  t.comment(`p${100 * share} of the healthy host: ${before.toFixed(1)} ms, while the other is silent ${meanwhile.toFixed(1)} ms`)
  t.comment(`the silent host: ${JSON.stringify(countBy(ill.ofSick, ({ status, code }) => `${status} ${code}`))}`)
  if (isFull) {
    // These figures need a machine that does nothing else.
    t.ok(meanwhile <= 2 * before, `${meanwhile.toFixed(1)} ms <= 2 x ${before.toFixed(1)} ms`)
    // One call at a time finds out whether it is back; the others wait for what comes of its attempt, and no longer.
    const refusedMs = ill.ofSick.filter(({ code }) => code === 'Overloaded').map(({ ms }) => ms)
    t.ok(quantile(refusedMs, 1) < 1.5 * timeoutMs, `refused after ${quantile(refusedMs, 1).toFixed()} ms at most`)
  }

  await emulator.clearFaults()
  const again = await openLoop(10, 1.5, () => list(sick))
  t.equal(again.at(-1)?.status, 200, 'once the host answers, it is called again')
})
