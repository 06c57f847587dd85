import { mock } from 'node:test'
import fc from 'fast-check'
import t from 'tap'
import { createConcurrencyLimiter } from '../../src/cos/client/concurrency-limiter.ts'
import type { RejectionReason, Permit } from '../../src/cos/client/concurrency-limiter.ts'
import type { UpstreamError } from '../../src/cos/upstream-error.ts'

const neverAborted = new AbortController().signal
const region = 'cos.ap-guangzhou.myqcloud.com'

interface Limits { maxConcurrency?: number, maxPerHost?: number, queueLimit?: number, maxWaitMs?: number }

/** Creates a limiter with its own clock. Outcomes of calls are stored by name. */
function build ({ maxConcurrency = 4, maxPerHost = 2, queueLimit = 10, maxWaitMs = 5_000 }: Limits = {}) {
  let time = 1_000_000
  const shed: RejectionReason[] = []
  const limiter = createConcurrencyLimiter({ maxConcurrency, maxPerHost, queueLimit, maxWaitMs }, {
    now: () => time, onRejection: reason => { shed.push(reason) }
  })
  const admitted: string[] = []
  const rejected = new Map<string, UpstreamError>()
  const permits = new Map<string, Permit>()
  /** Starts a call to the host named by the first letter: `a1` calls host a. */
  const enter = async (name: string, { signal = neverAborted, until = time + 15_000, in: where = region } = {}) => {
    try {
      const permit = await limiter.acquire({ host: `${name[0]}.${where}`, region: where }, until, signal)
      admitted.push(name)
      permits.set(name, permit)
    } catch (error) {
      rejected.set(name, error as UpstreamError)
    }
  }
  const settle = () => new Promise(resolve => { setImmediate(resolve) })
  const release = async (name: string, ending: Parameters<Permit['release']>[0] = 'responded') => {
    permits.get(name)?.release(ending)
    permits.delete(name)
    await settle()
  }
  return {
    limiter,
    shed,
    admitted,
    rejected,
    permits,
    release,
    settle,
    enter,
    async enterAll (...names: string[]) {
      for (const name of names) void enter(name)
      await settle()
    },
    pass (ms: number) { time += ms }
  }
}

t.test('calls wait when the limit of their host or of all hosts is reached', async t => {
  const { admitted, enterAll, release, limiter } = build()
  await enterAll('a1', 'a2', 'a3', 'b1', 'c1', 'c2')
  t.strictSame(admitted, ['a1', 'a2', 'b1', 'c1'])
  t.strictSame(limiter.occupation(), { inFlight: 4, waiting: 2, unresponsiveHosts: 0 })
  await release('b1')
  t.strictSame(admitted.slice(4), ['c2'], 'host a has no free permit')
  await release('a2')
  t.strictSame(admitted.slice(5), ['a3'])
})

t.test('free permits are handed out round-robin across hosts', async t => {
  const { admitted, enterAll, release, permits } = build({ maxConcurrency: 1 })
  await enterAll('x1', 'a1', 'a2', 'a3', 'b1', 'b2', 'c1')
  while (permits.size > 0) await release(String([...permits.keys()][0]))
  t.strictSame(admitted, ['x1', 'a1', 'b1', 'c1', 'a2', 'b2', 'a3'])
})

t.test('a full queue rejects the latest call of the host with most waiting', async t => {
  const { enterAll, rejected, shed } = build({ maxConcurrency: 1, queueLimit: 4 })
  await enterAll('x1', 'a1', 'a2', 'a3', 'a4', 'a5')
  t.strictSame([...rejected.keys()], ['a5'])
  await enterAll('b1')
  t.strictSame([...rejected.keys()], ['a5', 'a4'])
  await enterAll('b2', 'b3')
  t.strictSame([...rejected.keys()].sort(), ['a3', 'a4', 'a5', 'b3'])
  t.strictSame(shed, ['queue_full', 'queue_full', 'queue_full', 'queue_full'])
  t.match(rejected.get('a5'), { code: 'Overloaded', status: 503, class: 'overloaded', wasSent: false, retryAfterSeconds: 1, detail: /Nothing was sent/ })
  const none = build({ maxConcurrency: 1, queueLimit: 0 })
  await none.enterAll('a1', 'a2', 'b1')
  t.strictSame([...none.rejected.keys()], ['a2', 'b1'])
})

t.test('a wait ends at its limit or at the deadline', async t => {
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => { mock.timers.reset() })
  const { enter, rejected, release, admitted, limiter, settle, pass } = build({ maxConcurrency: 1, maxWaitMs: 5_000 })
  await enter('a1')
  void enter('a2')
  void enter('a3', { until: 1_000_000 + 2_000 })
  void enter('a4', { until: 1_000_000 - 1 })
  mock.timers.tick(0)
  await settle()
  t.strictSame([...rejected.keys()], ['a4'])
  mock.timers.tick(2_000)
  await settle()
  t.strictSame([...rejected.keys()], ['a4', 'a3'])
  pass(2_000)
  mock.timers.tick(2_999)
  await settle()
  t.equal(rejected.size, 2)
  mock.timers.tick(1)
  await settle()
  t.match(rejected.get('a2'), { code: 'Overloaded', detail: /^The call to a\.cos\S+ waited too long for a permit\./ })
  t.equal(limiter.occupation().waiting, 0)
  await release('a1')
  t.strictSame(admitted, ['a1'], 'rejected calls get no permit later')
})

t.test('a call whose caller disconnects gets no permit', async t => {
  const { enter, enterAll, rejected, release, admitted, settle, shed } = build({ maxConcurrency: 1 })
  const controller = new AbortController()
  await enter('a1')
  void enter('a2', { signal: controller.signal })
  await enterAll('a3')
  controller.abort()
  await settle()
  t.match(rejected.get('a2'), { code: 'CallerLeft', status: 499, class: 'cancelled' })
  await release('a1')
  t.strictSame(admitted, ['a1', 'a3'])
  await enter('a4', { signal: controller.signal })
  t.match(rejected.get('a4'), { code: 'CallerLeft' })
  t.strictSame(shed, [], 'not counted as load shedding')
})

t.test('one call at a time probes an unresponsive host', async t => {
  const { enterAll, rejected, release, admitted, pass, limiter, shed } = build({ maxConcurrency: 8 })
  await enterAll('a1', 'a2', 'a3', 'b1')
  pass(100)
  await release('b1', 'responded')
  pass(4_900)
  await release('a1', 'unresponsive')
  t.match(rejected.get('a3'), { code: 'Overloaded', detail: /a\.cos\S+\) is unresponsive/ })
  t.strictSame(shed, ['unresponsive_host'])
  await release('a2', 'unresponsive')
  t.equal(limiter.occupation().unresponsiveHosts, 1)
  await enterAll('a4', 'a5', 'a6', 'b2')
  t.strictSame(admitted, ['a1', 'a2', 'b1', 'a4', 'b2'], 'other hosts are not affected')
  await release('a4', 'other')
  t.equal(admitted.at(-1), 'a5', 'a canceled call does not change the state of the host')
  await release('a5', 'responded')
  t.strictSame(admitted.slice(6), ['a6'])
  t.equal(limiter.occupation().unresponsiveHosts, 0)
  await enterAll('a7')
  t.equal(admitted.at(-1), 'a7')
})

t.test('a host is not unresponsive when other calls get responses', async t => {
  const { enterAll, release, pass, limiter } = build({ maxConcurrency: 8 })
  await enterAll('a1', 'a2')
  pass(100)
  await release('a2', 'responded')
  pass(4_900)
  await release('a1', 'unresponsive')
  t.equal(limiter.occupation().unresponsiveHosts, 0)
})

t.test('an unresponsive region gets an eighth of the permits', async t => {
  const dead = 'cos.ap-dead.myqcloud.com'
  const { enter, admitted, release, pass, settle } = build({ maxConcurrency: 16, maxPerHost: 16 })
  void enter('a1', { in: dead })
  await settle()
  pass(5_000)
  await release('a1', 'unresponsive')
  for (const name of ['b1', 'c1', 'd1', 'e1', 'f1']) void enter(name, { in: dead })
  for (const name of ['x1', 'x2', 'y1']) void enter(name)
  await settle()
  t.strictSame(admitted.slice(1), ['b1', 'c1', 'x1', 'x2', 'y1'])
  await release('b1', 'responded')
  t.strictSame(admitted.slice(6), ['d1', 'e1', 'f1'], 'one responsive host is enough')
})

t.test('idle hosts are forgotten', async t => {
  const limiter = createConcurrencyLimiter(
    { maxConcurrency: 4, maxPerHost: 2, queueLimit: 0, maxWaitMs: 1 }, { now: () => 1, onRejection: () => {} }
  )
  const kept = await limiter.acquire({ host: 'kept', region: 'r0' }, 10, neverAborted)
  for (let count = 0; count < 5_000; count++) {
    const permit = await limiter.acquire({ host: `h${count}`, region: `r${count}` }, 10, neverAborted)
    permit.release('unresponsive')
  }
  t.ok(limiter.occupation().unresponsiveHosts <= 1_000)
  kept.release('unresponsive')
  t.equal(limiter.occupation().inFlight, 0)
})

t.test('no sequence of calls exceeds a limit or loses a permit', async () => {
  const step = fc.oneof(
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('enter' as const), host: fc.constantFrom('a', 'b', 'c') }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('release' as const), index: fc.nat(20), ending: fc.constantFrom('responded' as const, 'unresponsive' as const, 'other' as const) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('leave' as const), index: fc.nat(20) }) }
  )
  await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 80 }), async steps => {
    const { limiter, enter, permits, rejected, settle, release, admitted, pass } = build(
      { maxConcurrency: 3, maxPerHost: 2, queueLimit: 4, maxWaitMs: 60_000 })
    const controllers: AbortController[] = []
    let entered = 0
    for (const each of steps) {
      pass(1)
      if (each.kind === 'enter') {
        const controller = new AbortController()
        controllers.push(controller)
        void enter(`${each.host}${++entered}`, { signal: controller.signal, until: 1_000_000_000 })
        await settle()
      } else if (each.kind === 'release') {
        await release([...permits.keys()][each.index % (permits.size || 1)] ?? '', each.ending)
      } else {
        controllers[each.index % (controllers.length || 1)]?.abort()
        await settle()
      }
      const { inFlight, waiting } = limiter.occupation()
      const hosts = [...permits.keys()].map(name => name[0])
      if (inFlight > 3 || waiting > 4 || inFlight !== permits.size) return false
      if (['a', 'b', 'c'].some(host => hosts.filter(other => other === host).length > 2)) return false
      if (admitted.length + rejected.size + waiting !== entered) return false
    }
    while (permits.size > 0) await release(String([...permits.keys()][0]))
    const { inFlight, waiting } = limiter.occupation()
    return inFlight === 0 && waiting === 0
  }))
})
