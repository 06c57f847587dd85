import t from 'tap'
import { CancelSource } from '../../src/concurrency/cancel-signal.ts'
import { createManifestLimiter } from '../../src/reports/manifest-limiter.ts'

const callTo = (bucket: string, signal = new CancelSource()) => ({ bucket, deadlineAt: 60_000, signal })
const forever = () => new Promise<never>(() => {})

t.test('few manifests are read at once, and fewer of one bucket', async t => {
  const { run } = createManifestLimiter(() => 0)
  const running: string[] = []
  const ends: Array<() => void> = []
  let [most, mostOfBucket, ended] = [0, 0, 0]
  const reads = Array.from({ length: 40 }, (_, at) => `bucket-${at % 3}`).map(bucket => run(callTo(bucket), async () => {
    running.push(bucket)
    most = Math.max(most, running.length)
    mostOfBucket = Math.max(mostOfBucket, running.filter(each => each === bucket).length)
    await new Promise<void>(resolve => { ends.push(resolve) })
    running.splice(running.indexOf(bucket), 1)
    ended += 1
  }))
  while (ended < reads.length) {
    ends.shift()?.()
    await new Promise(resolve => { setImmediate(resolve) })
  }
  await Promise.all(reads)
  t.equal(most, 4)
  t.equal(mostOfBucket, 2)
})

t.test('an unresponsive bucket delays no other, even when its reads fill the queue', async t => {
  const { run } = createManifestLimiter(() => 0)
  const rejected: unknown[] = []
  for (let count = 0; count < 202; count++) run(callTo('slow'), forever).catch((error: unknown) => { rejected.push(error) })
  t.equal(await run(callTo('other'), async () => 'read'), 'read')
  await t.rejects(run(callTo('slow'), forever), {
    code: 'Overloaded', retryAfterSeconds: 1, detail: 'Too many manifests of reports are being read (slow). Retry in 1 s.'
  })
  t.strictSame(rejected, [])
})

t.test('a waiting read ends with its caller, and a failed read makes room', async t => {
  const { run } = createManifestLimiter(() => 0)
  void run(callTo('slow'), forever)
  const failing = run(callTo('slow'), async () => { throw new Error('no manifest') })
  const signal = new CancelSource()
  const canceled = run(callTo('slow', signal), forever)
  signal.cancel()
  await t.rejects(canceled, { code: 'CallerLeft' })
  await t.rejects(failing, { message: 'no manifest' })
  t.equal(await run(callTo('slow'), async () => 'read'), 'read')
})
