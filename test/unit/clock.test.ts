import t from 'tap'
import { createCosClock } from '../../src/cos/client/clock.ts'

t.test('clock accepts a rejected call for retry when another call corrected the clock', async t => {
  let time = 1_000_000
  const clock = createCosClock({ now: () => time, steadyNow: () => time, log: { warn: () => {} } })
  const then = clock.offsetMs()
  t.ok(clock.correct(5_000_000, then))
  t.ok(clock.correct(5_000_000, then), 'the second call was signed with the old time too')
  t.notOk(clock.correct(5_000_000, clock.offsetMs()), 'a call signed with the corrected time was rejected for another reason')
  t.equal(clock.now(), 5_000_000)
  time += 1_000
  t.equal(clock.now(), 5_001_000)
  t.notOk(clock.correct(5_005_000, clock.offsetMs()), 'a few seconds are latency')
})

for (const [direction, stepMs] of [['back', -3_600_000], ['forward', 3_600_000]] as const) {
  t.test(`corrected clock keeps COS time when the wall clock steps ${direction}`, async t => {
    const trueTime = 1_800_000_000_000
    let steadyMs = 500
    let wallAheadMs = -stepMs
    const warnings: object[] = []
    const clock = createCosClock({
      now: () => trueTime + steadyMs + wallAheadMs,
      steadyNow: () => steadyMs,
      log: { warn: fields => { warnings.push(fields) } }
    })
    const cosTime = () => trueTime + steadyMs
    t.strictSame([clock.now() - cosTime(), clock.skewMs()], [-stepMs, 0], 'the wall clock is trusted at first')
    t.ok(clock.correct(cosTime(), clock.offsetMs()))
    t.strictSame([clock.now(), clock.skewMs()], [cosTime(), stepMs])
    steadyMs += 60_000
    const offsetThenMs = clock.offsetMs()
    wallAheadMs += stepMs
    t.strictSame([clock.now(), clock.skewMs()], [cosTime(), 0])
    t.notOk(clock.correct(cosTime(), offsetThenMs), 'a request signed before the step has the same time')
    steadyMs += 60_000
    t.equal(clock.now(), cosTime())
    t.strictSame(warnings, [{ skewMs: stepMs }])
  })

  t.test(`clock asks for a new signature when the wall clock stepped ${direction}`, async t => {
    let time = 1_800_000_000_000
    const warnings: object[] = []
    const log = { warn: (fields: object) => { warnings.push(fields) } }
    const clock = createCosClock({ now: () => time, steadyNow: () => 0, log })
    const offsetThenMs = clock.offsetMs()
    time += stepMs
    t.ok(clock.correct(time, offsetThenMs))
    t.strictSame([warnings, clock.skewMs()], [[], 0], 'nothing needs a correction')
  })
}
