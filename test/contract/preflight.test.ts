import t from 'tap'
import type { Test as Assertions } from 'tap'
import type { EmulatorOptions } from '../../src/emulator/server.ts'
import { at, bucket, otherBucket, secrets, start } from '../start.ts'
import type { Answer, Running, Test } from '../start.ts'

const [south, east] = ['ap-guangzhou', 'ap-shanghai']
const discovering = { COS_REGION_DISCOVERY: 'true', COS_REGION: '', COS_BUCKET_REGIONS: '' }
const reports = 'reports-1250000000'
const [bucketAt, prefixAt] = ['/Destination/COSBucketDestination/Bucket', '/Destination/COSBucketDestination/Prefix']

/** Starts a service that looks up destinations. The region of the source is configured. */
function startDiscovery (t: Test, options: Partial<EmulatorOptions> = {}) {
  return start(t, { ...options, environment: { ...discovering, COS_BUCKET_REGIONS: `${bucket}=${south}` } })
}

/** Returns a body without warnings, unless a test changes it. */
function body (destination: { name?: string, region?: string, folder?: string | undefined } = {}, more: object = {}) {
  const { name = reports, region = south, folder } = destination
  const COSBucketDestination = {
    Format: 'CSV', Bucket: `qcs::cos:${region}::${name}`, ...folder !== undefined && { Prefix: folder }
  }
  return { IsEnabled: true, IncludedObjectVersions: 'All', Schedule: { Frequency: 'Daily' }, ...more, Destination: { COSBucketDestination } }
}

const tagged = { Filter: { Tag: [{ Key: 'age', Value: '18' }] } }
const monthly = (MonthlyDate: number) => ({ Schedule: { Frequency: 'Monthly', MonthlyDate } })

interface Warning { code: string, pointer: string, detail: string }

/** Reads the header as callers should. */
function readWarnings (t: Assertions, { headers }: Answer): Warning[] {
  const header = headers['preflight-warnings']
  if (header === undefined) return []
  t.match(header, /^\[[ -~]+\]$/)
  return JSON.parse(String(header)) as Warning[]
}

function ofBucket ({ emulator }: Running): string[] {
  return emulator.requests.map(({ operation }) => operation).filter(operation => operation !== 'GetService')
}

/** Returns the warnings of a body and checks that all modes of preflight agree. */
async function examine (t: Assertions, running: Running, input: object, rejection?: string): Promise<Warning[]> {
  const { call } = running
  const before = ofBucket(running)
  const dry = await call('PUT', at('report', '?preflight=warn&dry-run=true'), input)
  t.match(dry, { status: 200, headers: { 'content-type': 'application/xml' }, text: /^<InventoryConfiguration>/ })
  const warnings = readWarnings(t, dry)

  const enforced = await call('PUT', at('report', '?preflight=enforce'), input)
  const dryEnforced = await call('PUT', at('report', '?preflight=enforce&dry-run=true'), input)
  if (warnings.length === 0) {
    t.strictSame([enforced.status, dryEnforced.status], [204, 200])
    t.strictSame(ofBucket(running), [...before, 'PutBucketInventory'])
  } else {
    const errors = warnings.map(({ pointer, detail }) => ({ in: 'body', pointer, detail }))
    for (const { status, json } of [enforced, dryEnforced]) {
      t.match([status, json.code, json.detail], [400, 'ValidationFailed', /no useful report/])
      t.strictSame(json.errors, errors)
    }
    t.strictSame(ofBucket(running), before, 'no call is sent to the bucket')
  }
  t.strictSame([...readWarnings(t, enforced), ...readWarnings(t, dryEnforced)], [])

  const written = ofBucket(running).length
  const warned = await call('PUT', at('report', '?preflight=warn'), input)
  t.match(warned, rejection === undefined ? { status: 204 } : { status: 400, json: { code: rejection } })
  t.strictSame(readWarnings(t, warned), warnings, 'the warnings are the same when COS rejects the body')
  t.strictSame(ofBucket(running).slice(written), ['PutBucketInventory'])
  return warnings
}

t.test('each warning has its own code and pointer, and a valid body has none', async t => {
  const running = await start(t)
  t.strictSame(await examine(t, running, body()), [])
  t.match(await examine(t, running, body({ region: east }), 'TargetBucketNameInvalid'), [{
    code: 'DestinationInOtherRegion', pointer: bucketAt, detail: `Source and destination must be in one region, and ${bucket} is in ${south}.`
  }])
  t.match(await examine(t, running, body({}, tagged), 'InvalidArgument'), [{ code: 'TagWithoutField', pointer: '/OptionalFields', detail: /Tag/ }])
  t.match(await examine(t, running, body({}, monthly(29))), [{ code: 'MonthWithoutDate', pointer: '/Schedule/MonthlyDate', detail: /day 29/ }])
  t.match(await examine(t, running, body({ name: bucket })), [{ code: 'ReportOfReports', pointer: prefixAt, detail: /list themselves/ }])
  const discovery = await startDiscovery(t)
  t.match(await examine(t, discovery, body()), [{ code: 'DestinationNotFound', pointer: bucketAt, detail: `The account has no bucket ${reports}.` }])
})

t.test('PUT returns all warnings at once when several apply', async t => {
  const wrong = { ...tagged, ...monthly(31) }
  const codesOf = (warnings: Warning[]) => warnings.map(({ code }) => code)
  t.strictSame(codesOf(await examine(t, await start(t), body({ name: bucket, region: east }, wrong), 'InvalidArgument')),
    ['DestinationInOtherRegion', 'ReportOfReports', 'TagWithoutField', 'MonthWithoutDate'])
  t.strictSame(codesOf(await examine(t, await startDiscovery(t), body({}, wrong), 'InvalidArgument')),
    ['DestinationNotFound', 'TagWithoutField', 'MonthWithoutDate'])
})

t.test('PUT returns TagWithoutField when a filter by tag lacks the field Tag', async t => {
  const running = await start(t)
  const [Tag] = [tagged.Filter.Tag]
  for (const more of [
    { ...tagged, OptionalFields: { Field: ['Tag'] } }, { ...tagged, OptionalFields: ['Size', 'Tag'] },
    { Filter: { And: { Tag } }, OptionalFields: ['Tag'] }, { Filter: { Tag: [] } }, { Filter: { Prefix: 'a' } }, { OptionalFields: ['Size'] }
  ]) t.strictSame(await examine(t, running, body({}, more)), [], JSON.stringify(more))
  for (const more of [
    { Filter: { And: { Prefix: 'a', Tag } } }, { ...tagged, OptionalFields: ['Size'] }, { ...tagged, OptionalFields: { Field: [] } }
  ]) t.match(await examine(t, running, body({}, more), 'InvalidArgument'), [{ code: 'TagWithoutField' }], JSON.stringify(more))
})

t.test('PUT returns a warning when a period is reversed or in milliseconds', async t => {
  const running = await start(t)
  const within = (StartTime?: number, EndTime?: number) => ({ Filter: { Period: { StartTime, EndTime } } })
  const right = [[1_687_276_800, 1_689_868_800], [1, 1], [undefined, 1], [1, undefined], [0, 100_000_000_000]] as const
  for (const [start, end] of right) {
    t.strictSame(await examine(t, running, body({}, within(start, end))), [], `${start} ${end}`)
  }
  t.match(await examine(t, running, body({}, within(2, 1))), [{ code: 'PeriodReversed', pointer: '/Filter/Period' }])
  t.match(await examine(t, running, body({}, within(1_687_276_800_000, 1_689_868_800_000))), [
    { code: 'PeriodInMilliseconds', pointer: '/Filter/Period/StartTime' }, { code: 'PeriodInMilliseconds', pointer: '/Filter/Period/EndTime' }
  ])
  t.match(await examine(t, running, body({}, within(1_687_276_800_000, 1_689_868_800))), [
    { code: 'PeriodInMilliseconds', pointer: '/Filter/Period/StartTime' }, { code: 'PeriodReversed' }
  ])
})

t.test('POST returns warnings, and 400 when preflight is enforce', async t => {
  const { call, emulator } = await start(t)
  const wrong = { Filter: { ...tagged.Filter, Period: { StartTime: 2, EndTime: 1 } } }
  const { IsEnabled: _, Schedule: __, ...job } = body({}, wrong)
  const codes = (response: Answer) => readWarnings(t, response).map(({ code }) => code)
  const dry = await call('POST', at('job', '?preflight=warn&dry-run=true'), job)
  t.strictSame([dry.status, codes(dry)], [200, ['TagWithoutField', 'PeriodReversed']])
  const enforced = await call('POST', at('job', '?preflight=enforce'), job)
  t.match(enforced, { status: 400, json: { errors: [{ pointer: '/OptionalFields' }, { pointer: '/Filter/Period' }] } })
  t.strictSame(emulator.requests, [])
  const fine = await call('POST', at('job', '?preflight=enforce'), { ...job, Filter: { Prefix: 'a' } })
  t.strictSame([fine.status, codes(fine)], [202, []])
})

t.test('PUT returns DestinationNotChecked when the destination has another form', async t => {
  const { call } = await start(t)
  const otherForm = body()
  otherForm.Destination.COSBucketDestination.Bucket = `qcs::cos:${south}:uid/1250000000:${reports}`
  const dry = await call('PUT', at('report', '?preflight=warn&dry-run=true&allow-unknown=true'), otherForm)
  t.match(readWarnings(t, dry), [{ code: 'DestinationNotChecked', pointer: bucketAt }])
})

t.test('PUT returns MonthWithoutDate when MonthlyDate is above 28', async t => {
  const running = await start(t)
  for (const day of [1, 28]) t.strictSame(await examine(t, running, body({}, monthly(day))), [])
  for (const day of [29, 30, 31]) t.match(await examine(t, running, body({}, monthly(day))), [{ code: 'MonthWithoutDate' }])
})

t.test('PUT returns ReportOfReports when a report would list itself', async t => {
  const running = await start(t)
  const path = '1250000000/examplebucket/report/'
  for (const [folder, Prefix, isWarned] of [
    [undefined, undefined, true], ['', undefined, true], ['a', undefined, true], ['a/', undefined, true],
    [undefined, '', true], ['a', '', true],
    [undefined, '1', true], [undefined, '1250000000/examplebucket/r', true], [undefined, path, true], ['', path, true],
    [undefined, `${path}20260101/`, true], ['a', `a/${path}20260101/`, true],
    [undefined, '1250000000/examplebucket-1250000000/', false], [undefined, '1250000000/examplebucket/reports', false],
    [undefined, '1250000000/examplebucket/other/', false], [undefined, 'a', false],
    ['a', 'a', true], ['a', 'a/', true], ['a', 'a/1250000000/', true], ['a', `a/${path}`, true],
    ['a/', 'a', true], ['a/', 'a/', true], ['a/', `a/${path}`, true],
    ['a', 'b', false], ['a', 'ab', false], ['a', 'a1', false], ['a', 'a/b', false], ['a', path, false], ['a', 'A', false],
    ['a/b', 'a', true], ['a/b', 'a/c', false]
  ] as const) {
    const input = body({ name: bucket, folder }, Prefix === undefined ? {} : { Filter: { Prefix } })
    const dry = await running.call('PUT', at('report', '?preflight=warn&dry-run=true'), input)
    t.strictSame(readWarnings(t, dry).map(({ code }) => code), isWarned ? ['ReportOfReports'] : [], `to ${folder}, listing ${Prefix}`)
  }
  t.match(await examine(t, running, body({ name: bucket, folder: 'a' }, { Filter: { And: { Prefix: 'a/' } } })), [{ code: 'ReportOfReports' }])
  t.strictSame(await examine(t, running, body({ name: bucket, folder: 'a' }, { Filter: { And: { Prefix: 'b/' } } })), [])
  t.strictSame(await examine(t, running, body({ folder: 'a' }, { Filter: { Prefix: 'a' } })), [], 'in another bucket')
})

t.test('a destination is looked up once, and only when discovery can tell more', async t => {
  const buckets = [
    { name: bucket, region: south }, { name: reports, region: south }, { name: otherBucket, region: east }
  ]
  const isLookUp = ({ operation }: { operation: string }) => operation === 'GetService'
  const lookUps = ({ emulator }: Running) => emulator.requests.filter(isLookUp).length
  const running = await startDiscovery(t, { buckets })
  t.strictSame(await examine(t, running, body({ name: bucket }, { Filter: { Prefix: 'a' } })), [], 'the source itself')
  t.strictSame(await examine(t, running, body({ name: 'reports-1300000000' })), [], 'a bucket of another account')
  t.match(await examine(t, running, body({ name: 'reports-1300000000', region: east }), 'TargetBucketNameInvalid'), [{ code: 'DestinationInOtherRegion' }])
  t.equal(lookUps(running), 0)
  t.strictSame(await examine(t, running, body()), [])
  t.equal(lookUps(running), 1)

  const other = (destination: object, rejection?: string) => examine(t, running, body(destination), rejection)
  const warning = { code: 'DestinationInOtherRegion', pointer: bucketAt }
  t.match(await other({ name: otherBucket }), [{
    ...warning, detail: `${otherBucket} is not in ${south}.`
  }])
  t.match(await other({ name: otherBucket, region: east }, 'TargetBucketNameInvalid'),
    [{ ...warning, detail: `Source and destination must be in one region, and ${bucket} is in ${south}.` }])
  t.match(await other({ region: east }, 'TargetBucketNameInvalid'),
    [{ ...warning, detail: `${reports} is not in ${east}.` }])
  t.match(await other({ name: 'absent-1250000000' }), [{ code: 'DestinationNotFound', pointer: bucketAt }])
  t.equal(lookUps(running), 1)

  const plain = await start(t, { buckets })
  t.strictSame(await examine(t, plain, body({ name: 'absent-1250000000' })), [], 'the region is unknown without discovery')
  t.strictSame(await examine(t, plain, body({ name: otherBucket })), [])
  t.equal(lookUps(plain), 0)
})

t.test('PUT returns no warning when the account does not own the source', async t => {
  const running = await startDiscovery(t)
  running.emulator.addFault({
    kind: 'raw',
    status: 200,
    headers: { 'x-cos-request-id': 'aWQ=' },
    body: '<ListAllMyBucketsResult></ListAllMyBucketsResult>',
    match: { operation: 'GetService' }
  })
  t.strictSame(await examine(t, running, body({ name: 'absent-1250000000' })), [])
})

t.test('PUT returns 400 without warnings when the region of the source is unknown', async t => {
  const { call, emulator } = await start(t, { environment: { COS_REGION: '', COS_BUCKET_REGIONS: '' } })
  for (const mode of ['warn', 'enforce']) {
    const response = await call('PUT', at('report', `?preflight=${mode}`), body())
    t.match(response, { status: 400, json: { errors: [{ in: 'query', pointer: '/region' }] } })
    t.strictSame(readWarnings(t, response), [])
  }
  t.strictSame(emulator.requests, [])
})

t.test('PUT sends one GET Service for source and destination', async t => {
  const buckets = [{ name: bucket, region: south }, { name: reports, region: south }]
  const { call, emulator } = await start(t, { buckets, environment: discovering })
  t.equal((await call('PUT', at('report', '?preflight=enforce'), body())).status, 204)
  t.strictSame(emulator.requests.map(({ operation }) => operation), ['GetService', 'PutBucketInventory'])
})

t.test('PUT returns 403 when a look-up fails and preflight is enforce, else a warning', async t => {
  const running = await startDiscovery(t, { credentials: [{ ...secrets, actions: ['cos:PutBucketInventory'] }] })
  for (const query of ['?preflight=enforce', '?preflight=enforce&dry-run=true']) {
    const response = await running.call('PUT', at('report', query), body())
    t.match(response, { status: 403, json: { code: 'AccessDenied', detail: /look-up of the bucket's region \(GET Service\)/ } })
    t.strictSame(readWarnings(t, response), [])
  }
  t.strictSame(ofBucket(running), [])
  for (const [query, status] of [['?preflight=warn&dry-run=true', 200], ['?preflight=warn', 204]] as const) {
    const response = await running.call('PUT', at('report', query), body({}, monthly(30)))
    t.equal(response.status, status)
    t.match(readWarnings(t, response), [
      { code: 'DestinationNotChecked', pointer: bucketAt, detail: /GET Service: AccessDenied/ }, { code: 'MonthWithoutDate' }
    ])
  }
})

t.test('PUT checks preflight before preconditions and still returns 412', async t => {
  const running = await start(t)
  const { call } = running
  const dubious = body({}, monthly(31))
  const create = { 'if-none-match': '*' }
  t.equal((await call('PUT', at('report', '?preflight=enforce'), dubious, create)).status, 400)
  t.strictSame(ofBucket(running), [])
  const created = await call('PUT', at('report', '?preflight=warn'), dubious, create)
  t.match([created.status, readWarnings(t, created)], [204, [{ code: 'MonthWithoutDate' }]])
  t.match((await call('PUT', at('report', '?preflight=warn'), dubious, create)).json, { status: 412, code: 'PreconditionFailed' })
  t.match((await call('PUT', at('report', '?preflight=warn&dry-run=true'), dubious, create)).json, { status: 412 })
  const same = { 'if-match': String(created.headers['etag']) }
  t.equal((await call('PUT', at('report', '?preflight=enforce'), body(), same)).status, 204)
  t.equal((await call('PUT', at('report', '?preflight=enforce'), body(), same)).status, 412)
  t.strictSame(ofBucket(running), ['Get', 'Put', 'Get', 'Get', 'Get', 'Put', 'Get'].map(each => `${each}BucketInventory`))
})

t.test('PUT checks only with preflight; PATCH, DELETE and PUT of a set return 400 for it', async t => {
  const running = await startDiscovery(t)
  const { call, emulator } = running
  const plain = await call('PUT', at('report'), body({}, monthly(31)))
  t.equal(plain.status, 204)
  t.notOk('preflight-warnings' in plain.headers)
  t.strictSame(emulator.requests.map(({ operation }) => operation), ['PutBucketInventory'])
  for (const query of ['?preflight=true', '?preflight=', '?preflight=warn&preflight=warn', '?preflight=Warn']) {
    t.match(await call('PUT', at('report', query), body()), { status: 400, json: { code: 'ValidationFailed', errors: [{ in: 'query', pointer: '/preflight' }] } })
  }
  for (const [method, path, input, headers] of [
    ['PATCH', at('report'), { IsEnabled: false }, { 'content-type': 'application/merge-patch+json' }],
    ['PUT', `/buckets/${bucket}/inventories`, { InventoryConfigurations: [] }, {}], ['DELETE', at('report'), undefined, {}]
  ] as const) {
    t.match(await call(method, `${path}?preflight=warn`, input, headers), { status: 400, json: { errors: [{ in: 'query', pointer: '/preflight' }] } })
  }
  const invalid = await call('PUT', at('report', '?preflight=warn'), { ...body({}, monthly(31)), IsEnabled: 1 })
  t.match(invalid.json.errors, [{ pointer: '/IsEnabled' }], 'preflight checks only valid bodies')
  t.notOk('preflight-warnings' in invalid.headers)
  t.equal(emulator.requests.length, 1)
})
