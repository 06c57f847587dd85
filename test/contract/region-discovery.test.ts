import { request } from 'node:http'
import { setImmediate as nextIteration } from 'node:timers/promises'
import { pino } from 'pino'
import t from 'tap'
import { readConfig } from '../../src/config/config.ts'
import { isBucketAndRegion } from '../../src/config/formats.ts'
import { createAttempts } from '../../src/cos/client/retry.ts'
import { createBucketList } from '../../src/cos/regions/bucket-list.ts'
import { createConcurrencyLimiter } from '../../src/cos/client/concurrency-limiter.ts'
import { createCosClock } from '../../src/cos/client/clock.ts'
import { createRetryBudget } from '../../src/cos/client/retry-budget.ts'
import { createTransport } from '../../src/cos/client/transport.ts'
import type { Emulator, EmulatorOptions } from '../../src/emulator/server.ts'
import { createMetrics } from '../../src/metrics.ts'
import { Secret } from '../../src/secret.ts'
import { createPassingTracer } from '../../src/tracing/tracing.ts'
import { as, callersFile, withKey } from '../callers-file.ts'
import { attemptMs, controlTime, longTimeouts } from '../doubles/time.ts'
import { at, bucket, configuration, otherBucket, secrets, start, startTestEmulator, until } from '../start.ts'
import type { Test } from '../start.ts'

const all = [[bucket, 'ap-guangzhou'], [otherBucket, 'ap-shanghai']]

/**
 * Creates the bucket list over the real transport, against an emulator.
 *
 * @param pageMs how far each request to COS advances the clock of the list, in milliseconds
 */
async function startList (
  t: Test,
  { environment, pageMs = 0, ...options }:
    Partial<EmulatorOptions> & { environment?: Record<string, string>, pageMs?: number } = {}
) {
  const emulator = await startTestEmulator(t, options)
  const now = () => Date.now() + pageMs * emulator.requests.length
  const { cos } = readConfig({
    AUTH: 'none',
    COS_SECRET_ID: secrets.secretId,
    COS_SECRET_KEY: secrets.secretKey,
    COS_SCHEME: 'http',
    COS_CONNECT_TO: emulator.address,
    COS_MAX_ATTEMPTS: '1',
    COS_REGION_DISCOVERY: 'true',
    ...environment
  })
  const log = pino({ level: 'silent' })
  const clock = createCosClock({ now: Date.now, steadyNow: Date.now, log })
  const transport = createTransport(cos, { now, clock, userAgent: 'test', maxStreams: undefined })
  t.teardown(() => transport.close())
  const { maxConcurrency, maxConnections: maxPerHost, queueLimit, timeoutMs: maxWaitMs } = cos
  const observer = createMetrics('test')
  const { secretId, secretKey, token } = secrets
  const keys = { secretId, secretKey: new Secret(secretKey), token: new Secret(token) }
  const bounds = { maxConcurrency, maxPerHost, queueLimit, maxWaitMs }
  const attempts = createAttempts(cos, {
    limiter: createConcurrencyLimiter(bounds, { now, onRejection: observer.shed }),
    budget: createRetryBudget(now),
    clock,
    observer,
    transport,
    now,
    pause: async () => {}
  })
  const caller = new AbortController()
  const tally = { attempts: 0 }
  const trace = createPassingTracer().startRequest({
    method: 'GET', route: undefined, path: '/', address: '', requestId: '', traceparent: undefined, tracestate: undefined
  })
  const credentials = { get: async () => keys, renew: async () => undefined }
  const listBuckets = createBucketList(cos, { attempts, credentials, now, isBucketAndRegion })
  return {
    emulator,
    caller,
    tally,
    observer,
    list: async () => [...await listBuckets({ log, trace, tally, signal: caller.signal })],
    /** Responds to the next request with this content inside the root element. */
    respond (content: string, root = 'ListAllMyBucketsResult') {
      emulator.addFault({ kind: 'raw', status: 200, headers: { 'x-cos-request-id': 'aWQ=' }, body: `<${root}>${content}</${root}>`, times: 1 })
    }
  }
}

const bucketXml = (name: string, region: string) => `<Bucket><Name>${name}</Name><Location>${region}</Location></Bucket>`

t.test('the bucket list fetches every page with a signature from the service host', async t => {
  const buckets = Array.from({ length: 4_500 }, (_, index) => ({
    name: `b${String(index).padStart(4, '0')}-1250000000`, region: index % 2 === 0 ? 'ap-guangzhou' : 'eu-frankfurt'
  }))
  const { emulator, list, tally, observer } = await startList(t, { buckets })
  t.strictSame(await list(), buckets.map(({ name, region }) => [name, region]))
  t.match(emulator.requests, Array.from({ length: 3 }, () => ({
    method: 'GET', host: 'service.cos.myqcloud.com', operation: 'GetService', status: 200, headers: { 'x-cos-security-token': secrets.token }
  })))
  t.strictSame(emulator.requests.map(({ target }) => target),
    ['/?max-keys=2000', '/?max-keys=2000&marker=b1999-1250000000', '/?max-keys=2000&marker=b3999-1250000000'])
  t.strictSame(emulator.requests.map(({ headers }) => new URLSearchParams(headers['authorization']).get('q-url-param-list')),
    ['max-keys', 'marker;max-keys', 'marker;max-keys'])
  t.equal(tally.attempts, 3)
  t.match(await observer.scrape(), /cos_calls_total\{operation="GetService",class="ok"\} 3/)
})

t.test('the bucket list sends no further request when the last page is full', async t => {
  const buckets = Array.from({ length: 4_000 }, (_, index) => ({ name: `b-${index}`, region: 'ap-guangzhou' }))
  const { emulator, list } = await startList(t, { buckets })
  t.equal((await list()).length, 4_000)
  t.equal(emulator.requests.length, 2)
})

t.test('GET Service uses the domain and port of COS_ENDPOINT', async t => {
  for (const [COS_ENDPOINT, host] of [
    ['{bucket}.cos-internal.{region}.tencentcos.cn', 'service.cos.tencentcos.cn'],
    ['{bucket}.cos.{region}.tencentcos.cn:8080', 'service.cos.tencentcos.cn:8080'],
    ['{bucket}.cos.{region}.myqcloud.com:80', 'service.cos.myqcloud.com']
  ] as const) {
    const { emulator, list } = await startList(t, { environment: { COS_ENDPOINT } })
    t.strictSame(await list(), all)
    t.match(emulator.requests, [{ host, status: 200 }])
  }
})

t.test('errors of the bucket list name GET Service and keep the fields of COS', async t => {
  const { emulator, list } = await startList(t, { credentials: [{ ...secrets, actions: ['cos:GetBucketInventory'] }] })
  await t.rejects(list(), {
    name: 'UpstreamError',
    status: 403,
    code: 'AccessDenied',
    class: 'caller',
    cos: { requestId: /./, traceId: /./ },
    detail: /^COS returned AccessDenied.*This was the look-up of the bucket's region \(GET Service\), which needs cos:GetService\.$/
  })
  emulator.setCredentials([{ ...secrets, actions: ['cos:GetService'] }])
  t.strictSame(await list(), all)
  emulator.addFault({ kind: 'error', status: 503, code: 'SlowDown', headers: { 'retry-after': '7' }, times: 1 })
  await t.rejects(list(), { status: 503, code: 'SlowDown', class: 'throttled', retryAfterSeconds: 7, detail: /GET Service/ })
  emulator.addFault({ kind: 'reset', times: 1 })
  await t.rejects(list(), { code: 'UpstreamUnreachable', class: 'unreachable', cause: { code: /./ }, detail: /GET Service/ })
  emulator.setCredentials([])
  await t.rejects(list(), { code: 'UpstreamCredentialsRejected', cosCode: 'InvalidAccessKeyId', detail: /GET Service/ })
})

t.test('the bucket list accepts empty, split and extended responses', async t => {
  const { respond, list } = await startList(t)
  const [a, b, c] = ['a-1', 'b-1', 'c-1'].map(name => bucketXml(name, 'ap-tokyo'))
  const tokyo = (...names: string[]) => names.map(name => [name, 'ap-tokyo'])
  for (const [content, expected] of [
    ['', []],
    ['<Owner/><Buckets/><IsTruncated>false</IsTruncated><Marker/><NextMarker/>', []],
    ['<IsTruncated>false</IsTruncated>', []],
    [`<Buckets>${a}</Buckets>`, tokyo('a-1')],
    [`<Buckets>${a}${b}</Buckets><IsTruncated>False</IsTruncated><NextMarker>b-1</NextMarker>`, tokyo('a-1', 'b-1')],
    [`<Buckets>${a}</Buckets><New>x</New><Buckets><Folder>${b}</Folder>${c}</Buckets>`, tokyo('a-1', 'c-1')],
    ['<Buckets><Bucket><Type>cos</Type><Location>\n ap-tokyo </Location><Name> a-1\n</Name></Bucket></Buckets>', tokyo('a-1')]
  ] as const) {
    respond(content)
    t.strictSame(await list(), expected, content)
  }
})

t.test('the bucket list omits entries that cannot be part of a host name', async t => {
  const { respond, list } = await startList(t)
  const malformed = [
    ['evil.example/', 'ap-tokyo'], ['a-1', 'evil.example'], ['a-1', ''], ['', 'ap-tokyo'], ['a-1@evil', 'ap-tokyo'], ['A-1', 'ap-tokyo'],
    ['nobody', 'ap-tokyo'], ['a-1', 'cn-north'], ['a-1', 'ap-tokyo:80'], [`${'a'.repeat(62)}-1`, 'ap-tokyo']
  ].map(([name = '', region = '']) => bucketXml(name, region)).join('')
  respond(`<Buckets>${malformed}<Bucket/><Bucket><Name>a-1</Name></Bucket>${bucketXml('b-1', 'ap-tokyo')}</Buckets>`)
  t.strictSame(await list(), [['b-1', 'ap-tokyo']])
})

t.test('the bucket list fails or retries when a response is malformed', async t => {
  const { emulator, respond, list } = await startList(t)
  const invalid = { code: 'UpstreamInvalidResponse', class: 'invalid', remedy: 'retry', detail: /malformed or unexpected XML document.*GET Service/ }
  respond('', 'html')
  await t.rejects(list(), { ...invalid, cos: { requestId: 'aWQ=' } })
  respond('<Buckets>')
  await t.rejects(list(), invalid)
  for (const next of ['', '<NextMarker/>']) {
    respond(`<IsTruncated>true</IsTruncated>${next}`)
    await t.rejects(list(), { ...invalid, cause: { message: /truncated without a marker/ } })
  }
  emulator.addFault({ kind: 'garbage', times: 1 })
  await t.rejects(list(), invalid)
  emulator.addFault({ kind: 'cut', times: 1 })
  await t.rejects(list(), { code: 'UpstreamUnreachable', detail: /GET Service/ })
  const persistent = await startList(t, { environment: { COS_MAX_ATTEMPTS: '3' } })
  persistent.emulator.addFault({ kind: 'garbage', times: 2 })
  t.strictSame(await persistent.list(), all)
  t.equal(persistent.emulator.requests.length, 3)
})

t.test('the bucket list fails when markers recur or pages exceed fifty', async t => {
  const { emulator, respond, list } = await startList(t)
  const page = (marker: string) => `<IsTruncated>true</IsTruncated><NextMarker>${marker}</NextMarker>`
  const endless = { code: 'UpstreamInvalidResponse', class: 'invalid', cos: { requestId: 'aWQ=' }, detail: /list without an end.*GET Service/ }
  for (const marker of ['a-1', 'b-1', 'a-1']) respond(page(marker))
  await t.rejects(list(), endless)
  t.equal(emulator.requests.length, 3)
  emulator.reset()
  for (let count = 0; count < 60; count++) respond(page(`m-${count}`))
  await t.rejects(list(), endless)
  t.equal(emulator.requests.length, 50)
  emulator.reset()
  for (let count = 0; count < 49; count++) respond(page(`m-${count}`))
  respond(`<Buckets>${bucketXml('a-1', 'ap-tokyo')}</Buckets>`)
  t.strictSame(await list(), [['a-1', 'ap-tokyo']], 'fifty pages are accepted')
})

t.test('the deadline applies to all pages of the bucket list together', async t => {
  const environment = { COS_TIMEOUT_MS: '200000', COS_DEADLINE_MS: '250000' }
  const { emulator, list } = await startList(t, { environment, pageMs: 100_000 })
  for (let page = 0; page < 40; page++) {
    const body = `<ListAllMyBucketsResult><IsTruncated>true</IsTruncated><NextMarker>m-${page}</NextMarker></ListAllMyBucketsResult>`
    emulator.addFault({ kind: 'raw', status: 200, body, times: 1 })
  }
  await t.rejects(list(), { code: 'UpstreamTimeout', detail: /GET Service/ })
  t.equal(emulator.requests.length, 3, 'no page is requested after the deadline')
})

t.test('the bucket list continues when its caller disconnects', async t => {
  const { emulator, caller, list } = await startList(t)
  emulator.addFault({ kind: 'latency', ms: 100, times: 1 })
  const listed = list()
  caller.abort()
  t.strictSame(await listed, all)
  t.strictSame(await list(), all, 'a caller may disconnect before the list begins')
})

t.test('the bucket list throws program errors unchanged', async t => {
  const listBuckets = createBucketList({ deadlineMs: 1, endpoint: '{bucket}.{region}.private', scheme: 'https' }, {
    attempts: { run: () => Promise.reject(new Error('a bug')) }, credentials: {} as never, now: Date.now, isBucketAndRegion
  })
  const trace = { traceId: undefined, startAttempt: () => ({ headers: {}, end () {} }), end () {} }
  const call = { log: pino({ level: 'silent' }), trace, signal: new AbortController().signal, tally: { attempts: 0 } }
  await t.rejects(listBuckets(call), { name: 'Error', message: 'a bug' })
})

const [south, east] = ['ap-guangzhou', 'ap-shanghai']
/** No region is configured, so every region comes from COS. */
const discovering = { COS_REGION_DISCOVERY: 'true', COS_REGION: '', COS_BUCKET_REGIONS: '' }
const collectionOf = (name: string) => `/buckets/${name}/inventories`
const notFound = { status: 404, json: { code: 'NoSuchBucket', detail: /Region discovery/ } }

/** Starts a service with region discovery. */
function startDiscovery (
  t: Test, { environment, ...options }: Partial<EmulatorOptions> & { environment?: Record<string, string> } = {}
) {
  return start(t, { ...options, environment: { ...discovering, ...environment } })
}

/** Returns the operations that COS received, with the region of calls for a bucket. */
function sent ({ requests }: Emulator): string[] {
  return requests.map(({ operation, host }) => operation === 'GetService' ? operation : `${operation} ${host.split('.')[2]}`)
}

/** Returns a body whose destination is the bucket itself in this region. */
function reportsIn (region: string) {
  return {
    ...configuration,
    Destination: { COSBucketDestination: { Format: 'CSV', Bucket: `qcs::cos:${region}::${bucket}` } }
  }
}

/** Returns a function that advances the clock of the process until the end of the test. */
function passing (t: Test): (ms: number) => void {
  const now = performance.now.bind(performance)
  let passed = 0
  Object.defineProperty(performance, 'now', { configurable: true, value: () => now() + passed })
  t.teardown(() => Reflect.deleteProperty(performance, 'now'))
  return ms => { passed += ms }
}

/** Starts a service that knows a bucket in the south. `move` creates the bucket in the east instead. */
async function startMoved (t: Test, environment: Record<string, string> = {}, headers: Record<string, string> = {}) {
  const pass = passing(t)
  const buckets = [{ name: bucket, region: south }]
  const running = await startDiscovery(t, { buckets, environment })
  await running.call('PUT', at('a'), reportsIn(south), headers)
  running.emulator.requests.length = 0
  return { ...running, buckets, pass, move () { buckets[0] = { name: bucket, region: east } } }
}

t.test('an unconfigured bucket is looked up once and called in its region', async t => {
  const { call, emulator, logs } = await startDiscovery(t)
  for (const status of [200, 200]) t.equal((await call('GET', collectionOf(otherBucket))).status, status)
  t.equal((await call('PUT', at('a'), configuration)).status, 204)
  t.strictSame(sent(emulator), ['GetService', `ListBucketInventory ${east}`, `ListBucketInventory ${east}`, `PutBucketInventory ${south}`])
  t.match(emulator.requests[0], {
    method: 'GET', host: 'service.cos.myqcloud.com', target: '/?max-keys=2000', status: 200, headers: { authorization: /q-signature=/ }
  })
  const attempts = logs().split('\n').filter(line => line.includes('"msg":"request completed"')).map(line => (JSON.parse(line) as { attempts: number }).attempts)
  t.strictSame(attempts, [2, 1, 1], 'the look-up counts as an attempt of its request')
  t.match((await call('GET', '/metrics')).text, /cos_attempts_total\{operation="GetService",class="ok",code=""\} 1\n/)
})

t.test('the region comes from the query, COS_BUCKET_REGIONS, discovery, then COS_REGION', async t => {
  const { call, emulator } = await startDiscovery(t, { environment: { COS_REGION: 'ap-tokyo', COS_BUCKET_REGIONS: `${otherBucket}=ap-seoul` } })
  const configured = await call('GET', collectionOf(otherBucket))
  t.match(configured, { status: 404, json: { code: 'NoSuchBucket' } })
  t.notMatch(configured.json.detail, /discovery/, 'no look-up was made')
  t.equal((await call('GET', `${collectionOf(otherBucket)}?region=${east}`)).status, 200)
  t.equal((await call('GET', `${collectionOf(bucket)}?region=${south}`)).status, 200)
  t.strictSame(sent(emulator), ['ap-seoul', east, south].map(region => `ListBucketInventory ${region}`))
  t.equal((await call('GET', collectionOf(bucket))).status, 200)
  t.strictSame(sent(emulator).slice(3), ['GetService', `ListBucketInventory ${south}`])
  t.match(await call('GET', collectionOf(otherBucket)), { status: 404 }, 'the configured region is used after discovery too')
  t.equal((await call('GET', `${collectionOf(bucket)}?region=${east}`)).status, 404)
  t.strictSame(sent(emulator).slice(5), ['ListBucketInventory ap-seoul', `ListBucketInventory ${east}`])
})

t.test('twenty requests for unknown buckets share one look-up', async t => {
  const buckets = Array.from({ length: 20 }, (_, index) => ({ name: `b-${index}`, region: index % 2 === 0 ? south : east }))
  const { call, emulator } = await startDiscovery(t, { buckets })
  emulator.addFault({ kind: 'latency', ms: 100, match: { operation: 'GetService' } })
  const responses = await Promise.all(buckets.map(({ name }) => call('GET', collectionOf(name))))
  t.strictSame(responses.map(({ status }) => status), buckets.map(() => 200))
  t.strictSame(sent(emulator).sort(), [
    'GetService', ...Array.from({ length: 10 }, () => `ListBucketInventory ${south}`), ...Array.from({ length: 10 }, () => `ListBucketInventory ${east}`)
  ])
})

t.test('requests return 404 for an absent bucket, with at most one look-up in 30 s', async t => {
  const pass = passing(t)
  const buckets = [{ name: bucket, region: south }]
  const { call, emulator } = await startDiscovery(t, { buckets })
  for (const [method, body] of [['GET'], ['PUT', configuration], ['DELETE']] as const) {
    const response = await call(method, `${collectionOf(otherBucket)}/a`, body)
    t.match(response, { ...notFound, json: { code: 'NoSuchBucket', title: 'Not Found', status: 404, detail: /found no bucket logs-1250000000 .*COS_BUCKET_REGIONS/ } })
    t.notOk(response.headers['x-cos-request-id'], 'COS received no call for the bucket')
  }
  t.strictSame(sent(emulator), ['GetService'])
  buckets.push({ name: otherBucket, region: east })
  t.match(await call('GET', collectionOf(otherBucket)), notFound)
  pass(30_000)
  t.equal((await call('GET', collectionOf(otherBucket))).status, 200)
  t.strictSame(sent(emulator), ['GetService', 'GetService', `ListBucketInventory ${east}`])
})

t.test('GET is sent to COS_REGION when COS does not list the bucket', async t => {
  const pass = passing(t)
  const buckets = [{ name: bucket, region: south }]
  const { call, emulator } = await startDiscovery(t, { buckets, environment: { COS_REGION: 'ap-tokyo' } })
  const response = await call('GET', collectionOf(otherBucket))
  t.match(response, notFound)
  t.match(response, { headers: { 'x-cos-request-id': /./ }, json: { detail: /does not exist.*Region discovery found no other region\.$/, cosRequestId: /./ } })
  t.match(await call('GET', collectionOf(otherBucket)), notFound)
  t.strictSame(sent(emulator), ['GetService', 'ListBucketInventory ap-tokyo', 'ListBucketInventory ap-tokyo'])
  pass(30_000)
  buckets.push({ name: otherBucket, region: 'ap-tokyo' })
  t.equal((await call('GET', collectionOf(otherBucket))).status, 200)
  t.strictSame(sent(emulator).slice(3), ['GetService', 'ListBucketInventory ap-tokyo'])
})

t.test('every operation finds a bucket that was created again in another region', async t => {
  const { Schedule: _, IsEnabled: __, ...job } = reportsIn(east)
  const patchType = { 'content-type': 'application/merge-patch+json' }
  const set = { InventoryConfigurations: [{ Id: 'new', ...reportsIn(east) }, { Id: 'newer', ...reportsIn(east) }] }
  // The last column lists the calls in the new region after the look-up.
  for (const [method, path, body, headers, status, operations] of [
    ['GET', at('a'), undefined, {}, 200, ['GetBucketInventory']],
    ['HEAD', at('a'), undefined, {}, 200, ['GetBucketInventory']],
    ['PUT', at('a'), reportsIn(east), {}, 204, ['PutBucketInventory']],
    ['PUT', at('b'), reportsIn(east), { 'if-none-match': '*' }, 204, ['GetBucketInventory', 'PutBucketInventory']],
    ['POST', at('job'), job, {}, 202, ['PostBucketInventory']],
    ['DELETE', at('a'), undefined, {}, 204, ['DeleteBucketInventory']],
    ['PATCH', at('a'), reportsIn(east), patchType, 200, ['GetBucketInventory', 'PutBucketInventory']],
    ['GET', collectionOf(bucket), undefined, {}, 200, ['ListBucketInventory']],
    ['GET', `${collectionOf(bucket)}?all=true`, undefined, {}, 200, ['ListBucketInventory']],
    ['PUT', collectionOf(bucket), set, {}, 200, ['ListBucketInventory', 'PutBucketInventory', 'PutBucketInventory']]
  ] as const) {
    await t.test(`${method} ${path} returns ${status}`, async t => {
      const { call, emulator, audits, move, pass } = await startMoved(t)
      move()
      pass(5_000)
      t.equal((await call(method, path, body, headers)).status, status)
      const there = operations.map(operation => `${operation} ${east}`)
      t.strictSame(sent(emulator), [`${operations[0]} ${south}`, 'GetService', ...there])
      const changes = operations.filter(operation => /Put|Post|Delete/.test(operation))
      t.match(audits().slice(1), changes.map(() => ({ region: east, outcome: 'success' })))
      t.equal(audits().length, 1 + changes.length)
      t.equal((await call('GET', collectionOf(bucket))).status, 200)
      t.strictSame(sent(emulator).slice(2 + there.length), [`ListBucketInventory ${east}`], 'later calls go to the new region')
    })
  }
})

t.test('changes of a set share one look-up when their bucket has moved', async t => {
  const { call, emulator, move, pass } = await startMoved(t)
  pass(5_000)
  const ids = Array.from({ length: 12 }, (_, index) => `n${index}`)
  emulator.addFault({ kind: 'latency', ms: 100, match: { operation: 'PutBucketInventory' }, times: 8 })
  const changed = call('PUT', collectionOf(bucket), { InventoryConfigurations: ids.map(Id => ({ Id, ...reportsIn(east) })) })
  while (!sent(emulator).includes(`PutBucketInventory ${south}`)) await nextIteration()
  move()
  t.match(await changed, { status: 200, json: { Created: { length: 12 }, Failed: [] } })
  t.equal(sent(emulator).filter(each => each === 'GetService').length, 1)
  t.equal(emulator.configurations(bucket).length, 13)
})

t.test('GET returns 404 by a list younger than 5 s, DELETE returns 404 after a look-up', async t => {
  const { call, emulator, buckets, move, pass } = await startMoved(t)
  move()
  const missing = await call('GET', collectionOf(bucket))
  t.match(missing, { ...notFound, headers: { 'x-cos-request-id': /./ } })
  t.match(missing.json.detail, /Region discovery found no other region/)
  t.strictSame(sent(emulator), [`ListBucketInventory ${south}`], 'the list is younger than five seconds')
  buckets.length = 0
  pass(5_000)
  t.match(await call('DELETE', at('a')), { ...notFound, headers: { 'x-cos-request-id': /./ } })
  t.strictSame(sent(emulator).slice(1), [`DeleteBucketInventory ${south}`, 'GetService'])
  t.match(await call('DELETE', at('a')), notFound)
  t.equal(emulator.requests.length, 3, 'no call is sent for a bucket outside the account')
})

t.test('a request causes a look-up only when COS returns NoSuchBucket, and only once', async t => {
  const { call, emulator, move, pass } = await startMoved(t)
  pass(5_000)
  t.match(await call('GET', at('absent')), { status: 404, json: { code: 'InventoryConfigurationNotFoundError' } })
  for (const [status, code] of [[403, 'AccessDenied'], [404, 'NotFound'], [409, 'InvalidBucketState']] as const) {
    emulator.addFault({ kind: 'error', status, code, times: 1 })
    const { json } = await call('DELETE', at('a'))
    t.match(json, { status, code })
    t.notMatch(json.detail, /discovery/)
  }
  t.strictSame(sent(emulator).slice(1), Array.from({ length: 3 }, () => `DeleteBucketInventory ${south}`))
  move()
  emulator.addFault({ kind: 'error', status: 404, code: 'NoSuchBucket', match: { operation: 'DeleteBucketInventory' }, times: 2 })
  t.match(await call('DELETE', at('a')), notFound)
  t.strictSame(sent(emulator).slice(4), [`DeleteBucketInventory ${south}`, 'GetService', `DeleteBucketInventory ${east}`])
})

t.test('GET returns the error of the new region when a bucket has moved', async t => {
  const { call, emulator, move, pass } = await startMoved(t)
  move()
  pass(5_000)
  t.match(await call('GET', at('absent')), { status: 404, json: { code: 'InventoryConfigurationNotFoundError' } })
  t.strictSame(sent(emulator), [`GetBucketInventory ${south}`, 'GetService', `GetBucketInventory ${east}`])
})

t.test('GET returns 200 from the known region when a look-up fails', async t => {
  const { call, emulator, pass } = await startMoved(t)
  emulator.addFault({ kind: 'error', status: 403, code: 'AccessDenied', match: { operation: 'GetService' } })
  pass(10 * 60_000)
  for (const status of [200, 200]) t.equal((await call('GET', collectionOf(bucket))).status, status)
  t.strictSame(sent(emulator), ['GetService', `ListBucketInventory ${south}`, `ListBucketInventory ${south}`], 'the look-up is not made for each request')
  emulator.addFault({ kind: 'error', status: 404, code: 'NoSuchBucket', match: { operation: 'ListBucketInventory' }, times: 1 })
  t.match(await call('GET', collectionOf(bucket)), notFound, 'the error of COS is returned when the look-up fails')
})

t.test('requests return 403 when statements do not allow the discovered region', async t => {
  const { environment } = callersFile(t, [
    withKey('southern', [{ actions: ['cos:*'], buckets: ['*'], regions: [south] }]),
    withKey('stranger', [{ actions: ['cos:*'], buckets: ['other-*'] }, { actions: ['cos:GetBucketInventory'], buckets: [bucket] }])
  ])
  const { call, emulator, audits } = await startDiscovery(t, { environment })
  for (const [method, path, body] of [
    ['GET', collectionOf(otherBucket)], ['DELETE', `${collectionOf(otherBucket)}/a`], ['PUT', at('a'), configuration]
  ] as const) t.match(await call(method, path, body, as('stranger')), { status: 403, json: { code: 'CallerNotAllowed' } })
  t.strictSame(sent(emulator), [], 'a caller without any permission causes no look-up')
  t.match(audits(), [
    { action: 'cos:DeleteBucketInventory', outcome: 'denied' }, { action: 'cos:PutBucketInventory', outcome: 'denied' }
  ])
  t.strictSame(audits().map(({ region }) => region), [undefined, undefined])

  const rejected = await call('DELETE', `${collectionOf(otherBucket)}/a`, undefined, as('southern'))
  t.match(rejected, { status: 403, json: { code: 'CallerNotAllowed' } })
  t.notMatch(rejected.text, east, 'the region is not disclosed')
  for (const path of ['', '/a']) {
    t.match(await call('GET', `${collectionOf(otherBucket)}${path}`, undefined, as('southern')), { status: 403, json: { code: 'CallerNotAllowed' } })
  }
  t.strictSame(sent(emulator), ['GetService'])
  t.equal((await call('PUT', at('a'), configuration, as('southern'))).status, 204)
  t.strictSame(sent(emulator).slice(1), [`PutBucketInventory ${south}`])
  t.match(audits().slice(2), [
    { caller: 'southern', region: east, outcome: 'denied', status: 403 }, { caller: 'southern', region: south, outcome: 'success' }
  ])
})

t.test('statements apply to the last known region when look-ups fail', async t => {
  const pass = passing(t)
  const { environment } = callersFile(t, [withKey('southern', [{ actions: ['cos:*'], buckets: ['*'], regions: [south] }])])
  const { call, emulator, audits } = await startDiscovery(t, { environment })
  t.equal((await call('GET', collectionOf(bucket), undefined, as('southern'))).status, 200)
  emulator.addFault({ kind: 'error', status: 500, code: 'InternalError', match: { operation: 'GetService' } })
  pass(10 * 60_000)
  const path = `${collectionOf(otherBucket)}/a`
  t.match(await call('DELETE', path, undefined, as('southern')), { status: 403, json: { code: 'CallerNotAllowed' } })
  t.match(audits(), [{ region: east, outcome: 'denied' }])
  t.equal((await call('DELETE', at('a'), undefined, as('southern'))).status, 204)
  t.match(audits().slice(1), [{ region: south, outcome: 'success' }])
  t.strictSame(sent(emulator).slice(2), ['GetService', `DeleteBucketInventory ${south}`])
})

t.test('requests return 403 when a bucket has moved to a region that is not allowed', async t => {
  const patchType = { 'content-type': 'application/merge-patch+json' }
  for (const [method, path, body, headers, operation] of [
    ['GET', at('a'), undefined, {}, 'GetBucketInventory'],
    ['PUT', at('a'), reportsIn(east), {}, 'PutBucketInventory'],
    ['DELETE', at('a'), undefined, {}, 'DeleteBucketInventory'],
    ['PATCH', at('a'), { IsEnabled: false }, patchType, 'GetBucketInventory']
  ] as const) {
    await t.test(`${method} returns 403`, async t => {
      const { environment } = callersFile(t, [withKey('southern', [{ actions: ['cos:*'], buckets: ['*'], regions: [south] }])])
      const { call, emulator, audits, move, pass } = await startMoved(t, environment, as('southern'))
      move()
      pass(5_000)
      t.match(await call(method, path, body, { ...headers, ...as('southern') }), { status: 403, json: { code: 'CallerNotAllowed' } })
      t.strictSame(sent(emulator), [`${operation} ${south}`, 'GetService'])
      t.match(audits().slice(1), method === 'GET' ? [] : [{ region: east, outcome: 'denied', status: 403 }])
      t.equal((await call(method, path, body, { ...headers, ...as('southern') })).status, 403)
      t.equal(emulator.requests.length, 2, 'a later request sends no call')
    })
  }
})

t.test('PUT and PATCH return 403 when the new region forbids the destination', async t => {
  const actions = ['cos:*']
  const { environment } = callersFile(t, [withKey('reporter', [
    { actions, buckets: ['*'], regions: [south] }, { actions, buckets: ['*'], regions: [east], destinations: [] }
  ])])
  const denied = { status: 403, json: { code: 'CallerNotAllowed', detail: new RegExp(`written to ${bucket}`) } }
  await t.test('PUT returns 403 when the bucket has moved', async t => {
    const { call, emulator, move, pass } = await startMoved(t, environment, as('reporter'))
    move()
    pass(5_000)
    t.match(await call('PUT', at('a'), reportsIn(east), as('reporter')), denied)
    t.strictSame(sent(emulator), [`PutBucketInventory ${south}`, 'GetService'])
    t.equal((await call('DELETE', at('a'), undefined, as('reporter'))).status, 204)
  })
  await t.test('PATCH returns 403 when the bucket moves after the read', async t => {
    const { call, emulator, buckets, pass } = await startMoved(t, environment, as('reporter'))
    pass(5_000)
    buckets.push({ name: bucket, region: east })
    emulator.addFault({ kind: 'error', status: 404, code: 'NoSuchBucket', match: { operation: 'PutBucketInventory' }, times: 1 })
    const headers = { 'content-type': 'application/merge-patch+json', ...as('reporter') }
    t.match(await call('PATCH', at('a'), { IsEnabled: false }, headers), denied)
    t.strictSame(sent(emulator), [`GetBucketInventory ${south}`, `PutBucketInventory ${south}`, 'GetService'])
  })
})

t.test('requests cause no look-up when they are rejected with 400, 403 or 415', async t => {
  const { call, emulator } = await startDiscovery(t)
  for (const [method, path, body] of [
    ['PUT', at('a'), { ...configuration, IsEnabled: 1 }], ['PUT', at('a'), 'not json'], ['GET', at('a', '?nope=1')], ['POST', at('a'), configuration],
    ['GET', '/buckets/nobucket/inventories'], ['PUT', collectionOf(bucket), { InventoryConfigurations: [{}] }]
  ] as const) t.equal((await call(method, path, body)).status, 400, `${method} ${path}`)
  t.equal((await call('PATCH', at('a'), '{}', { 'content-type': 'text/plain' })).status, 415)
  const readOnly = await startDiscovery(t, { environment: { READ_ONLY: 'true' } })
  for (const [method, path, body] of [
    ['PUT', at('a'), configuration], ['DELETE', at('a')], ['PUT', collectionOf(bucket), { InventoryConfigurations: [] }]
  ] as const) t.match(await readOnly.call(method, path, body), { status: 403, json: { code: 'ReadOnly' } })
  t.strictSame([...sent(emulator), ...sent(readOnly.emulator)], [])
  t.equal((await readOnly.call('GET', collectionOf(bucket))).status, 200)
  t.equal((await readOnly.call('PUT', at('a', '?dry-run=true'), configuration)).status, 200)
  t.strictSame(sent(readOnly.emulator), ['GetService', `ListBucketInventory ${south}`])
})

t.test('PUT and GET return the error when a look-up fails, and a later PUT works', async t => {
  for (const [fault, status, code] of [
    [{ kind: 'error', status: 403, code: 'AccessDenied' }, 403, 'AccessDenied'],
    [{ kind: 'error', status: 403, code: 'InvalidAccessKeyId' }, 502, 'UpstreamCredentialsRejected'],
    [{ kind: 'error', status: 500, code: 'InternalError' }, 502, 'InternalError'],
    [{ kind: 'error', status: 503, code: 'SlowDown' }, 503, 'SlowDown'],
    [{ kind: 'hang' }, 504, 'UpstreamTimeout'],
    [{ kind: 'garbage' }, 502, 'UpstreamInvalidResponse'],
    [{ kind: 'reset' }, 502, 'UpstreamUnreachable']
  ] as const) {
    await t.test(`PUT and GET return ${status} ${code} after ${fault.kind}`, async t => {
      const time = controlTime(t)
      const { call, emulator } = await startDiscovery(t, { environment: longTimeouts })
      emulator.addFault({ ...fault, times: 2 })
      for (const [index, [method, path, body]] of ([['PUT', at('a'), configuration], ['GET', at('a')]] as const).entries()) {
        const response = call(method, path, body)
        if (fault.kind === 'hang') {
          await until(() => emulator.requests.length > index)
          time.expire(attemptMs)
        }
        t.match(await response, { status, json: { code, detail: /look-up of the bucket's region \(GET Service\)/ } })
      }
      t.strictSame(sent(emulator), ['GetService', 'GetService'])
      t.equal((await call('PUT', at('a'), configuration)).status, 204)
      t.strictSame(sent(emulator).slice(2), ['GetService', `PutBucketInventory ${south}`])
    })
  }
  const { call, emulator } = await startDiscovery(t, { credentials: [{ ...secrets, actions: ['cos:PutBucketInventory'] }] })
  t.match(await call('PUT', at('a'), configuration), { status: 403, json: { code: 'AccessDenied', detail: /needs cos:GetService\.$/, cosRequestId: /./ } })
  emulator.setCredentials([secrets])
  t.equal((await call('PUT', at('a'), configuration)).status, 204)
})

t.test('calls go to COS_REGION when look-ups fail', async t => {
  const { call, emulator, logs } = await startDiscovery(t, {
    credentials: [{ ...secrets, actions: ['cos:PutBucketInventory', 'cos:ListBucketInventory'] }], environment: { COS_REGION: south }
  })
  t.equal((await call('PUT', at('a'), configuration)).status, 204)
  t.equal((await call('PUT', at('b'), configuration)).status, 204)
  t.match(await call('GET', collectionOf(otherBucket)), notFound, 'COS rejects the wrong region')
  t.strictSame(sent(emulator), [
    'GetService', `PutBucketInventory ${south}`, `PutBucketInventory ${south}`, `ListBucketInventory ${south}`
  ])
  t.match(logs(), /"level":40,[^\n]*cos:GetService[^\n]*"msg":"region discovery failed"/)
})

t.test('GET Service uses tencentcos.cn when COS_ENDPOINT does', async t => {
  const { call, emulator } = await startDiscovery(t, { environment: { COS_ENDPOINT: '{bucket}.cos.{region}.tencentcos.cn' } })
  t.equal((await call('GET', collectionOf(bucket))).status, 200)
  t.strictSame(emulator.requests.map(({ host }) => host), ['service.cos.tencentcos.cn', `${bucket}.cos.${south}.tencentcos.cn`])
})

t.test('GET returns 200 when another caller disconnects during a shared look-up', async t => {
  const { call, emulator, url, logs } = await startDiscovery(t)
  emulator.addFault({ kind: 'latency', ms: 200, match: { operation: 'GetService' } })
  const disconnecting = request(`${url}${at('a')}`, { method: 'DELETE' })
  disconnecting.on('error', () => {})
  disconnecting.end()
  while (emulator.requests.length === 0) await nextIteration()
  const staying = call('GET', collectionOf(otherBucket))
  disconnecting.destroy()
  t.equal((await staying).status, 200)
  t.strictSame(sent(emulator), ['GetService', `ListBucketInventory ${east}`], 'the request of the other caller is not sent')
  t.match(logs(), 'caller disconnected')
})
