import { setImmediate as nextIteration } from 'node:timers/promises'
import t from 'tap'
import { createLocks } from '../../src/changes/locks.ts'

const forever = { deadlineAt: 3_600_000, signal: new AbortController().signal }

// Timers of waits are unreferenced, so this interval keeps the process alive.
const alive = setInterval(() => {}, 1_000)
t.teardown(() => { clearInterval(alive) })

/** Creates locks with a stopped clock. The test ends each piece of work, before or after it starts. */
function locksForTest ({ queueLimit = 10 } = {}) {
  const locks = createLocks({ queueLimit, reserveMs: 1_000, now: () => 0 })
  const started: string[] = []
  const works = new Map<string, { ended: Promise<string>, end: () => void, fail: (error: Error) => void }>()
  const work = (name: string) => {
    let [end, fail]: [() => void, (error: Error) => void] = [() => {}, () => {}]
    const ended = new Promise<string>((resolve, reject) => { [end, fail] = [() => { resolve(name) }, reject] })
    const present = works.get(name) ?? { ended, end, fail }
    works.set(name, present)
    return present
  }
  const take = (key: string, name: string, wait = forever) => locks.run(key, wait, () => {
    started.push(name)
    return work(name).ended
  })
  const end = (...names: string[]) => { for (const name of names) work(name).end() }
  return { locks, started, take, end, fail: (name: string) => { work(name).fail(new Error(`${name} failed`)) } }
}

t.test('locks run work with one key in order of arrival, other keys at once', async t => {
  const { locks, started, take, end } = locksForTest()
  const results = [take('a', 'first'), take('a', 'second'), take('a', 'third')]
  const apart = take('b', 'other')
  t.strictSame(started, ['first', 'other'])
  t.equal(locks.size(), 2)
  end('other')
  t.equal(await apart, 'other')
  t.equal(locks.size(), 1, 'an unlocked key is forgotten')
  end('third', 'first')
  t.equal(await results[0], 'first')
  await nextIteration()
  t.strictSame(started, ['first', 'other', 'second'])
  t.equal(locks.size(), 1)
  end('second')
  t.strictSame(await Promise.all(results), ['first', 'second', 'third'])
  t.strictSame(started, ['first', 'other', 'second', 'third'])
  t.equal(locks.size(), 0)
  end('again')
  t.equal(await take('a', 'again'), 'again')
  t.equal(locks.size(), 0)
})

t.test('locks run the next work when work fails', async t => {
  const { locks, take, end, fail } = locksForTest()
  const [failing, next] = [take('a', 'first'), take('a', 'second')]
  fail('first')
  end('second')
  await t.rejects(failing, { message: 'first failed' })
  t.equal(await next, 'second')
  t.equal(locks.size(), 0)
})

t.test('locks reject a wait when too little time is left, and never start its work', async t => {
  const { locks, started, take, end } = locksForTest()
  const held = take('a', 'first')
  const overloaded = { code: 'Overloaded', status: 503, retryAfterSeconds: 1, detail: /Nothing was sent/ }
  const rejections = [
    t.rejects(take('a', 'late', { ...forever, deadlineAt: 1_001 }), overloaded),
    t.rejects(take('a', 'later', { ...forever, deadlineAt: -1000 }), overloaded)
  ]
  const next = take('a', 'patient')
  await Promise.all(rejections)
  t.strictSame(started, ['first'])
  end('patient', 'first')
  t.strictSame(await Promise.all([held, next]), ['first', 'patient'], 'other waits keep their place')
  t.strictSame(started, ['first', 'patient'])
  t.equal(locks.size(), 0)
})

t.test('locks start no work when the caller has disconnected', async t => {
  const { locks, started, take, end } = locksForTest({ queueLimit: 1 })
  const caller = new AbortController()
  const held = take('a', 'first')
  const leaving = take('a', 'gone', { ...forever, signal: caller.signal })
  caller.abort()
  await t.rejects(leaving, { code: 'CallerLeft', wasSent: false })
  await t.rejects(take('b', 'gone before', { ...forever, signal: caller.signal }), { code: 'CallerLeft' })
  t.equal(locks.size(), 1, 'no key is locked')
  const next = take('a', 'next')
  end('first', 'next')
  t.strictSame(await Promise.all([held, next]), ['first', 'next'], 'the place in the queue is free again')
  t.strictSame(started, ['first', 'next'])
  t.equal(locks.size(), 0)
})

t.test('locks finish started work when its caller disconnects', async t => {
  const { locks, take, end } = locksForTest({ queueLimit: 1 })
  const caller = new AbortController()
  const [held, waiting] = [take('a', 'first'), take('a', 'second', { ...forever, signal: caller.signal })]
  end('first')
  await held
  caller.abort()
  const next = take('a', 'third')
  await t.rejects(take('a', 'fourth'), { code: 'Overloaded' }, 'the started work left the queue once')
  end('second', 'third')
  t.strictSame(await Promise.all([waiting, next]), ['second', 'third'])
  t.equal(locks.size(), 0)
})

t.test('locks reject a wait when the queue limit over all keys is reached', async t => {
  const { locks, started, take, end } = locksForTest({ queueLimit: 2 })
  const results = [take('a', 'a'), take('b', 'b'), take('a', 'waits for a'), take('b', 'waits for b')]
  await t.rejects(take('a', 'rejected'), { code: 'Overloaded', status: 503, retryAfterSeconds: 1 })
  end('free')
  t.equal(await take('c', 'free'), 'free', 'work without a wait is not rejected')
  end('a', 'b', 'waits for a', 'waits for b')
  await Promise.all(results)
  t.notOk(started.includes('rejected'))
  t.equal(locks.size(), 0)
})
