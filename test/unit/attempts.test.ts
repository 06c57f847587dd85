import fc from 'fast-check'
import t from 'tap'
import { createAttempts } from '../../src/cos/client/retry.ts'
import type { CallObserver, CosCall } from '../../src/cos/client/retry.ts'
import { toUpstreamError } from '../../src/cos/client/response-errors.ts'
import { createCosClock } from '../../src/cos/client/clock.ts'
import { createRetryBudget } from '../../src/cos/client/retry-budget.ts'
import type { CosAnswer, CosRequest } from '../../src/cos/client/transport.ts'
import { UpstreamError } from '../../src/cos/upstream-error.ts'
import type { FailureClass, Remedy } from '../../src/cos/upstream-error.ts'
import { Secret } from '../../src/secret.ts'
import { createPassingTracer } from '../../src/tracing.ts'

const secretId = 'AKIDexampleexampleexampleexample0000'
const keysNamed = (name: string) => ({ secretId: `${secretId}${name}`, secretKey: new Secret('key'), token: undefined })

/** An error answer as COS gives it. */
function refusal (status: number, code: string, headers: Record<string, string> = {}): CosAnswer {
  return {
    status,
    headers: { 'content-type': 'application/xml', 'x-cos-request-id': 'aWQ=', ...headers },
    body: Buffer.from(`<?xml version='1.0' encoding='utf-8' ?><Error><Code>${code}</Code><Message>m</Message></Error>`),
    confidential: []
  }
}

const success: CosAnswer = { status: 200, headers: { 'x-cos-request-id': 'aWQ=' }, body: Buffer.from(''), confidential: [] }

function fault (kind: FailureClass, { remedy = 'repeat', wasSent = true }: { remedy?: Remedy, wasSent?: boolean } = {}): UpstreamError {
  return new UpstreamError('UpstreamUnreachable', 'It failed.', { class: kind, remedy, wasSent })
}

interface Setting {
  maxAttempts?: number
  method?: CosRequest['method']
  deadlineMs?: number
  random?: number
  renewals?: number
  /** What the transport does, one for each attempt; the last one for all further ones. */
  plan: Array<CosAnswer | Error>
  read?: (answer: CosAnswer) => unknown
  onPause?: () => void
  /** Makes tracing fail. */
  traceFails?: boolean
  rejectPermit?: (number: number) => UpstreamError | undefined
}

/** One call over a transport that follows a plan, in a time of its own. */
function run (setting: Setting) {
  const { maxAttempts = 3, method = 'GET', deadlineMs = 15_000, random = 0.5, renewals = 1, plan, read = answer => answer.status } = setting
  let time = 1_800_000_000_000
  const now = () => time
  const events: string[] = []
  const sent: Array<{ number: number, key: string, at: number, signed: number, isCancellable: boolean }> = []
  const endings: string[] = []
  const delays: number[] = []
  const controller = new AbortController()
  const warnings: object[] = []
  const clock = createCosClock({ now, steadyNow: now, log: { warn: fields => { warnings.push(fields) } } })
  const observer: CallObserver = {
    attempted: (operation, { class: ending, code }) => { events.push(`attempt ${operation} ${ending} ${code}`) },
    called: (operation, ending) => { events.push(`call ${operation} ${ending}`) },
    retried: (_, after) => { events.push(`retry ${after}`) },
    retryDenied: reason => { events.push(`denied ${reason}`) },
    waited: () => {}
  }
  let key = 0
  const attempts = createAttempts({ maxAttempts }, {
    limiter: {
      acquire: async (_, __, signal) => {
        const error = setting.rejectPermit?.(sent.length + 1)
        if (error !== undefined) throw error
        if (signal?.aborted === true) throw fault('cancelled', { remedy: 'none', wasSent: false })
        return { release: ending => { endings.push(ending) } }
      }
    },
    budget: createRetryBudget(now),
    clock,
    credentials: {
      get: async () => keysNamed(String(key)),
      renew: async () => key < renewals ? keysNamed(String(++key)) : undefined
    },
    observer,
    transport: {
      send: async request => {
        const step = plan[Math.min(sent.length, plan.length - 1)] as CosAnswer | Error
        sent.push({
          number: request.number,
          key: request.credentials.secretId.slice(secretId.length),
          at: time,
          signed: clock.now(),
          isCancellable: request.signal !== undefined
        })
        time += 10
        if (step instanceof Error) throw step
        return step === success ? { ...step, status: request.success.status } : step
      }
    },
    now,
    random: () => random,
    pause: async ms => {
      delays.push(ms)
      time += ms
      setting.onPause?.()
    }
  })
  const tally = { attempts: 0 }
  const cosCall: CosCall = {
    operation: method === 'GET' ? 'GetBucketInventory' : method === 'PUT' ? 'PutBucketInventory' : method === 'POST' ? 'PostBucketInventory' : 'DeleteBucketInventory',
    method,
    address: { origin: 'https://a-1.cos.ap-guangzhou.myqcloud.com', host: 'a-1.cos.ap-guangzhou.myqcloud.com' },
    target: '/?inventory&id=a',
    body: undefined,
    deadlineAt: time + deadlineMs,
    call: {
      log: { debug: () => {} },
      trace: setting.traceFails === true
        ? { traceId: undefined, startAttempt: () => { throw new Error('a bug') }, end: () => {} }
        : createPassingTracer().startRequest({
          method, route: undefined, path: '/', address: '', requestId: '', traceparent: undefined, tracestate: undefined
        }),
      signal: controller.signal,
      tally
    }
  }
  const result = attempts.run(cosCall, read).then(
    value => ({ value, error: undefined }), (error: UpstreamError) => ({ value: undefined, error }))
  return { result, sent, events, endings, delays, controller, warnings, tally, clock }
}

const busy = refusal(503, 'SlowDown')

t.test('what passes is tried again, at most as often as there are attempts', async t => {
  const passing = [
    refusal(500, 'InternalError'), refusal(502, 'BadGateway'), refusal(503, 'ServiceUnavailable'), busy, refusal(504, 'GatewayTimeout'),
    refusal(429, 'TooManyRequests'), refusal(400, 'SlowDown'), refusal(400, 'EntitySizeNotMatch'), refusal(400, 'IncompleteBody'),
    refusal(400, 'RequestTimeout'), refusal(400, 'UserNetworkTooSlow'), fault('timeout'), fault('unreachable'), fault('invalid'),
    { ...success, status: 502, body: Buffer.from('<html>') }
  ]
  for (const failure of passing) {
    for (const method of ['GET', 'PUT', 'DELETE'] as const) {
      const twice = run({ method, plan: [failure, failure, success] })
      t.match(await twice.result, { value: method === 'DELETE' ? 204 : 200, error: undefined })
      t.strictSame(twice.sent.map(({ number }) => number), [1, 2, 3])
      t.equal(twice.tally.attempts, 3)
      const always = run({ method, plan: [failure] })
      t.ok((await always.result).error instanceof UpstreamError)
      t.equal(always.sent.length, 3)
      const once = run({ method, maxAttempts: 1, plan: [failure, success] })
      t.ok((await once.result).error instanceof UpstreamError)
      t.equal(once.sent.length, 1)
    }
  }
})

t.test('what stays is not tried again', async t => {
  const lasting = [
    refusal(400, 'InvalidArgument'), refusal(403, 'AccessDenied'), refusal(404, 'NoSuchBucket'), refusal(405, 'MethodNotAllowed'),
    refusal(409, 'InvalidBucketState'), refusal(412, 'PreconditionFailed'), refusal(451, 'UnavailableForLegalReasons'),
    refusal(501, 'NotImplemented'), refusal(403, 'SignatureDoesNotMatch'), { ...success, status: 301 }, { ...success, status: 404 },
    fault('unreachable', { remedy: 'none' })
  ]
  for (const failure of lasting) {
    const { result, sent } = run({ plan: [failure, success] })
    t.ok((await result).error instanceof UpstreamError)
    t.equal(sent.length, 1)
  }
})

t.test('an answer that cannot be read is tried again like one that did not come', async t => {
  let reads = 0
  const read = () => {
    if (++reads < 3) throw fault('invalid')
    return 'read'
  }
  const { result, sent, endings, events } = run({ plan: [success], read })
  t.match(await result, { value: 'read' })
  t.equal(sent.length, 3)
  t.strictSame(endings, ['responded', 'responded', 'responded'], 'its host answers all the same')
  t.strictSame(events, [
    'attempt GetBucketInventory invalid UpstreamUnreachable', 'retry invalid', 'attempt GetBucketInventory invalid UpstreamUnreachable',
    'retry invalid', 'attempt GetBucketInventory ok ', 'call GetBucketInventory ok'
  ])
})

t.test('a digest that COS does not find right is given one more chance', async t => {
  for (const code of ['BadDigest', 'InvalidDigest']) {
    t.match(await run({ method: 'PUT', plan: [refusal(400, code), success] }).result, { value: 200 })
    const always = run({ method: 'PUT', plan: [refusal(400, code)] })
    t.match(await always.result, { error: { status: 400, code } })
    t.equal(always.sent.length, 2)
  }
})

t.test('a POST is sent again only when nothing of it was sent', async t => {
  const unsent = run({ method: 'POST', plan: [fault('unreachable', { wasSent: false }), fault('timeout', { wasSent: false }), success] })
  t.match(await unsent.result, { value: 200 })
  t.equal(unsent.sent.length, 3)
  for (const failure of [fault('unreachable'), fault('timeout'), fault('invalid'), busy, refusal(500, 'InternalError'), refusal(400, 'BadDigest')]) {
    const { result, sent } = run({ method: 'POST', plan: [failure, success] })
    t.ok((await result).error instanceof UpstreamError)
    t.equal(sent.length, 1)
  }
  const { result } = run({ method: 'POST', plan: [fault('timeout')] })
  t.match(await result, { error: { mayHaveTakenEffect: true, detail: /DuplicateInventoryId means that it has/ } })
})

t.test('a key that COS does not know is changed and the call repeated at once, once', async t => {
  for (const failure of [refusal(403, 'InvalidAccessKeyId'), refusal(400, 'ExpiredToken'), refusal(403, 'AccessDenied')]) {
    const isPermission = failure.body.toString().includes('AccessDenied')
    for (const method of ['GET', 'POST'] as const) {
      const { result, sent, delays } = run({ method, plan: [failure, success] })
      const { value } = await result
      t.equal(value, isPermission ? undefined : 200)
      t.strictSame(sent.map(({ key }) => key), isPermission ? ['0'] : ['0', '1'])
      t.strictSame(delays, [])
    }
  }
  const twice = run({ plan: [refusal(403, 'InvalidAccessKeyId')], renewals: 5 })
  t.match(await twice.result, { error: { code: 'UpstreamCredentialsRejected', cosCode: 'InvalidAccessKeyId' } })
  t.equal(twice.sent.length, 2)
  t.equal((await run({ plan: [refusal(403, 'InvalidAccessKeyId'), success], renewals: 0 }).result).value, undefined, 'unless there is no other')
  const alone = run({ maxAttempts: 1, plan: [refusal(403, 'InvalidAccessKeyId'), success] })
  t.match(await alone.result, { error: { code: 'UpstreamCredentialsRejected' } })
})

t.test('a time that COS does not take is corrected and the call repeated at once, once', async t => {
  const hours9 = 9 * 3_600_000
  const at = (offsetMs: number) => ({ date: new Date(1_800_000_000_000 + offsetMs).toUTCString() })
  for (const [status, code, offsetMs] of [
    [403, 'RequestTimeTooSkewed', hours9], [403, 'RequestTimeTooSkewed', -hours9], [403, 'Request has expired', hours9], [403, 'RequestExpired', hours9]
  ] as const) {
    const { result, sent, delays, warnings, clock } = run({ method: 'POST', plan: [refusal(status, code, at(offsetMs)), success] })
    t.match(await result, { value: 200 })
    t.strictSame(delays, [])
    t.ok(Math.abs((sent[1]?.signed ?? 0) - (1_800_000_000_000 + offsetMs)) < 1_000, 'signed by the time of COS')
    t.ok(Math.abs(clock.skewMs() - offsetMs) < 1_000)
    t.match(warnings, [{ skewMs: clock.skewMs() }])
  }
  const always = run({ plan: [refusal(403, 'RequestTimeTooSkewed', at(hours9))] })
  t.match(await always.result, { error: { code: 'UpstreamCredentialsRejected', cosCode: 'RequestTimeTooSkewed' } })
  t.equal(always.sent.length, 2)
  for (const headers of [at(0), {}, { date: 'noon' }, { date: '1' }, { date: 'Fri, 31 Dec 9999 23:59:59 GMT' }, { ...at(hours9), 'x-cos-request-id': '' }]) {
    const { result, sent, warnings } = run({ plan: [refusal(403, 'RequestTimeTooSkewed', headers as Record<string, string>), success] })
    t.match(await result, { error: { code: 'UpstreamCredentialsRejected' } }, 'unless there is nothing to correct')
    t.equal(sent.length, 1)
    t.strictSame(warnings, [])
  }
  const alone = run({ maxAttempts: 1, plan: [refusal(403, 'RequestTimeTooSkewed', at(hours9)), success] })
  t.match(await alone.result, { error: { code: 'UpstreamCredentialsRejected' } })
  t.not(alone.clock.skewMs(), 0, 'the next call is right')
})

t.test('a clock that another call has corrected meanwhile is right for this one', async t => {
  let time = 1_000_000
  const clock = createCosClock({ now: () => time, steadyNow: () => time, log: { warn: () => {} } })
  const then = clock.offsetMs()
  t.ok(clock.correct(5_000_000, then))
  t.ok(clock.correct(5_000_000, then), 'the second call was signed by the old time too')
  t.notOk(clock.correct(5_000_000, clock.offsetMs()), 'a third that was signed by the new one is refused for something else')
  t.equal(clock.now(), 5_000_000)
  time += 1_000
  t.equal(clock.now(), 5_001_000)
  t.notOk(clock.correct(5_005_000, clock.offsetMs()), 'a few seconds are the way')
})

for (const [direction, stepMs] of [['back', -3_600_000], ['forward', 3_600_000]] as const) {
  t.test(`a corrected clock stays right when the wall clock steps ${direction}`, async t => {
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

  t.test(`a request signed before the wall clock stepped ${direction} is signed again`, async t => {
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

t.test('the wait between attempts is random, grows, and is what COS asks for at least', async t => {
  const wait = async (random: number, ...plan: CosAnswer[]) => {
    const { result, delays } = run({ maxAttempts: 10, random, plan, deadlineMs: 3_600_000 })
    await result
    return delays
  }
  t.strictSame(await wait(0, busy), [], 'none at all at best')
  t.strictSame(await wait(0.5, busy), [50, 100, 200, 400, 800, 1000, 1000, 1000, 1000])
  const asked = refusal(503, 'SlowDown', { 'retry-after': '7' })
  t.strictSame((await wait(0, asked)).slice(0, 2), [7000, 7000])
  t.strictSame((await wait(0.5, asked)).slice(0, 2), [7050, 7100], 'not everybody at the same instant')
  const date = (seconds: number) => new Date(1_700_000_000_000 + seconds * 1000).toUTCString()
  t.strictSame((await wait(0, refusal(503, 'SlowDown', { 'retry-after': date(9), date: date(0) }))).slice(0, 1), [9000])
  t.match(toUpstreamError(refusal(503, 'SlowDown', { 'retry-after': '99999' })), { retryAfterSeconds: 3600 }, 'an hour at most')
  for (const headers of [
    { 'retry-after': date(0), date: date(9) }, { 'retry-after': date(9) }, { 'retry-after': 'soon' }, { 'retry-after': '-1' },
    { 'retry-after': 'Fri, 31 Dec 9999 23:59:59 GMT', date: date(0) }
  ] as Array<Record<string, string>>) {
    t.strictSame((await wait(0.5, refusal(503, 'SlowDown', headers))).slice(0, 1), [50])
  }
})

t.test('no attempt begins at or after the deadline, whatever is asked for', async t => {
  await fc.assert(fc.asyncProperty(
    fc.integer({ min: 1, max: 20_000 }), fc.integer({ min: 0, max: 20 }),
    fc.double({ min: 0, max: 0.999, noNaN: true }), fc.integer({ min: 1, max: 10 }),
    async (deadlineMs, retryAfter, random, maxAttempts) => {
      const { result, sent, events } = run({
        maxAttempts, deadlineMs, random, plan: [refusal(503, 'SlowDown', { 'retry-after': String(retryAfter) })]
      })
      const { error } = await result
      const first = sent[0]?.at ?? 0
      return error?.status === 503 && sent.length <= maxAttempts && sent.every(({ at }) => at - first < deadlineMs) &&
        (sent.length === maxAttempts || events.includes('denied deadline'))
    }
  ))
  const { result } = run({ deadlineMs: 1_000, plan: [refusal(503, 'SlowDown', { 'retry-after': '5' })] })
  t.match(await result, { error: { code: 'SlowDown', retryAfterSeconds: 5 } }, 'and the caller is told what COS asked for')
})

t.test('a change that may have been made says so, whatever came after', async t => {
  for (const failure of [fault('timeout'), fault('unreachable'), fault('invalid'), refusal(500, 'InternalError')]) {
    for (const method of ['PUT', 'DELETE'] as const) {
      const refused = run({ method, plan: [failure, refusal(403, 'AccessDenied')] })
      t.match((await refused.result).error, {
        status: 403, code: 'AccessDenied', cos: { requestId: 'aWQ=' }, mayHaveTakenEffect: true, detail: /is not known: read the configuration/
      })
      t.match((await run({ method, plan: [failure] }).result).error, { mayHaveTakenEffect: true })
    }
    t.match((await run({ plan: [failure] }).result).error, { mayHaveTakenEffect: false }, 'a read is no change')
  }
  for (const failure of [fault('unreachable', { wasSent: false }), busy, refusal(403, 'AccessDenied'), refusal(403, 'SignatureDoesNotMatch')]) {
    t.match((await run({ method: 'PUT', plan: [failure] }).result).error, { mayHaveTakenEffect: false })
  }
})

t.test('a repeat that cannot be made is answered with what made it necessary', async t => {
  const overloaded = new UpstreamError('Overloaded', 'full', { class: 'overloaded', wasSent: false })
  t.match(await run({ plan: [success], rejectPermit: () => overloaded }).result, { error: { code: 'Overloaded' } })
  const { result, events } = run({ method: 'PUT', plan: [fault('timeout')], rejectPermit: number => number > 1 ? overloaded : undefined })
  t.match(await result, { error: { code: 'UpstreamUnreachable', mayHaveTakenEffect: true } })
  t.equal(events.at(-1), 'call PutBucketInventory timeout')
})

t.test('who leaves is waited for only by changes that were sent', async t => {
  const leaving = (setting: Omit<Setting, 'onPause'>) => {
    const started = run({ ...setting, onPause: () => { started.controller.abort() } })
    return started
  }
  const read = leaving({ plan: [busy] })
  t.match(await read.result, { error: { code: 'SlowDown' } })
  t.equal(read.sent.length, 1)
  t.ok(read.sent[0]?.isCancellable)
  const change = leaving({ method: 'PUT', plan: [fault('timeout'), success] })
  t.match(await change.result, { value: 200 })
  t.strictSame(change.sent.map(({ isCancellable }) => isCancellable), [false, false])
  const unsent = leaving({ method: 'PUT', plan: [fault('unreachable', { wasSent: false }), success] })
  t.match(await unsent.result, { error: { code: 'UpstreamUnreachable', mayHaveTakenEffect: false } })
  t.equal(unsent.sent.length, 1)
  const left = run({ plan: [success], read: () => { left.controller.abort(); throw fault('invalid') } })
  t.match(await left.result, { error: { code: 'UpstreamUnreachable' } })
  t.strictSame(left.delays, [], 'for who has left already there is no pause')
})

t.test('a silent host is told from one that answers and one that says nothing either way', async t => {
  const timeout = (isSilence: boolean) => new UpstreamError('UpstreamTimeout', 'late', { class: 'timeout', remedy: 'repeat', isSilence })
  const { result, endings } = run({ maxAttempts: 4, plan: [timeout(true), timeout(false), fault('unreachable'), busy] })
  await result
  t.strictSame(endings, ['unresponsive', 'other', 'other', 'responded'])
})

t.test('a fault of our own is no failure of COS, and frees its slot', async t => {
  for (const setting of [{ plan: [new Error('a bug')] }, { plan: [success], traceFails: true }]) {
    const { result, endings, events } = run(setting)
    t.match(await result, { error: { message: 'a bug' } })
    t.strictSame(endings, ['other'])
    t.strictSame(events, ['attempt GetBucketInventory internal InternalError', 'call GetBucketInventory internal'])
  }
})

t.test('a key that comes at the deadline comes too late for the call', async t => {
  const { result, sent } = run({ deadlineMs: 10, plan: [refusal(403, 'InvalidAccessKeyId'), success] })
  t.match(await result, { error: { code: 'UpstreamCredentialsRejected' } })
  t.equal(sent.length, 1)
})

t.test('retries are a tenth of the calls, and some that were saved', async t => {
  let time = 0
  const budget = createRetryBudget(() => time)
  const outage = (host: string, calls: number, msBetween: number) => {
    let retries = 0
    for (let count = 0; count < calls; count++) {
      time += msBetween
      budget.earn(host)
      while (budget.spend(host)) retries += 1
    }
    return retries
  }
  const first = outage('a', 1_000, 1)
  t.ok(first <= 20 + 100 + 1 && first >= 118, `${first} for 1,000 calls`)
  t.ok(outage('a', 1_000, 1) <= 101, 'what was saved is gone')
  t.ok(outage('b', 10, 1) >= 20, 'another host has its own')
  t.ok(outage('a', 60, 60_000) > 60, 'a few calls may each be repeated')
  const many = Array.from({ length: 3_000 }, (_, index) => outage(`host-${index}`, 1, 0)).reduce((sum, count) => sum + count, 0)
  t.ok(many <= 50 + 300 + 1, `${many} retries over 3,000 hosts with a call each`)
})

t.test('a host whose fault is over has saved everything again', async t => {
  let time = 0
  const budget = createRetryBudget(() => time)
  for (let count = 0; count < 20; count++) t.ok(budget.spend('a'))
  t.notOk(budget.spend('a'))
  time += 3_600_000
  budget.earn('a')
  for (let count = 0; count < 20; count++) t.ok(budget.spend('a'))
  time -= 7_200_000
  t.notOk(budget.spend('a'), 'a clock that is set back takes nothing and gives nothing')
})

t.test('the refusals of a credential are told apart by code and, where COS writes AccessDenied, by message', async t => {
  const remedyOf = (code: string, message: string) => toUpstreamError({
    ...refusal(403, code), body: Buffer.from(`<Error><Code>${code}</Code><Message>${message}</Message></Error>`)
  }).remedy
  t.equal(remedyOf('AccessDenied', 'Request has expired'), 'correct-clock')
  t.equal(remedyOf('AccessDenied', 'RequestTimeTooSkewed'), 'correct-clock')
  t.equal(remedyOf('AccessDenied', 'InvalidAccessKeyId'), 'renew-key')
  t.equal(remedyOf('AccessDenied', 'SignatureDoesNotMatch'), 'none')
  t.equal(remedyOf('InvalidToken', 'RequestTimeTooSkewed'), 'renew-key')
})
