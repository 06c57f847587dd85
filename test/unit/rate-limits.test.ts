import { mock } from 'node:test'
import t from 'tap'
import type { Test } from 'tap'
import type { Caller } from '../../src/callers/callers.ts'
import { createRateLimiter } from '../../src/http/access/rate-limits.ts'
import { createWindowStore } from '../../src/http/access/window-store.ts'
import { createBareApp } from '../bare-app.ts'

const hourMs = 3_600_000
const minuteMs = 60_000

/**
 * Starts an application that limits a caller to three requests and two failures a minute. `pass` moves both clocks,
 * `step` only the wall clock.
 */
async function start (t: Test) {
  mock.timers.enable({ apis: ['Date'], now: Date.parse('2026-01-01T00:00:00Z') })
  t.teardown(() => { mock.timers.reset() })
  let steadyMs = 0
  const app = await createBareApp(t)
  const limits = { perMinute: 3, byAddress: false, redis: undefined }
  const { countFailure, limitCaller } = await createRateLimiter(app, limits, () => steadyMs)
  app.get('/failure', countFailure)
  app.get('/', {
    async onRequest (request, reply) {
      request.context.caller = { name: String(request.headers['from']) } as Caller
      await limitCaller(request, reply)
    }
  }, async () => '')
  return {
    /** Returns status, remaining requests and seconds until the window ends, as in the response. */
    async request (from = 'one') {
      const { statusCode, headers } = await app.inject({ url: '/', headers: { from } })
      const [remaining, reset, retryAfter] = ['ratelimit-remaining', 'ratelimit-reset', 'retry-after'].map(name => headers[name])
      return [statusCode, remaining, reset, ...retryAfter === undefined ? [] : [Number(retryAfter)]]
    },
    failure: async () => (await app.inject({ url: '/failure' })).json(),
    pass (ms: number) {
      steadyMs += ms
      mock.timers.tick(ms)
    },
    step (ms: number) { mock.timers.setTime(Date.now() + ms) }
  }
}

for (const [direction, stepMs] of [['back', -hourMs], ['forward', hourMs]] as const) {
  t.test(`rate limit window lasts a minute when the wall clock steps ${direction}`, async t => {
    const { request, pass, step } = await start(t)
    t.strictSame(await request(), [200, '2', '60'])
    pass(10_000)
    t.strictSame(await request(), [200, '1', '50'])
    step(stepMs)
    t.strictSame(await request(), [200, '0', '50'])
    t.strictSame(await request(), [429, '0', '50', 50])
    t.strictSame(await request('another'), [200, '2', '60'], 'other callers have their own window')
    pass(49_999)
    t.strictSame(await request(), [429, '0', '1', 1])
    step(-stepMs)
    t.strictSame(await request(), [429, '0', '1', 1])
    pass(1)
    t.strictSame(await request(), [200, '2', '60'])
  })

  t.test(`failure limit lasts a minute when the wall clock steps ${direction}`, async t => {
    const { failure, pass, step } = await start(t)
    t.strictSame(await failure(), { isExceeded: false, retryAfterSeconds: 60 })
    t.strictSame(await failure(), { isExceeded: false, retryAfterSeconds: 60 })
    step(stepMs)
    t.strictSame(await failure(), { isExceeded: true, retryAfterSeconds: 60 })
    pass(59_999)
    t.strictSame(await failure(), { isExceeded: true, retryAfterSeconds: 1 })
    pass(1)
    t.strictSame(await failure(), { isExceeded: false, retryAfterSeconds: 60 })
  })
}

t.test('window store forgets the least recently used key when it has 5,000', async t => {
  const Store = createWindowStore(() => 0)
  const store = new Store({})
  const count = (key: string) => {
    let current: number | undefined
    store.incr(key, (_, result) => { current = result?.current }, minuteMs, 1)
    return current
  }
  for (const key of ['first', 'second', 'first']) count(key)
  for (let other = 0; other < 4_999; other += 1) count(`other ${other}`)
  t.equal(count('first'), 3)
  t.equal(count('second'), 1)
})
