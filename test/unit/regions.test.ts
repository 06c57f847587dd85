import assert from 'node:assert/strict'
import { setImmediate as settled } from 'node:timers/promises'
import t from 'tap'
import { AccountBuckets } from '../../src/cos/regions/account-buckets.ts'
import type { LookUp } from '../../src/cos/regions/regions.ts'
import { createRegions } from '../../src/cos/regions/regions.ts'
import { UpstreamError } from '../../src/cos/upstream-error.ts'
import { createPassingTracer } from '../../src/tracing/tracing.ts'

const endpoint = '{bucket}.cos.{region}.myqcloud.com'
const minuteMs = 60_000

interface Setting {
  regionDiscovery?: boolean
  region?: string
  endpoint?: string
}

// Timers of waits are unreferenced, so this interval keeps the process alive.
const alive = setInterval(() => {}, 1_000)
t.teardown(() => { clearInterval(alive) })

/** Creates regions with a manual clock. The test ends each bucket list. */
function bench (setting: Setting = {}) {
  let time = 1_000_000
  let patienceMs = minuteMs
  let lists = 0
  let inFlight: { resolve (buckets: Map<string, string>): void, reject (error: Error): void } | undefined
  const lines: object[] = []
  const warnings: object[] = []
  const end = async (how: (list: NonNullable<typeof inFlight>) => void) => {
    const list = inFlight
    assert.ok(list, 'no list is in flight')
    inFlight = undefined
    how(list)
    await settled()
  }
  const call: LookUp = {
    log: { debug: (fields, message) => { lines.push({ ...fields, message }) } },
    trace: createPassingTracer().startRequest({
      method: 'GET', route: undefined, path: '/', address: '', requestId: '', traceparent: undefined, tracestate: undefined
    }),
    signal: new AbortController().signal,
    tally: { attempts: 0 },
    get deadlineAt () { return time + patienceMs }
  }
  const buckets = new AccountBuckets({
    listBuckets: () => new Promise((resolve, reject) => {
      assert.equal(inFlight, undefined, 'two lists at a time')
      lists += 1
      inFlight = { resolve, reject }
    }),
    log: { warn: fields => { warnings.push(fields) } },
    now: () => time
  })
  const account = { name: '1', buckets }
  const regions = createRegions({
    bucketRegions: new Map([['configured-1', 'ap-seoul']]), endpoint, regionDiscovery: true, region: undefined, ...setting
  }, { accounts: { of: () => account, find: () => account } })
  return {
    lines,
    warnings,
    lists: () => lists,
    pass (ms: number) { time += ms },
    give: (buckets: Record<string, string>) => end(list => { list.resolve(new Map(Object.entries(buckets))) }),
    fail: (error: Error = rejected) => end(list => { list.reject(error) }),
    known: regions.known,
    find: regions.find && ((bucket: string) => regions.find?.(bucket, call)),
    resolve: (bucket: string, requested?: string) => regions.resolve(bucket, requested, call),
    moved: (bucket: string, from: string) => regions.moved(bucket, from, call),
    /** Runs a function for a caller with this remaining time. */
    within<T> (ms: number, act: () => T): T {
      patienceMs = ms
      const begun = act()
      patienceMs = minuteMs
      return begun
    }
  }
}

const rejected = new UpstreamError({ code: 'AccessDenied', status: 403, title: 'Forbidden' }, 'no', { class: 'caller' })
const bug = new Error('a bug')
const discovered = (region: string) => ({ region, isLookedUp: true })
const stated = (region: string | undefined) => ({ region, isLookedUp: false })
const noSuchBucket = { name: 'ServiceError', code: 'NoSuchBucket', status: 404, title: 'Not Found', detail: /Region discovery found no bucket/ }

t.test('resolve uses the requested, bucket or default region when discovery is off', async t => {
  const off = bench({ regionDiscovery: false, region: 'ap-tokyo' })
  for (const [bucket, requested, region] of [
    ['configured-1', 'eu-frankfurt', 'eu-frankfurt'], ['configured-1', undefined, 'ap-seoul'], ['a-1', undefined, 'ap-tokyo']
  ] as const) {
    t.strictSame(await off.resolve(bucket, requested), stated(region))
    t.equal(off.known(bucket, requested), region)
  }
  const unknown = bench({ regionDiscovery: false })
  t.strictSame(await unknown.resolve('a-1'), stated(undefined))
  t.equal(unknown.known('a-1', undefined), undefined)
  t.equal(unknown.find, undefined)
  const fixed = bench({ regionDiscovery: false, region: 'ap-tokyo', endpoint: '{bucket}.private' })
  t.strictSame(await fixed.resolve('a-1', 'eu-frankfurt'), stated('ap-tokyo'), 'a fixed host has the configured region')
  t.equal(off.lists() + unknown.lists() + fixed.lists(), 0)
})

t.test('resolve prefers requested and configured regions, then discovery to the default', async t => {
  const { give, known, lists, resolve } = bench({ region: 'ap-tokyo' })
  t.strictSame(await resolve('a-1', 'eu-frankfurt'), stated('eu-frankfurt'))
  t.strictSame(await resolve('configured-1'), stated('ap-seoul'))
  t.strictSame([known('a-1', 'eu-frankfurt'), known('configured-1', undefined)], ['eu-frankfurt', 'ap-seoul'])
  t.equal(lists(), 0)
  t.equal(known('a-1', undefined), undefined, 'discovery has not run yet')
  const place = resolve('a-1')
  await give({ 'a-1': 'ap-beijing', 'configured-1': 'ap-beijing' })
  t.strictSame(await place, discovered('ap-beijing'))
  t.equal(known('a-1', undefined), 'ap-beijing')
  t.strictSame(await resolve('a-1', 'eu-frankfurt'), stated('eu-frankfurt'))
  t.strictSame(await resolve('configured-1'), stated('ap-seoul'))
  t.equal(lists(), 1)
})

t.test('bucket list is used for all its buckets for ten minutes', async t => {
  const { find, give, known, lists, pass, resolve } = bench()
  const first = resolve('a-1')
  pass(2_000)
  await give({ 'a-1': 'ap-beijing', 'b-1': 'ap-tokyo' })
  t.strictSame(await first, discovered('ap-beijing'))
  t.strictSame(await resolve('b-1'), discovered('ap-tokyo'))
  t.equal(await find?.('b-1'), 'ap-tokyo')
  pass(10 * minuteMs - 2_001)
  t.strictSame(await resolve('a-1'), discovered('ap-beijing'))
  t.equal(lists(), 1)
  pass(1)
  t.equal(known('a-1', undefined), undefined, 'the age counts from the start of the list')
  const second = resolve('a-1')
  t.equal(lists(), 2)
  await give({ 'a-1': 'ap-seoul' })
  t.strictSame(await second, discovered('ap-seoul'))
})

t.test('missing bucket is looked up again after 30 seconds', async t => {
  const { find, give, known, lists, pass, resolve } = bench()
  const absent = t.rejects(resolve('new-1'), noSuchBucket)
  await give({ 'a-1': 'ap-beijing' })
  await absent
  t.equal(known('new-1', undefined), undefined)
  t.equal(await find?.('new-1'), undefined)
  pass(29_999)
  await t.rejects(resolve('new-1'), { ...noSuchBucket, detail: /new-1.*query parameter region.*COS_BUCKET_REGIONS.*within 30 s/ })
  t.equal(lists(), 1)
  pass(1)
  const present = resolve('new-1')
  t.equal(lists(), 2)
  await give({ 'a-1': 'ap-beijing', 'new-1': 'ap-tokyo' })
  t.strictSame(await present, discovered('ap-tokyo'))
})

t.test('missing bucket has the default region when there is one', async t => {
  const { find, give, known, lists, pass, resolve } = bench({ region: 'ap-tokyo' })
  const place = resolve('foreign-1')
  await give({})
  t.strictSame(await place, discovered('ap-tokyo'), 'a look-up was made')
  t.strictSame(await resolve('foreign-1'), discovered('ap-tokyo'))
  t.equal(known('foreign-1', undefined), 'ap-tokyo')
  t.equal(await find?.('foreign-1'), undefined, 'find does not return the default region')
  pass(30_000)
  t.equal(known('foreign-1', undefined), undefined)
  t.equal(lists(), 1)
})

t.test('missing bucket is looked up again when it is not in the default region', async t => {
  const { give, lists, moved, pass, resolve } = bench({ region: 'ap-tokyo' })
  const place = resolve('new-1')
  await give({ 'a-1': 'ap-beijing' })
  await place
  pass(29_999)
  t.equal(await moved('new-1', 'ap-tokyo'), undefined, 'a list stays valid for missing buckets for 30 s')
  t.equal(lists(), 1)
  pass(1)
  const relocated = moved('new-1', 'ap-tokyo')
  await give({ 'a-1': 'ap-beijing', 'new-1': 'ap-seoul' })
  t.equal(await relocated, 'ap-seoul')
  pass(5_000)
  const absent = moved('other-1', 'ap-tokyo')
  t.equal(await absent, undefined)
  t.equal(lists(), 2)
})

t.test('calls during a bucket list share its result or failure', async t => {
  const { fail, find, give, lists, moved, resolve } = bench()
  const [a, b, another, destination, relocated] = [resolve('a-1'), resolve('b-1'), resolve('a-1'), find?.('b-1'), moved('a-1', 'ap-tokyo')]
  const absent = t.rejects(resolve('c-1'), noSuchBucket)
  await give({ 'a-1': 'ap-beijing', 'b-1': 'ap-tokyo' })
  t.strictSame(await Promise.all([a, b, another]), [discovered('ap-beijing'), discovered('ap-tokyo'), discovered('ap-beijing')])
  t.equal(await destination, 'ap-tokyo')
  t.equal(await relocated, 'ap-beijing')
  await absent
  t.equal(lists(), 1)

  const failing = bench()
  const all = ['a-1', 'b-1'].map(bucket => t.rejects(failing.resolve(bucket), rejected))
  await failing.fail()
  await Promise.all(all)
  t.equal(failing.lists(), 1)
  const next = failing.resolve('a-1')
  t.equal(failing.lists(), 2, 'a failure is not cached')
  await failing.give({ 'a-1': 'ap-beijing' })
  t.strictSame(await next, discovered('ap-beijing'))
  await t.rejects(fail(), /no list is in flight/)
})

t.test('expired bucket list is used for its buckets when a new list fails', async t => {
  const { fail, find, give, lines, lists, pass, resolve } = bench()
  const first = resolve('a-1')
  await give({ 'a-1': 'ap-beijing' })
  await first
  pass(10 * minuteMs)
  const [old, destination] = [resolve('a-1'), find?.('a-1')]
  const absent = t.rejects(resolve('b-1'), rejected, 'its region is unknown')
  await fail()
  t.strictSame(await old, discovered('ap-beijing'))
  t.equal(await destination, 'ap-beijing')
  await absent
  t.match(lines, [{ bucket: 'a-1', code: 'AccessDenied', message: 'list of buckets failed, using the previous list' }, { bucket: 'a-1' }])
  t.equal(lists(), 2)

  pass(29_999)
  t.strictSame(await resolve('a-1'), discovered('ap-beijing'), 'without a new list')
  t.equal(await find?.('a-1'), 'ap-beijing')
  t.equal(lists(), 2)
  const another = t.rejects(resolve('b-1'), rejected, 'the old list does not contain it')
  await fail()
  await another
  t.equal(lists(), 3)
  pass(29_999)
  t.strictSame(await resolve('a-1'), discovered('ap-beijing'), 'the time counts from the latest failure')
  t.equal(lists(), 3)
  pass(1)
  const faulty = t.rejects(resolve('a-1'), bug)
  await fail(bug)
  await faulty
  pass(30_000)
  const last = resolve('a-1')
  await give({ 'a-1': 'ap-seoul' })
  t.strictSame(await last, discovered('ap-seoul'))
  t.equal(lists(), 5)
  t.equal(lines.length, 2)
})

t.test('moved bucket is looked up once more', async t => {
  const { fail, give, known, lines, lists, moved, pass, resolve } = bench()
  const first = resolve('a-1')
  await give({ 'a-1': 'ap-beijing', 'b-1': 'ap-tokyo' })
  await first
  pass(4_999)
  t.equal(await moved('a-1', 'ap-beijing'), undefined, 'the list is recent enough')
  t.equal(await moved('a-1', 'ap-seoul'), 'ap-beijing', 'another call has updated the region')
  t.equal(await moved('c-1', 'ap-seoul'), undefined)
  t.equal(lists(), 1)

  pass(1)
  const relocated = moved('a-1', 'ap-beijing')
  await give({ 'a-1': 'ap-seoul', 'b-1': 'ap-tokyo' })
  t.equal(await relocated, 'ap-seoul')
  t.strictSame(await resolve('a-1'), discovered('ap-seoul'))
  t.equal(lists(), 2)

  pass(5_000)
  const unmoved = moved('b-1', 'ap-tokyo')
  await fail()
  t.equal(await unmoved, undefined, 'the region stays unknown')
  t.match(lines, [{ bucket: 'b-1', code: 'AccessDenied', message: 'list of buckets failed, new region of the bucket unknown' }])
  t.equal(known('b-1', undefined), 'ap-tokyo', 'the old region is kept')
  pass(29_999)
  t.equal(await moved('b-1', 'ap-tokyo'), undefined)
  t.equal(lists(), 3, 'no new list soon after a failure')

  pass(1)
  const faulty = t.rejects(moved('b-1', 'ap-tokyo'), bug)
  await fail(bug)
  await faulty

  pass(30_000)
  const vanished = moved('b-1', 'ap-tokyo')
  await give({ 'a-1': 'ap-seoul' })
  t.equal(await vanished, undefined)
  await t.rejects(resolve('b-1'), noSuchBucket)
  t.equal(lists(), 5)
})

t.test('bucket list continues when the time of its caller has run out', async t => {
  const { give, known, lists, moved, pass, resolve, within } = bench()
  const first = resolve('a-1')
  await give({ 'a-1': 'ap-beijing' })
  await first
  pass(5_000)
  t.equal(await within(0, () => moved('a-1', 'ap-beijing')), undefined)
  const other = moved('a-1', 'ap-beijing')
  await give({ 'a-1': 'ap-seoul' })
  t.equal(await other, 'ap-seoul')
  t.equal(lists(), 2)
  pass(30_000)
  await t.rejects(within(0, () => resolve('b-1')), { code: 'UpstreamTimeout', detail: /GET Service/ })
  await give({ 'b-1': 'ap-tokyo' })
  t.equal(known('b-1', undefined), 'ap-tokyo')
})

t.test('resolve returns the default region when the bucket list fails', async t => {
  const { fail, find, give, lines, lists, pass, resolve, warnings } = bench({ region: 'ap-tokyo' })
  const early = resolve('a-1')
  await fail()
  t.strictSame(await early, discovered('ap-tokyo'))
  t.strictSame(await resolve('b-1'), discovered('ap-tokyo'), 'without a new list')
  t.equal(lists(), 1)
  t.match(lines, [{ bucket: 'a-1', code: 'AccessDenied', message: 'list of buckets failed, using the default region' }])
  t.strictSame(warnings, [{ code: 'AccessDenied', detail: 'no' }], 'a warning is logged')
  const destination = t.rejects(Promise.resolve(find?.('b-1')), rejected, 'the region of a destination is unknown')
  await fail()
  await destination

  pass(30_000)
  const faulty = t.rejects(resolve('a-1'), bug)
  await fail(bug)
  await faulty
  pass(30_000)
  const found = resolve('a-1')
  await give({ 'a-1': 'ap-beijing' })
  t.strictSame(await found, discovered('ap-beijing'))
  pass(10 * minuteMs)
  const old = resolve('a-1')
  await fail()
  t.strictSame(await old, discovered('ap-beijing'), 'the discovered region wins over the default')
})
