import { mock } from 'node:test'
import { setImmediate as nextIteration } from 'node:timers/promises'
import t from 'tap'
import { createAbortableQueue } from '../../src/concurrency/abortable-queue.ts'
import { sleep } from '../../src/concurrency/abortable-sleep.ts'
import { CancelSource } from '../../src/concurrency/cancel-signal.ts'
import { createInFlight } from '../../src/concurrency/in-flight.ts'
import { withTimeout } from '../../src/concurrency/with-timeout.ts'

function createQueue () {
  let left = 0
  const queue = createAbortableQueue<string, 'full'>({
    toError: reason => new Error(reason), onLeave: () => { left += 1 }
  })
  return { queue, left: () => left }
}

/** Counts the listeners of a signal, so that a test sees leaked listeners. */
class CountingSource extends CancelSource {
  listeners = 0

  override addEventListener (type: 'abort', listener: () => void): void {
    this.listeners += 1
    super.addEventListener(type, listener)
  }

  override removeEventListener (type: 'abort', listener: () => void): void {
    this.listeners -= 1
    super.removeEventListener(type, listener)
  }
}

t.test('queue admits callers in order of arrival', async t => {
  const { queue, left } = createQueue()
  const waits = [queue.wait(undefined, undefined), queue.wait(undefined, undefined)]
  t.equal(queue.size(), 2)
  t.strictSame([queue.admitFirst('a'), queue.admitFirst('b'), queue.admitFirst('c')], [true, true, false])
  t.strictSame(await Promise.all(waits), ['a', 'b'])
  t.strictSame([queue.size(), left()], [0, 2])
})

t.test('queue rejects one wait, once, for each reason', async t => {
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => { mock.timers.reset() })
  const reasons = {
    canceled: (_: unknown, caller: CancelSource) => { caller.cancel() },
    timeout: () => { mock.timers.tick(1_000) },
    full: ({ queue }: ReturnType<typeof createQueue>) => { queue.rejectLast('full') }
  }
  for (const [message, act] of Object.entries(reasons)) {
    const created = createQueue()
    const { queue, left } = created
    const [first, caller] = [new CountingSource(), new CountingSource()]
    const kept = queue.wait(first, undefined)
    const rejected = t.rejects(queue.wait(caller, 1_000), { message })
    act(created, caller)
    await rejected
    t.strictSame([queue.size(), left(), caller.listeners], [1, 1, 0], message)
    caller.cancel()
    mock.timers.tick(1_000)
    t.ok(queue.admitFirst('value'))
    t.equal(await kept, 'value')
    first.cancel()
    t.strictSame([queue.size(), left(), first.listeners], [0, 2, 0])
  }
})

t.test('queue rejects all waits when rejectAll is called', async t => {
  const { queue } = createQueue()
  const waits = Promise.allSettled([queue.wait(undefined, 10), queue.wait(undefined, undefined)])
  queue.rejectAll('full')
  queue.rejectLast('full')
  t.match(await waits, [{ reason: { message: 'full' } }, { reason: { message: 'full' } }])
  t.equal(queue.size(), 0)
})

t.test('sleep ends after its delay or when the signal is canceled', async t => {
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => { mock.timers.reset() })
  const caller = new CountingSource()
  let ended = 0
  const count = () => { ended += 1 }
  const sleeps = [sleep(1_000, caller), sleep(2_000, undefined), sleep(2_000, caller)].map(each => each.then(count))
  mock.timers.tick(1_000)
  await sleeps[0]
  t.equal(ended, 1)
  caller.cancel()
  await sleeps[2]
  t.strictSame([ended, caller.listeners], [2, 0])
  mock.timers.tick(1_000)
  await Promise.all(sleeps)
  t.equal(ended, 3)
})

t.test('withTimeout settles as the promise, or as the callback at the limit', async t => {
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => { mock.timers.reset() })
  const never = new Promise<never>(() => {})
  const late = () => 'late'
  const fail = () => { throw new Error('late') }
  t.equal(await withTimeout(Promise.resolve('in time'), 1_000, late), 'in time')
  await t.rejects(withTimeout(Promise.reject(new Error('failed')), 1_000, late), { message: 'failed' })
  const waits = [withTimeout(never, 1_000, late), withTimeout(never, 500, fail), withTimeout(never, -1, late)]
  const settled = Promise.allSettled(waits)
  mock.timers.tick(0)
  t.equal(await waits[2], 'late', 'a limit in the past ends the wait at once')
  mock.timers.tick(1_000)
  t.match(await settled, [{ value: 'late' }, { reason: { message: 'late' } }, { value: 'late' }])
})

t.test('withTimeout waits 2^31 - 1 ms when the limit exceeds the range of a timer', async t => {
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => { mock.timers.reset() })
  const wait = withTimeout(new Promise<never>(() => {}), Infinity, () => 'late')
  mock.timers.tick(2 ** 31 - 2)
  t.equal(await Promise.race([wait, Promise.resolve('waiting')]), 'waiting')
  mock.timers.tick(1)
  t.equal(await wait, 'late')
})

t.test('in-flight counter settles when all work has ended', async t => {
  const inFlight = createInFlight()
  await inFlight.settled()
  let isSettled = false
  inFlight.start()
  inFlight.start()
  const settled = inFlight.settled().then(() => { isSettled = true })
  inFlight.end()
  await nextIteration()
  t.notOk(isSettled)
  inFlight.end()
  inFlight.start()
  await nextIteration()
  t.notOk(isSettled, 'new work is waited for too')
  inFlight.end()
  await settled
  t.ok(isSettled)
})
