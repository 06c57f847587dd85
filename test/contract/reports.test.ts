/** Delivered reports: the list, one report, rows and data files, over real sockets. */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import t from 'tap'
import type { ReportOrder } from '../../src/emulator/reports/order.ts'
import { bucket, configuration, start, startTestService } from '../start.ts'
import type { Answer, Running, Test } from '../start.ts'

const reports = 'reports-1250000000'
const id = 'daily-report'
const path = `/buckets/${bucket}/inventories/${id}`
/** Six in the morning of 20 November 2026 in China. */
const morning = Date.UTC(2026, 10, 19, 22)

const objects = [
  { Key: 'myPrefix/a b+c.txt', Size: 10, ETag: '5d41402abc4b2a76b9719d911017c592', StorageClass: 'STANDARD', IsMultipartUploaded: false },
  { Key: 'myPrefix/清单.txt', Size: 9_007_199_254, StorageClass: 'ARCHIVE', IsMultipartUploaded: true },
  { Key: 'other/x', Size: 1 }
]

const stored = {
  ...configuration,
  OptionalFields: { Field: ['Size', 'ETag', 'IsMultipartUploaded'] },
  IncludedObjectVersions: 'Current',
  Destination: { COSBucketDestination: { Bucket: `qcs::cos:ap-guangzhou::${reports}`, Format: 'CSV', Prefix: 'list1' } }
}

interface ReportsRunning extends Running {
  deliver: (order?: Partial<ReportOrder>) => ReturnType<Running['emulator']['deliverReport']>
}

/** Starts the service with reports and an emulator that has a stored configuration. */
async function startReports (
  t: Test, { environment = {} }: { environment?: Record<string, string> } = {}
): Promise<ReportsRunning> {
  const running = await start(t, {
    buckets: [{ name: bucket, region: 'ap-guangzhou' }, { name: reports, region: 'ap-guangzhou' }, { name: 'logs-1250000000', region: 'ap-shanghai' }],
    // The first call learns the clock of the emulator.
    environment: { REPORTS: 'true', COS_MAX_ATTEMPTS: '2', ...environment }
  })
  running.emulator.setClockOffset(morning - Date.now())
  await running.call('PUT', path, stored)
  return { ...running, deliver: order => running.emulator.deliverReport({ bucket, id, objects, ...order }) }
}

const linesOf = (answer: Answer) => answer.text.split('\n').filter(line => line !== '').map(line => JSON.parse(line) as Record<string, unknown>)

t.test('a report can be listed, read and streamed', async t => {
  const { call, deliver, emulator } = await startReports(t)
  await deliver({ date: '20261119' })
  const delivered = await deliver({ date: '20261120' })
  const list = await call('GET', `${path}/reports`)
  t.equal(list.status, 200)
  t.strictSame(list.json.Reports.map((each: { Date: string }) => each.Date), ['20261120', '20261119'])
  t.equal(list.json.IsTruncated, false)
  const latest = await call('GET', `${path}/reports/latest`)
  t.equal(latest.status, 200)
  t.match(latest.json, {
    Id: id,
    Date: '20261120',
    Stale: false,
    StaleAfterSeconds: 172_800,
    IsComplete: true,
    IsVerified: true,
    ListObjectCount: 3,
    FilterObjectCount: 2,
    FilterStorageSize: '9007199264',
    FileFormat: 'CSV',
    Fields: ['Appid', 'Bucket', 'Key', 'Size', 'LastModifiedDate', 'ETag', 'IsMultipartUploaded'],
    Manifest: {
      Bucket: reports,
      Region: 'ap-guangzhou',
      Key: delivered.manifest,
      Resource: `qcs::cos:ap-guangzhou::${reports}/${delivered.manifest}`
    }
  })
  t.strictSame(latest.json.Files.map((each: { Key: string }) => each.Key), delivered.files)
  t.strictSame(await call('GET', `${path}/reports/20261120`).then(({ json }) => ({ ...json, AgeSeconds: 0 })), { ...latest.json, AgeSeconds: 0 })
  const rows = await call('GET', `${path}/reports/latest/rows`)
  t.equal(rows.status, 200)
  t.equal(rows.headers['content-type'], 'application/x-ndjson')
  t.match(linesOf(rows), [
    { Appid: '1250000000', Bucket: 'examplebucket', Key: 'myPrefix/a b+c.txt', Size: 10, IsMultipartUploaded: false },
    { Key: 'myPrefix/清单.txt', Size: 9_007_199_254, ETag: null, IsMultipartUploaded: true }
  ])
  t.strictSame((await call('GET', `${path}/reports/20261119/rows?fields=Size,Key&key-prefix=myPrefix/%E6%B8%85`)).text, '{"Key":"myPrefix/清单.txt","Size":9007199254}\n')
  t.equal(linesOf(await call('GET', `${path}/reports/latest/rows?limit=1`)).length, 1)
  t.equal(linesOf(await call('GET', `${path}/reports/latest/rows?file=0`)).length, 2)
  t.strictSame(emulator.requests.filter(({ status, method }) => status >= 400 && method !== 'PUT'), [], 'COS rejected no read')
})

t.test('a poll of the latest report costs one LIST and returns 304', async t => {
  const { call, deliver, emulator } = await startReports(t)
  await deliver()
  const { headers } = await call('GET', `${path}/reports/latest`)
  const etag = String(headers['etag'])
  t.match(etag, /^"[\w-]+"$/)
  const before = emulator.requests.length
  const again = await call('GET', `${path}/reports/latest`, undefined, { 'if-none-match': etag })
  t.equal(again.status, 304)
  t.equal(again.headers['etag'], etag)
  t.strictSame(emulator.requests.slice(before).map(({ operation }) => operation), ['GetBucketInventory', 'GetBucket'])
  t.equal((await call('GET', `${path}/reports/20261120`, undefined, { 'if-none-match': etag })).status, 304)
  const head = await call('HEAD', `${path}/reports/latest`)
  t.equal(head.status, 200)
  t.equal(head.headers['etag'], etag)
  t.equal(head.text, '')
  t.equal((await call('HEAD', `${path}/reports/20261120`)).status, 200)
  await deliver({ objects: [] })
  t.equal((await call('GET', `${path}/reports/latest`, undefined, { 'if-none-match': etag })).status, 200, 'a second report of the day')
})

t.test('the latest report is found although COS does not list it yet', async t => {
  const { call, deliver, emulator } = await startReports(t)
  await deliver({ date: '20261117', delivery: { listLagMs: 86_400_000 } })
  t.match(await call('GET', `${path}/reports/latest`), { status: 404 }, 'HEAD is sent for today and yesterday only')
  await deliver({ date: '20261119' })
  t.equal((await call('GET', `${path}/reports/latest`)).json.Date, '20261119')
  await deliver({ date: '20261120', delivery: { listLagMs: 86_400_000 } })
  t.equal((await call('GET', `${path}/reports/latest`)).json.Date, '20261120')
  t.equal((await call('GET', `${path}/reports`)).json.Reports.length, 1)
  emulator.reset()
  await call('PUT', path, stored)
  await deliver({ date: '20240101' })
  t.equal((await call('GET', `${path}/reports/latest`)).json.Date, '20240101', 'a report of years ago')
})

t.test('GET of the latest report sends at most four HEAD to COS', async t => {
  const { call, deliver, emulator } = await startReports(t)
  const headsOf = async () => {
    const before = emulator.requests.length
    const { status } = await call('GET', `${path}/reports/latest`)
    return [status, emulator.requests.slice(before).filter(({ operation }) => operation === 'HeadObject').length]
  }
  t.strictSame(await headsOf(), [404, 3], 'there is no report')
  // It is the 20th in China and the 19th in UTC, so the service looks for the 20th, the 19th and the 18th.
  await deliver({ date: '20261118', delivery: { listLagMs: 86_400_000, writes: 'manifest' } })
  t.strictSame(await headsOf(), [409, 4], 'COS lists neither manifest nor checksum')
  await deliver({ date: '20261120', delivery: { writes: 'manifest' } })
  t.strictSame(await headsOf(), [409, 1], 'COS lists a manifest only')
  await deliver({ date: '20261120' })
  t.strictSame(await headsOf(), [200, 0], 'COS lists a report')
})

t.test('the list has bounds, pages of LIST and other objects of the folder', async t => {
  const { call, emulator, deliver } = await startReports(t)
  const { manifest } = await deliver({ date: '20261101' })
  const folder = manifest.slice(0, -'/20261101/manifest.json'.length)
  // Names of data files that sort between the days.
  for (let index = 0; index < 1_500; index++) {
    const key = `${folder}/20261${String(index).padStart(5, '0')}${'a'.repeat(22)}.csv.gz`
    emulator.putObject({ bucket: reports, key, body: 'x' })
  }
  for (const date of ['20261102', '20261103', '20261116']) await deliver({ date })
  const datesOf = async (query: string) => {
    const { json } = await call('GET', `${path}/reports${query}`)
    return [json.Reports.map((each: { Date: string }) => each.Date).join(), json.IsTruncated]
  }
  t.strictSame(await datesOf(''), ['20261116,20261103,20261102,20261101', false])
  t.strictSame(await datesOf('?from=20261102&to=20261103'), ['20261103,20261102', false])
  t.strictSame(await datesOf('?limit=2&to=20261115'), ['20261103,20261102', true])
  t.strictSame(await datesOf('?from=20270101'), ['', false])
  for (const query of ['?from=2026', '?limit=0', '?limit=501', '?from=20261103&to=20261102', '?prefix=a', '?x=1', '?destination=Reports', '?date=20261101']) {
    t.equal((await call('GET', `${path}/reports${query}`)).json.code, 'ValidationFailed', query)
  }
})

t.test('missing and unfinished reports have codes of their own', async t => {
  const { call, deliver } = await startReports(t)
  const codeOf = async (place: string, of = path) => {
    const { status, json } = await call('GET', `${of}${place}`)
    return `${status} ${json.code}`
  }
  const none = await call('GET', `${path}/reports/latest`)
  t.equal(none.json.code, 'ReportNotFound')
  t.match(none.json.detail, /reports-1250000000 under list1\/1250000000\/examplebucket\/daily-report\/.*enabled, Daily.*Common causes/)
  t.strictSame((await call('GET', `${path}/reports`)).json, { Reports: [], IsTruncated: false })
  t.equal(await codeOf('/reports/20261120'), '404 ReportNotFound')
  t.equal(await codeOf('/reports/20261120/rows'), '404 ReportNotFound')
  const missing = await call('GET', `/buckets/${bucket}/inventories/none/reports/latest`)
  t.match(missing.json, { status: 404, code: 'InventoryConfigurationNotFoundError', detail: /one-time/ })
  await call('PUT', path, { ...stored, IsEnabled: false })
  t.match((await call('GET', `${path}/reports/latest`)).json.detail, /disabled/)
  await call('PUT', path, stored)
  await deliver({ date: '20261120', delivery: { writes: 'manifest' } })
  for (const place of ['latest', '20261120', 'latest/rows', '20261120/rows', '20261120/files/0']) {
    const { status, headers, json } = await call('GET', `${path}/reports/${place}`)
    t.equal(`${status} ${json.code} ${headers['retry-after']}`, '409 ReportIncomplete 60', place)
  }
  t.match((await call('GET', `${path}/reports`)).json.Reports, [{ Date: '20261120', IsComplete: false }])
  await deliver({ date: '20261120' })
  t.equal(await codeOf('/reports/20261120/files/1'), '404 ReportNotFound')
  t.equal(await codeOf('/reports/20261120/rows?file=1'), '400 ValidationFailed')
  t.match((await call('GET', `${path}/reports/20261120/rows?fields=Key,Colour,Shape,Colour`)).json.errors, [{
    in: 'query', pointer: '/fields', detail: 'has unknown columns: "Colour", "Shape". This report has Appid, Bucket, Key, Size, LastModifiedDate, ETag, IsMultipartUploaded'
  }])
  t.equal(await codeOf('/reports/20261120/rows?limit=0'), '400 ValidationFailed')
  t.equal(await codeOf('/reports/yesterday'), '400 ValidationFailed')
})

t.test('reports are off unless REPORTS is true', async t => {
  const { call } = await start(t)
  for (const place of ['', '/latest', '/20261120', '/latest/rows', '/20261120/rows', '/20261120/files/0']) {
    t.match((await call('GET', `${path}/reports${place}`)).json, { status: 403, code: 'ReportsDisabled' }, place)
  }
  const job = { IncludedObjectVersions: 'Current', Destination: stored.Destination }
  t.equal((await call('POST', `/buckets/${bucket}/inventories/once`, job)).headers['link'], undefined)
})

t.test('a one-time job links to its report', async t => {
  const { call, deliver } = await startReports(t)
  const once = `/buckets/${bucket}/inventories/once`
  const job = { IncludedObjectVersions: 'Current', Destination: { COSBucketDestination: { ...stored.Destination.COSBucketDestination, Prefix: 'a b' } } }
  const started = await call('POST', once, job)
  t.equal(started.status, 202)
  const [, link = ''] = /^<([^>]*)>; rel="related"$/.exec(String(started.headers['link'])) ?? []
  t.equal(link, `${once}/reports/latest?destination=${reports}&prefix=a%20b`)
  t.equal((await call('GET', link)).json.code, 'ReportNotFound')
  await deliver({ id: 'once', date: '20261120' })
  const report = await call('GET', link)
  t.equal(report.status, 200)
  t.notOk('Stale' in report.json, 'nothing is known of a schedule')
  t.equal(linesOf(await call('GET', link.replace('latest', 'latest/rows'))).length, 3)
})

t.test('a report becomes stale after the interval of its schedule and a day', async t => {
  const { call, deliver, emulator } = await startReports(t)
  await deliver()
  // The emulator delivers reports of enabled configurations when a day begins.
  await call('PUT', path, { ...stored, IsEnabled: false })
  emulator.setClockOffset(morning - Date.now() + 2 * 86_400_000 + 60_000)
  t.notOk('Stale' in (await call('GET', `${path}/reports/latest`)).json, 'disabled')
  await call('PUT', path, stored)
  const { json, status } = await call('GET', `${path}/reports/latest`)
  t.equal(status, 200)
  t.equal(json.Stale, true)
  t.ok(json.AgeSeconds > 172_800)
})

t.test('data files are passed on, and verified when whole', async t => {
  const { call, deliver, url } = await startReports(t)
  await deliver({ date: '20261120' })
  const { Files: [file] } = (await call('GET', `${path}/reports/latest`)).json
  const place = `${url}${path}/reports/20261120/files/0`
  const whole = await fetch(place)
  const bytes = Buffer.from(await whole.arrayBuffer())
  t.equal(whole.headers.get('content-type'), 'application/gzip')
  t.equal(whole.headers.get('content-length'), String(file.Size))
  t.equal(whole.headers.get('accept-ranges'), 'bytes')
  t.equal(createHash('md5').update(bytes).digest('hex'), file.MD5)
  for (const [range, part] of [['bytes=0-9', bytes.subarray(0, 10)], ['bytes=5-', bytes.subarray(5)], ['bytes=-4', bytes.subarray(-4)]] as const) {
    const answer = await fetch(place, { headers: { range } })
    t.equal(answer.status, 206, range)
    t.match(answer.headers.get('content-range'), /^bytes \d+-\d+\/\d+$/)
    t.strictSame(Buffer.from(await answer.arrayBuffer()), part, range)
  }
  t.equal((await fetch(place, { headers: { range: 'bytes=0-1', 'if-range': '"a"' } })).status, 200)
  for (const range of ['bytes=0-1,3-4', 'bytes=5-3', 'bytes=9007199254740993-9007199254740992', 'bytes=0-9999999999999999', 'bytes=-', 'lines=0-1']) {
    const ignored = await fetch(place, { headers: { range } })
    t.strictSame([ignored.status, Buffer.from(await ignored.arrayBuffer())], [200, bytes], `${range} is ignored`)
  }
  const beyond = await fetch(place, { headers: { range: `bytes=${file.Size}-` } })
  t.equal(beyond.status, 416)
  t.match(await beyond.json(), { code: 'InvalidRange' })
  t.match(await fetch(place, { method: 'HEAD' }), { status: 405 })
})

t.test('a data file that is wrong breaks the response', async t => {
  const { call, deliver, url, logs } = await startReports(t)
  for (const file of ['truncated', 'longer'] as const) {
    await deliver({ date: '20261120', count: 20_000, objects: undefined as never, delivery: { file } })
    for (const place of ['rows', 'files/0']) {
      const { status, headers, json } = await call('GET', `${path}/reports/20261120/${place}`)
      t.strictSame([status, json.code, headers['etag'], headers['accept-ranges']], [502, 'ReportCorrupt', undefined, undefined], `${file} ${place}`)
    }
  }
  for (const order of [{ delivery: { file: 'wrong-md5' } }, { form: { compression: 'zero-padding' } }] as const) {
    await deliver({ date: '20261120', count: 20_000, objects: undefined as never, ...order })
    for (const place of 'form' in order ? ['rows'] : ['rows', 'files/0']) {
      const file = JSON.stringify(order)
      const response = await fetch(`${url}${path}/reports/20261120/${place}`)
      t.equal(response.status, 200, `${file} ${place}`)
      await t.rejects(response.arrayBuffer(), `${file} ${place}`)
    }
  }
  // The service logs a request when it learns that the connection is closed.
  const brokenLines = () => [...logs().matchAll(/"code":"ReportCorrupt".*response broken/g)].length
  while (brokenLines() < 3) await new Promise(resolve => { setImmediate(resolve) })
})

t.test('a response that breaks is no complete HTTP message', async t => {
  const { deliver, url } = await startReports(t)
  await deliver({ date: '20261120', count: 20_000, objects: undefined as never, delivery: { file: 'wrong-md5' } })
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  socket.write(`GET ${path}/reports/20261120/rows HTTP/1.1\r\nHost: x\r\n\r\n`)
  let text = ''
  socket.on('data', chunk => { text += chunk.toString('latin1') })
  socket.on('error', () => {})
  await once(socket, 'close')
  t.match(text, /^HTTP\/1.1 200 OK\r\n/)
  t.notMatch(text, /\r\n0\r\n\r\n$/, 'no last chunk')
})

t.test('rows and files get 505 with HTTP/1.0', async t => {
  const { deliver, url } = await startReports(t)
  const { hostname, port } = new URL(url)
  await deliver({ date: '20261120' })
  for (const [place, expected] of [['rows', 505], ['files/0', 505], ['', 200]] as const) {
    const socket = connect(Number(port), hostname)
    socket.write(`GET ${path}/reports/20261120${place && `/${place}`} HTTP/1.0\r\nHost: x\r\n\r\n`)
    const response = await text(socket)
    t.match(response, new RegExp(`^HTTP/1\\.1 ${expected} `), place)
    if (expected === 505) t.match(response, /"code":"HTTPVersionNotSupported"/)
  }
})

t.test('the caller learns which permission the service lacks', async t => {
  const { call, deliver, emulator } = await startReports(t)
  await deliver({ date: '20261120' })
  for (const [operation, place] of [['GetBucket', ''], ['GetBucket', '/latest'], ['GetObject', '/20261120'], ['GetObject', '/latest/rows']] as const) {
    emulator.addFault({ kind: 'error', status: 403, code: 'AccessDenied', match: { operation }, times: 1 })
    const { json } = await call('GET', `${path}/reports${place}`)
    t.match(json, { status: 403, code: 'AccessDenied' }, `${operation} ${place}`)
    t.match(json.detail, /cos:GetBucket, cos:GetObject and cos:HeadObject on qcs::cos:ap-guangzhou:uid\/1250000000:reports-1250000000\/list1\/1250000000\/examplebucket\/daily-report\/\*/)
  }
  await deliver({ date: '20261119', delivery: { manifest: 'archived' } })
  const archived = await call('GET', `${path}/reports/20261119`)
  t.match(archived.json, { status: 403, code: 'InvalidObjectState', detail: /restore it first/ })
  t.notMatch(archived.json.detail, /credentials/)
  const normalized = await call('GET', `${path}/reports/latest?destination=${reports}&prefix=a/../b`)
  t.match(normalized.json, { status: 400, code: 'ValidationFailed', errors: [{ in: 'query', pointer: '/prefix' }] })
})

t.test('GET of a report returns 404 NoSuchBucket with advice on its destination', async t => {
  const { call, emulator } = await startReports(t)
  const detailOf = async (service: Running['call'], of: string) => {
    const { json } = await service('GET', of)
    t.match(json, { status: 404, code: 'NoSuchBucket' })
    return json.detail
  }
  const gone = 'The destination bucket gone-1250000000 does not exist'
  const inQuery = 'Check the query parameters destination and region.'
  const named = `${path}/reports/latest?destination=gone-1250000000`
  t.equal(await detailOf(call, named), `${gone} in ap-guangzhou. ${inQuery}`)
  t.equal(await detailOf(call, `${named}&region=ap-beijing`), `${gone} in ap-beijing. ${inQuery}`)
  // The region of the configuration's bucket is unknown, and that of the destination is configured.
  const { call: regionless } = await startTestService(t, emulator.address, {
    REPORTS: 'true', COS_REGION: '', COS_BUCKET_REGIONS: 'gone-1250000000=ap-guangzhou'
  })
  t.equal(await detailOf(regionless, named), `${gone}. ${inQuery}`)
  emulator.addFault({ kind: 'error', status: 403, code: 'AccessDenied', match: { operation: 'GetBucket' }, times: 1 })
  t.match((await regionless('GET', named)).json, { code: 'AccessDenied', detail: /on qcs::cos:\*:uid\/1250000000:gone-1250000000\// })
  emulator.addFault({ kind: 'error', status: 404, code: 'NoSuchBucket', match: { operation: 'GetBucket' }, times: 1 })
  t.equal(await detailOf(call, `${path}/reports/latest`),
    `The destination bucket ${reports} does not exist in ap-guangzhou. Check the destination of the configuration.`)
})

const digest = (key: string) => `sha256:${createHash('sha256').update(key).digest('hex')}`

t.test('callers need actions on reports, which cos:* does not include', async t => {
  const entry = (name: string, actions: string[], more = {}) =>
    ({ name, keys: [digest(name)], allow: [{ actions, buckets: [bucket], destinations: [reports], ...more }] })
  const { writeFileSync, mkdtempSync } = await import('node:fs')
  const folder = mkdtempSync(`${(await import('node:os')).tmpdir()}/callers-`)
  const file = `${folder}/callers.json`
  writeFileSync(file, JSON.stringify({
    callers: [
      entry('owner', ['cos:*', 'reports:*']), entry('cos', ['cos:*']), entry('reader', ['reports:Read']), entry('rows', ['reports:ReadRows']),
      entry('elsewhere', ['reports:*'], { destinations: ['other-1250000000'] }), entry('default', ['reports:*'], { destinations: undefined }),
      entry('shanghai', ['reports:*'], { regions: ['ap-shanghai'] })
    ]
  }))
  const running = await start(t, {
    buckets: [{ name: bucket, region: 'ap-guangzhou' }, { name: reports, region: 'ap-guangzhou' }],
    environment: { REPORTS: 'true', AUTH: 'required', ALLOWED_HOSTS: '', CALLERS_FILE: file }
  })
  const { emulator, call, audits } = running
  const as = (name: string, method: string, place: string, body?: unknown) => call(method, place, body, { authorization: `Bearer ${name}` })
  t.equal((await as('owner', 'PUT', path, stored)).status, 204)
  await emulator.deliverReport({ bucket, id, objects, date: '20261120' })
  const read = ['/20261120', '', '/latest']
  const rows = ['/20261120/rows', '/latest/rows', '/20261120/files/0']
  for (const [name, mayRead, mayReadRows] of [
    ['owner', 200, 200], ['cos', 403, 403], ['reader', 200, 403], ['rows', 200, 200], ['elsewhere', 403, 403], ['default', 200, 200], ['shanghai', 403, 403]
  ] as const) {
    for (const place of read) t.equal((await as(name, 'GET', `${path}/reports${place}`)).status, mayRead, `${name} ${place}`)
    for (const place of rows) t.equal((await as(name, 'GET', `${path}/reports${place}`)).status, mayReadRows, `${name} ${place}`)
  }
  const before = emulator.requests.length
  const denied = await as('reader', 'GET', `${path}/reports/latest?destination=secret-1250000000`)
  t.match(denied.json, { code: 'CallerNotAllowed', detail: /reader may not read reports of examplebucket-1250000000 from secret-1250000000 \(reports:Read\)/ })
  t.equal(emulator.requests.length, before, 'COS was not called')
  const records = audits().filter(({ action }) => action === 'reports:ReadRows')
  t.match(records.find(({ caller }) => caller === 'rows'), {
    action: 'reports:ReadRows', bucket, id, destinations: [reports], outcome: 'success', status: 200, date: '20261120', rows: 2, msg: 'read'
  })
  t.match(records.find(({ caller }) => caller === 'reader'), { outcome: 'denied', status: 403, code: 'CallerNotAllowed' })
  t.ok(records.every(record => !JSON.stringify(record).includes('myPrefix')), 'no object name')
})

t.test('no object name reaches the log or the metrics', async t => {
  const { call, deliver, logs } = await startReports(t)
  await deliver({ date: '20261120' })
  await call('GET', `${path}/reports/latest/rows`)
  t.notMatch(logs(), /清单|a%20b|a b\+c/)
  const { text } = await call('GET', '/metrics')
  t.match(text, /\nreport_rows_sent_total 2\n/)
  t.match(text, /\nreport_streams 0\n/)
  t.match(text, /cos_attempts_total\{operation="GetObject",class="ok",code=""\} 3\n/)
})

t.test('streams are limited for each caller and in all', async t => {
  const { deliver, url, call } = await startReports(t, { environment: { REPORTS_MAX_STREAMS: '2' } })
  await deliver({ date: '20261120', count: 300_000, objects: undefined as never })
  const place = `${url}${path}/reports/20261120/rows`
  const open = await Promise.all([fetch(place), fetch(place)])
  const rejected = await call('GET', `${path}/reports/20261120/rows`)
  t.equal(`${rejected.status} ${rejected.json.code} ${rejected.headers['retry-after']}`, '503 Overloaded 10')
  t.match((await call('GET', '/metrics')).text, /\nreport_streams 2\n/)
  for (const each of open) await each.body?.cancel()
  for (;;) {
    const { text } = await call('GET', '/metrics')
    if (/\nreport_streams 0\n/.test(text)) break
  }
  t.equal((await call('GET', `${path}/reports/20261120/rows?limit=1`)).status, 200)
})

t.test('the number of rows is compared with the manifest', async t => {
  const { call, deliver, logs } = await startReports(t)
  await deliver({ date: '20261120', form: { counts: 'wrong' } })
  t.equal((await call('GET', `${path}/reports/20261120/rows`)).status, 200)
  t.match(logs(), /report has another number of rows than its manifest says/)
})

t.test('REPORTS_WATCH publishes the latest reports as metrics', async t => {
  const { call, deliver, emulator } = await startReports(t)
  await deliver({ date: '20261120' })
  const { call: watched } = await (await import('../start.ts')).startTestService(t, emulator.address, {
    REPORTS: 'true', COS_MAX_ATTEMPTS: '2', REPORTS_WATCH: `${bucket}/*,${bucket}/none`, REPORTS_WATCH_SECONDS: '3600'
  })
  let text = ''
  while (!text.includes('cos_inventory_report_check_failures_total{')) text = (await watched('GET', '/metrics')).text
  const { json } = await call('GET', `${path}/reports/latest`)
  const labels = `{bucket="${bucket}",id="${id}"}`
  t.ok(text.includes(`cos_inventory_report_delivered_timestamp_seconds${labels} ${Date.parse(json.DeliveredAt) / 1000}\n`))
  t.ok(text.includes(`cos_inventory_report_objects${labels} 2\n`))
  t.ok(text.includes(`cos_inventory_report_bytes${labels} 9007199264\n`))
  t.ok(text.includes(`cos_inventory_report_stale${labels} 0\n`))
  t.ok(text.includes(`cos_inventory_report_check_failures_total{bucket="${bucket}"} 1\n`))
})

t.test('REPORTS_WATCH needs REPORTS and valid names', async t => {
  const { readConfig } = await import('../../src/config/config.ts')
  for (const [value, issue] of [
    ['a', /REPORTS_WATCH: entry 1 is not bucket-appid\/id/], [`${bucket}/a,${bucket}/..`, /entry 2/], [`${bucket}/a/b`, /entry 1/], [`${'a'.repeat(60)}-1250/a`, /entry 1/]
  ] as const) {
    t.throws(() => readConfig({ AUTH: 'none', COS_SECRET_ID: 'a', COS_SECRET_KEY: 'b', REPORTS: 'true', REPORTS_WATCH: value }), { message: issue }, value)
  }
  t.throws(() => readConfig({ AUTH: 'none', COS_SECRET_ID: 'a', COS_SECRET_KEY: 'b', REPORTS_WATCH: `${bucket}/*` }), { message: /REPORTS_WATCH needs REPORTS=true/ })
})

t.test('a report without the column Key has no key to filter by', async t => {
  const { call, deliver, emulator } = await startReports(t)
  const { manifest, checksum } = await deliver({ date: '20261120' })
  const body = JSON.stringify({ fileSchema: 'Size', files: [] })
  emulator.putObject({ bucket: reports, key: manifest, body })
  emulator.putObject({ bucket: reports, key: checksum, body: createHash('md5').update(body).digest('hex') })
  const rejected = await call('GET', `${path}/reports/20261120/rows?key-prefix=a`)
  t.match(rejected.json, { code: 'ValidationFailed', errors: [{ in: 'query', pointer: '/key-prefix', detail: /needs the column Key/ }] })
  const nameless = await call('GET', `${path}/reports/20261120/rows?fields=${','.repeat(4_000)}`)
  t.match(nameless.json.errors, [{ detail: 'has unknown columns: "". This report has Size' }])
  const many = Array.from({ length: 12 }, (_, index) => `${index}${'x'.repeat(100)}`).join()
  t.match((await call('GET', `${path}/reports/20261120/rows?fields=${many}`)).json.errors, [
    { detail: /^has unknown columns: ("\dx{63}", ){9}"9x{63}" and 2 more\. This report has Size$/ }
  ])
  t.match(await call('GET', `${path}/reports/20261120/rows`), { status: 200, text: '' })
  const { json } = await call('GET', `${path}/reports/20261120`)
  t.strictSame([json.ListObjectCount, json.Files], [undefined, []])
})

t.test('errors of the configuration and unknown regions stay as they are', async t => {
  const { call, emulator } = await startReports(t)
  emulator.addFault({ kind: 'error', status: 403, code: 'AccessDenied', match: { operation: 'GetBucketInventory' }, times: 1 })
  t.notMatch((await call('GET', `${path}/reports/latest`)).json.detail, /one-time|cos:GetObject/)
  const { call: lost } = await startTestService(t, emulator.address, { REPORTS: 'true', COS_REGION: '', COS_BUCKET_REGIONS: '' })
  t.match((await lost('GET', `${path}/reports?destination=${reports}`)).json, { code: 'ValidationFailed', errors: [{ pointer: '/region' }] })
})

t.test('a range of a generated data file is passed on', async t => {
  const { deliver, url } = await startReports(t)
  await deliver({ date: '20261120', count: 5_000, objects: undefined as never })
  const place = `${url}${path}/reports/20261120/files/0`
  const bytes = Buffer.from(await (await fetch(place)).arrayBuffer())
  const part = await fetch(place, { headers: { range: 'bytes=10-99' } })
  t.strictSame(Buffer.from(await part.arrayBuffer()), bytes.subarray(10, 100))
})

t.test('an upstream failure of a data file is a problem before the first byte', async t => {
  const { call, deliver } = await startReports(t)
  await deliver({ date: '20261120', delivery: { file: 'archived' } })
  t.match((await call('GET', `${path}/reports/20261120/rows`)).json, { status: 403, code: 'InvalidObjectState' })
})
