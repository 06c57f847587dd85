import { pino } from 'pino'
import t from 'tap'
import { isPlace, readConfig } from '../../src/config.ts'
import { createAttempts } from '../../src/cos/attempts.ts'
import { createBucketList } from '../../src/cos/bucket-list.ts'
import { createBulkheads } from '../../src/cos/bulkheads.ts'
import { createCosClock } from '../../src/cos/clock.ts'
import { createRetryBudget } from '../../src/cos/retry-budget.ts'
import { createTransport } from '../../src/cos/transport.ts'
import type { EmulatorOptions } from '../../src/emulator/server.ts'
import { createMetrics } from '../../src/metrics.ts'
import { Secret } from '../../src/secret.ts'
import { createPassingTracer } from '../../src/tracing.ts'
import { bucket, otherBucket, secrets, startTestEmulator } from '../start.ts'
import type { Test } from '../start.ts'

const all = [[bucket, 'ap-guangzhou'], [otherBucket, 'ap-shanghai']]

/** The list of buckets over the real transport, against an emulator. */
async function startList (
  t: Test, { environment, ...options }: Partial<EmulatorOptions> & { environment?: Record<string, string> } = {}
) {
  const emulator = await startTestEmulator(t, options)
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
  const clock = createCosClock({ now: Date.now, log })
  const transport = createTransport(cos, { now: Date.now, clock, userAgent: 'test' })
  t.teardown(() => transport.close())
  const { maxConcurrency, maxConnections: maxPerHost, queueLimit, timeoutMs: maxWaitMs } = cos
  const observer = createMetrics('test')
  const { secretId, secretKey, token } = secrets
  const keys = { secretId, secretKey: new Secret(secretKey), token: new Secret(token) }
  const bounds = { maxConcurrency, maxPerHost, queueLimit, maxWaitMs }
  const attempts = createAttempts(cos, {
    bulkheads: createBulkheads(bounds, { now: Date.now, shed: observer.shed }),
    budget: createRetryBudget(Date.now),
    clock,
    credentials: { get: async () => keys, renew: async () => undefined },
    observer,
    transport,
    now: Date.now,
    pause: async () => {}
  })
  const caller = new AbortController()
  const tally = { attempts: 0 }
  const trace = createPassingTracer().startRequest({
    method: 'GET', route: undefined, path: '/', address: '', requestId: '', traceparent: undefined, tracestate: undefined
  })
  const listBuckets = createBucketList(cos, { attempts, now: Date.now, isPlace })
  return {
    emulator,
    caller,
    tally,
    observer,
    list: async () => [...await listBuckets({ log, trace, tally, signal: caller.signal })],
    /** Answers the next request with this inside the root element. */
    answer (content: string, root = 'ListAllMyBucketsResult') {
      emulator.addFault({ kind: 'raw', status: 200, headers: { 'x-cos-request-id': 'aWQ=' }, body: `<${root}>${content}</${root}>`, times: 1 })
    }
  }
}

const bucketXml = (name: string, region: string) => `<Bucket><Name>${name}</Name><Location>${region}</Location></Bucket>`

t.test('every page of the list is fetched, signed, from the service host', async t => {
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

t.test('a full last page is the last one', async t => {
  const buckets = Array.from({ length: 4_000 }, (_, index) => ({ name: `b-${index}`, region: 'ap-guangzhou' }))
  const { emulator, list } = await startList(t, { buckets })
  t.equal((await list()).length, 4_000)
  t.equal(emulator.requests.length, 2)
})

t.test('GET Service is in the domain of the buckets and at their port', async t => {
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

t.test('what COS refuses says that it was the look-up, and keeps all else', async t => {
  const { emulator, list } = await startList(t, { credentials: [{ ...secrets, actions: ['cos:GetBucketInventory'] }] })
  await t.rejects(list(), {
    name: 'UpstreamError',
    status: 403,
    code: 'AccessDenied',
    class: 'caller',
    cos: { requestId: /./, traceId: /./ },
    detail: /^COS answered AccessDenied.*This was the look-up of the bucket's region \(GET Service\), which needs cos:GetService\.$/
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

t.test('a list of nothing, in pieces, or with more than is known is a list', async t => {
  const { answer, list } = await startList(t)
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
    answer(content)
    t.strictSame(await list(), expected, content)
  }
})

t.test('what cannot be part of a host name is left out', async t => {
  const { answer, list } = await startList(t)
  const odd = [
    ['evil.example/', 'ap-tokyo'], ['a-1', 'evil.example'], ['a-1', ''], ['', 'ap-tokyo'], ['a-1@evil', 'ap-tokyo'], ['A-1', 'ap-tokyo'],
    ['nobody', 'ap-tokyo'], ['a-1', 'cn-north'], ['a-1', 'ap-tokyo:80'], [`${'a'.repeat(62)}-1`, 'ap-tokyo']
  ].map(([name = '', region = '']) => bucketXml(name, region)).join('')
  answer(`<Buckets>${odd}<Bucket/><Bucket><Name>a-1</Name></Bucket>${bucketXml('b-1', 'ap-tokyo')}</Buckets>`)
  t.strictSame(await list(), [['b-1', 'ap-tokyo']])
})

t.test('an answer that is no list is none, and asked for again', async t => {
  const { emulator, answer, list } = await startList(t)
  const invalid = { code: 'UpstreamInvalidResponse', class: 'invalid', remedy: 'repeat', detail: /not the XML it should be.*GET Service/ }
  answer('', 'html')
  await t.rejects(list(), { ...invalid, cos: { requestId: 'aWQ=' } })
  answer('<Buckets>')
  await t.rejects(list(), invalid)
  for (const next of ['', '<NextMarker/>']) {
    answer(`<IsTruncated>true</IsTruncated>${next}`)
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

t.test('a list without an end is none', async t => {
  const { emulator, answer, list } = await startList(t)
  const page = (marker: string) => `<IsTruncated>true</IsTruncated><NextMarker>${marker}</NextMarker>`
  const endless = { code: 'UpstreamInvalidResponse', class: 'invalid', cos: { requestId: 'aWQ=' }, detail: /does not come to an end.*GET Service/ }
  for (const marker of ['a-1', 'b-1', 'a-1']) answer(page(marker))
  await t.rejects(list(), endless)
  t.equal(emulator.requests.length, 3)
  emulator.reset()
  for (let count = 0; count < 60; count++) answer(page(`m-${count}`))
  await t.rejects(list(), endless)
  t.equal(emulator.requests.length, 50)
  emulator.reset()
  for (let count = 0; count < 49; count++) answer(page(`m-${count}`))
  answer(`<Buckets>${bucketXml('a-1', 'ap-tokyo')}</Buckets>`)
  t.strictSame(await list(), [['a-1', 'ap-tokyo']], 'fifty pages are a list')
})

t.test('all pages have one deadline', async t => {
  const { emulator, list } = await startList(t, { environment: { COS_DEADLINE_MS: '250' } })
  let pages = 0
  for (let count = 0; count < 40; count++) {
    emulator.addFault({ kind: 'latency', ms: 100, times: 1 })
    const body = `<ListAllMyBucketsResult><IsTruncated>true</IsTruncated><NextMarker>m-${pages++}</NextMarker></ListAllMyBucketsResult>`
    emulator.addFault({ kind: 'raw', status: 200, body, times: 1 })
  }
  await t.rejects(list(), { code: 'UpstreamTimeout', detail: /GET Service/ })
  t.ok(emulator.requests.length <= 3, `${emulator.requests.length} pages`)
})

t.test('the list goes on when the caller who asked for it has left', async t => {
  const { emulator, caller, list } = await startList(t)
  emulator.addFault({ kind: 'latency', ms: 100, times: 1 })
  const listed = list()
  caller.abort()
  t.strictSame(await listed, all)
  t.strictSame(await list(), all, 'also when that was before')
})

t.test('a fault of our own is no failure of COS', async t => {
  const listBuckets = createBucketList({ deadlineMs: 1, endpoint: '{bucket}.{region}.private', scheme: 'https' }, {
    attempts: { run: () => Promise.reject(new Error('a bug')) }, now: Date.now, isPlace
  })
  const trace = { traceId: undefined, startAttempt: () => ({ headers: {}, end () {} }), end () {} }
  const call = { log: pino({ level: 'silent' }), trace, signal: new AbortController().signal, tally: { attempts: 0 } }
  await t.rejects(listBuckets(call), { name: 'Error', message: 'a bug' })
})
