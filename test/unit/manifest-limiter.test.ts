import t from 'tap'
import { CancelSource } from '../../src/concurrency/cancel-signal.ts'
import type { Call } from '../../src/cos/inventories.ts'
import { createManifestLocks } from '../../src/reports/manifest-locks.ts'

/** Returns the part of a call that a lock needs. */
function callOf (signal = new CancelSource()): Call {
  return { deadlineAt: Infinity, signal } as Partial<Call> as Call
}

t.test('reads of the same folder run one after another, and few of all folders', async t => {
  const { run } = createManifestLocks(() => 0)
  const [running, ended]: Array<Set<string>> = [new Set(), new Set()]
  let most = 0
  const ends: Array<() => void> = []
  const reads = Array.from({ length: 40 }, (_, at) => `folder-${at % 20}`).map((folder, at) => run(callOf(), folder, async () => {
    t.notOk(running?.has(folder))
    running?.add(folder)
    most = Math.max(most, running?.size as number)
    await new Promise<void>(resolve => { ends.push(resolve) })
    running?.delete(folder)
    ended?.add(String(at))
  }))
  while (ended?.size as number < reads.length) {
    ends.shift()?.()
    await new Promise(resolve => { setImmediate(resolve) })
  }
  await Promise.all(reads)
  t.ok(most > 1 && most <= 4, `${most} at once`)
})

t.test('a read that waits ends with its caller, and too many are rejected', async t => {
  const { run } = createManifestLocks(() => 0)
  const forever = () => new Promise<never>(() => {})
  void run(callOf(), 'folder', forever)
  const signal = new CancelSource()
  const canceled = run(callOf(signal), 'folder', forever)
  signal.cancel()
  await t.rejects(canceled, { code: 'CallerLeft' })
  for (let waiting = 0; waiting < 200; waiting++) void run(callOf(), 'folder', forever)
  await t.rejects(run(callOf(), 'folder', forever), { code: 'Overloaded', retryAfterSeconds: 1 })
})
