import assert from 'node:assert/strict'
import { mock } from 'node:test'
import { setImmediate as settled } from 'node:timers/promises'
import fc from 'fast-check'
import t from 'tap'
import type { Test } from 'tap'
import type { Credentials } from '../../src/config/credentials.ts'
import { createCredentialProvider } from '../../src/cos/credentials/provider.ts'
import type { CredentialProvider } from '../../src/cos/credentials/provider.ts'
import { CredentialSourceError } from '../../src/cos/credentials/source.ts'
import type { SourcedCredentials } from '../../src/cos/credentials/source.ts'
import { Secret } from '../../src/secret.ts'

const startAt = Date.parse('2026-01-01T00:00:00Z')
const dayMs = 86_400_000
const hourMs = 3_600_000
const later = startAt + 1_000 * dayMs

interface Line { level: string, source: string, cause?: string, expiresAt?: string, retryAt?: string, message: string }

interface Bench {
  provider: CredentialProvider
  /** Returns the number of loads that have begun. */
  loads (): number
  /** Ends the load in flight with credentials of this lifetime. */
  give (lifetimeMs: number | undefined, credentials?: Credentials): Promise<Credentials>
  /** Ends the load in flight with an error. */
  fail (error?: Error): Promise<void>
  /** Advances the timers by this time and runs their effects. */
  pass (ms: number): Promise<void>
  /** Sets the wall clock forward; the monotonic clock is not affected. */
  step (ms: number): void
  lines: Line[]
}

let issued = 0
function fresh (): Credentials {
  issued += 1
  return { secretId: `AKID${issued}`, secretKey: new Secret(`secretKey${issued}`), token: new Secret(`secretToken${issued}`) }
}

const copyOf = ({ secretId, secretKey, token }: Credentials): Credentials => ({
  secretId, secretKey: new Secret(secretKey.reveal()), token: token && new Secret(token.reveal())
})

/** Creates a provider whose source responds when the test decides; `random` is 0.5, so there is no jitter. */
function bench (random = () => 0.5): Bench {
  const lines: Line[] = []
  let loads = 0
  let steppedMs = 0
  const now = () => Date.now() + steppedMs
  let inFlight: { resolve (loaded: SourcedCredentials): void, reject (error: Error): void } | undefined
  const source = {
    name: 'scripted',
    files: [],
    isLocal: true,
    load: () => new Promise<SourcedCredentials>((resolve, reject) => {
      assert.equal(inFlight, undefined, 'two loads at a time')
      loads += 1
      inFlight = { resolve, reject }
    })
  }
  const end = async (how: (load: NonNullable<typeof inFlight>) => void) => {
    const load = inFlight
    assert.ok(load, 'no load is in flight')
    inFlight = undefined
    how(load)
    await settled()
  }
  const at = (level: string) => (fields: object, message: string) => {
    assert.ok(!JSON.stringify({ fields, message }).includes('secret'), 'a secret was logged')
    lines.push({ level, ...fields, message } as Line)
  }
  const log = { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
  return {
    provider: createCredentialProvider(source, { now, steadyNow: () => Date.now(), random, log }),
    loads: () => loads,
    async give (lifetimeMs, credentials = fresh()) {
      await end(load => {
        load.resolve({ credentials, expiresAt: lifetimeMs === undefined ? undefined : now() + lifetimeMs })
      })
      return credentials
    },
    fail: (error = new CredentialSourceError('sts answered 500')) => end(load => { load.reject(error) }),
    async pass (ms) {
      mock.timers.tick(ms)
      await settled()
    },
    step (ms) { steppedMs += ms },
    lines
  }
}

/** Runs a test with a clock that only the test advances. */
async function withStoppedTime (run: () => Promise<void>): Promise<void> {
  mock.timers.enable({ apis: ['setTimeout', 'Date'], now: startAt })
  try {
    await run()
  } finally {
    mock.timers.reset()
  }
}

function test (title: string, run: (t: Test) => Promise<void>): void {
  void t.test(title, t => withStoppedTime(() => run(t)))
}

const share = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })

test('provider has no credentials and reports so before the first load', async t => {
  const { provider, give } = bench()
  t.equal(provider.unavailableReason(), 'no credentials have been loaded yet')
  t.equal(provider.expiresAt(), undefined)
  const starting = provider.start()
  t.equal(provider.unavailableReason(), 'no credentials have been loaded yet')
  const credentials = await give(7_200_000)
  await starting
  t.equal(provider.unavailableReason(), undefined)
  t.equal(provider.expiresAt(), startAt + 7_200_000)
  t.equal(await provider.get(0), credentials, 'valid credentials are returned at once for any deadline')
})

t.test('provider starts one load for any number of waiting calls', async t => {
  const waiters = fc.integer({ min: 1, max: 50 })
  await t.resolves(fc.assert(fc.asyncProperty(waiters, fc.boolean(), (count, starts) => withStoppedTime(async () => {
    const { provider, loads, give } = bench()
    if (starts) void provider.start()
    const waiting = Array.from({ length: count }, () => provider.get(later))
    const renewing = provider.renew(fresh(), later)
    const credentials = await give(7_200_000)
    for (const each of await Promise.all([...waiting, renewing])) assert.equal(each, credentials)
    assert.equal(loads(), 1)
  })), { numRuns: 30 }))
})

test('failed load rejects all waiting calls and is retried after the back-off', async t => {
  const { provider, loads, give, fail, pass, lines } = bench()
  const waiting = Promise.allSettled([provider.get(later), provider.get(later), provider.start()])
  await fail()
  const unavailable = {
    code: 'UpstreamCredentialsUnavailable',
    status: 503,
    detail: 'There are no valid credentials for COS: sts answered 500. Retry; if it persists, contact the operator.',
    retryAfterSeconds: 1
  }
  t.match(await waiting, [{ status: 'rejected', reason: unavailable }, { reason: unavailable }, { status: 'fulfilled' }])
  t.equal(provider.unavailableReason(), 'sts answered 500')
  await t.rejects(provider.get(later), unavailable, 'rejects at once during the back-off')
  t.equal(loads(), 1)
  t.match(lines, [{ level: 'error', source: 'scripted', cause: 'sts answered 500', retryAt: '2026-01-01T00:00:00.375Z' }])

  await pass(374)
  t.equal(loads(), 1)
  await pass(1)
  t.equal(loads(), 2, 'the provider retries on its own')
  const got = provider.get(later)
  const credentials = await give(undefined)
  t.equal(await got, credentials)
  t.equal(provider.unavailableReason(), undefined)
})

test('provider hides the message of an error that is not a CredentialSourceError', async t => {
  const { provider, fail, lines } = bench()
  void provider.start()
  await fail(new TypeError('secret'))
  t.equal(provider.unavailableReason(), 'scripted failed unexpectedly')
  t.match(lines, [{ level: 'error', cause: 'scripted failed unexpectedly' }])
})

test('get rejects at its deadline while the load continues', async t => {
  const { provider, loads, give, pass } = bench()
  const unavailable = {
    code: 'UpstreamCredentialsUnavailable',
    detail: 'There are no valid credentials for COS: no credentials have been loaded yet. Retry; if it persists, contact the operator.',
    retryAfterSeconds: 1
  }
  const patient = provider.get(startAt + 100 * dayMs)
  const late = t.rejects(provider.get(startAt - 1), unavailable)
  await pass(0)
  await late
  const impatient = t.rejects(provider.get(startAt + 100), unavailable)
  await pass(100)
  await impatient
  const credentials = await give(7_200_000)
  t.equal(await patient, credentials)
  t.equal(loads(), 1)
})

t.test('provider refreshes credentials at the lead time before expiry, within 10 %', async t => {
  const lifetimes = fc.oneof(fc.integer({ min: 2_000, max: 20_000 }), fc.integer({ min: 20_000, max: dayMs / 2 }))
  await t.resolves(fc.assert(fc.asyncProperty(lifetimes, share, (lifetimeMs, random) => withStoppedTime(async () => {
    const { provider, loads, give, pass } = bench(() => random)
    void provider.start()
    const first = await give(lifetimeMs)
    const leadMs = Math.min(600_000, lifetimeMs / 5)
    await pass(Math.floor(lifetimeMs - leadMs * 1.1) - 1)
    assert.equal(loads(), 1)
    await pass(Math.ceil(leadMs * 0.2) + 2)
    assert.equal(loads(), 2)
    assert.equal(await provider.get(0), first, 'old credentials are returned during the refresh')
    assert.equal(await give(lifetimeMs), await provider.get(0))
  })), { numRuns: 100 }))
})

test('provider waits half a second between loads when no call needs credentials', async t => {
  const { provider, loads, give, fail, pass } = bench()
  void provider.start()
  await give(100)
  await pass(99)
  t.equal(provider.unavailableReason(), undefined)
  await pass(1)
  t.equal(provider.unavailableReason(), 'the credentials have expired')
  await pass(399)
  t.equal(loads(), 1)
  await pass(1)
  t.equal(loads(), 2)
  await give(100)
  await pass(100)
  const got = t.rejects(provider.get(later), { message: /sts answered 500/ })
  t.equal(loads(), 3, 'a waiting call starts a load')
  await fail()
  await got
})

test('provider returns old credentials until they expire when refreshes fail', async t => {
  const { provider, loads, give, fail, pass, lines } = bench()
  void provider.start()
  const first = await give(10_000)
  await pass(8_000)
  t.equal(loads(), 2)
  await fail()
  await pass(375)
  await fail()
  await pass(750)
  await fail()
  await pass(10_000 - 8_000 - 375 - 750 - 1)
  t.equal(await provider.get(later), first)
  t.equal(provider.unavailableReason(), undefined)
  await pass(1)
  t.equal(provider.unavailableReason(), 'sts answered 500')
  await t.rejects(provider.get(later), { code: 'UpstreamCredentialsUnavailable', retryAfterSeconds: 1 })
  await pass(625)
  await fail()
  const rounded = { code: 'UpstreamCredentialsUnavailable', retryAfterSeconds: 3 }
  await t.rejects(provider.get(later), rounded, 'the remaining back-off, rounded up')
  await pass(3_000)
  await give(10_000)
  t.strictSame(lines.map(({ level, cause, expiresAt }) => [level, cause, expiresAt]), [
    ['info', undefined, '2026-01-01T00:00:10.000Z'],
    ...Array.from({ length: 3 }, () => ['warn', 'sts answered 500', '2026-01-01T00:00:10.000Z']),
    ['error', 'sts answered 500', undefined],
    ['info', undefined, '2026-01-01T00:00:23.625Z']
  ])
})

t.test('back-off doubles from 0.5 to 5 s, half of it random, until a load succeeds', async t => {
  const lengths = [500, 1_000, 2_000, 4_000, 5_000, 5_000, 5_000]
  await t.resolves(fc.assert(fc.asyncProperty(share, random => withStoppedTime(async () => {
    const { provider, loads, give, fail, pass } = bench(() => random)
    const failAll = async () => {
      const before = loads()
      for (const [index, length] of lengths.entries()) {
        await fail()
        await pass(Math.round(length / 2 * (1 + random)) - 1)
        assert.equal(loads(), before + index)
        await pass(1)
        assert.equal(loads(), before + index + 1)
      }
    }
    void provider.start()
    await failAll()
    const credentials = await give(undefined)
    void provider.renew(credentials, later)
    await failAll()
  })), { numRuns: 30 }))
})

test('provider refreshes on time when expiry is beyond the range of a timer', async t => {
  const { provider, loads, give, pass } = bench()
  const waiting = provider.get(later)
  await give(90 * dayMs)
  await waiting
  for (let day = 1; day < 90; day += 1) await pass(dayMs)
  t.equal(loads(), 1)
  await pass(dayMs - 600_000 - 1)
  t.equal(loads(), 1)
  await pass(1)
  t.equal(loads(), 2)
})

test('provider does not reload credentials without expiry unless a load failed', async t => {
  const { provider, loads, give, fail, pass } = bench()
  void provider.start()
  const credentials = await give(undefined)
  t.equal(provider.expiresAt(), undefined)
  for (let day = 0; day < 40; day += 1) await pass(dayMs)
  t.equal(loads(), 1)
  void provider.renew(credentials, later)
  await fail()
  await pass(375)
  t.equal(loads(), 3, 'a failed load is retried')
})

test('provider returns the same object when a load returns the same values', async t => {
  const { provider, give, lines } = bench()
  void provider.start()
  const first = await give(10_000)
  const reloading = provider.reload()
  await settled()
  await give(20_000, copyOf(first))
  await reloading
  t.equal(await provider.get(0), first)
  t.equal(provider.expiresAt(), startAt + 20_000)
  t.strictSame(lines.map(({ level }) => level), ['info', 'debug'])
  for (const changed of [{ secretId: 'AKIDother' }, { secretKey: new Secret('otherKey') }, { token: new Secret('otherToken') }, { token: undefined }]) {
    const old = await provider.get(0)
    void provider.reload()
    await settled()
    const next = await give(20_000, { ...copyOf(old), ...changed })
    t.equal(await provider.get(0), next, Object.keys(changed).join())
  }
})

test('renew returns newer credentials, loading them when there are none', async t => {
  const { provider, loads, give, pass } = bench()
  void provider.start()
  const first = await give(undefined)
  const renewing = [provider.renew(first, later), provider.renew(first, later)]
  t.equal(await provider.get(0), first)
  const second = await give(undefined)
  t.strictSame((await Promise.all(renewing)).map(each => each === second), [true, true])
  t.equal(loads(), 2)
  t.equal(await provider.renew(first, later), second, 'a late rejection of the first needs no load')
  await pass(999)
  t.equal(await provider.renew(second, later), undefined, 'newly loaded credentials are not renewed within a second')
  await pass(1)
  const again = provider.renew(second, later)
  const third = await give(undefined)
  t.equal(await again, third)
})

test('renew starts a new load when the load in flight returns the old values', async t => {
  const { provider, loads, give } = bench()
  void provider.start()
  const first = await give(undefined)
  const reloading = provider.reload()
  await settled()
  const renewing = provider.renew(first, later)
  await give(undefined, copyOf(first))
  await reloading
  const second = await give(undefined)
  t.equal(await renewing, second)
  t.equal(loads(), 3)
})

for (const outcome of ['the same credentials', 'a failure']) {
  test(`renew skips the back-off but waits a second after ${outcome}`, async t => {
    const { provider, loads, give, fail, pass, lines } = bench(() => 1)
    void provider.start()
    const first = await give(undefined)
    const end = () => outcome === 'a failure' ? fail() : give(undefined, copyOf(first))
    const reloading = assert.rejects(provider.reload(), CredentialSourceError)
    await settled()
    await fail()
    await reloading
    const renewing = provider.renew(first, later)
    t.equal(loads(), 3, 'ignores the back-off')
    await end()
    t.equal(await renewing, undefined)
    t.equal(await provider.get(0), first)
    await pass(999)
    t.equal(await provider.renew(first, later), undefined)
    t.equal(loads(), 3)
    await pass(1)
    const again = provider.renew(first, later)
    t.equal(loads(), 4)
    await end()
    await again
    const reloadingAgain = provider.reload()
    await settled()
    const joining = provider.renew(first, later)
    const second = await give(undefined)
    t.equal(await joining, second, 'renew joins a load in flight within that second')
    await reloadingAgain
    t.strictSame(lines.filter(({ level }) => level === 'error'), [], 'no error is logged while the old credentials are valid')
  })
}

test('renew never returns expired credentials', async t => {
  const { provider, give, fail, pass } = bench()
  void provider.start()
  const first = await give(100)
  await pass(100)
  const renewing = provider.renew(first, later)
  await fail()
  t.equal(await renewing, undefined)
  t.equal(await provider.renew(fresh(), later), undefined)
})

test('reload starts after the load in flight, and keeps old credentials on failure', async t => {
  const { provider, loads, give, fail, lines } = bench()
  void provider.start()
  const message = 'the credentials file: SecretId is missing'
  const reloading = [0, 1].map(() => assert.rejects(provider.reload(), { name: 'CredentialSourceError', message }))
  const first = await give(undefined)
  t.equal(loads(), 2, 'the load in flight may have read the old file')
  await fail(new CredentialSourceError(message))
  await Promise.all(reloading)
  t.equal(loads(), 2)
  t.equal(await provider.get(0), first)
  t.equal(provider.unavailableReason(), undefined)
  t.match(lines.at(-1), { level: 'warn', cause: message, message: 'refresh failed, keeping previous credentials for COS' })
})

test('renew returns nothing when its deadline passes during a load', async t => {
  const { provider, give, pass } = bench()
  void provider.start()
  const first = await give(undefined)
  const [renewing, joining] = [provider.renew(first, startAt + 1_000), provider.renew(first, startAt + 2_000)]
  await pass(1_000)
  t.equal(await renewing, undefined)
  const second = await give(undefined)
  t.equal(await joining, second, 'a call with a later deadline keeps waiting')
})

test('provider starts no load on its own after close', async t => {
  const { provider, loads, give, pass } = bench()
  void provider.start()
  await give(10_000)
  provider.close()
  await pass(10_000)
  t.equal(loads(), 1)
  const got = provider.get(later)
  const credentials = await give(10_000)
  t.equal(await got, credentials)
  await pass(10_000)
  t.equal(loads(), 2, 'the end of a load does not schedule another')
})

for (const [direction, stepMs] of [['back', -hourMs], ['forward', hourMs]] as const) {
  test(`a failed load is retried in time when the wall clock steps ${direction}`, async t => {
    const { provider, loads, give, fail, pass, step, lines } = bench()
    void provider.start()
    await fail()
    step(stepMs)
    await t.rejects(provider.get(later), { code: 'UpstreamCredentialsUnavailable', retryAfterSeconds: 1 })
    await pass(374)
    t.equal(loads(), 1)
    await pass(1)
    t.equal(loads(), 2)
    await fail()
    t.equal(lines.at(-1)?.retryAt, new Date(startAt + 375 + stepMs + 750).toISOString(), 'the log states wall time')
    await pass(750)
    const credentials = await give(2 * hourMs)
    t.equal(await provider.get(0), credentials)
    t.equal(provider.expiresAt(), startAt + 375 + 750 + stepMs + 2 * hourMs)
  })

  test(`credentials are refreshed in time when the wall clock steps ${direction}`, async t => {
    const { provider, loads, give, pass, step } = bench()
    void provider.start()
    const first = await give(3 * hourMs)
    step(stepMs)
    await pass(3 * hourMs - 600_000 - hourMs)
    t.equal(await provider.get(0), first)
    t.equal(loads(), 1)
    await pass(hourMs - 1)
    t.equal(loads(), direction === 'back' ? 1 : 2, 'at the latest a minute after the wall clock has passed the expiry')
    await pass(1)
    t.equal(loads(), 2)
  })

  test(`renew waits a second between loads when the wall clock steps ${direction}`, async t => {
    const { provider, loads, give, pass, step } = bench()
    void provider.start()
    const first = await give(undefined)
    const renewing = provider.renew(first, later)
    const second = await give(undefined)
    await renewing
    step(stepMs)
    await pass(999)
    t.equal(await provider.renew(second, later), undefined)
    await pass(1)
    const again = provider.renew(second, later)
    t.equal(loads(), 3)
    t.equal(await give(undefined), await again)
  })

  test(`a wait ends at its deadline when the wall clock has stepped ${direction}`, async t => {
    const { provider, give, pass, step } = bench()
    step(stepMs)
    let ended = false
    const unavailable = { code: 'UpstreamCredentialsUnavailable', retryAfterSeconds: 1 }
    const got = t.rejects(provider.get(startAt + 100), unavailable).then(() => { ended = true })
    await pass(99)
    t.notOk(ended)
    await pass(1)
    t.ok(ended)
    await got
    const first = await give(undefined)
    const renewing = [provider.renew(first, startAt + 200), provider.renew(first, startAt + 300)].map(async each => {
      const renewed = await each
      return [renewed, Date.now() - startAt]
    })
    await pass(100)
    t.strictSame(await renewing[0], [undefined, 200])
    const second = await give(undefined)
    t.strictSame(await renewing[1], [second, 200])
  })
}

test('get starts a load when the wall clock has stepped past the expiry', async t => {
  const { provider, loads, give, pass, step } = bench()
  void provider.start()
  await give(hourMs)
  await pass(1_000)
  step(hourMs)
  t.equal(provider.unavailableReason(), 'the credentials have expired')
  const got = provider.get(later)
  t.equal(loads(), 2)
  const second = await give(hourMs)
  t.equal(await got, second)
})

test('provider refreshes within a minute when the wall clock passes the expiry', async t => {
  const { provider, loads, give, pass, step } = bench()
  void provider.start()
  await give(2 * hourMs)
  await pass(30_000)
  step(2 * hourMs)
  await pass(29_999)
  t.equal(loads(), 1)
  await pass(1)
  t.equal(loads(), 2)
  await give(2 * hourMs)
  t.equal(provider.unavailableReason(), undefined)
})

t.test('timers of the provider do not keep the process alive', async t => {
  const timers = () => process.getActiveResourcesInfo().filter(each => each === 'Timeout').length
  const before = timers()
  const { provider, give } = bench()
  t.teardown(() => { provider.close() })
  const got = provider.get(Date.now() + dayMs)
  t.equal(timers(), before, 'no timer of a waiting caller')
  await give(dayMs)
  await got
  t.equal(timers(), before, 'no timer of the next load')
})
