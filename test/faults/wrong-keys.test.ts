import t from 'tap'
import { Pool } from 'undici'
import { as, callersFile, everything, keyOf, withKey } from '../callers-file.ts'
import { bucket, startTestEmulator } from '../start.ts'
import { isFull, quantile } from './load.ts'
import { startServiceProcess } from './processes.ts'

const collection = `/buckets/${bucket}/inventories`
/** Window of the rate limit of wrong keys, in milliseconds. */
const windowMs = 60_000

t.test('GET with a valid key returns 200 during 10,000 requests with wrong keys', async t => {
  const emulator = await startTestEmulator(t)
  const { environment } = callersFile(t, [withKey('right', everything, { rateLimitPerMinute: 0 })])
  const service = await startServiceProcess(t, emulator.address, { ...environment, RATE_LIMIT_PER_MINUTE: '600' })
  const [many, single] = [new Pool(service.url, { connections: 20 }), new Pool(service.url, { connections: 1 })]
  t.teardown(async () => { await Promise.all([many.destroy(), single.destroy()]) })
  const get = async (pool: Pool, authorization: string) => {
    const { statusCode, body } = await pool.request({ path: collection, method: 'GET', headers: { authorization } })
    await body.dump()
    return statusCode
  }
  const right = as('right').authorization
  /** Sends requests from 20 senders at once, and requests with the valid key one after another. */
  const during = async (total: number, keyAt: (index: number) => string) => {
    const [load, own] = [new Map<number, number>(), new Map<number, number>()]
    const count = (counts: Map<number, number>, status: number) => counts.set(status, (counts.get(status) ?? 0) + 1)
    const times: number[] = []
    const progress = { sent: 0, done: 0 }
    const sender = async () => {
      while (progress.sent < total) {
        progress.sent += 1
        count(load, await get(many, `Bearer ${keyAt(progress.sent)}`))
        progress.done += 1
      }
    }
    const prober = async () => {
      while (progress.done < total) {
        const startedAt = performance.now()
        count(own, await get(single, right))
        times.push(performance.now() - startedAt)
      }
    }
    await Promise.all([prober(), ...Array.from({ length: 20 }, sender)])
    const [statuses, ownStatuses] = [load, own].map(counts => Object.fromEntries(counts))
    return { statuses, ownStatuses, count: times.length, medianMs: quantile(times, 0.5) }
  }

  await during(500, () => keyOf('right'))
  const usual = await during(2_000, () => keyOf('right'))
  t.strictSame([usual.statuses, usual.ownStatuses], [{ 200: 2_000 }, { 200: usual.count }])
  const startedAt = performance.now()
  const flood = await during(10_000, index => `wrong-${index}`)
  const windows = Math.floor((performance.now() - startedAt) / windowMs) + 1
  const { 401: checked = 0, 429: limited = 0 } = flood.statuses ?? {}
  t.equal(checked + limited, 10_000, 'every wrong key is rejected')
  t.ok(checked >= 300 && checked <= 300 * windows, `${checked} keys were checked in ${windows} windows, half the limit of a caller`)
  t.strictSame(flood.ownStatuses, { 200: flood.count }, 'the valid key is accepted every time')
  const ratio = flood.medianMs / usual.medianMs
  t.comment(`median ${flood.medianMs.toFixed(2)} ms (${flood.count} requests) with wrong keys, ` +
    `${usual.medianMs.toFixed(2)} ms (${usual.count}) with valid keys: ${ratio.toFixed(2)}`)
  // The limit needs a machine that runs nothing else.
  if (isFull) t.ok(ratio < 3, `${ratio.toFixed(2)} times as slow as with valid keys`)
})
