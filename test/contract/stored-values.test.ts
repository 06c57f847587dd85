/** Stored configurations of any origin can be read, sent back, patched and restored. */
import assert from 'node:assert/strict'
import { Value } from '@sinclair/typebox/value'
import fc from 'fast-check'
import t from 'tap'
import { InventoryConfigurationSchema } from '../../src/contract/inventory.ts'
import { fromConfigurationXml } from '../../src/cos/xml/inventory-xml.ts'
import { canonicalForm } from '../../src/cos/xml/json.ts'
import { as, callersFile, withKey } from '../callers-file.ts'
import { startLenientCos } from '../doubles/lenient-cos.ts'
import { runsOf } from '../runs.ts'
import { at, bucket, configuration, startTestService } from '../start.ts'
import type { Answer } from '../start.ts'
import { toXml, wireDocuments } from '../wire-documents.ts'

const numRuns = runsOf(1000)
const list = `/buckets/${bucket}/inventories`
const mergePatch = { 'content-type': 'application/merge-patch+json' }
const canonicalFormOfXml = (xml: string | undefined) => canonicalForm(fromConfigurationXml(String(xml)))
const rest = '<IncludedObjectVersions>All</IncludedObjectVersions><Schedule><Frequency>Daily</Frequency></Schedule>' +
  '<Destination><COSBucketDestination><Bucket>qcs::cos:ap-guangzhou::examplebucket-1250000000</Bucket><Format>CSV</Format></COSBucketDestination></Destination>'

async function start (t: Parameters<typeof startLenientCos>[0], environment = {}) {
  const cos = await startLenientCos(t)
  return { ...cos, ...await startTestService(t, cos.address, { LOG_LEVEL: 'error', RATE_LIMIT_PER_MINUTE: '0', ...environment }) }
}

t.test('PUT with allow-unknown=true stores what GET returned', async t => {
  const { call, stored } = await start(t)
  await t.resolves(fc.assert(fc.asyncProperty(wireDocuments('a'), async document => {
    const xml = toXml(document)
    stored.set('a', xml)
    const read = await call('GET', at('a'))
    assert.equal(read.status, 200, xml)
    assert.deepEqual([...Value.Errors(InventoryConfigurationSchema, read.json)], [])
    const written = await call('PUT', at('a', '?allow-unknown=true'), read.text)
    assert.equal(written.status, 204, written.text)
    assert.equal(canonicalFormOfXml(stored.get('a')), canonicalFormOfXml(xml))
    assert.equal(written.headers['etag'], read.headers['etag'])
  }), { numRuns }))
})

t.test('PUT of the set that GET returned reports every configuration as Unchanged', async t => {
  const { call, stored } = await start(t)
  const ids = ['a', 'b', 'c', '.', '..', 'x'.repeat(255)]
  const documents = fc.tuple(...ids.map(id => wireDocuments(id)))
  await t.resolves(fc.assert(fc.asyncProperty(documents, async documents => {
    for (const [index, document] of documents.entries()) stored.set(ids[index] as string, toXml(document))
    const { text } = await call('GET', `${list}?all=true`)
    const before = [...stored]
    const restored: Answer = await call('PUT', `${list}?allow-unknown=true&prune=true`, text)
    assert.equal(restored.status, 200, restored.text)
    const nothing = { Created: [], Updated: [], Deleted: [], Unmanaged: [], Failed: [] }
    assert.deepEqual(restored.json, { ...nothing, Unchanged: ids })
    assert.deepEqual([...stored], before)
    stored.clear()
    assert.equal((await call('PUT', `${list}?allow-unknown=true`, text)).status, 200)
    assert.deepEqual([...stored].map(([id, xml]) => [id, canonicalFormOfXml(xml)]), before.map(([id, xml]) => [id, canonicalFormOfXml(xml)]), 'restored')
    stored.clear()
  }), { numRuns: runsOf(200) }))
})

t.test('PATCH and an update by a set keep the stored form', async t => {
  const { call, stored: documents } = await start(t)
  const xml = `<InventoryConfiguration version="2"><Id>a</Id><New n="1">x</New><Filter><And><Prefix>p</Prefix></And></Filter><IsEnabled>true</IsEnabled>${
    rest.replace('</Format>', '</Format><Encryption><SSECOS>111</SSECOS></Encryption>')}</InventoryConfiguration>`
  const disabled = xml.replace('<IsEnabled>true', '<IsEnabled>false')
  documents.set('a', xml)
  const preview = await call('PATCH', at('a', '?dry-run=true'), { IsEnabled: false }, mergePatch)
  t.strictSame([preview.text, documents.get('a')], [disabled, xml])
  t.equal((await call('PATCH', at('a'), { IsEnabled: false }, mergePatch)).status, 200)
  t.equal(documents.get('a'), disabled)
  const { json: set } = await call('GET', list)
  set.InventoryConfigurations[0].IsEnabled = true
  const updated = await call('PUT', `${list}?allow-unknown=true`, set)
  t.match(updated.json, { Updated: [{ Id: 'a', Changes: [{ pointer: '/IsEnabled' }] }] })
  t.equal(documents.get('a'), xml)
})

t.test('PUT of a set returns 400 and changes nothing when an update is too large', async t => {
  const { call, stored } = await start(t)
  const xml = `<InventoryConfiguration><Id>a</Id><IsEnabled a="${'x'.repeat(270_000)}">true</IsEnabled>${rest}</InventoryConfiguration>`
  stored.set('a', xml)
  const changed = { ...configuration, Id: 'a', IsEnabled: false }
  const { status, json } = await call('PUT', list, { InventoryConfigurations: [{ ...configuration, Id: 'new' }, changed] })
  t.match({ status, json }, { status: 400, json: { code: 'ValidationFailed', errors: [{ pointer: '/InventoryConfigurations/1', detail: /bytes of XML/ }] } })
  t.strictSame([...stored], [['a', xml]], 'the stored configurations are unchanged')
})

t.test('PUT returns 400 when a value is undocumented and allow-unknown is not set', async t => {
  const { call } = await start(t)
  const destination = configuration.Destination.COSBucketDestination
  const inDestination = (others: object) => ({ Destination: { COSBucketDestination: { ...destination, ...others } } })
  const cases: Array<[pointer: string, changed: object]> = [
    ['/OptionalFields/Field/0', { OptionalFields: { Field: ['Etag'] } }],
    ['/OptionalFields/0', { OptionalFields: ['SIZE'] }],
    ['/OptionalFields/Field', { OptionalFields: { Field: ['Size', 'Size'] } }],
    ['/OptionalFields', { OptionalFields: ['Size', 'Size'] }],
    ['/IncludedObjectVersions', { IncludedObjectVersions: 'No' }],
    ['/Schedule/Frequency', { Schedule: { Frequency: 'Hourly' } }],
    ['/Schedule/MonthlyDate', { Schedule: { Frequency: 'Monthly' } }],
    ['/Schedule/MonthlyDate', { Schedule: { Frequency: 'Daily', MonthlyDate: 1 } }],
    ['/Schedule/MonthlyDate', { Schedule: { Frequency: 'Monthly', MonthlyDate: 32 } }],
    ['/Schedule/MonthlyDate', { Schedule: { Frequency: 'Monthly', MonthlyDate: 0 } }],
    ['/Filter/Period/StartTime', { Filter: { Period: { StartTime: -1 } } }],
    ['/Filter/StorageClass', { Filter: { StorageClass: ['A', 'B'] } }],
    ['/Destination/COSBucketDestination/Format', inDestination({ Format: 'ORC' })],
    ['/Destination/COSBucketDestination/AccountId', inDestination({ AccountId: 'owner' })],
    ['/Destination/COSBucketDestination/Bucket', inDestination({ Bucket: 'qcs::cos:ap-guangzhou:uid/1250000000:reports-1250000000' })],
    ['/Destination/COSBucketDestination/Bucket', inDestination({ Bucket: `qcs::cos:${'a'.repeat(130)}::reports-1250000000` })],
    ['/Destination/COSBucketDestination/Encryption/SSECOS', inDestination({ Encryption: { SSECOS: '111' } })],
    ['/Destination/COSBucketDestination/Encryption/SSECOS/#text', inDestination({ Encryption: { SSECOS: { '#text': '111' } } })]
  ]
  for (const [pointer, changed] of cases) {
    const body = { ...configuration, ...changed }
    const rejected = await call('PUT', at('a'), body)
    t.match(rejected, { status: 400, json: { errors: [{ pointer }] } }, JSON.stringify(changed))
    t.equal(rejected.json.errors.length, 1)
    t.equal((await call('PUT', at('a', '?allow-unknown=true'), body)).status, 204, `${JSON.stringify(changed)} with allow-unknown=true`)
    t.equal((await call('PUT', `${list}?allow-unknown=true`, { InventoryConfigurations: [{ ...body, Id: 'a' }] })).status, 200)
    t.equal((await call('PUT', at('a', '?allow-unknown=true&preflight=warn'), body)).status, 204, 'preflight too')
  }
})

t.test('PUT with allow-unknown=true returns 400 when text or structure is invalid', async t => {
  const { call } = await start(t)
  const destination = configuration.Destination.COSBucketDestination
  const inDestination = (others: object) => ({ Destination: { COSBucketDestination: { ...destination, ...others } } })
  const cases: Array<[pointer: string, changed: object]> = [
    ['/OptionalFields/Field/0', { OptionalFields: { Field: ['a\u0000'] } }],
    ['/OptionalFields/Field/0', { OptionalFields: { Field: [1] } }],
    ['/Schedule/Frequency', { Schedule: { Frequency: '\uFFFF' } }],
    ['/Schedule/Frequency', { Schedule: { Frequency: 1 } }],
    ['/Schedule/Frequency', { Schedule: {} }],
    ['/Schedule/MonthlyDate', { Schedule: { Frequency: 'Monthly', MonthlyDate: 1.5 } }],
    ['/Filter/Period/StartTime', { Filter: { Period: { StartTime: 1e300 } } }],
    ['/Filter/StorageClass', { Filter: { StorageClass: [] } }],
    ['/Filter/Prefix', { Filter: { Prefix: ['a', 'b'] } }],
    ['/Destination/COSBucketDestination/Format', inDestination({ Format: '\u0001' })],
    ['/Destination/COSBucketDestination/Format', inDestination({ Format: ['CSV', 'ORC'] })],
    ['/Destination/COSBucketDestination/Encryption/SSECOS', inDestination({ Encryption: { SSECOS: '\u0001' } })],
    ['/Destination/COSBucketDestination/Encryption/SSECOS/#text', inDestination({ Encryption: { SSECOS: { '#text': '1', New: '2' } } })],
    ['/Destination/COSBucketDestination/Encryption/#text', inDestination({ Encryption: { '#text': '1' } })],
    ['', inDestination({ Encryption: { SSECOS: {}, 'SSE-COS': '1' } })]
  ]
  for (const [pointer, changed] of cases) {
    const rejected = await call('PUT', at('a', '?allow-unknown=true'), { ...configuration, ...changed })
    t.match(rejected, { status: 400, json: { code: 'ValidationFailed', errors: [{ pointer }] } }, JSON.stringify(changed))
  }
})

t.test('PUT with allow-unknown=true returns 403 when a destination is not permitted', async t => {
  const own = withKey('own', [{ buckets: ['*'], actions: ['cos:*'] }])
  const { call } = await start(t, callersFile(t, [own]).environment)
  const put = (others: object, query = '?allow-unknown=true') => call('PUT', at('a', query), {
    ...configuration,
    Destination: { COSBucketDestination: { ...configuration.Destination.COSBucketDestination, ...others } }
  }, as('own'))
  for (const [others, status] of [
    [{ Bucket: 'qcs::cos:ap-guangzhou:uid/1250000000:reports-1250000000' }, 204],
    [{ Bucket: 'qcs::cos:ap-guangzhou:uid/1259999999:reports-1259999999' }, 403],
    [{ Bucket: 'reports-1259999999' }, 403],
    [{ Bucket: 'anything else' }, 403],
    [{ Format: 'qcs::cos:ap-guangzhou::reports-1259999999' }, 403],
    [{ Format: 'ORC', AccountId: 'owner', Encryption: { SSECOS: { '#text': 'reports-1259999999' } } }, 204],
    [{ Encryption: { SSECOS: { '#text': 'qcs::cos:ap-guangzhou::reports-1259999999' } } }, 403]
  ] as const) t.equal((await put(others)).status, status, JSON.stringify(others))
  const { text } = await put({ Bucket: 'qcs::cos:ap-guangzhou:uid/1250000000:reports-1250000000' }, '')
  t.match(text, 'ValidationFailed')
})
