import t from 'tap'
import { startEmulator } from '../../src/emulator/server.ts'
import { secrets } from '../start.ts'
import { closedLoop, countBy, createCaller, isFull, openLoop } from './load.ts'
import { bucketRegions, metric, startServiceProcess } from './processes.ts'

const calls = 1000
const buckets = ['one', 'two', 'three', 'four'].map(name => ({ name: `${name}-1250000000`, region: 'ap-guangzhou' }))

t.test('retries add at most 20 % load while COS returns 503, and work again afterwards', async t => {
  const emulator = await startEmulator({ credentials: [secrets], buckets })
  t.teardown(() => emulator.close())
  const service = await startServiceProcess(t, emulator.address, { COS_BUCKET_REGIONS: bucketRegions(buckets) })
  const caller = createCaller(t, service.url)
  const list = (index: number) => caller.call('GET', `/buckets/${buckets[index % buckets.length]?.name}/inventories`)

  emulator.addFault({ kind: 'error', status: 503, code: 'ServiceUnavailable' })
  // A busy machine cannot serve a fixed rate.
  const rejected = await (isFull ? openLoop(200, calls / 200, list) : closedLoop(20, calls, list))
  t.strictSame(countBy(rejected, ({ status, code }) => `${status} ${code}`), { '503 ServiceUnavailable': calls })
  t.strictSame(rejected.filter(({ headers }) => !/^[1-9]\d*$/.test(String(headers['retry-after']))), [], 'each response has Retry-After')
  const attempts = emulator.requests.length
  t.comment(`${attempts} attempts of ${calls} calls`)
  t.ok(attempts > calls, 'some calls were retried')
  t.ok(attempts <= 1.2 * calls, `${attempts} attempts of ${calls} calls`)
  const counted = await Promise.all(['cos_calls_total', 'cos_attempts_total', 'cos_retries_total']
    .map(name => metric(service.url, name)))
  t.strictSame(counted, [calls, attempts, attempts - calls], 'the metrics agree')
  t.ok(await metric(service.url, 'cos_retries_denied_total', { reason: 'budget' }) > calls / 2)

  // Each call adds a tenth of a retry to the budget.
  emulator.clearFaults()
  const healthy = await closedLoop(10, 200, list)
  t.strictSame(countBy(healthy, ({ status }) => status), { 200: 200 })
  for (const { name } of buckets) {
    emulator.addFault({ kind: 'error', status: 503, code: 'ServiceUnavailable', match: { bucket: name }, times: 1 })
  }
  const from = emulator.requests.length
  const recovered = await closedLoop(1, 10, list)
  t.strictSame(countBy(recovered, ({ status }) => status), { 200: 10 })
  t.equal(emulator.requests.length - from, 10 + buckets.length)
})
