import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { startEmulator } from '../../src/emulator/server.ts'
import type { Emulator, Fault } from '../../src/emulator/server.ts'
import { configuration, secrets } from '../start.ts'
import { countBy, createCaller, isFull } from './load.ts'
import type { Caller, Reply } from './load.ts'
import { logOf, startServiceHere, startServiceProcess } from './processes.ts'
import type { AnyService, LogLine } from './processes.ts'
import { startFullHost, startClosedPort, startUnresponsiveHost } from './failing-hosts.ts'

/** A kind of request, with its result when COS has no faults. */
interface Operation {
  name: string
  method: string
  path: (bucket: string) => string
  body?: object
  done: number
  /** Calls to COS without faults. */
  calls: number
  /** Number of configurations in the bucket before and after the change. */
  before: number
  after: number
}

const { IsEnabled: _, Schedule: __, ...job } = configuration
const one = (bucket: string) => `/buckets/${bucket}/inventories/daily`
const collection = (bucket: string) => `/buckets/${bucket}/inventories`
const reading = { done: 200, calls: 1, before: 1, after: 1 }
const operations: Operation[] = [
  { name: 'put', method: 'PUT', path: one, body: configuration, done: 204, calls: 1, before: 0, after: 1 },
  { name: 'get', method: 'GET', path: one, ...reading },
  { name: 'head', method: 'HEAD', path: one, ...reading },
  { name: 'delete', method: 'DELETE', path: one, done: 204, calls: 1, before: 1, after: 0 },
  { name: 'post', method: 'POST', path: one, body: job, done: 202, calls: 1, before: 0, after: 0 },
  { name: 'list', method: 'GET', path: collection, ...reading },
  {
    name: 'list-all', method: 'GET', path: bucket => `${collection(bucket)}?all=true`, ...reading, calls: 2, before: 101, after: 101
  }
]
const operation = (name: string) => operations.find(each => each.name === name) as Operation

/** An injected fault, and the response while it lasts. */
interface FaultCase {
  name: string
  fault: Fault
  status: number
  code: string
  /** Whether it can lose the response of a change that was made. */
  losesResponses?: true
  environment?: Record<string, string>
}

// The limits allow one attempt on a busy machine and three attempts before the deadline.
const shortLimits = { COS_TIMEOUT_MS: '2000', COS_DEADLINE_MS: '15000' }
const unreachable = { status: 502, code: 'UpstreamUnreachable' }
const invalid = { status: 502, code: 'UpstreamInvalidResponse' }
const late = { status: 504, code: 'UpstreamTimeout', environment: shortLimits }
const faults: FaultCase[] = [
  { name: '503', fault: { kind: 'error', status: 503, code: 'ServiceUnavailable' }, status: 503, code: 'ServiceUnavailable' },
  { name: '500', fault: { kind: 'error', status: 500, code: 'InternalError' }, status: 502, code: 'InternalError', losesResponses: true },
  { name: '429', fault: { kind: 'error', status: 429, code: 'TooManyRequests' }, status: 503, code: 'TooManyRequests' },
  { name: '502 of a gateway', fault: { kind: 'error', status: 502, code: 'Bad', form: 'html' }, ...invalid, losesResponses: true },
  { name: '504 of a gateway', fault: { kind: 'error', status: 504, code: 'Bad', form: 'empty' }, ...invalid },
  { name: 'reset before the response', fault: { kind: 'reset' }, ...unreachable, losesResponses: true },
  { name: 'reset in the response', fault: { kind: 'reset-mid-answer' }, ...unreachable, losesResponses: true },
  { name: 'truncated response', fault: { kind: 'cut' }, ...unreachable, losesResponses: true },
  { name: 'garbage', fault: { kind: 'garbage' }, ...invalid, losesResponses: true },
  { name: 'no response', fault: { kind: 'hang' }, ...late, losesResponses: true },
  { name: 'slow body', fault: { kind: 'drip', ms: 60 }, ...late }
]

/** The short form starts no process for each test. */
const startService = isFull ? startServiceProcess : startServiceHere

// Each test starts a service. More processes at once than cores would exceed the time limits.
t.jobs = isFull ? 2 : 6

for (const each of faults) {
  t.test(`two faults are recovered, a lasting one is reported: ${each.name}`, async t => {
    const { emulator, service, caller } = await start(t, each.environment)
    const twice = operations.map(async ({ name, method, path, body, done, calls, after }) => {
      const bucket = bucketOf(name, 'twice')
      emulator.addFault({ ...each.fault, match: { bucket }, times: 2 } as Fault)
      const reply = await caller.call(method, path(bucket), body)
      const isRetried = name !== 'post'
      checkInTime(t, reply, each.environment)
      const expected = isRetried ? [done, undefined] : [each.status, each.code]
      t.strictSame([name, reply.status, reply.code], [name, ...expected])
      checkAttempts(t, emulator, bucket, name, isRetried ? calls + 2 : 1)
      t.equal(emulator.configurations(bucket).length, after, `${name}: configurations in COS`)
    })
    const always = ['get', 'put', 'post'].map(operation).map(async ({ name, method, path, body, before, after }) => {
      const bucket = bucketOf(name, 'always')
      emulator.addFault({ ...each.fault, match: { bucket } } as Fault)
      const reply = await caller.call(method, path(bucket), body)
      checkInTime(t, reply, each.environment)
      t.strictSame([name, reply.status, reply.code], [name, each.status, each.code], 'while the fault lasts')
      t.equal(reply.headers['retry-after'] !== undefined, each.status === 503, `${name}: Retry-After only with 503`)
      checkAttempts(t, emulator, bucket, name, name === 'post' ? 1 : 3)
      // A slow body belongs to a successful response, so the change was made.
      const stored = each.fault.kind === 'drip' ? after : before
      t.equal(emulator.configurations(bucket).length, stored, `${name}: configurations in COS`)
    })
    const made = each.losesResponses !== true
      ? []
      : ['put', 'delete', 'post'].map(operation).map(async ({ name, method, path, body, done, after }) => {
          const bucket = bucketOf(name, 'made')
          emulator.addFault({ ...each.fault, after: 'effect', match: { bucket }, times: 1 } as Fault)
          const reply = await caller.call(method, path(bucket), body)
          checkInTime(t, reply, each.environment)
          const isRetried = name !== 'post'
          const expected = isRetried ? [done, undefined] : [each.status, each.code]
          t.strictSame([name, reply.status, reply.code], [name, ...expected], 'the change was made and its response lost')
          if (!isRetried) t.match(reply.text, ' is not known', 'the response says that the result is unknown')
          checkAttempts(t, emulator, bucket, name, isRetried ? 2 : 1)
          t.equal(emulator.configurations(bucket).length, after, `${name}: configurations in COS`)
          if (isRetried) return
          const again = await caller.call(method, path(bucket), body)
          t.strictSame([again.status, again.code], [409, 'DuplicateInventoryId'], 'the job was started')
        })
    await Promise.all([...twice, ...always, ...made])
    checkLog(t, service)
  })
}

t.test('calls return 504 after three attempts, POST too, when connecting times out', async t => {
  await checkThreeAttempts(t, await startFullHost(t), { status: 504, code: 'UpstreamTimeout' })
})

t.test('calls return 502 after three attempts, POST too, when the port is closed', async t => {
  await checkThreeAttempts(t, await startClosedPort(), unreachable)
})

t.test('calls return 504 when the host never responds, and POST is sent once', async t => {
  const host = await startUnresponsiveHost(t)
  const service = await startService(t, host.address, shortLimits)
  const caller = createCaller(t, service.url)
  await Promise.all(operations.map(async ({ name, method, path, body }) => {
    const reply = await caller.call(method, path(bucketOf(name, 'twice')), body)
    checkInTime(t, reply, shortLimits)
    t.strictSame([name, reply.status, reply.code], [name, 504, codeFor(method, 'UpstreamTimeout')])
    t.equal(host.requestsTo(bucketOf(name, 'twice')), name === 'post' ? 1 : 3, `${name}: received requests`)
  }))
  checkLog(t, service)
})

t.test('calls return 502 without a retry when the host name does not exist', async t => {
  const service = await startService(t, 'name.invalid:80', { LOG_LEVEL: 'debug' })
  const caller = createCaller(t, service.url)
  await Promise.all(operations.map(async ({ name, method, path, body }) => {
    const reply = await caller.call(method, path(bucketOf(name, 'twice')), body)
    t.strictSame([name, reply.status, reply.code], [name, 502, codeFor(method, 'UpstreamUnreachable')])
    const failures = attemptsOf(service, reply).map(line => line['fault'])
    // Without a name server, resolution fails with EAI_AGAIN, which is retried.
    const expected = failures[0] === 'EAI_AGAIN' ? Array<string>(3).fill('EAI_AGAIN') : ['ENOTFOUND']
    t.strictSame(failures, expected, name)
  }))
})

t.test('retry waits for Retry-After, and 503 is returned when it exceeds the deadline', async t => {
  const { emulator, service, caller } = await start(t)
  await Promise.all(operations.filter(({ name }) => name !== 'post').map(async ({ name, method, path, body, done, calls }) => {
    const bucket = bucketOf(name, 'twice')
    const headers = { 'Retry-After': '1' }
    emulator.addFault({ kind: 'error', status: 503, code: 'SlowDown', headers, match: { bucket }, times: 1 })
    const reply = await caller.call(method, path(bucket), body)
    t.strictSame([name, reply.status, reply.code], [name, done, undefined])
    t.ok(reply.ms >= 990, `${name}: at least a second (${reply.ms.toFixed()} ms)`)
    checkAttempts(t, emulator, bucket, name, calls + 1)
  }))
  await Promise.all(['get', 'put', 'post'].map(operation).map(async ({ name, method, path, body }) => {
    const bucket = bucketOf(name, 'always')
    const headers = { 'Retry-After': '60' }
    emulator.addFault({ kind: 'error', status: 503, code: 'SlowDown', headers, match: { bucket } })
    const reply = await caller.call(method, path(bucket), body)
    t.strictSame([name, reply.status, reply.code, reply.headers['retry-after']], [name, 503, 'SlowDown', '60'])
    t.ok(reply.ms < 15_000, `${name}: response before the deadline (${reply.ms.toFixed()} ms)`)
    checkAttempts(t, emulator, bucket, name, 1)
  }))
  checkLog(t, service)
})

t.test('PUT is retried when the error of COS is transient, and not otherwise', async t => {
  const { emulator, service, caller } = await start(t)
  const retryable = ['EntitySizeNotMatch', 'IncompleteBody', 'RequestTimeout', 'UserNetworkTooSlow', 'BadDigest', 'InvalidDigest']
  const { method, path, body } = operation('put')
  // The requests share a bucket and its faults, so they run one after another.
  const bucket = bucketOf('put', 'twice')
  const put = async (code: string, status: number, times: number) => {
    emulator.clearFaults()
    emulator.addFault({ kind: 'error', status, code, match: { bucket }, times })
    const from = emulator.requests.length
    const reply = await caller.call(method, path(bucket), body)
    return [code, reply.status, emulator.requests.length - from]
  }
  for (const code of retryable) t.strictSame(await put(code, 400, 1), [code, 204, 2])
  for (const code of ['BadDigest', 'InvalidDigest']) t.strictSame(await put(code, 400, 9), [code, 400, 2], 'only once')
  const final: Array<[string, number, number]> = [
    ['AccessDenied', 403, 403], ['NoSuchBucket', 404, 404], ['MalformedXML', 400, 400], ['Conflict', 409, 409],
    ['MethodNotAllowed', 405, 502], ['NotImplemented', 501, 502]
  ]
  for (const [code, status, expected] of final) t.strictSame(await put(code, status, 9), [code, expected, 1])
  emulator.clearFaults()

  const listed = bucketOf('list', 'always')
  emulator.addFault({ kind: 'raw', status: 200, body: 'x'.repeat(2 ** 20), repeat: 9, match: { bucket: listed } })
  const large = await caller.call('GET', collection(listed))
  t.strictSame([large.status, large.code], [502, 'UpstreamInvalidResponse'], 'a response that is too large')
  t.equal(requestsTo(emulator, listed).length, 1)
  checkLog(t, service)
})

t.test('error of a retry reports that an earlier attempt may have made the change', async t => {
  const { emulator, service, caller } = await start(t)
  for (const { name, method, path, body, after } of ['put', 'delete'].map(operation)) {
    const match = { bucket: bucketOf(name, 'made') }
    emulator.addFault({ kind: 'reset', after: 'effect', match, times: 1 })
    emulator.addFault({ kind: 'error', status: 403, code: 'AccessDenied', match, times: 1 })
    const reply = await caller.call(method, path(match.bucket), body)
    t.strictSame([name, reply.status, reply.code], [name, 403, 'AccessDenied'])
    t.match(reply.text, ' is not known')
    t.equal(emulator.configurations(match.bucket).length, after, 'the change was made')
  }
  const outcomes = logOf(service).filter(({ type }) => type === 'audit').map(line => line['outcome'])
  t.strictSame(outcomes, ['unknown', 'unknown'], 'the audit lines say so too')
  checkLog(t, service)
})

t.test('20 concurrent changes succeed when each is retried once', async t => {
  const { emulator, service, caller } = await start(t)
  const bucket = bucketOf('put', 'twice')
  // The retry budget of a host has saved this many retries.
  const count = 20
  // All requests arrive before the first response, so that each of them meets the fault once.
  emulator.addFault({ kind: 'latency', ms: 500 })
  emulator.addFault({ kind: 'error', status: 503, code: 'ServiceUnavailable', times: count })
  const replies = await Promise.all(Array.from({ length: count }, (_, index) =>
    caller.call('PUT', `${collection(bucket)}/many-${index}`, configuration)))
  t.strictSame(countBy(replies, ({ status }) => status), { 204: count })
  t.equal(emulator.configurations(bucket).length, count)
  checkLog(t, service)
})

t.test('every operation is retried with a corrected clock when COS rejects its time', async t => {
  const { emulator, service, caller } = await start(t)
  const hours = 3_600_000
  for (const [index, { name, method, path, body, done, calls, after }] of operations.entries()) {
    // The clock is ahead, and then behind the corrected time.
    emulator.setClockOffset(index % 2 === 0 ? 9 * hours : -9 * hours)
    const bucket = bucketOf(name, 'twice')
    const reply = await caller.call(method, path(bucket), body)
    t.strictSame([name, reply.status, reply.code], [name, done, undefined])
    checkAttempts(t, emulator, bucket, name, calls + 1)
    t.equal(emulator.configurations(bucket).length, after, `${name}: configurations in COS`)
    const next = await caller.call('GET', collection(bucketOf(name, 'always')))
    t.strictSame([next.status, requestsTo(emulator, bucketOf(name, 'always')).length], [200, 1], 'later calls need no retry')
  }
  checkLog(t, service)
})

t.test('healthy hosts respond in time while other hosts never respond', async t => {
  const environment = { COS_TIMEOUT_MS: '5000', COS_MAX_ATTEMPTS: '1' }
  const { emulator, service, caller } = await start(t, environment)
  const [unresponsive, healthy] = ['always', 'twice']
  for (const { name } of operations) emulator.addFault({ kind: 'hang', match: { bucket: bucketOf(name, unresponsive) } })
  let timedOut = 0
  await Promise.all(operations.flatMap(({ name, method, path, body, done, before, after }) => [
    caller.call(method, path(bucketOf(name, unresponsive)), body).then(reply => {
      timedOut += 1
      t.strictSame([name, reply.status, reply.code], [name, 504, codeFor(method, 'UpstreamTimeout')])
      t.equal(emulator.configurations(bucketOf(name, unresponsive)).length, before)
    }),
    caller.call(method, path(bucketOf(name, healthy)), body).then(reply => {
      t.strictSame([name, reply.status], [name, done])
      t.equal(timedOut, 0, `${name} is not delayed by unresponsive hosts`)
      t.equal(emulator.configurations(bucketOf(name, healthy)).length, after)
    })
  ]))
  checkLog(t, service)
})

/** Each operation has its own buckets, because the service keeps state for each host. */
function bucketOf (name: string, purpose: string): string {
  return `${name}-${purpose}-1250000000`
}

/** A response to HEAD has no body, so it has no code. */
function codeFor (method: string, code: string): string | undefined {
  return method === 'HEAD' ? undefined : code
}

async function start (
  t: Test, environment: Record<string, string> = {}
): Promise<{ emulator: Emulator, service: AnyService, caller: Caller }> {
  const named = operations.flatMap(each =>
    ['twice', 'always', 'made'].map(purpose => ({ ...each, bucket: bucketOf(each.name, purpose) })))
  const stateFile = join(t.testdir(), 'state.json')
  writeFileSync(stateFile, JSON.stringify({
    nextSequence: 1000,
    configurations: Object.fromEntries(named.map(({ bucket, before }) => [bucket, stored(before)])),
    jobs: {}
  }))
  const emulator = await startEmulator({
    credentials: [secrets],
    buckets: named.map(({ bucket }) => ({ name: bucket, region: 'ap-guangzhou' })),
    stateFile
  })
  t.teardown(() => emulator.close())
  const service = await startService(t, emulator.address, environment)
  return { emulator, service, caller: createCaller(t, service.url) }
}

function stored (count: number): object[] {
  return Array.from({ length: count }, (_, index) => {
    const id = index === 0 ? 'daily' : `daily-${index}`
    const destination = '<Format>CSV</Format><Bucket>qcs::cos:ap-guangzhou::examplebucket-1250000000</Bucket>'
    const xml = `<InventoryConfiguration><Id>${id}</Id><IsEnabled>true</IsEnabled>` +
      '<IncludedObjectVersions>All</IncludedObjectVersions><Schedule><Frequency>Daily</Frequency></Schedule>' +
      `<Destination><COSBucketDestination>${destination}</COSBucketDestination></Destination></InventoryConfiguration>`
    return { id, sequence: index + 1, xml }
  })
}

function requestsTo (emulator: Emulator, bucket: string): Emulator['requests'] {
  return emulator.requests.filter(({ host }) => host.startsWith(`${bucket}.`))
}

/** Checks the number of attempts. Each retry must have its own signature and the retry header. */
function checkAttempts (t: Test, emulator: Emulator, bucket: string, name: string, attempts: number): void {
  const received = requestsTo(emulator, bucket)
  t.equal(received.length, attempts, `${name}: attempts`)
  const first = received[0]?.headers ?? {}
  t.equal(first['x-cos-sdk-retry'], undefined, `${name}: the first attempt`)
  // The second page of a list is another call.
  for (const { headers } of received.slice(1).filter(({ target }) => !target.includes('continuation-token'))) {
    t.equal(headers['x-cos-sdk-retry'], 'true', `${name}: retry header`)
    t.not(headers['authorization'], first['authorization'], `${name}: a retry has a new signature`)
  }
}

function checkInTime (t: Test, { method, ms }: Reply, environment: Record<string, string> = {}): void {
  // Time that the service adds to that of COS on a busy machine.
  const slackMs = 500
  t.ok(ms <= Number(environment['COS_DEADLINE_MS'] ?? 15_000) + slackMs, `${method} within the deadline (${ms.toFixed()} ms)`)
}

/** Faults of COS are not errors of the service, so no line of its log is above a warning. */
function checkLog (t: Test, service: AnyService): void {
  t.strictSame(logOf(service).filter(({ level }) => level >= 50), [], 'no errors in the log')
  t.equal(service.stderr(), '')
}

function attemptsOf (service: AnyService, reply: Reply): LogLine[] {
  const requestId = reply.headers['x-request-id']
  return logOf(service).filter(line => line['requestId'] === requestId && line.msg === 'COS did not respond')
}

async function checkThreeAttempts (
  t: Test, address: string, expected: { status: number, code: string }
): Promise<void> {
  const service = await startService(t, address, { ...shortLimits, LOG_LEVEL: 'debug' })
  const caller = createCaller(t, service.url)
  await Promise.all(operations.map(async ({ name, method, path, body }) => {
    const reply = await caller.call(method, path(bucketOf(name, 'twice')), body)
    checkInTime(t, reply, shortLimits)
    t.strictSame([name, reply.status, reply.code], [name, expected.status, codeFor(method, expected.code)])
    t.equal(attemptsOf(service, reply).length, 3, `${name}: attempts`)
  }))
  checkLog(t, service)
}
