import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { startEmulator } from '../../src/emulator/server.ts'
import type { Emulator, Fault } from '../../src/emulator/server.ts'
import { configuration, secrets } from '../start.ts'
import { countBy, createCaller } from './load.ts'
import type { Caller, Reply } from './load.ts'
import { logOf, startServiceProcess } from './processes.ts'
import type { LogLine, ServiceProcess } from './processes.ts'
import { startFullHost, startRefusingHost, startSilentHost } from './sick-hosts.ts'

/** What callers can ask for, and what comes of it when nothing goes wrong. */
interface Operation {
  name: string
  method: string
  path: (bucket: string) => string
  body?: object
  done: number
  /** Calls to COS when nothing goes wrong. */
  calls: number
  /** What the bucket holds before, and after the change. */
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

/** A fault, and what a caller is told while it stays. */
interface FaultCase {
  name: string
  fault: Fault
  status: number
  code: string
  /** Whether it can lose the answer of a change that was made. */
  losesAnswers?: true
  environment?: Record<string, string>
}

// One attempt in the time limit, even on a busy machine; three in the deadline.
const impatient = { COS_TIMEOUT_MS: '2000', COS_DEADLINE_MS: '15000' }
const unreachable = { status: 502, code: 'UpstreamUnreachable' }
const invalid = { status: 502, code: 'UpstreamInvalidResponse' }
const late = { status: 504, code: 'UpstreamTimeout', environment: impatient }
const faults: FaultCase[] = [
  { name: '503', fault: { kind: 'error', status: 503, code: 'ServiceUnavailable' }, status: 503, code: 'ServiceUnavailable' },
  { name: '500', fault: { kind: 'error', status: 500, code: 'InternalError' }, status: 502, code: 'InternalError', losesAnswers: true },
  { name: '429', fault: { kind: 'error', status: 429, code: 'TooManyRequests' }, status: 503, code: 'TooManyRequests' },
  { name: 'a gateway\'s 502', fault: { kind: 'error', status: 502, code: 'Bad', form: 'html' }, ...invalid, losesAnswers: true },
  { name: 'a gateway\'s 504', fault: { kind: 'error', status: 504, code: 'Bad', form: 'empty' }, ...invalid },
  { name: 'a reset before the answer', fault: { kind: 'reset' }, ...unreachable, losesAnswers: true },
  { name: 'a reset in the answer', fault: { kind: 'reset-mid-answer' }, ...unreachable, losesAnswers: true },
  { name: 'a cut answer', fault: { kind: 'cut' }, ...unreachable, losesAnswers: true },
  { name: 'garbage', fault: { kind: 'garbage' }, ...invalid, losesAnswers: true },
  { name: 'silence', fault: { kind: 'hang' }, ...late, losesAnswers: true },
  { name: 'an answer that drips', fault: { kind: 'drip', ms: 60 }, ...late }
]

// Each starts a service, and a start is work: more at once than there are cores only makes the time limits tight.
t.jobs = 2

for (const each of faults) {
  t.test(`${each.name}, twice: what can be repeated is, and then all is as if nothing had happened`, async t => {
    const { emulator, service, caller } = await start(t, each.environment)
    const twice = operations.map(async ({ name, method, path, body, done, calls, after }) => {
      const bucket = bucketOf(name, 'twice')
      emulator.addFault({ ...each.fault, match: { bucket }, times: 2 } as Fault)
      const reply = await caller.call(method, path(bucket), body)
      const isRepeated = name !== 'post'
      checkInTime(t, reply, each.environment)
      const told = isRepeated ? [done, undefined] : [each.status, each.code]
      t.strictSame([name, reply.status, reply.code], [name, ...told])
      checkAttempts(t, emulator, bucket, name, isRepeated ? calls + 2 : 1)
      t.equal(emulator.configurations(bucket).length, after, `${name}: what COS holds`)
    })
    const always = ['get', 'put', 'post'].map(operation).map(async ({ name, method, path, body, before, after }) => {
      const bucket = bucketOf(name, 'always')
      emulator.addFault({ ...each.fault, match: { bucket } } as Fault)
      const reply = await caller.call(method, path(bucket), body)
      checkInTime(t, reply, each.environment)
      t.strictSame([name, reply.status, reply.code], [name, each.status, each.code], 'while it stays')
      t.equal(reply.headers['retry-after'] !== undefined, each.status === 503, `${name}: Retry-After comes with 503`)
      checkAttempts(t, emulator, bucket, name, name === 'post' ? 1 : 3)
      // An answer that drips is COS's own: the change was made.
      const held = each.fault.kind === 'drip' ? after : before
      t.equal(emulator.configurations(bucket).length, held, `${name}: what COS holds`)
    })
    const made = each.losesAnswers !== true
      ? []
      : ['put', 'delete', 'post'].map(operation).map(async ({ name, method, path, body, done, after }) => {
          const bucket = bucketOf(name, 'made')
          emulator.addFault({ ...each.fault, after: 'effect', match: { bucket }, times: 1 } as Fault)
          const reply = await caller.call(method, path(bucket), body)
          checkInTime(t, reply, each.environment)
          const isRepeated = name !== 'post'
          const told = isRepeated ? [done, undefined] : [each.status, each.code]
          t.strictSame([name, reply.status, reply.code], [name, ...told], 'made, and the answer lost')
          if (!isRepeated) t.match(reply.text, ' is not known', 'the caller is told of the doubt')
          checkAttempts(t, emulator, bucket, name, isRepeated ? 2 : 1)
          t.equal(emulator.configurations(bucket).length, after, `${name}: what COS holds`)
          if (isRepeated) return
          const again = await caller.call(method, path(bucket), body)
          t.strictSame([again.status, again.code], [409, 'DuplicateInventoryId'], 'the job was started')
        })
    await Promise.all([...twice, ...always, ...made])
    checkLog(t, service)
  })
}

t.test('a host that takes no connection in time: 504, and as nothing was sent, POST is tried again like the rest', async t => {
  await triedThreeTimes(t, await startFullHost(t), { status: 504, code: 'UpstreamTimeout' })
})

t.test('a host that refuses connections: 502, and as nothing was sent, POST is tried again like the rest', async t => {
  await triedThreeTimes(t, await startRefusingHost(), unreachable)
})

t.test('a host that takes requests and never says anything: 504, and POST is sent once', async t => {
  const host = await startSilentHost(t)
  const service = await startServiceProcess(t, host.address, impatient)
  const caller = createCaller(t, service.url)
  await Promise.all(operations.map(async ({ name, method, path, body }) => {
    const reply = await caller.call(method, path(bucketOf(name, 'twice')), body)
    checkInTime(t, reply, impatient)
    t.strictSame([name, reply.status, reply.code], [name, 504, codeFor(method, 'UpstreamTimeout')])
    t.equal(host.requestsTo(bucketOf(name, 'twice')), name === 'post' ? 1 : 3, `${name}: requests that came`)
  }))
  checkLog(t, service)
})

t.test('a name that does not exist: 502 at once, without trying again', async t => {
  const service = await startServiceProcess(t, 'name.invalid:80', { LOG_LEVEL: 'debug' })
  const caller = createCaller(t, service.url)
  await Promise.all(operations.map(async ({ name, method, path, body }) => {
    const reply = await caller.call(method, path(bucketOf(name, 'twice')), body)
    t.strictSame([name, reply.status, reply.code], [name, 502, codeFor(method, 'UpstreamUnreachable')])
    const faultsLogged = attemptsOf(service, reply).map(line => line['fault'])
    // Without any name service the machine cannot know that the name does not exist, and it is tried again.
    const expected = faultsLogged[0] === 'EAI_AGAIN' ? Array<string>(3).fill('EAI_AGAIN') : ['ENOTFOUND']
    t.strictSame(faultsLogged, expected, name)
  }))
})

t.test('SlowDown with Retry-After: the next attempt waits as long; beyond the deadline the caller is to wait', async t => {
  const { emulator, service, caller } = await start(t)
  await Promise.all(operations.filter(({ name }) => name !== 'post').map(async ({ name, method, path, body, done, calls }) => {
    const bucket = bucketOf(name, 'twice')
    const headers = { 'Retry-After': '1' }
    emulator.addFault({ kind: 'error', status: 503, code: 'SlowDown', headers, match: { bucket }, times: 1 })
    const reply = await caller.call(method, path(bucket), body)
    t.strictSame([name, reply.status, reply.code], [name, done, undefined])
    t.ok(reply.ms >= 990, `${name}: not before a second has passed (${reply.ms.toFixed()} ms)`)
    checkAttempts(t, emulator, bucket, name, calls + 1)
  }))
  await Promise.all(['get', 'put', 'post'].map(operation).map(async ({ name, method, path, body }) => {
    const bucket = bucketOf(name, 'always')
    const headers = { 'Retry-After': '60' }
    emulator.addFault({ kind: 'error', status: 503, code: 'SlowDown', headers, match: { bucket } })
    const reply = await caller.call(method, path(bucket), body)
    t.strictSame([name, reply.status, reply.code, reply.headers['retry-after']], [name, 503, 'SlowDown', '60'])
    t.ok(reply.ms < 15_000, `${name}: answered without waiting for the deadline (${reply.ms.toFixed()} ms)`)
    checkAttempts(t, emulator, bucket, name, 1)
  }))
  checkLog(t, service)
})

t.test('refusals that a new attempt can mend are tried again, those that it cannot are not', async t => {
  const { emulator, service, caller } = await start(t)
  const mendable = ['EntitySizeNotMatch', 'IncompleteBody', 'RequestTimeout', 'UserNetworkTooSlow', 'BadDigest', 'InvalidDigest']
  const { method, path, body } = operation('put')
  // One after the other: they share a bucket, and its faults.
  const bucket = bucketOf('put', 'twice')
  const put = async (code: string, status: number, times: number) => {
    emulator.clearFaults()
    emulator.addFault({ kind: 'error', status, code, match: { bucket }, times })
    const from = emulator.requests.length
    const reply = await caller.call(method, path(bucket), body)
    return [code, reply.status, emulator.requests.length - from]
  }
  for (const code of mendable) t.strictSame(await put(code, 400, 1), [code, 204, 2])
  for (const code of ['BadDigest', 'InvalidDigest']) t.strictSame(await put(code, 400, 9), [code, 400, 2], 'only once')
  const final: Array<[string, number, number]> = [
    ['AccessDenied', 403, 403], ['NoSuchBucket', 404, 404], ['MalformedXML', 400, 400], ['Conflict', 409, 409],
    ['MethodNotAllowed', 405, 502], ['NotImplemented', 501, 502]
  ]
  for (const [code, status, told] of final) t.strictSame(await put(code, status, 9), [code, told, 1])
  emulator.clearFaults()

  const listed = bucketOf('list', 'always')
  emulator.addFault({ kind: 'raw', status: 200, body: 'x'.repeat(2 ** 20), repeat: 9, match: { bucket: listed } })
  const large = await caller.call('GET', collection(listed))
  t.strictSame([large.status, large.code], [502, 'UpstreamInvalidResponse'], 'an answer that is too large')
  t.equal(requestsTo(emulator, listed).length, 1)
  checkLog(t, service)
})

t.test('a refusal after an attempt that may have been carried out says so', async t => {
  const { emulator, service, caller } = await start(t)
  for (const { name, method, path, body, after } of ['put', 'delete'].map(operation)) {
    const match = { bucket: bucketOf(name, 'made') }
    emulator.addFault({ kind: 'reset', after: 'effect', match, times: 1 })
    emulator.addFault({ kind: 'error', status: 403, code: 'AccessDenied', match, times: 1 })
    const reply = await caller.call(method, path(match.bucket), body)
    t.strictSame([name, reply.status, reply.code], [name, 403, 'AccessDenied'])
    t.match(reply.text, ' is not known')
    t.equal(emulator.configurations(match.bucket).length, after, 'it was made')
  }
  const outcomes = logOf(service).filter(({ type }) => type === 'audit').map(line => line['outcome'])
  t.strictSame(outcomes, ['unknown', 'unknown'], 'and the audit says so, too')
  checkLog(t, service)
})

t.test('many changes that are repeated at the same time are repeated like one', async t => {
  const { emulator, service, caller } = await start(t)
  const bucket = bucketOf('put', 'twice')
  // As many as the budget of a host has saved up.
  const count = 20
  // All have come before the first is answered, so that each meets the fault once.
  emulator.addFault({ kind: 'latency', ms: 500 })
  emulator.addFault({ kind: 'error', status: 503, code: 'ServiceUnavailable', times: count })
  const replies = await Promise.all(Array.from({ length: count }, (_, index) =>
    caller.call('PUT', `${collection(bucket)}/many-${index}`, configuration)))
  t.strictSame(countBy(replies, ({ status }) => status), { 204: count })
  t.equal(emulator.configurations(bucket).length, count)
  checkLog(t, service)
})

t.test('a clock that COS rejects is corrected at once, for every operation, and stays corrected', async t => {
  const { emulator, service, caller } = await start(t)
  const hours = 3_600_000
  for (const [index, { name, method, path, body, done, calls, after }] of operations.entries()) {
    // Ahead, then behind what it was corrected to.
    emulator.setClockOffset(index % 2 === 0 ? 9 * hours : -9 * hours)
    const bucket = bucketOf(name, 'twice')
    const reply = await caller.call(method, path(bucket), body)
    t.strictSame([name, reply.status, reply.code], [name, done, undefined])
    checkAttempts(t, emulator, bucket, name, calls + 1)
    t.equal(emulator.configurations(bucket).length, after, `${name}: what COS holds`)
    const next = await caller.call('GET', collection(bucketOf(name, 'always')))
    t.strictSame([next.status, requestsTo(emulator, bucketOf(name, 'always')).length], [200, 1], 'later calls need no second attempt')
  }
  checkLog(t, service)
})

t.test('while half of the hosts are dead, the other half works', async t => {
  const environment = { COS_TIMEOUT_MS: '5000', COS_MAX_ATTEMPTS: '1' }
  const { emulator, service, caller } = await start(t, environment)
  const [dead, alive] = ['always', 'twice']
  for (const { name } of operations) emulator.addFault({ kind: 'hang', match: { bucket: bucketOf(name, dead) } })
  let timedOut = 0
  await Promise.all(operations.flatMap(({ name, method, path, body, done, before, after }) => [
    caller.call(method, path(bucketOf(name, dead)), body).then(reply => {
      timedOut += 1
      t.strictSame([name, reply.status, reply.code], [name, 504, codeFor(method, 'UpstreamTimeout')])
      t.equal(emulator.configurations(bucketOf(name, dead)).length, before)
    }),
    caller.call(method, path(bucketOf(name, alive)), body).then(reply => {
      t.strictSame([name, reply.status], [name, done])
      t.equal(timedOut, 0, `${name} waits for none of the dead`)
      t.equal(emulator.configurations(bucketOf(name, alive)).length, after)
    })
  ]))
  checkLog(t, service)
})

/** Each operation has buckets of its own: what is known of a host says nothing of another. */
function bucketOf (name: string, purpose: string): string {
  return `${name}-${purpose}-1250000000`
}

/** A problem document has a body, which HEAD does not. */
function codeFor (method: string, code: string): string | undefined {
  return method === 'HEAD' ? undefined : code
}

async function start (
  t: Test, environment: Record<string, string> = {}
): Promise<{ emulator: Emulator, service: ServiceProcess, caller: Caller }> {
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
  const service = await startServiceProcess(t, emulator.address, environment)
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

/** So many attempts came, and each but the first of a call says that it repeats one, under a signature of its own. */
function checkAttempts (t: Test, emulator: Emulator, bucket: string, name: string, attempts: number): void {
  const received = requestsTo(emulator, bucket)
  t.equal(received.length, attempts, `${name}: attempts`)
  const first = received[0]?.headers ?? {}
  t.equal(first['x-cos-sdk-retry'], undefined, `${name}: the first attempt`)
  // The second page of a list is a call of its own.
  for (const { headers } of received.slice(1).filter(({ target }) => !target.includes('continuation-token'))) {
    t.equal(headers['x-cos-sdk-retry'], 'true', `${name}: a repeated one says so`)
    t.not(headers['authorization'], first['authorization'], `${name}: a repeated one is signed anew`)
  }
}

function checkInTime (t: Test, { method, ms }: Reply, environment: Record<string, string> = {}): void {
  // What the service adds to COS's time, on a machine that is busy with other tests.
  const slackMs = 500
  t.ok(ms <= Number(environment['COS_DEADLINE_MS'] ?? 15_000) + slackMs, `${method} within the deadline (${ms.toFixed()} ms)`)
}

/** COS's faults are none of the service's: nothing in its log is above a warning. */
function checkLog (t: Test, service: ServiceProcess): void {
  t.strictSame(logOf(service).filter(({ level }) => level >= 50), [], 'no errors in the log')
  t.equal(service.stderr(), '')
}

function attemptsOf (service: ServiceProcess, reply: Reply): LogLine[] {
  const requestId = reply.headers['x-request-id']
  return logOf(service).filter(line => line['requestId'] === requestId && line.msg === 'COS did not answer')
}

async function triedThreeTimes (t: Test, address: string, told: { status: number, code: string }): Promise<void> {
  const service = await startServiceProcess(t, address, { ...impatient, LOG_LEVEL: 'debug' })
  const caller = createCaller(t, service.url)
  await Promise.all(operations.map(async ({ name, method, path, body }) => {
    const reply = await caller.call(method, path(bucketOf(name, 'twice')), body)
    checkInTime(t, reply, impatient)
    t.strictSame([name, reply.status, reply.code], [name, told.status, codeFor(method, told.code)])
    t.equal(attemptsOf(service, reply).length, 3, `${name}: attempts`)
  }))
  checkLog(t, service)
}
