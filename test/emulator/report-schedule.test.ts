import { rmSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { dayOf, midnightOf, toDate } from '../../src/emulator/reports/day.ts'
import { dueDays } from '../../src/emulator/reports/schedule.ts'
import type { Emulator } from '../../src/emulator/server.ts'
import { type Sent, bucketName, send, startForTest, toDestination, toDocument, toJob, toPut } from './client.ts'
import { everyField, readObject, reportsHost, toOrder } from './report-client.ts'

const hourMs = 3_600_000
const dayMs = 24 * hourMs
const keyTime = '1;9999999999'
/** 18:00 in UTC+8. */
const start = Date.parse('2026-11-20T10:00:00Z')
const weekly = { Schedule: '<Schedule><Frequency>Weekly</Frequency></Schedule>' }
const monthly = (day: string) =>
  ({ Schedule: `<Schedule><Frequency>Monthly</Frequency><MonthlyDate>${day}</MonthlyDate></Schedule>` })

async function put (emulator: Emulator, id: string, parts: Record<string, string> = {}): Promise<void> {
  await send(emulator, { ...toPut(id, toDocument(id, { ...everyField, ...parts })), keyTime })
}

/** Returns the ids and days of all manifests, such as daily/20261121, in the order of LIST. */
async function reportsOf (emulator: Emulator): Promise<string[]> {
  const { body } = await send(emulator, { target: '/', host: reportsHost, keyTime })
  return [...body.matchAll(/<Key>list1\/1250000000\/examplebucket\/([^<]*)\/manifest\.json/g)].map(([, path = '']) => path)
}

t.test('dueDays returns the days of a schedule in a span of time', async t => {
  const at = (time: string) => Date.parse(`${time}:00+08:00`)
  const daily = { frequency: 'Daily', monthlyDate: 1 } as const
  const everyWeek = { frequency: 'Weekly', monthlyDate: 1 } as const
  const on = (monthlyDate: number) => ({ frequency: 'Monthly', monthlyDate }) as const
  const cases: Array<[Parameters<typeof dueDays>[0], string, string, string, string[]]> = [
    [daily, '2026-11-01T12:00', '2026-11-05T12:00', '2026-11-05T23:59', []],
    [daily, '2026-11-01T12:00', '2026-11-05T12:00', '2026-11-06T00:00', ['20261106']],
    [daily, '2026-11-01T12:00', '2026-11-06T00:00', '2026-11-06T23:59', []],
    [daily, '2026-11-01T12:00', '2026-11-05T12:00', '2026-11-08T12:00', ['20261106', '20261107', '20261108']],
    [daily, '2026-11-07T12:00', '2026-11-05T12:00', '2026-11-08T12:00', ['20261108']],
    [daily, '2026-11-05T12:00', '2026-11-05T12:00', '2026-11-04T12:00', []],
    [everyWeek, '2026-11-01T12:00', '2026-11-01T12:00', '2026-11-17T12:00', ['20261102', '20261109', '20261116']],
    [everyWeek, '2026-11-01T12:00', '2026-11-09T00:00', '2026-11-15T23:59', []],
    [on(1), '2026-11-01T12:00', '2026-11-01T12:00', '2026-12-01T00:00', ['20261201']],
    [on(15), '2026-11-01T12:00', '2026-11-01T12:00', '2026-11-20T00:00', ['20261115']],
    [on(31), '2026-11-01T12:00', '2026-11-10T12:00', '2026-12-05T00:00', ['20261130']],
    [on(29), '2026-02-01T12:00', '2026-02-10T12:00', '2026-03-05T00:00', ['20260228']],
    [on(30), '2026-12-01T12:00', '2026-12-10T12:00', '2027-01-05T00:00', ['20261230']]
  ]
  for (const [schedule, putAt, after, until, days] of cases) {
    t.strictSame(dueDays(schedule, at(putAt), at(after), at(until)).map(toDate), days, `${after} to ${until}`)
  }
  const far = dueDays(daily, 0, 0, at('2026-11-20T12:00'))
  t.strictSame([far.length, toDate(far[0] as number), toDate(far[30] as number)], [31, '20261021', '20261120'])
})

t.test('day begins at midnight of UTC+8', async t => {
  const midnight = Date.parse('2026-11-19T16:00:00Z')
  t.strictSame([toDate(dayOf(midnight)), toDate(dayOf(midnight - 1))], ['20261120', '20261119'])
  t.equal(midnightOf(dayOf(midnight)), midnight)
})

t.test('enabled jobs that are due deliver when the clock passes midnight', async t => {
  let now = start
  const emulator = await startForTest(t, { now: () => now })
  await put(emulator, 'daily')
  await put(emulator, 'weekly', weekly)
  await put(emulator, 'monthly', monthly('22'))
  await put(emulator, 'disabled', { IsEnabled: '<IsEnabled>false</IsEnabled>' })
  await put(emulator, 'lost', { Destination: toDestination({ Bucket: '<Bucket>qcs::cos:ap-guangzhou::absent-1</Bucket>' }) })
  now += 6 * hourMs - 1
  t.strictSame(await reportsOf(emulator), [])
  now += 1
  t.strictSame(await reportsOf(emulator), ['daily/20261121', 'weekly/20261121'])
  now += dayMs - 1
  t.strictSame((await reportsOf(emulator)).length, 2)

  emulator.setClockOffset(2 * dayMs)
  t.strictSame(await reportsOf(emulator), [
    'daily/20261121', 'daily/20261122', 'daily/20261123', 'monthly/20261122', 'weekly/20261121'
  ])
  const dates = []
  for (const date of ['20261121', '20261122']) {
    const { headers } = await readObject(emulator, `list1/1250000000/examplebucket/daily/${date}/manifest.json`, { keyTime })
    dates.push(headers['last-modified'])
  }
  t.strictSame(dates, ['Fri, 20 Nov 2026 16:00:00 GMT', 'Sat, 21 Nov 2026 19:00:00 GMT'])
})

t.test('due report has the last contents of the bucket, or 1,000 generated rows', async t => {
  let now = start
  const emulator = await startForTest(t, { now: () => now })
  await put(emulator, 'daily')
  const count = async (date: string) => {
    const key = `list1/1250000000/examplebucket/daily/${date}/manifest.json`
    return JSON.parse((await readObject(emulator, key, { keyTime })).bytes.toString()).listObjectCount
  }
  now += dayMs
  t.equal(await count('20261121'), '1000')
  await emulator.deliverReport(toOrder([{ Key: 'a' }, { Key: 'b' }], { form: { counts: 'wrong' } }))
  now += dayMs
  t.equal(await count('20261122'), '2')
})

t.test('clock that moves back and forth delivers again', async t => {
  const emulator = await startForTest(t, { now: () => start })
  await put(emulator, 'daily')
  emulator.setClockOffset(dayMs)
  t.equal((await reportsOf(emulator)).length, 1)
  const files = async () => {
    const { body } = await send(emulator, { target: '/', host: reportsHost, keyTime })
    return (body.match(/csv\.gz<\/Key>/g) ?? []).length
  }
  t.equal(await files(), 1)
  emulator.setClockOffset(0)
  t.equal(await files(), 1)
  emulator.setClockOffset(dayMs)
  t.equal(await files(), 2)
})

t.test('one-time job delivers 30 minutes after its POST, once', async t => {
  let now = start
  const emulator = await startForTest(t, { now: () => now })
  await send(emulator, { ...toJob('once'), keyTime })
  now += hourMs / 2 - 1
  t.strictSame(await reportsOf(emulator), [])
  now += 1
  t.strictSame(await reportsOf(emulator), ['once/20261120'])
  const key = 'list1/1250000000/examplebucket/once/20261120/manifest.json'
  const first = await readObject(emulator, key, { keyTime })
  t.equal(first.headers['last-modified'], new Date(start + hourMs / 2).toUTCString())
  now += dayMs
  t.strictSame(await reportsOf(emulator), ['once/20261120'])
  t.strictSame((await send(emulator, { target: '/?inventory', keyTime })).body.includes('<Id>'), false, 'not in LIST')
})

t.test('report of a deleted job is delivered when it was due before', async t => {
  const emulator = await startForTest(t, { now: () => start })
  await put(emulator, 'daily')
  emulator.setClockOffset(dayMs)
  await send(emulator, { method: 'DELETE', target: '/?inventory&id=daily', keyTime })
  t.strictSame(await reportsOf(emulator), ['daily/20261121'])
  emulator.setClockOffset(2 * dayMs)
  t.strictSame(await reportsOf(emulator), ['daily/20261121'])
})

t.test('reset ends due reports', async t => {
  const emulator = await startForTest(t, { now: () => start })
  await put(emulator, 'daily')
  await emulator.deliverReport(toOrder(100_000))
  emulator.setClockOffset(20 * dayMs)
  emulator.reset()
  t.strictSame(await reportsOf(emulator), [])
})

t.test('state file keeps jobs and configurations, but no reports', async t => {
  let now = start
  const stateFile = join(t.testdir(), 'state.json')
  const first = await startForTest(t, { now: () => now, stateFile })
  await put(first, 'daily')
  await put(first, 'weekly', weekly)
  await send(first, { ...toJob('once'), keyTime })
  now += dayMs
  t.strictSame(await reportsOf(first), ['daily/20261121', 'once/20261120', 'weekly/20261121'])
  await first.close()

  const second = await startForTest(t, { now: () => now, stateFile })
  t.strictSame(await reportsOf(second), [])
  t.equal((await second.deliverReport({ bucket: bucketName, id: 'once', date: '20261120' })).filterObjectCount, 1000)
  now += dayMs
  t.strictSame(await reportsOf(second), ['daily/20261122', 'once/20261120'], 'a weekly job keeps its day')
  rmSync(stateFile)
})

t.test('only requests for objects wait for due reports', async t => {
  const emulator = await startForTest(t, { now: () => start })
  await put(emulator, 'daily')
  await emulator.deliverReport(toOrder(100_000, { delivery: { writes: 'nothing' } }))
  emulator.setClockOffset(dayMs)
  const order: string[] = []
  const ask = async (what: string, sent: Sent) => {
    await send(emulator, { keyTime, ...sent })
    order.push(what)
  }
  await Promise.all([
    ask('object', { target: '/', host: reportsHost }), ask('configuration', { target: '/?inventory' })
  ])
  t.strictSame(order, ['configuration', 'object'])
  t.strictSame(await reportsOf(emulator), ['daily/20261121'])
})
