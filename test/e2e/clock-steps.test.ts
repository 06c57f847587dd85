import { execFileSync } from 'node:child_process'
import { renameSync, writeFileSync } from 'node:fs'
import t from 'tap'
import type { Test } from 'tap'
import { as, callersFile, everything, withKey } from '../callers-file.ts'
import { startIssuer } from '../doubles/issuer.ts'
import { startMetadataDouble } from '../doubles/metadata.ts'
import { secret } from '../secrets.ts'
import { at, bucket, configuration, secrets, startTestEmulator, until } from '../start.ts'
import { startProgram } from './program.ts'
import type { Program } from './program.ts'

const hourMs = 3_600_000
const collection = `/buckets/${bucket}/inventories`
const keyPair = { COS_SECRET_ID: secrets.secretId, COS_SECRET_KEY: secrets.secretKey, COS_TOKEN: secrets.token }

/** The library path that `faketime` preloads; the dynamic linker completes it. */
const library = execFileSync('faketime', ['-m', '-f', '+0', 'printenv', 'LD_PRELOAD'], { encoding: 'utf8' }).trim()

/** The wall clock of a program. Other clocks of the program and of this process are not changed. */
interface WallClock {
  /** Hours ahead of the true time. */
  hours: number
  /** Returns its time in milliseconds since 1970. */
  now (): number
  environment: Record<string, string>
}

/** Starts a wall clock that is this many hours ahead. */
function wallClock (t: Test, startHours: number): WallClock {
  const path = `${t.testdir({})}/offset`
  let current = NaN
  const clock = {
    get hours () { return current },
    set hours (hours) {
      current = hours
      const seconds = hours * 3600
      // The program reads the file at each access to its clock, so the file must never be incomplete.
      writeFileSync(`${path}.new`, `${seconds < 0 ? '' : '+'}${seconds}`)
      renameSync(`${path}.new`, path)
    },
    now: () => Date.now() + current * hourMs,
    environment: {
      LD_PRELOAD: library,
      FAKETIME_TIMESTAMP_FILE: path,
      FAKETIME_NO_CACHE: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      NO_FAKE_STAT: '1'
    }
  }
  clock.hours = startHours
  return clock
}

interface Service extends Program {
  call (method: string, path: string, headers?: Record<string, string>): Promise<{
    status: number, json: Record<string, unknown>, retryAfter: number | undefined
  }>
  /** Waits for a log line whose time is this many hours ahead, so that the program has noticed the step. */
  logsAhead (hours: number): Promise<void>
}

/** Starts the service as a process with this wall clock. */
async function startService (
  t: Test, connectTo: string, clock: WallClock, environment: Record<string, string> = {}
): Promise<Service> {
  const program = startProgram(t, 'server', {
    ...'COS_CREDENTIALS' in environment ? {} : keyPair,
    AUTH: 'none',
    PORT: '0',
    COS_SCHEME: 'http',
    COS_REGION: 'ap-guangzhou',
    COS_CONNECT_TO: connectTo,
    ...environment,
    ...clock.environment
  })
  const [, url = ''] = await program.until(/listening at (http:[^"]+)"/)
  return {
    ...program,
    async call (method, path, headers = {}) {
      const body = method === 'PUT' ? JSON.stringify(configuration) : null
      const response = await fetch(url + path, { method, body, headers: { 'content-type': 'application/json', ...headers } })
      const text = await response.text()
      const retryAfter = response.headers.get('retry-after')
      return {
        status: response.status,
        json: text === '' ? {} : JSON.parse(text),
        retryAfter: retryAfter === null ? undefined : Number(retryAfter)
      }
    },
    logsAhead: hours => until(() => {
      const [line = '{}'] = program.stdout().split('\n').slice(-2)
      return Math.round(((JSON.parse(line) as { time: number }).time - Date.now()) / hourMs) === hours
    })
  }
}

for (const [direction, before] of [['back', 1], ['forward', -1]] as const) {
  t.test(`limits and key fetches end in time when the wall clock steps ${direction}`, async t => {
    const emulator = await startTestEmulator(t)
    const clock = wallClock(t, before)
    const issuer = await startIssuer(t, { onSecret: secret, now: clock.now })
    await issuer.takeDown()
    const { environment } = callersFile(t, [
      withKey('limited', everything),
      { name: 'unlimited', jwt: { claims: { sub: 'unlimited' } }, allow: everything, rateLimitPerMinute: 0 }
    ])
    const { call, logsAhead } = await startService(t, emulator.address, clock, {
      ...environment,
      RATE_LIMIT_PER_MINUTE: '2',
      JWT_JWKS_URL: issuer.config.jwksUrl,
      JWT_ISSUER: issuer.config.issuer,
      JWT_AUDIENCE: issuer.config.audience
    })
    const limited = () => call('GET', collection, as('limited'))
    const unknown = () => call('GET', collection, { authorization: 'Bearer wrong' })
    const withToken = async () =>
      call('GET', collection, { authorization: `Bearer ${await issuer.sign({ sub: 'unlimited' })}` })
    const issuerDown = { status: 503, json: { code: 'IssuerUnreachable' }, retryAfter: 1 }

    t.strictSame([(await limited()).status, (await limited()).status, (await unknown()).status], [200, 200, 401])
    t.match(await withToken(), issuerDown)
    await logsAhead(before)
    clock.hours = 0
    t.match(await withToken(), issuerDown)
    for (const request of [limited, unknown]) {
      const { status, retryAfter = NaN } = await request()
      t.equal(status, 429)
      t.ok(retryAfter >= 1 && retryAfter <= 60, `Retry-After: ${retryAfter}`)
    }
    await logsAhead(0)
    await issuer.bringBack()
    let last = await withToken()
    while (last.status === 503 && last.retryAfter === 1) last = await withToken()
    t.equal(last.status, 200)
  })

  t.test(`signatures stay valid after a correction when the wall clock steps ${direction}`, async t => {
    const emulator = await startTestEmulator(t)
    const clock = wallClock(t, before)
    const { call, logsAhead, until } = await startService(t, emulator.address, clock)
    t.equal((await call('PUT', at('a'))).status, 204)
    t.strictSame(emulator.requests.map(({ status }) => status), [403, 200])
    const skewSeconds = Number((await until(/"skewMs":(-?\d+)/))[1]) / 1000
    t.ok(Math.abs(skewSeconds + before * 3600) < 60, `${skewSeconds} s`)
    for (const [index, hours] of [0, before, -before].entries()) {
      clock.hours = hours
      t.equal((await call('PUT', at('a'))).status, 204)
      await logsAhead(hours)
      t.strictSame(emulator.requests.slice(2).map(({ status }) => status), Array(index + 1).fill(200), `${hours} h`)
    }
  })
}

t.test('short-lived credentials are refreshed when the wall clock steps back', async t => {
  const emulator = await startTestEmulator(t)
  const clock = wallClock(t, 0)
  const metadata = await startMetadataDouble(t, {
    lifetimeMs: 3_000, onSecret: secret, onIssued: issued => { emulator.setCredentials([issued]) }
  })
  const { call } = await startService(t, emulator.address, clock,
    { COS_CREDENTIALS: 'cvm-role', METADATA_ENDPOINT: metadata.endpoint })
  t.equal((await call('GET', collection)).status, 200)
  clock.hours = -1
  // Each load sends two requests: for the name of the role and for its credentials.
  await metadata.arrived(4)
  t.equal((await call('GET', collection)).status, 200)
})

t.test('credentials rejected by a wrong clock are loaded when the wall clock steps back', async t => {
  const emulator = await startTestEmulator(t)
  const clock = wallClock(t, 1)
  const metadata = await startMetadataDouble(t, {
    lifetimeMs: hourMs / 2, onSecret: secret, onIssued: issued => { emulator.setCredentials([issued]) }
  })
  const { call } = await startService(t, emulator.address, clock,
    { COS_CREDENTIALS: 'cvm-role', METADATA_ENDPOINT: metadata.endpoint })
  await metadata.arrived(2)
  const unavailable = { status: 503, json: { code: 'UpstreamCredentialsUnavailable', detail: /the credentials expired at/ } }
  t.match(await call('GET', collection), unavailable)
  clock.hours = 0
  let last = await call('GET', collection)
  while (last.status === 503 && Number(last.retryAfter) <= 5) last = await call('GET', collection)
  t.match(last, { status: 200, retryAfter: undefined })
  t.equal((await call('GET', '/readyz')).status, 200)
})

t.test('expired credentials are replaced at once when the wall clock steps forward', async t => {
  const emulator = await startTestEmulator(t)
  const clock = wallClock(t, -1)
  const metadata = await startMetadataDouble(t, {
    lifetimeMs: -hourMs / 2, onSecret: secret, onIssued: issued => { emulator.setCredentials([issued]) }
  })
  const { call } = await startService(t, emulator.address, clock,
    { COS_CREDENTIALS: 'cvm-role', METADATA_ENDPOINT: metadata.endpoint })
  t.equal((await call('GET', collection)).status, 200)
  t.equal(metadata.issued.length, 1)
  metadata.lifetimeMs = 2 * hourMs
  clock.hours = 0
  t.equal((await call('GET', collection)).status, 200)
  t.equal(metadata.issued.length, 2)
})
