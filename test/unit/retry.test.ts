import { setImmediate as nextIteration } from 'node:timers/promises'
import fc from 'fast-check'
import t from 'tap'
import { createAttempts } from '../../src/cos/client/retry.ts'
import type { CosCall } from '../../src/cos/client/attempt.ts'
import type { CallObserver } from '../../src/cos/client/call-observer.ts'
import { toUpstreamError } from '../../src/cos/client/response-errors.ts'
import { createCosClock } from '../../src/cos/client/clock.ts'
import { createRetryBudget } from '../../src/cos/client/retry-budget.ts'
import type { CosRequest, CosResponse } from '../../src/cos/client/messages.ts'
import { UpstreamError } from '../../src/cos/upstream-error.ts'
import type { FailureClass, Remedy } from '../../src/cos/upstream-error.ts'
import { Secret } from '../../src/secret.ts'
import { createPassingTracer } from '../../src/tracing/tracing.ts'

const secretId = 'AKIDexampleexampleexampleexample0000'
const keysNamed = (name: string) => ({ secretId: `${secretId}${name}`, secretKey: new Secret('key'), token: undefined })

/** Returns an error response as COS sends it. */
function errorResponse (status: number, code: string, headers: Record<string, string> = {}): CosResponse {
  return {
    status,
    headers: { 'content-type': 'application/xml', 'x-cos-request-id': 'aWQ=', ...headers },
    body: Buffer.from(`<?xml version='1.0' encoding='utf-8' ?><Error><Code>${code}</Code><Message>m</Message></Error>`),
    confidential: []
  }
}

const success: CosResponse = { status: 200, headers: { 'x-cos-request-id': 'aWQ=' }, body: Buffer.from(''), confidential: [] }

function fault (kind: FailureClass, { remedy = 'retry', wasSent = true }: { remedy?: Remedy, wasSent?: boolean } = {}): UpstreamError {
  return new UpstreamError('UpstreamUnreachable', 'It failed.', { class: kind, remedy, wasSent })
}

interface Setting {
  maxAttempts?: number
  method?: CosRequest['method']
  deadlineMs?: number
  random?: number
  renewals?: number
  /** Results of the transport, one for each attempt; the last one is reused. */
  plan: Array<CosResponse | Error>
  read?: (response: CosResponse) => unknown
  onPause?: () => void
  /** Makes tracing fail. */
  traceFails?: boolean
  rejectPermit?: (number: number) => UpstreamError | undefined
}

/** Runs one call with a transport that follows the plan, on a manual clock. */
function run (setting: Setting) {
  const { maxAttempts = 3, method = 'GET', deadlineMs = 15_000, random = 0.5, renewals = 1, plan, read = response => response.status } = setting
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
    observer,
    transport: {
      send: async request => {
        const step = plan[Math.min(sent.length, plan.length - 1)] as CosResponse | Error
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
    credentials: {
      get: async () => keysNamed(String(key)),
      renew: async () => key < renewals ? keysNamed(String(++key)) : undefined
    },
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
  return { attempts, result, sent, events, endings, delays, controller, warnings, tally, clock }
}

const busy = errorResponse(503, 'SlowDown')

t.test('call is retried while attempts are left when the failure is transient', async t => {
  const passing = [
    errorResponse(500, 'InternalError'), errorResponse(502, 'BadGateway'), errorResponse(503, 'ServiceUnavailable'), busy, errorResponse(504, 'GatewayTimeout'),
    errorResponse(429, 'TooManyRequests'), errorResponse(400, 'SlowDown'), errorResponse(400, 'EntitySizeNotMatch'), errorResponse(400, 'IncompleteBody'),
    errorResponse(400, 'RequestTimeout'), errorResponse(400, 'UserNetworkTooSlow'), fault('timeout'), fault('unreachable'), fault('invalid'),
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

t.test('call is not retried when the failure is permanent', async t => {
  const lasting = [
    errorResponse(400, 'InvalidArgument'), errorResponse(403, 'AccessDenied'), errorResponse(404, 'NoSuchBucket'), errorResponse(405, 'MethodNotAllowed'),
    errorResponse(409, 'InvalidBucketState'), errorResponse(412, 'PreconditionFailed'), errorResponse(451, 'UnavailableForLegalReasons'),
    errorResponse(501, 'NotImplemented'), errorResponse(403, 'SignatureDoesNotMatch'), { ...success, status: 301 }, { ...success, status: 404 },
    fault('unreachable', { remedy: 'none' })
  ]
  for (const failure of lasting) {
    const { result, sent } = run({ plan: [failure, success] })
    t.ok((await result).error instanceof UpstreamError)
    t.equal(sent.length, 1)
  }
})

t.test('call is retried when the response is invalid', async t => {
  let reads = 0
  const read = () => {
    if (++reads < 3) throw fault('invalid')
    return 'read'
  }
  const { result, sent, endings, events } = run({ plan: [success], read })
  t.match(await result, { value: 'read' })
  t.equal(sent.length, 3)
  t.strictSame(endings, ['responded', 'responded', 'responded'], 'an invalid response still counts as a response of the host')
  t.strictSame(events, [
    'attempt GetBucketInventory invalid UpstreamUnreachable', 'retry invalid', 'attempt GetBucketInventory invalid UpstreamUnreachable',
    'retry invalid', 'attempt GetBucketInventory ok ', 'call GetBucketInventory ok'
  ])
})

t.test('call is retried once when COS rejects its digest', async t => {
  for (const code of ['BadDigest', 'InvalidDigest']) {
    t.match(await run({ method: 'PUT', plan: [errorResponse(400, code), success] }).result, { value: 200 })
    const always = run({ method: 'PUT', plan: [errorResponse(400, code)] })
    t.match(await always.result, { error: { status: 400, code } })
    t.equal(always.sent.length, 2)
  }
})

t.test('POST is retried only when the request was not sent', async t => {
  const unsent = run({ method: 'POST', plan: [fault('unreachable', { wasSent: false }), fault('timeout', { wasSent: false }), success] })
  t.match(await unsent.result, { value: 200 })
  t.equal(unsent.sent.length, 3)
  for (const failure of [fault('unreachable'), fault('timeout'), fault('invalid'), busy, errorResponse(500, 'InternalError'), errorResponse(400, 'BadDigest')]) {
    const { result, sent } = run({ method: 'POST', plan: [failure, success] })
    t.ok((await result).error instanceof UpstreamError)
    t.equal(sent.length, 1)
  }
  const { result } = run({ method: 'POST', plan: [fault('timeout')] })
  t.match(await result, { error: { mayHaveTakenEffect: true, detail: /DuplicateInventoryId then means that COS started the job/ } })
})

t.test('call is retried once with new credentials when COS rejects the old ones', async t => {
  for (const failure of [errorResponse(403, 'InvalidAccessKeyId'), errorResponse(400, 'ExpiredToken'), errorResponse(403, 'AccessDenied')]) {
    const isPermission = failure.body.toString().includes('AccessDenied')
    for (const method of ['GET', 'POST'] as const) {
      const { result, sent, delays } = run({ method, plan: [failure, success] })
      const { value } = await result
      t.equal(value, isPermission ? undefined : 200)
      t.strictSame(sent.map(({ key }) => key), isPermission ? ['0'] : ['0', '1'])
      t.strictSame(delays, [])
    }
  }
  const twice = run({ plan: [errorResponse(403, 'InvalidAccessKeyId')], renewals: 5 })
  t.match(await twice.result, { error: { code: 'UpstreamCredentialsRejected', cosCode: 'InvalidAccessKeyId' } })
  t.equal(twice.sent.length, 2)
  t.equal((await run({ plan: [errorResponse(403, 'InvalidAccessKeyId'), success], renewals: 0 }).result).value, undefined, 'no retry without other credentials')
  const alone = run({ maxAttempts: 1, plan: [errorResponse(403, 'InvalidAccessKeyId'), success] })
  t.match(await alone.result, { error: { code: 'UpstreamCredentialsRejected' } })
})

t.test('call is retried once with a corrected clock when COS rejects its time', async t => {
  const hours9 = 9 * 3_600_000
  const at = (offsetMs: number) => ({ date: new Date(1_800_000_000_000 + offsetMs).toUTCString() })
  for (const [status, code, offsetMs] of [
    [403, 'RequestTimeTooSkewed', hours9], [403, 'RequestTimeTooSkewed', -hours9], [403, 'Request has expired', hours9], [403, 'RequestExpired', hours9]
  ] as const) {
    const { result, sent, delays, warnings, clock } = run({ method: 'POST', plan: [errorResponse(status, code, at(offsetMs)), success] })
    t.match(await result, { value: 200 })
    t.strictSame(delays, [])
    t.ok(Math.abs((sent[1]?.signed ?? 0) - (1_800_000_000_000 + offsetMs)) < 1_000, 'signed with COS time')
    t.ok(Math.abs(clock.skewMs() - offsetMs) < 1_000)
    t.match(warnings, [{ skewMs: clock.skewMs() }])
  }
  const always = run({ plan: [errorResponse(403, 'RequestTimeTooSkewed', at(hours9))] })
  t.match(await always.result, { error: { code: 'UpstreamCredentialsRejected', cosCode: 'RequestTimeTooSkewed' } })
  t.equal(always.sent.length, 2)
  for (const headers of [at(0), {}, { date: 'noon' }, { date: '1' }, { date: 'Fri, 31 Dec 9999 23:59:59 GMT' }, { ...at(hours9), 'x-cos-request-id': '' }]) {
    const { result, sent, warnings } = run({ plan: [errorResponse(403, 'RequestTimeTooSkewed', headers as Record<string, string>), success] })
    t.match(await result, { error: { code: 'UpstreamCredentialsRejected' } }, 'no retry without a correction')
    t.equal(sent.length, 1)
    t.strictSame(warnings, [])
  }
  const alone = run({ maxAttempts: 1, plan: [errorResponse(403, 'RequestTimeTooSkewed', at(hours9)), success] })
  t.match(await alone.result, { error: { code: 'UpstreamCredentialsRejected' } })
  t.not(alone.clock.skewMs(), 0, 'the clock is corrected for the next call')
})

t.test('pause before a retry is random, grows and includes Retry-After', async t => {
  const wait = async (random: number, ...plan: CosResponse[]) => {
    const { result, delays } = run({ maxAttempts: 10, random, plan, deadlineMs: 3_600_000 })
    await result
    return delays
  }
  t.strictSame(await wait(0, busy), [], 'the shortest pause is 0')
  t.strictSame(await wait(0.5, busy), [50, 100, 200, 400, 800, 1000, 1000, 1000, 1000])
  const limited = errorResponse(503, 'SlowDown', { 'retry-after': '7' })
  t.strictSame((await wait(0, limited)).slice(0, 2), [7000, 7000])
  t.strictSame((await wait(0.5, limited)).slice(0, 2), [7050, 7100], 'calls do not retry at the same instant')
  const date = (seconds: number) => new Date(1_700_000_000_000 + seconds * 1000).toUTCString()
  t.strictSame((await wait(0, errorResponse(503, 'SlowDown', { 'retry-after': date(9), date: date(0) }))).slice(0, 1), [9000])
  t.match(toUpstreamError(errorResponse(503, 'SlowDown', { 'retry-after': '99999' })), { retryAfterSeconds: 3600 }, 'an hour at most')
  for (const headers of [
    { 'retry-after': date(0), date: date(9) }, { 'retry-after': date(9) }, { 'retry-after': 'soon' }, { 'retry-after': '-1' },
    { 'retry-after': 'Fri, 31 Dec 9999 23:59:59 GMT', date: date(0) }
  ] as Array<Record<string, string>>) {
    t.strictSame((await wait(0.5, errorResponse(503, 'SlowDown', headers))).slice(0, 1), [50])
  }
})

t.test('no attempt starts at or after the deadline', async t => {
  await fc.assert(fc.asyncProperty(
    fc.integer({ min: 1, max: 20_000 }), fc.integer({ min: 0, max: 20 }),
    fc.double({ min: 0, max: 0.999, noNaN: true }), fc.integer({ min: 1, max: 10 }),
    async (deadlineMs, retryAfter, random, maxAttempts) => {
      const { result, sent, events } = run({
        maxAttempts, deadlineMs, random, plan: [errorResponse(503, 'SlowDown', { 'retry-after': String(retryAfter) })]
      })
      const { error } = await result
      const first = sent[0]?.at ?? 0
      return error?.status === 503 && sent.length <= maxAttempts && sent.every(({ at }) => at - first < deadlineMs) &&
        (sent.length === maxAttempts || events.includes('denied deadline'))
    }
  ))
  const { result } = run({ deadlineMs: 1_000, plan: [errorResponse(503, 'SlowDown', { 'retry-after': '5' })] })
  t.match(await result, { error: { code: 'SlowDown', retryAfterSeconds: 5 } }, 'Retry-After of COS is passed on')
})

t.test('error reports mayHaveTakenEffect when an earlier attempt may have made a change', async t => {
  for (const failure of [fault('timeout'), fault('unreachable'), fault('invalid'), errorResponse(500, 'InternalError')]) {
    for (const method of ['PUT', 'DELETE'] as const) {
      const rejected = run({ method, plan: [failure, errorResponse(403, 'AccessDenied')] })
      t.match((await rejected.result).error, {
        status: 403, code: 'AccessDenied', cos: { requestId: 'aWQ=' }, mayHaveTakenEffect: true, detail: /is not known\. Read the configuration/
      })
      t.match((await run({ method, plan: [failure] }).result).error, { mayHaveTakenEffect: true })
    }
    t.match((await run({ plan: [failure] }).result).error, { mayHaveTakenEffect: false }, 'a read changes nothing')
  }
  for (const failure of [fault('unreachable', { wasSent: false }), busy, errorResponse(403, 'AccessDenied'), errorResponse(403, 'SignatureDoesNotMatch')]) {
    t.match((await run({ method: 'PUT', plan: [failure] }).result).error, { mayHaveTakenEffect: false })
  }
})

t.test('retry fails with the previous error when it gets no permit', async t => {
  const overloaded = new UpstreamError('Overloaded', 'full', { class: 'overloaded', wasSent: false })
  t.match(await run({ plan: [success], rejectPermit: () => overloaded }).result, { error: { code: 'Overloaded' } })
  const { result, events } = run({ method: 'PUT', plan: [fault('timeout')], rejectPermit: number => number > 1 ? overloaded : undefined })
  t.match(await result, { error: { code: 'UpstreamUnreachable', mayHaveTakenEffect: true } })
  t.equal(events.at(-1), 'call PutBucketInventory timeout')
})

t.test('change that was sent continues when the caller disconnects, other calls end', async t => {
  const disconnecting = (setting: Omit<Setting, 'onPause'>) => {
    const started = run({ ...setting, onPause: () => { started.controller.abort() } })
    return started
  }
  const read = disconnecting({ plan: [busy] })
  t.match(await read.result, { error: { code: 'SlowDown' } })
  t.equal(read.sent.length, 1)
  t.ok(read.sent[0]?.isCancellable)
  const change = disconnecting({ method: 'PUT', plan: [fault('timeout'), success] })
  t.match(await change.result, { value: 200 })
  t.strictSame(change.sent.map(({ isCancellable }) => isCancellable), [false, false])
  const unsent = disconnecting({ method: 'PUT', plan: [fault('unreachable', { wasSent: false }), success] })
  t.match(await unsent.result, { error: { code: 'UpstreamUnreachable', mayHaveTakenEffect: false } })
  t.equal(unsent.sent.length, 1)
  const late = run({ plan: [success], read: () => { late.controller.abort(); throw fault('invalid') } })
  t.match(await late.result, { error: { code: 'UpstreamUnreachable' } })
  t.strictSame(late.delays, [], 'there is no pause for a caller that disconnected')
})

t.test('permit is released with the outcome of the attempt', async t => {
  const timeout = (isUnresponsive: boolean) => new UpstreamError('UpstreamTimeout', 'late', { class: 'timeout', remedy: 'retry', isUnresponsive })
  const { result, endings } = run({ maxAttempts: 4, plan: [timeout(true), timeout(false), fault('unreachable'), busy] })
  await result
  t.strictSame(endings, ['unresponsive', 'other', 'other', 'responded'])
})

t.test('internal error releases the permit and is not counted as a COS failure', async t => {
  for (const setting of [{ plan: [new Error('a bug')] }, { plan: [success], traceFails: true }]) {
    const { result, endings, events } = run(setting)
    t.match(await result, { error: { message: 'a bug' } })
    t.strictSame(endings, ['other'])
    t.strictSame(events, ['attempt GetBucketInventory internal InternalError', 'call GetBucketInventory internal'])
  }
})

t.test('call is not retried when refreshed credentials arrive at the deadline', async t => {
  const { result, sent } = run({ deadlineMs: 10, plan: [errorResponse(403, 'InvalidAccessKeyId'), success] })
  t.match(await result, { error: { code: 'UpstreamCredentialsRejected' } })
  t.equal(sent.length, 1)
})

t.test('settled waits for every call in flight', async t => {
  let finish = () => {}
  const ended = new Promise<void>(resolve => { finish = resolve })
  const { attempts, result } = run({ plan: [success], read: () => ended })
  let isSettled = false
  const settled = attempts.settled().then(() => { isSettled = true })
  await nextIteration()
  t.notOk(isSettled)
  finish()
  await Promise.all([settled, result])
  await attempts.settled()
})
