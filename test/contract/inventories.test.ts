import fc from 'fast-check'
import t from 'tap'
import { runsOf } from '../runs.ts'
import { at, bucket, configuration, otherBucket, start } from '../start.ts'

const { Schedule, IsEnabled, ...job } = configuration
const collection = `/buckets/${bucket}/inventories`

t.test('PUT, GET, HEAD and DELETE return the documented statuses and bodies', async t => {
  const { call, emulator } = await start(t)
  const put = await call('PUT', at('daily-report'), configuration)
  t.equal(put.status, 204)
  t.equal(put.text, '')
  t.match(put.headers, { 'x-request-id': /^[0-9a-f-]{36}$/, 'x-cos-request-id': /.+/, 'cache-control': 'no-store' })

  const get = await call('GET', at('daily-report'))
  t.equal(get.status, 200)
  t.match(get.headers, { 'content-type': /^application\/json/, 'x-cos-request-id': /.+/ })
  t.strictSame(get.json, { Id: 'daily-report', ...configuration })
  t.equal((await call('PUT', at('daily-report'), get.json)).status, 204, 'PUT accepts the response of GET')

  const head = await call('HEAD', at('daily-report'))
  t.equal(head.status, 200)
  t.equal(head.text, '')
  t.equal(head.headers['content-length'], get.headers['content-length'])

  const list = await call('GET', collection)
  t.strictSame(list.json, { InventoryConfigurations: [{ Id: 'daily-report', ...configuration }], IsTruncated: false })

  const deleted = await call('DELETE', at('daily-report'))
  t.equal(deleted.status, 204)
  t.equal(deleted.text, '')
  t.equal((await call('DELETE', at('daily-report'))).status, 204, 'a second DELETE returns 204')
  t.match((await call('GET', at('daily-report'))).json, { status: 404, code: 'InventoryConfigurationNotFoundError' })
  t.equal((await call('HEAD', at('daily-report'))).status, 404)
  t.strictSame((await call('GET', collection)).json, { InventoryConfigurations: [], IsTruncated: false })
  for (const { target, headers } of emulator.requests) {
    t.match(target, /^\/\?inventory(&|$)/)
    t.equal(headers['host'], `${bucket}.cos.ap-guangzhou.myqcloud.com`)
    t.match(headers['user-agent'], /^cos-inventory-proxy\//)
  }
})

t.test('POST returns 202 with a JobId, and 409 when the id was used before', async t => {
  const { call, emulator } = await start(t)
  const post = await call('POST', at('once'), job)
  t.equal(post.status, 202)
  t.match(post.json, { JobId: /.+/ })
  t.match((await call('POST', at('once'), job)).json, { status: 409, code: 'DuplicateInventoryId', detail: /within a day/ })
  t.match((await call('POST', at('twice'), { ...job, IsEnabled, Schedule })).json, {
    status: 400, errors: [{ pointer: '/IsEnabled' }, { pointer: '/Schedule' }]
  })
  t.equal((await call('POST', at('twice', '?allow-unknown=true'), { ...job, IsEnabled })).status, 400, 'allow-unknown does not allow known elements')
  emulator.addFault({ kind: 'raw', status: 200, headers: { 'x-cos-request-id': 'r' }, body: '' })
  t.strictSame((await call('POST', at('older'), job)).json, {}, 'older clusters return no JobId')
})

t.test('PUT accepts the sample of the Python SDK, and GET returns it equal', async t => {
  const { call, emulator } = await start(t)
  const sample = {
    Destination: {
      COSBucketDestination: {
        AccountId: '100000000001',
        Bucket: 'qcs::cos:ap-guangzhou::examplebucket-1250000000',
        Format: 'CSV',
        Prefix: 'list1',
        Encryption: { SSECOS: {} }
      }
    },
    IsEnabled: 'True',
    Filter: { Prefix: 'filterPrefix' },
    IncludedObjectVersions: 'All',
    OptionalFields: {
      Field: ['Size', 'LastModifiedDate', 'ETag', 'StorageClass', 'IsMultipartUploaded', 'ReplicationStatus']
    },
    Schedule: { Frequency: 'Daily' }
  }
  t.equal((await call('PUT', at('string'), sample)).status, 204)
  t.strictSame((await call('GET', at('string'))).json, { Id: 'string', ...sample, IsEnabled: true })
  t.match(emulator.configurations(bucket)[0], '<Encryption><SSE-COS></SSE-COS></Encryption>')
})

t.test('GET returns prefixes unchanged when they contain special characters', async t => {
  const { call } = await start(t)
  const texts = [
    'a&b<c>"d\'e', ' lead and trail ', '00123', '1e5', 'true', '0x1F', ']]>', '&amp;lt;', '__proto__', 'a\tb', 'a\r\nb', '日本/😀'
  ]
  for (const text of texts) {
    const { COSBucketDestination: destination } = configuration.Destination
    const Destination = { COSBucketDestination: { ...destination, Prefix: text } }
    const body = { ...configuration, Filter: { Prefix: text }, Destination }
    t.equal((await call('PUT', at('text'), body)).status, 204, JSON.stringify(text))
    t.strictSame((await call('GET', at('text'))).json, { Id: 'text', ...body })
    t.strictSame((await call('GET', collection)).json.InventoryConfigurations, [{ Id: 'text', ...body }])
  }
})

t.test('GET returns the flat form when PUT used the spelling of an SDK', async t => {
  const { call } = await start(t)
  const tag = [{ Key: 'age', Value: '18' }]
  const OptionalFields = ['Size', 'Tag']
  const Filter = { And: { Prefix: 'p', Tag: tag, StorageClass: 'STANDARD' } }
  await call('PUT', at('nested'), { ...configuration, OptionalFields, Filter })
  t.match((await call('GET', at('nested'))).json, {
    Filter: { Prefix: 'p', Tag: tag, StorageClass: 'STANDARD' }, OptionalFields: { Field: ['Size', 'Tag'] }
  })
  for (const IsEnabled of ['True', 'FALSE', 'true', false]) {
    t.equal((await call('PUT', at('nested'), { ...configuration, IsEnabled })).status, 204)
    t.equal((await call('GET', at('nested'))).json.IsEnabled, String(IsEnabled).toLowerCase() === 'true')
  }
  const body = { ...configuration, Filter: {}, OptionalFields: { Field: [] } }
  t.equal((await call('PUT', at('empty'), body)).status, 204)
  t.notOk('Filter' in (await call('GET', at('empty'))).json, 'empty containers are not sent')
})

t.test('PUT and POST with dry-run=true return the XML and send nothing', async t => {
  const { call, emulator } = await start(t)
  const preview = await call('PUT', at('dry', '?dry-run=true'), configuration)
  t.equal(preview.status, 200)
  t.equal(preview.headers['content-type'], 'application/xml')
  const previewPost = await call('POST', at('dry', '?dry-run=true'), job)
  t.equal(previewPost.status, 200)
  t.strictSame(emulator.requests, [])
  await call('PUT', at('dry', '?dry-run=false'), configuration)
  await call('POST', at('other'), job)
  t.strictSame(emulator.requests.map(({ body }) => body), [preview.text, previewPost.text.replace('<Id>dry<', '<Id>other<')])
  t.equal((await call('PUT', at('dry', '?dry-run=true'), { ...configuration, IsEnabled: 1 })).status, 400)
  t.equal((await call('PUT', at('dry', '?dry-run=yes'), configuration)).status, 400)
})

t.test('PUT with allow-unknown=true stores unknown members, and GET returns them', async t => {
  const { call, emulator } = await start(t)
  const body = {
    ...configuration,
    NewThing: { Level: 3, Deep: { On: true, Items: ['a', 'b'] } },
    Filter: { Prefix: 'p', NewCondition: 'n' },
    Schedule: { Frequency: 'Daily', Hour: '04' }
  }
  const rejected = await call('PUT', at('new'), body)
  t.match(rejected.json, {
    code: 'ValidationFailed',
    errors: [{ pointer: '/NewThing', detail: /allow-unknown=true/ }, { pointer: '/Filter/NewCondition' }, { pointer: '/Schedule/Hour' }]
  })
  t.strictSame(emulator.requests, [])
  t.equal((await call('PUT', at('new', '?allow-unknown=true'), body)).status, 204)
  t.match(emulator.requests[0]?.body, '<Filter><Prefix>p</Prefix><NewCondition>n</NewCondition></Filter>')
  const { json } = await call('GET', at('new'))
  t.match(json, {
    NewThing: { Level: '3', Deep: { On: 'true', Items: ['a', 'b'] } }, Filter: { NewCondition: 'n' }, Schedule: { Hour: '04' }
  })
  t.equal((await call('PUT', at('new', '?allow-unknown=true'), json)).status, 204)
  t.strictSame((await call('GET', at('new'))).json, json)

  const names = { text: 't', toString: 's', valueOf: 'v', cdata: 'c', comment: 'd' }
  t.equal((await call('PUT', at('names', '?allow-unknown=true'), { ...configuration, ...names })).status, 204)
  t.match((await call('GET', at('names'))).json, names)

  const proto = '{"__proto__":{"polluted":"yes"},"constructor":"c",' + JSON.stringify(configuration).slice(1)
  t.match((await call('PUT', at('proto'), proto)).json, { errors: [{ pointer: '/__proto__' }, { pointer: '/constructor' }] })
  t.equal((await call('PUT', at('proto', '?allow-unknown=true'), proto)).status, 204)
  t.match((await call('GET', at('proto'))).text, '"__proto__":{"polluted":"yes"}')
  t.equal(({} as Record<string, unknown>)['polluted'], undefined)
})

t.test('PUT with allow-unknown=true returns 400 when a member cannot be an element', async t => {
  const { call, emulator } = await start(t)
  const deep = JSON.parse(`${'{"a":'.repeat(30)}1${'}'.repeat(30)}`) as object
  const body = {
    ...configuration,
    '1st': 'x',
    'a b': 'x',
    'a:b': 'x',
    '': 'x',
    Nothing: null,
    None: [],
    Nested: [['x']],
    Text: 'a\u0000b',
    Deep: deep,
    Big: 1e300,
    Many: [{ 'x/~y': 1 }, 'ok', null],
    Fine: [1.5, { x: '' }],
    Schedule: { Frequency: 5, New: {} }
  }
  const { json } = await call('PUT', at('bad', '?allow-unknown=true'), body)
  t.strictSame(json.errors.map(({ pointer }: { pointer: string }) => pointer).sort(), [
    '/', '/1st', '/Big', '/Deep' + '/a'.repeat(21), '/Many/0/x~1~0y', '/Many/2', '/Nested', '/None', '/Nothing',
    '/Schedule/Frequency', '/Text', '/a b', '/a:b'
  ].sort())
  t.match((await call('PUT', at('bad', '?allow-unknown=true'), '{"Big":123456789012345678901}')).json.errors,
    new Set([{ pointer: '/Big', detail: /send it as a string/ }]))
  t.strictSame(emulator.requests, [])
})

t.test('PUT accepts an array of StorageClass when allow-unknown is true', async t => {
  const { call, emulator } = await start(t)
  const body = { ...configuration, Filter: { StorageClass: ['STANDARD', 'ARCHIVE'] } }
  t.match((await call('PUT', at('two'), body)).json, { errors: [{ pointer: '/Filter/StorageClass', detail: 'must be a string' }] })
  t.equal((await call('PUT', at('two', '?allow-unknown=true&dry-run=true'), body)).status, 200)
  t.equal((await call('PUT', at('two', '?allow-unknown=true'), { ...body, Filter: { StorageClass: ['a\u0000'] } })).status, 400)
  t.match((await call('PUT', at('two', '?allow-unknown=true&dry-run=true'), body)).text,
    '<StorageClass>STANDARD</StorageClass><StorageClass>ARCHIVE</StorageClass>')
  for (const change of [{ Id: ['x'] }, { IncludedObjectVersions: ['All'] }, { OptionalFields: [['Size'], 'ETag'] }, { Filter: { Prefix: ['a', 'b'] } }]) {
    t.equal((await call('PUT', at('x', '?allow-unknown=true'), { ...configuration, ...change })).status, 400, 'other elements accept no array')
  }
  t.strictSame(emulator.requests, [])
})

t.test('PUT returns 400 with a pointer for every issue and sends nothing', async t => {
  const { call, emulator } = await start(t)
  const issuesOf = async (body: unknown, path = at('a')) => {
    const response = await call('PUT', path, body)
    t.match(response, { status: 400, headers: { 'content-type': 'application/problem+json' }, json: { code: 'ValidationFailed' } })
    return response.json.errors.map((issue: { in: string, pointer: string }) => `${issue.in} ${issue.pointer}`)
  }
  const { COSBucketDestination: destination } = configuration.Destination
  t.strictSame(await issuesOf({}), [
    'body /IncludedObjectVersions', 'body /Destination', 'body /IsEnabled', 'body /Schedule'
  ])
  for (const body of [null, [], 'text', 1, true, 0]) t.strictSame(await issuesOf(JSON.stringify(body)), ['body '], JSON.stringify(body))
  t.strictSame(await issuesOf(undefined), ['body '])
  t.strictSame(await issuesOf(
    { ...configuration, Id: 'b', Nope: 1 }, '/buckets/NoAppId/inventories/a%20b?region=x&dry-run=1&nope=1'
  ), [
    'path /bucket', 'path /id', 'query /nope', 'query /region', 'query /dry-run', 'body /Nope', 'body /Id'
  ])
  const cases: Array<[object, string[]]> = [
    [{ IsEnabled: 'yes' }, ['/IsEnabled']],
    [{ IsEnabled: 1 }, ['/IsEnabled']],
    [{ IncludedObjectVersions: 'No' }, ['/IncludedObjectVersions']],
    [{ IncludedObjectVersions: 1 }, ['/IncludedObjectVersions']],
    [{ Schedule: { Frequency: 'Monthly' } }, ['/Schedule/MonthlyDate']],
    [{ Schedule: { Frequency: 'Daily', MonthlyDate: 1 } }, ['/Schedule/MonthlyDate']],
    [{ Schedule: { Frequency: 'Monthly', MonthlyDate: 32 } }, ['/Schedule/MonthlyDate']],
    [{ Schedule: { Frequency: 'Monthly', MonthlyDate: '1' } }, ['/Schedule/MonthlyDate']],
    [{ Filter: { And: { Prefix: 'a' }, Prefix: 'b', Tag: [] } }, ['/Filter/Prefix', '/Filter/Tag']],
    [{ Filter: { And: { Tags: 1 } } }, ['/Filter/And/Tags']],
    [{ Filter: { And: { Period: {} } } }, ['/Filter/And/Period']],
    [{ Filter: { Tag: [{ Key: 'k' }, { Value: 1 }] } }, ['/Filter/Tag/0/Value', '/Filter/Tag/1/Key', '/Filter/Tag/1/Value']],
    [{ Filter: { Period: { StartTime: 1.5, EndTime: -1 } } }, ['/Filter/Period/StartTime', '/Filter/Period/EndTime']],
    [{ Filter: { Prefix: 'a\u0007' } }, ['/Filter/Prefix']],
    [{ Filter: { Prefix: '\uD800' } }, ['/Filter/Prefix']],
    [{ OptionalFields: ['Size', 'Size'] }, ['/OptionalFields']],
    [{ OptionalFields: { Field: ['size', 'x-cos-meta-', 'Size', 'Size'] } },
      ['/OptionalFields/Field', '/OptionalFields/Field/0', '/OptionalFields/Field/1']],
    [{ OptionalFields: 'Size' }, ['/OptionalFields']],
    [{ Destination: {} }, ['/Destination/COSBucketDestination']],
    [{ Destination: { COSBucketDestination: { ...destination, Bucket: 'b-1', Format: 'ORC', AccountId: 'x' } } },
      ['/Destination/COSBucketDestination/AccountId', '/Destination/COSBucketDestination/Bucket', '/Destination/COSBucketDestination/Format']],
    [{ Destination: { COSBucketDestination: { ...destination, Encryption: { SSECOS: { x: 1 } } } } },
      ['/Destination/COSBucketDestination/Encryption/SSECOS/x']],
    [{ Destination: { COSBucketDestination: { ...destination, Encryption: { SSECOS: 'AES' } } } },
      ['/Destination/COSBucketDestination/Encryption/SSECOS']]
  ]
  for (const [change, pointers] of cases) {
    t.strictSame((await issuesOf({ ...configuration, ...change })).sort(), pointers.map(each => `body ${each}`).sort(), JSON.stringify(change))
  }
  t.strictSame(emulator.requests, [])
  const monthly = { ...configuration, Schedule: { Frequency: 'Monthly', MonthlyDate: 31 } }
  t.equal((await call('PUT', at('a'), monthly)).status, 204)
})

t.test('PUT returns 400 that lists the valid forms of a value with several', async t => {
  const { call } = await start(t)
  const { COSBucketDestination: destination } = configuration.Destination
  const cases: Array<[object, string]> = [
    [{ IsEnabled: 1 }, '/IsEnabled must be true or false'],
    [{ OptionalFields: 'Size' }, '/OptionalFields must be an object with Field, or an array of fields'],
    [{ Destination: { COSBucketDestination: { ...destination, Encryption: { SSECOS: 1 } } } },
      '/Destination/COSBucketDestination/Encryption/SSECOS must be an object without members, or an empty text']
  ]
  for (const [change, issue] of cases) {
    const { json } = await call('PUT', at('a'), { ...configuration, ...change })
    t.equal(json.detail, `body ${issue}. Correct the request and send it again.`)
  }
})

t.test('PUT with dry-run=true returns 200 or 400 with pointers into any JSON body', async t => {
  const { call } = await start(t)
  const mutated = fc.tuple(fc.constantFrom(...Object.keys(configuration), 'Id', 'X~/y'), fc.jsonValue({ maxDepth: 4 }))
  await t.resolves(fc.assert(fc.asyncProperty(mutated, async ([name, value]) => {
    const body = { ...configuration, [name]: value }
    const { status, json } = await call('PUT', at('any', '?dry-run=true'), body)
    if (status === 200) return true
    const tokens = (pointer: string) =>
      pointer.split('/').slice(1).map(each => each.replaceAll('~1', '/').replaceAll('~0', '~'))
    const errors = json.errors as Array<Record<'pointer' | 'detail', string>>
    return status === 400 && errors.length > 0 && errors.every(({ pointer, detail }) => {
      // A missing member does not exist, but its parent does.
      const parent = tokens(pointer).slice(0, -1)
        .reduce<unknown>((each, token) => (each as Record<string, unknown>)[token], body)
      return detail.length > 0 && typeof parent === 'object' && parent !== null
    })
  }), { numRuns: runsOf(150) }))
})

t.test('PUT returns the first 1,000 issues when the body has 4,000', async t => {
  const { call } = await start(t)
  const tags = await call('PUT', at('a'), { ...configuration, Filter: { Tag: Array(2_000).fill({}) } })
  t.match(tags.json.detail, /^body \/Filter\/Tag\/0\/Key is required, and 3999 more; errors names the first 1000\. Correct the request and send it again\.$/)
  t.equal(tags.json.errors.length, 1000)
  const fields = await call('PUT', at('a'), { ...configuration, OptionalFields: Array(4_000).fill(1) })
  t.equal(fields.status, 400)
})

t.test('requests return 400 when id, bucket or region is malformed or ambiguous', async t => {
  const { call, emulator } = await start(t)
  for (const id of ['a%2Fb', '%2E%2E', '%2e', 'a%3Fb', 'a%23', 'a%26acl', '%C3%A4', '%00', 'a'.repeat(129), 'a%0Ab', '%20', '%E2%82%AC']) {
    for (const method of ['GET', 'DELETE']) {
      const { status, json } = await call(method, at(id))
      t.equal(status, 400, `${method} ${id.slice(0, 20)}`)
      t.match(json, { errors: [{ in: 'path', pointer: '/id' }] })
    }
  }
  for (const name of ['nodash', 'Upper-1', '-a-1', 'a_b-1', 'a.b-1', 'a-', `${'a'.repeat(62)}-1`, 'a-1%2F..', 'service', 'x%40evil.com-1', 'xn--a-1250000000']) {
    t.match(await call('DELETE', `/buckets/${name}/inventories/a`), { status: 400, json: { errors: [{ pointer: '/bucket' }] } }, name)
  }
  for (const region of ['', 'x', 'cn-north', 'AP-x', 'ap-guangzhou.evil.com', 'ap-guangzhou/', 'ap-guangzhou:80', 'ap-b@evil', 'a-' + 'b'.repeat(70)]) {
    t.equal((await call('DELETE', at('a', `?region=${encodeURIComponent(region)}`))).status, 400, region)
  }
  t.equal((await call('GET', at('a', '?region=ap-beijing&region=ap-tokyo'))).status, 400, 'a parameter given twice')
  t.strictSame(emulator.requests, [])
  for (const id of ['a', '...', 'a..b', '-', '_', 'A.b-c_9', 'a'.repeat(128), 'constructor', '__proto__']) {
    t.equal((await call('PUT', at(id), configuration)).status, 204, id)
    t.equal((await call('GET', at(id))).json.Id, id)
  }
})

t.test('the region comes from the query, then the bucket, then the default', async t => {
  const { call, emulator } = await start(t)
  const hosts = () => emulator.requests.map(({ host }) => host)
  await call('GET', at('a'))
  await call('GET', `/buckets/${otherBucket}/inventories/a`)
  await call('GET', at('a', '?region=ap-beijing'))
  t.strictSame(hosts(), [
    `${bucket}.cos.ap-guangzhou.myqcloud.com`, `${otherBucket}.cos.ap-shanghai.myqcloud.com`, `${bucket}.cos.ap-beijing.myqcloud.com`
  ])
  t.match((await call('GET', at('a', '?region=ap-beijing'))).json, { status: 404, code: 'NoSuchBucket', detail: /region/ })

  const bare = await start(t, { environment: { COS_REGION: '', COS_BUCKET_REGIONS: '' } })
  for (const [method, query] of [['GET', ''], ['DELETE', ''], ['PUT', '?dry-run=true']] as const) {
    const response = await bare.call(method, at('a', query), method === 'PUT' ? configuration : undefined)
    t.match(response.json, { code: 'ValidationFailed', errors: [{ in: 'query', pointer: '/region', detail: /COS_BUCKET_REGIONS or COS_REGION/ }] })
  }
  t.equal((await bare.call('PUT', at('a', '?region=ap-guangzhou'), configuration)).status, 204)
})

t.test('GET returns all pages in order, by token or with all=true', async t => {
  const { call, emulator } = await start(t)
  const ids = Array.from({ length: 250 }, (_, index) => `ID-${index}`)
  for (const id of ids) await call('PUT', at(id), configuration)
  const idsOf = (json: { InventoryConfigurations: Array<{ Id: string }> }) =>
    json.InventoryConfigurations.map(({ Id }) => Id)

  const walked: string[] = []
  let token: string | undefined
  do {
    const query: string = token === undefined ? '' : `?continuation-token=${encodeURIComponent(token)}`
    const { status, json } = await call('GET', collection + query)
    t.equal(status, 200)
    t.equal(json.IsTruncated, json.NextContinuationToken !== undefined)
    if (json.IsTruncated) t.match(json.NextContinuationToken, /[+/=]/)
    walked.push(...idsOf(json))
    token = json.NextContinuationToken
  } while (token !== undefined)
  t.strictSame(walked, ids)

  const first = (await call('GET', `${collection}?continuation-token=`)).json
  t.strictSame(idsOf(first), ids.slice(0, 100), 'an empty token is the first page')
  t.strictSame(idsOf((await call('GET', `${collection}?continuation-token=${first.NextContinuationToken}`)).json),
    ids.slice(100, 200), 'a plus sign in a token needs no encoding')

  const before = emulator.requests.length
  const all = await call('GET', `${collection}?all=true`)
  t.strictSame(idsOf(all.json), ids)
  t.strictSame({ ...all.json, InventoryConfigurations: [] }, { InventoryConfigurations: [], IsTruncated: false })
  t.equal(emulator.requests.length - before, 3)

  t.match((await call('GET', `${collection}?all=true&continuation-token=x`)).json, { errors: [{ in: 'query', pointer: '/continuation-token' }] })
  t.equal((await call('GET', `${collection}?all=false&continuation-token=${encodeURIComponent(first.NextContinuationToken)}`)).status, 200)
  t.match((await call('GET', `${collection}?continuation-token=unknown`)).json, { status: 400, code: 'InvalidArgument' })
})

t.test('GET with all=true returns 502 when pages recur or exceed 1,000 entries', async t => {
  const { call, emulator } = await start(t)
  const page = (ids: string[], token?: string) => '<ListInventoryConfigurationResult>' +
    ids.map(id => `<InventoryConfiguration><Id>${id}</Id></InventoryConfiguration>`).join('') +
    `<IsTruncated>${token !== undefined}</IsTruncated>${token === undefined ? '' : `<NextContinuationToken>${token}</NextContinuationToken>`}` +
    '</ListInventoryConfigurationResult>'
  const respondWith = (...bodies: string[]) => {
    emulator.clearFaults()
    for (const body of bodies) emulator.addFault({ kind: 'raw', status: 200, body, times: 1 })
  }
  respondWith(page(['a', 'b'], '1'), page(['b', 'c'], '2'), page(['d']))
  t.strictSame((await call('GET', `${collection}?all=true`)).json.InventoryConfigurations, [{ Id: 'a' }, { Id: 'b' }, { Id: 'c' }, { Id: 'd' }])
  respondWith(page(['a'], '1'), page(['b'], '2'), page(['c'], '1'))
  t.match((await call('GET', `${collection}?all=true`)).json, { status: 502, code: 'UpstreamInvalidResponse', detail: /a page occurs twice/ })
  const many = Array.from({ length: 1001 }, (_, index) => String(index))
  respondWith(page(many, '1'))
  t.match((await call('GET', `${collection}?all=true`)).json, { status: 502, code: 'UpstreamInvalidResponse' })
  respondWith(page(many.slice(1)))
  t.equal((await call('GET', `${collection}?all=true`)).json.InventoryConfigurations.length, 1000)
})

t.test('GET returns an empty page when COS returns 404 for an empty bucket', async t => {
  const { call, emulator } = await start(t)
  for (const code of ['InventoryConfigurationNotFoundError', 'NoSuchConfiguration', 'NoSuchInventoryConfiguration']) {
    emulator.addFault({ kind: 'error', status: 404, code, times: 3 })
    const page = await call('GET', collection)
    t.equal(page.status, 200, code)
    t.strictSame(page.json, { InventoryConfigurations: [], IsTruncated: false })
    t.match(page.headers, { 'x-cos-request-id': /.+/ })
    t.strictSame((await call('GET', `${collection}?all=true`)).json, { InventoryConfigurations: [], IsTruncated: false })
    t.match((await call('GET', at('a'))).json, { status: 404, code: 'InventoryConfigurationNotFoundError' })
  }
  emulator.addFault({ kind: 'error', status: 404, code: 'NoSuchBucket', times: 1 })
  t.equal((await call('GET', collection)).status, 404)
})

t.test('PUT, POST and DELETE return 403 when READ_ONLY is true, and GET is served', async t => {
  const { call, emulator } = await start(t, { environment: { READ_ONLY: 'true' } })
  for (const [method, body] of [['PUT', configuration], ['POST', job], ['DELETE', undefined]] as const) {
    t.match((await call(method, at('a'), body)).json, { status: 403, code: 'ReadOnly' })
  }
  t.strictSame(emulator.requests, [])
  t.equal((await call('PUT', at('a', '?dry-run=true'), configuration)).status, 200)
  t.equal((await call('GET', at('a'))).status, 404)
  t.equal((await call('GET', collection)).status, 200)
})

t.test('X-Request-Id of the response equals that of the request when it is valid', async t => {
  const { call, logs } = await start(t)
  t.equal((await call('GET', at('a'), undefined, { 'x-request-id': 'my-id_1.2' })).headers['x-request-id'], 'my-id_1.2')
  t.match(logs(), '"requestId":"my-id_1.2"')
  for (const bad of ['a b', 'a'.repeat(129), 'a"b', '']) {
    t.match((await call('GET', '/nope', undefined, { 'x-request-id': bad })).headers['x-request-id'], /^[0-9a-f-]{36}$/, bad)
  }
})
