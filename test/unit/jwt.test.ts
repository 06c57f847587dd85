import { createPublicKey } from 'node:crypto'
import { base64url, exportJWK, generateKeyPair, SignJWT } from 'jose'
import type { JWK } from 'jose'
import { pino } from 'pino'
import t from 'tap'
import type { Test } from 'tap'
import { createJwtVerifier } from '../../src/callers/jwt.ts'
import { ServiceError } from '../../src/errors.ts'
import { startIssuer } from '../doubles/issuer.ts'
import type { SignOptions } from '../doubles/issuer.ts'
import { refuseSecrets, secret } from '../secrets.ts'

const floorMs = 10_000
const minuteMs = 60_000

/** Starts an issuer, a verifier and their clocks, and records the log. `stepMs` moves only the wall clock. */
async function start (t: Test, options: { floorMs?: number } = {}) {
  const clock = { ms: Date.parse('2026-11-22T12:00:00Z'), stepMs: 0 }
  const now = () => clock.ms + clock.stepMs
  const issuer = await startIssuer(t, { onSecret: secret, now })
  const lines: string[] = []
  const log = pino({ level: 'trace' }, { write: (line: string) => { lines.push(line) } })
  t.teardown(() => refuseSecrets(lines.join('')))
  const verifier = createJwtVerifier(issuer.config, { now, steadyNow: () => clock.ms, log, ...options })
  interface Line { level: number, reason: string, claim?: string }
  const logged = () => lines.splice(0).map(line => JSON.parse(line) as Line)
  return {
    issuer,
    verifier,
    clock,
    seconds: () => now() / 1000,
    /** Returns the reasons logged since the last call. */
    reasons: () => logged().map(({ level, reason, claim = '' }) => `${pino.levels.labels[level]} ${reason} ${claim}`.trim()),
    /** Returns whether a token with these claims is accepted. */
    accepts: async (claims?: Record<string, unknown>, how?: SignOptions) =>
      await verifier.verify(await issuer.sign(claims, how)) !== undefined
  }
}

async function failureOf (verifying: Promise<unknown>): Promise<Partial<ServiceError>> {
  const error = await verifying.then(() => undefined, reason => reason as unknown)
  if (!(error instanceof ServiceError)) throw new Error('a service error was thrown')
  return { code: error.code, status: error.status, retryAfterSeconds: error.retryAfterSeconds }
}

t.test('verifier returns the claims of a token signed with any allowed algorithm', async t => {
  const { issuer, verifier } = await start(t)
  for (const alg of ['RS256', 'ES256', 'EdDSA'] as const) {
    t.match(await verifier.verify(await issuer.sign({ sub: 'svc', groups: ['a'] }, { alg })), { sub: 'svc', groups: ['a'] })
  }
  t.equal(issuer.calls, 1, 'keys are fetched once')
})

t.test('verifier rejects a token when a claim, key or signature is invalid', async t => {
  const { issuer, verifier, accepts, seconds, reasons } = await start(t)
  const { issuer: iss } = issuer.config
  t.ok(await accepts({ aud: ['others', 'inventories'] }))
  t.notOk(await accepts({ aud: 'others' }), 'wrong audience')
  t.notOk(await accepts({ aud: undefined }), 'no audience')
  t.notOk(await accepts({ iss: `${iss}/` }), 'wrong issuer')
  t.notOk(await accepts({ iss: undefined }), 'no issuer')
  t.notOk(await accepts({ exp: undefined }), 'no expiry')
  t.notOk(await accepts({ exp: String(seconds() + 300) }), 'expiry that is not a number')
  t.notOk(await accepts({ exp: seconds() - 60 }), 'expired')
  t.notOk(await accepts({ nbf: seconds() + 60 }), 'not yet valid')
  t.notOk(await accepts({}, { kid: 'unknown' }), 'unknown key')
  t.notOk(await accepts({}, { kid: 'ES256-1' }), 'key of another algorithm')
  const claims = ['aud', 'aud', 'iss', 'iss', 'exp', 'exp'].map(claim => `debug ERR_JWT_CLAIM_VALIDATION_FAILED ${claim}`)
  t.strictSame(reasons(), [
    ...claims, 'debug ERR_JWT_EXPIRED exp', 'debug ERR_JWT_CLAIM_VALIDATION_FAILED nbf', 'debug ERR_JWKS_NO_MATCHING_KEY', 'debug ERR_JWKS_NO_MATCHING_KEY'
  ])
  const valid = await issuer.sign()
  const [header = '', , signature = ''] = valid.split('.')
  const payload = base64url.encode(JSON.stringify({ iss, aud: 'inventories', exp: seconds() + 300, sub: 'root' }))
  for (const bad of [
    `${header}.${payload}.${signature}`, valid.slice(0, -5), `${header}.${payload}.`, `${header}.${payload}`, '', 'a.b.c', `${valid}.x`
  ]) t.equal(await verifier.verify(bad), undefined)
  t.strictSame([...new Set(reasons())].sort(), ['debug ERR_JWS_INVALID', 'debug ERR_JWS_SIGNATURE_VERIFICATION_FAILED'])
})

t.test('verifier accepts clock differences of up to 30 seconds', async t => {
  const { accepts, seconds } = await start(t)
  t.ok(await accepts({ exp: seconds() - 29 }))
  t.notOk(await accepts({ exp: seconds() - 30 }))
  t.ok(await accepts({ nbf: seconds() + 30 }))
  t.notOk(await accepts({ nbf: seconds() + 31 }))
})

t.test('verifier rejects a token when its header selects another algorithm', async t => {
  const { issuer, verifier, seconds } = await start(t)
  const { issuer: iss, audience: aud } = issuer.config
  const claims = { iss, aud, exp: seconds() + 300 }
  const published = issuer.keys[0] as JWK
  const pem = createPublicKey({ key: published as Record<string, string>, format: 'jwk' }).export({ type: 'spki', format: 'pem' })
  for (const alg of ['HS256', 'HS384', 'HS512']) {
    for (const text of [pem, String(pem).trim(), JSON.stringify(published), String(published.n)]) {
      const header = { alg, kid: String(published.kid) }
      const token = await new SignJWT(claims).setProtectedHeader(header).sign(Buffer.from(text))
      t.equal(await verifier.verify(secret(token)), undefined, `${alg} with the public key as secret`)
    }
  }
  const encoded = base64url.encode(JSON.stringify(claims))
  for (const alg of ['none', 'None', 'NONE', '', null, 'HS256', 'constructor', 'ML-DSA-44']) {
    const header = base64url.encode(JSON.stringify({ alg, kid: published.kid }))
    for (const signature of ['', 'AAAA']) {
      t.equal(await verifier.verify(`${header}.${encoded}.${signature}`), undefined, `algorithm ${alg}`)
    }
  }
  t.equal(issuer.calls, 0, 'no key set was fetched')
})

t.test('verifier rejects a token when its header supplies a key', async t => {
  const { issuer, verifier, seconds } = await start(t, { floorMs: 0 })
  const stranger = await startIssuer(t, { onSecret: secret })
  const { issuer: iss, audience: aud } = issuer.config
  const { publicKey, privateKey } = await generateKeyPair('ES256')
  const jwk = await exportJWK(publicKey)
  const jku = stranger.config.jwksUrl
  const named = { jwk: { ...jwk, kid: 'x' }, kid: 'x' }
  for (const header of [{ jwk }, { jku }, { x5u: jku }, { x5c: ['MIIB'] }, { jwk, jku, kid: 'ES256-1' }, named]) {
    const token = await new SignJWT({ iss, aud, exp: seconds() + 300 })
      .setProtectedHeader({ alg: 'ES256', ...header })
      .sign(privateKey)
    t.equal(await verifier.verify(secret(token)), undefined, Object.keys(header).join())
  }
  t.equal(stranger.calls, 0)
})

t.test('verifier fetches keys at most every 10 s when a token has an unknown key id', async t => {
  const { issuer, verifier, accepts, clock, reasons } = await start(t)
  t.ok(await accepts())
  await issuer.rotate()
  t.ok(await accepts(), 'the first fetch has no delay')
  t.equal(issuer.calls, 2)
  await issuer.rotate()
  t.notOk(await accepts(), 'no fetch within the minimum interval')
  clock.ms += floorMs - 1
  t.notOk(await accepts())
  t.equal(issuer.calls, 2)
  clock.ms += 1
  t.ok(await accepts())
  t.equal(issuer.calls, 3)
  clock.ms += floorMs
  t.notOk(await accepts({}, { kid: 'RS256-1' }), 'an old key is no longer valid')
  t.equal(issuer.calls, 4)
  t.strictSame([...new Set(reasons())], ['debug ERR_JWKS_NO_MATCHING_KEY'])
  clock.ms += floorMs
  t.equal(await verifier.verify(`${(await issuer.sign()).slice(0, -8)}AAAAAAAA`), undefined, 'a wrong signature')
  t.equal(issuer.calls, 4, 'an invalid signature causes no fetch')
})

t.test('verifier tries all matching keys when a token has no key id', async t => {
  const { issuer, accepts, clock, seconds } = await start(t)
  const how = { kid: null }
  const [rsa] = issuer.keys as JWK[]
  t.ok(await accepts({}, how), 'one key')
  t.notOk(await accepts({ exp: seconds() - 60 }, how))
  const another = async () => exportJWK((await generateKeyPair('RS256')).publicKey)
  issuer.keys = [await another(), { kty: 'RSA', n: 'AQAB', e: '' }, rsa]
  clock.ms += floorMs
  t.notOk(await accepts({}, { kid: 'unknown' }), 'an unknown key causes a fetch')
  t.equal(issuer.calls, 2)
  clock.ms += floorMs
  t.ok(await accepts({}, how), 'several keys')
  t.notOk(await accepts({ exp: seconds() - 60 }, how))
  t.equal(issuer.calls, 2, 'invalid claims cause no fetch')
  await issuer.rotate()
  issuer.keys.push(await another())
  clock.ms += floorMs
  t.ok(await accepts({}, how), 'a new key among several')
  t.equal(issuer.calls, 3)
  issuer.keys = [await another(), await another()]
  clock.ms += floorMs
  t.notOk(await accepts({}, { kid: 'unknown' }))
  clock.ms += floorMs
  t.notOk(await accepts({}, how), 'none of several')
  t.equal(issuer.calls, 5)
})

t.test('verifier uses the valid keys when a key set has malformed entries', async t => {
  const { issuer, accepts, reasons } = await start(t)
  const [rsa, , ed] = issuer.keys as JWK[]
  issuer.keys = [
    null, 1, 'key', [], {}, { kty: 'XYZ', kid: 'RS256-1' }, { kty: 'oct', k: 'AAAA', kid: 'RS256-1', alg: 'RS256' },
    { kty: 'RSA', kid: 'RS256-1', alg: 'RS256', n: 5 }, rsa, { kty: 'EC', kid: 'ES256-1', crv: 'P-256', x: '!', y: '' }, ed
  ]
  t.ok(await accepts())
  t.ok(await accepts({}, { alg: 'EdDSA' }))
  t.notOk(await accepts({}, { alg: 'ES256' }), 'a malformed key')
  t.strictSame(reasons(), ['debug DataError'])
})

t.test('verifier fetches keys once when many tokens arrive at once', async t => {
  const { issuer, accepts } = await start(t, { floorMs: 0 })
  issuer.answer = 'hang'
  const all = Promise.all([1, 2, 3, 4, 5].map(() => accepts()))
  await issuer.arrived(1)
  issuer.release()
  t.strictSame(await all, [true, true, true, true, true])
  t.equal(issuer.calls, 1)
  await issuer.rotate()
  t.strictSame(await Promise.all([1, 2, 3].map(() => accepts())), [true, true, true])
  t.equal(issuer.calls, 2)
})

t.test('verifier uses keys older than ten minutes while it fetches new ones', async t => {
  const { issuer, accepts, clock } = await start(t)
  t.ok(await accepts())
  clock.ms += 10 * minuteMs
  t.ok(await accepts())
  t.equal(issuer.calls, 1)
  clock.ms += 1
  issuer.answer = 'hang'
  t.ok(await accepts(), 'the token is verified without waiting')
  await issuer.arrived(2)
  t.ok(await accepts())
  await issuer.rotate()
  issuer.release()
  t.ok(await accepts(), 'a token with a new key waits for the fetch in flight')
  t.equal(issuer.calls, 2)
})

t.test('verifier keeps the last valid keys when the issuer fails', async t => {
  const { issuer, verifier, accepts, clock, reasons } = await start(t)
  await verifier.start()
  const malformed = [
    ...['not JSON', 'null', '[]', '{}', '{"keys":{}}', '"keys"'].map(body => ({ body })), { status: 500, body: '{"keys":[]}' }
  ]
  for (const [index, response] of malformed.entries()) {
    issuer.answer = response
    clock.ms += floorMs
    t.notOk(await accepts({}, { kid: 'unknown' }), response.body)
    t.equal(issuer.calls, index + 2)
    t.ok(await accepts())
  }
  const { host } = new URL(issuer.config.jwksUrl)
  const [notKeys, unknown] = ['warn the response is not a JWK set', 'debug ERR_JWKS_NO_MATCHING_KEY']
  t.strictSame(reasons(), [
    `warn ${host} did not return JSON`, unknown, ...Array.from({ length: 5 }, () => [notKeys, unknown]).flat(),
    `warn ${host} returned 500`, unknown
  ])
  await issuer.takeDown()
  clock.ms += 365 * 24 * 60 * minuteMs
  t.ok(await accepts(), 'a year later')
})

t.test('verify rejects with 503 when no key set was ever fetched', async t => {
  const { issuer, verifier, accepts, clock, reasons } = await start(t)
  await issuer.takeDown()
  await verifier.start()
  t.strictSame(reasons(), [`warn ${new URL(issuer.config.jwksUrl).host} did not respond (ECONNREFUSED)`])
  t.strictSame(await failureOf(accepts()), { code: 'IssuerUnreachable', status: 503, retryAfterSeconds: 1 })
  await issuer.bringBack()
  clock.ms += 999
  t.strictSame(await failureOf(accepts()), { code: 'IssuerUnreachable', status: 503, retryAfterSeconds: 1 })
  t.equal(issuer.calls, 0, 'the minimum interval applies after failures')
  t.strictSame(reasons(), [])
  clock.ms += 1
  t.ok(await accepts())
  t.equal(issuer.calls, 1)
})

for (const [direction, stepMs] of [['back', -60 * minuteMs], ['forward', 60 * minuteMs]] as const) {
  t.test(`verifier refreshes keys in time when the wall clock steps ${direction}`, async t => {
    const { issuer, verifier, accepts, clock } = await start(t)
    t.ok(await accepts())
    t.notOk(await accepts({}, { kid: 'unknown' }))
    t.equal(issuer.calls, 2)
    clock.stepMs = stepMs
    await issuer.rotate()
    clock.ms += floorMs - 1
    t.notOk(await accepts(), 'the minimum interval is unchanged')
    t.equal(issuer.calls, 2)
    clock.ms += 1
    t.ok(await accepts())
    t.equal(issuer.calls, 3)
    clock.stepMs += stepMs
    clock.ms += 10 * minuteMs
    const withdrawn = await issuer.sign()
    await issuer.rotate()
    t.ok(await verifier.verify(withdrawn))
    t.equal(issuer.calls, 3)
    clock.ms += 1
    t.ok(await verifier.verify(withdrawn), 'the old set is used while the new one is fetched')
    await issuer.arrived(4)
    t.ok(await accepts(), 'the new set is used')
    t.equal(issuer.calls, 4)
    t.equal(await verifier.verify(withdrawn), undefined, 'the withdrawn key is dropped')
  })

  t.test(`verifier checks claims by the wall clock when it steps ${direction}`, async t => {
    const { accepts, clock, seconds } = await start(t)
    t.ok(await accepts())
    const before = seconds()
    clock.stepMs = stepMs
    t.ok(await accepts())
    t.equal(await accepts({ exp: before + 300 }), direction === 'back')
    t.equal(await accepts({ nbf: before }), direction === 'forward')
  })

  t.test(`verifier fetches keys after a second when the wall clock steps ${direction}`, async t => {
    const { issuer, verifier, accepts, clock } = await start(t)
    await issuer.takeDown()
    await verifier.start()
    clock.stepMs = stepMs
    t.strictSame(await failureOf(accepts()), { code: 'IssuerUnreachable', status: 503, retryAfterSeconds: 1 })
    await issuer.bringBack()
    clock.ms += 1_000
    t.ok(await accepts())
  })
}

t.test('Retry-After is 1 s when the minimum fetch interval is 0', async t => {
  const { issuer, accepts } = await start(t, { floorMs: 0 })
  issuer.answer = { body: 'null' }
  t.strictSame(await failureOf(accepts()), { code: 'IssuerUnreachable', status: 503, retryAfterSeconds: 1 })
})
