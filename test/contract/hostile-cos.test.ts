/** Responses of COS never cause a 500 or an error in the log. */
import fc from 'fast-check'
import t from 'tap'
import type { RawFault } from '../../src/emulator/faults.ts'
import { runsOf } from '../runs.ts'
import { at, bucket, configuration, start } from '../start.ts'
import type { Answer, Running } from '../start.ts'

const collection = `/buckets/${bucket}/inventories`
const runs = runsOf(300)
const job = { ...configuration, IsEnabled: undefined, Schedule: undefined }
const set = { InventoryConfigurations: [{ ...configuration, Id: 'a' }] }
const tag = { 'if-match': '"tag"' }

/** All operations, including those that read before they write. */
const operations: Array<(call: Running['call']) => Promise<Answer>> = [
  call => call('GET', at('a')),
  call => call('HEAD', at('a')),
  call => call('GET', collection),
  call => call('GET', `${collection}?all=true`),
  call => call('PUT', at('a'), configuration),
  call => call('PUT', at('a', '?preflight=warn'), configuration, tag),
  call => call('PUT', at('a'), configuration, { 'if-none-match': '*' }),
  call => call('PATCH', at('a'), { IsEnabled: false }, { 'content-type': 'application/merge-patch+json' }),
  call => call('PATCH', at('a', '?dry-run=true'), { Filter: null }, { 'content-type': 'application/merge-patch+json' }),
  call => call('DELETE', at('a')),
  call => call('DELETE', at('a'), undefined, tag),
  call => call('POST', at('a'), job),
  call => call('PUT', collection, set),
  call => call('PUT', `${collection}?prune=true`, set),
  call => call('PUT', `${collection}?prune=true&dry-run=true`, set),
  call => call('PUT', `${collection}?prune=true`, set, { accept: 'application/x-ndjson' })
]

const names = fc.constantFrom(
  'InventoryConfiguration', 'Id', 'IsEnabled', 'Filter', 'And', 'Prefix', 'Tag', 'Key', 'Value', 'StorageClass', 'Period',
  'StartTime', 'OptionalFields', 'Field', 'Schedule', 'Frequency', 'MonthlyDate', 'Destination', 'COSBucketDestination',
  'Bucket', 'Encryption', 'SSE-COS', 'SSECOS', 'IsTruncated', 'NextContinuationToken', 'JobId', 'Error', 'Code', 'Message',
  'ListInventoryConfigurationResult', '__proto__', 'constructor', 'x:Id', 'Unknown'
)
const texts = fc.oneof(
  fc.constantFrom(
    '', ' ', 'a', '.', '..', '%', '%zz', 'a/b', '日本', 'true', 'FALSE', '0', '1e999', '-1', '9'.repeat(300), '&#38;', '&undefined;',
    '&', ']]>', '<![CDATA[x]]>', '<!-- x -->', '\u0000', '<', '&#xD800;', 'x'.repeat(2_000), 'AKIDxxxxxxxxxxxx', '\r\n'
  ),
  fc.string({ maxLength: 20 })
)
const element: fc.Arbitrary<string> = fc.letrec<{ element: string, content: string }>(tie => ({
  element: fc.tuple(names, tie('content'), fc.constantFrom('', ' a="b"', ' xmlns="urn:x"'))
    .map(([name, content, attributes]) => `<${name}${attributes}>${content}</${name}>`),
  content: fc.oneof({ depthSize: 'small' }, texts, fc.array(tie('element'), { maxLength: 5 }).map(each => each.join('')))
})).element

const entry = fc.tuple(texts, fc.array(element, { maxLength: 4 })).map(([id, others]) =>
  `<InventoryConfiguration><Id>${id}</Id>${others.join('')}</InventoryConfiguration>`)
const bodies = fc.oneof(
  entry,
  fc.tuple(
    fc.array(entry, { maxLength: 4 }),
    fc.constantFrom('true', 'false', 'maybe', ''),
    texts,
    fc.array(element, { maxLength: 2 })
  )
    .map(([entries, truncated, token, others]) => `<ListInventoryConfigurationResult>${entries.join('')}` +
      `<IsTruncated>${truncated}</IsTruncated><NextContinuationToken>${token}</NextContinuationToken>${others.join('')}` +
      '</ListInventoryConfigurationResult>'),
  fc.tuple(texts, texts).map(([code, message]) => `<Error><Code>${code}</Code><Message>${message}</Message></Error>`),
  texts.map(id => `<PostInventoryResult><JobId>${id}</JobId></PostInventoryResult>`),
  element,
  texts,
  fc.constantFrom('{"code":1,"message":"m"}', '{"code":{}}', '[', 'null', '<html>', '<a>'.repeat(40) + '</a>'.repeat(40))
)
const responses = fc.record({
  status: fc.oneof(fc.constantFrom(200, 200, 200, 204), fc.integer({ min: 200, max: 599 })),
  body: fc.tuple(bodies, fc.constantFrom('', '\uFEFF', '<?xml version="1.0"?>', '\n\n')).map(([body, prolog]) => prolog + body),
  headers: fc.constantFrom<Record<string, string>>(
    {}, { 'x-cos-request-id': 'aWQ=' }, { 'x-cos-request-id': 'a b' }, { 'content-type': 'application/json' },
    { 'x-cos-error-code': 'NoSuchBucket' }, { 'retry-after': '99999999999' }, { 'retry-after': 'soon', date: 'never' }
  )
})

t.test('requests never return 500 when COS sends an arbitrary response', async t => {
  const { call, emulator, logs } = await start(t, { environment: { COS_TIMEOUT_MS: '60000', COS_DEADLINE_MS: '60000' } })
  const property = fc.asyncProperty(
    fc.constantFrom(...operations), fc.array(responses, { minLength: 1, maxLength: 3 }), async (operate, faults) => {
      emulator.reset()
      for (const { headers, ...fault } of faults) {
        const ids = 'x-cos-request-id' in headers ? {} : { 'x-cos-request-id': 'aWQ=' }
        const sent = { 'content-type': 'application/xml', ...ids, ...headers }
        emulator.addFault({ kind: 'raw', times: 1, ...fault, headers: sent } satisfies RawFault)
      }
      const before = logs().length
      const { status, text } = await operate(call)
      if (status === 500 || text.includes('InternalError') || /"level":[56]0/.test(logs().slice(before))) {
        throw new Error(`${status} ${text}\n${logs().slice(before)}`)
      }
    })
  await t.resolves(fc.assert(property, { numRuns: runs }))
})

t.test('requests return 502 when COS responds with an undocumented success status', async t => {
  const { call, emulator } = await start(t)
  await call('PUT', at('a'), configuration)
  const [stored = ''] = emulator.configurations(bucket)
  const invalid = { status: 502, json: { code: 'UpstreamInvalidResponse', detail: /status \d+/ } }
  const respond = (status: number, body = '') => {
    emulator.addFault({ kind: 'raw', status, body, times: 1, headers: { 'content-type': 'application/xml', 'x-cos-request-id': 'aWQ=' } })
  }
  const list = `<ListInventoryConfigurationResult>${stored}<IsTruncated>false</IsTruncated></ListInventoryConfigurationResult>`
  for (const status of [201, 202, 203, 206, 207, 226]) {
    respond(status, stored)
    t.match(await call('GET', at('a')), invalid, `GET ${status}`)
    respond(status, list)
    t.match(await call('GET', collection), invalid, `LIST ${status}`)
    respond(status)
    t.match(await call('PUT', at('a'), configuration), { ...invalid, json: { detail: /not known/ } }, `PUT ${status}`)
    respond(status)
    t.match(await call('DELETE', at('a')), invalid, `DELETE ${status}`)
    respond(status)
    t.match(await call('POST', at('a'), job), invalid, `POST ${status}`)
  }
  respond(200)
  t.match(await call('DELETE', at('a')), invalid, 'the documented status of DELETE is 204')
  respond(204)
  t.match(await call('PUT', at('a'), configuration), invalid, 'the documented status of PUT is 200')
})

t.test('PUT of a set returns 502 when a listed configuration has no valid Id', async t => {
  const { call, emulator } = await start(t)
  const list = (id: string) => `<ListInventoryConfigurationResult><InventoryConfiguration>${id}<IsEnabled>true</IsEnabled>` +
    '</InventoryConfiguration><IsTruncated>false</IsTruncated></ListInventoryConfigurationResult>'
  for (const id of ['', '<Id></Id>', '<Id/>', '<Id>a</Id><Id>b</Id>', `<Id>${'x'.repeat(2_000)}</Id>`]) {
    for (const query of ['', '?prune=true', '?prune=true&dry-run=true']) {
      emulator.addFault({ kind: 'raw', status: 200, body: list(id), times: 1, headers: { 'x-cos-request-id': 'aWQ=' } })
      t.match(await call('PUT', `${collection}${query}`, set), { status: 502, json: { code: 'UpstreamInvalidResponse' } }, id.slice(0, 40))
    }
  }
  emulator.addFault({ kind: 'raw', status: 200, body: list('<Id>a b/..</Id>'), times: 1, headers: { 'x-cos-request-id': 'aWQ=' } })
  const malformed = await call('PUT', `${collection}?prune=true`, set)
  t.match(malformed, { status: 207, json: { Failed: [{ Id: 'a b/..', problem: { status: 400, code: 'InvalidArgument' } }] } }, 'the error of COS is returned')
})

t.test('requests return 502 when a response of COS exceeds the limit of its operation', async t => {
  const { call, emulator } = await start(t)
  const tooLarge = { status: 502, json: { code: 'UpstreamInvalidResponse', detail: /larger than any of COS for this operation/ } }
  const respond = (status: number, kib: number) => {
    emulator.addFault({ kind: 'raw', status, body: 'x'.repeat(1024), repeat: kib, times: 1 })
  }
  for (const [operate, status, kib] of [
    [() => call('GET', at('a')), 200, 513], [() => call('GET', at('a')), 404, 65], [() => call('GET', collection), 200, 8_193],
    [() => call('GET', collection), 500, 65], [() => call('PUT', at('a'), configuration), 200, 65],
    [() => call('DELETE', at('a')), 500, 65], [() => call('POST', at('a'), job), 200, 65]
  ] as const) {
    respond(status, kib)
    t.match(await operate(), tooLarge, `${status}, ${kib} KiB`)
    respond(status, kib - 1)
    t.notMatch(await operate(), tooLarge, `${status}, ${kib - 1} KiB`)
  }
})

t.test('GET with all=true returns 502 when all pages together exceed 8 MiB', async t => {
  const { call, emulator } = await start(t)
  const entries = (page: number) => Array.from({ length: 50 }, (_, index) => '<InventoryConfiguration>' +
    `<Id>${page}-${index}</Id><Filter><Prefix>${'p'.repeat(60_000)}</Prefix></Filter></InventoryConfiguration>`).join('')
  for (const page of [0, 1, 2]) {
    const body = `<ListInventoryConfigurationResult>${entries(page)}<IsTruncated>${page < 2}</IsTruncated>` +
      `<NextContinuationToken>${page}</NextContinuationToken></ListInventoryConfigurationResult>`
    emulator.addFault({ kind: 'raw', status: 200, body, times: 1, headers: { 'x-cos-request-id': 'aWQ=' } })
  }
  const { status, json } = await call('GET', `${collection}?all=true`)
  t.match([status, json], [502, { code: 'UpstreamInvalidResponse', detail: /page by page/ }])
})
