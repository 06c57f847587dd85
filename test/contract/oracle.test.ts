/** Compares the service with the official Node SDK: each reads what the other writes. */
import { createRequire } from 'node:module'
import fc from 'fast-check'
import t from 'tap'
import { at, bucket, configuration, secrets, start } from '../start.ts'

/** The part of the SDK in use. The SDK returns promises when it gets no callback. */
interface Cos {
  putBucketInventory (options: object): Promise<{ statusCode: number }>
  getBucketInventory (options: object): Promise<{ InventoryConfiguration: object }>
  listBucketInventory (options: object): Promise<{
    InventoryConfigurations: Array<{ Id: string }>, IsTruncated: string, NextContinuationToken?: string
  }>
  deleteBucketInventory (options: object): Promise<{ statusCode: number }>
}
const Sdk = createRequire(import.meta.url)('cos-nodejs-sdk-v5') as new (options: object) => Cos

const Region = 'ap-guangzhou'
const where = { Bucket: bucket, Region }
const collection = `/buckets/${bucket}/inventories`

/** Creates an SDK with the emulator as its HTTP proxy, so that host and signature stay those of COS. */
function sdkFor (address: string): Cos {
  return new Sdk({
    SecretId: secrets.secretId,
    SecretKey: secrets.secretKey,
    SecurityToken: secrets.token,
    Protocol: 'http:',
    Proxy: `http://${address}`
  })
}

/** Returns the SDK's spelling: texts for booleans and numbers, an array of fields, SSECOS as text. */
function inSdkSpelling ({ IsEnabled, OptionalFields, ...rest }: Record<string, unknown>): object {
  const fields = (OptionalFields as { Field: string[] } | undefined)?.Field
  const texts = JSON.parse(JSON.stringify(rest, (_, value: unknown) => typeof value === 'number' ? String(value) : value)) as object
  return {
    ...JSON.parse(JSON.stringify(texts).replace('"SSECOS":{}', '"SSECOS":""')) as object,
    IsEnabled: String(IsEnabled),
    ...(fields === undefined ? {} : { OptionalFields: fields })
  }
}

t.test('the SDK gets, lists and deletes configurations that the service puts', async t => {
  const { call, emulator } = await start(t)
  const cos = sdkFor(emulator.address)
  const bodies = {
    plain: configuration,
    tagged: {
      ...configuration,
      Filter: { Period: { StartTime: 1687276800, EndTime: 1689868800 }, Prefix: 'a&b<c>' },
      OptionalFields: { Field: ['Size', 'Tag', 'x-cos-meta-*'] },
      Schedule: { Frequency: 'Monthly', MonthlyDate: 31 }
    },
    disabled: { ...configuration, IsEnabled: false, IncludedObjectVersions: 'Current' }
  }
  for (const [id, body] of Object.entries(bodies)) {
    t.equal((await call('PUT', at(id), body)).status, 204)
    const { InventoryConfiguration: read } = await cos.getBucketInventory({ ...where, Id: id })
    t.strictSame(read, inSdkSpelling({ Id: id, ...body }), id)
  }
  const { InventoryConfigurations: listed, IsTruncated } = await cos.listBucketInventory(where)
  t.equal(IsTruncated, 'false')
  t.strictSame(listed, Object.entries(bodies).map(([Id, body]) => inSdkSpelling({ Id, ...body })))
  for (const id of Object.keys(bodies)) await cos.deleteBucketInventory({ ...where, Id: id })
  t.strictSame((await call('GET', collection)).json.InventoryConfigurations, [])
})

t.test('GET returns configurations that the SDK puts', async t => {
  const { call, emulator } = await start(t)
  const cos = sdkFor(emulator.address)
  const written = inSdkSpelling(configuration)
  await cos.putBucketInventory({ ...where, Id: 'sdk', InventoryConfiguration: { Id: 'sdk', ...written } })
  t.strictSame((await call('GET', at('sdk'))).json, { Id: 'sdk', ...configuration })
  t.strictSame((await call('GET', collection)).json.InventoryConfigurations, [{ Id: 'sdk', ...configuration }])
  t.equal((await call('PUT', at('copy'), written)).status, 204, 'the SDK\'s own spelling is a valid body')
  t.strictSame((await call('GET', at('copy'))).json, { Id: 'copy', ...configuration })
})

t.test('the SDK reads generated configurations as the service puts them', async t => {
  const { call, emulator } = await start(t)
  const cos = sdkFor(emulator.address)
  // The parser of the SDK trims texts, so the texts have no white space.
  const text = fc.stringMatching(/^[A-Za-z0-9_/&<>'"一-龥-]{1,20}$/)
  const configurations = fc.record({
    IsEnabled: fc.boolean(),
    IncludedObjectVersions: fc.constantFrom('All', 'Current'),
    Filter: fc.record({ Prefix: text }, { noNullPrototype: true }),
    OptionalFields: fc.record({
      Field: fc.uniqueArray(fc.constantFrom('Size', 'ETag', 'Crc64', 'StorageClass'), { minLength: 1 })
    }, { noNullPrototype: true }),
    Schedule: fc.constantFrom({ Frequency: 'Daily' }, { Frequency: 'Weekly' }, { Frequency: 'Monthly', MonthlyDate: 1 }),
    Destination: fc.record({
      COSBucketDestination: fc.record({
        Format: fc.constant('CSV'),
        Bucket: fc.constant(configuration.Destination.COSBucketDestination.Bucket),
        Prefix: text
      }, { noNullPrototype: true })
    }, { noNullPrototype: true })
  }, { noNullPrototype: true })
  await t.resolves(fc.assert(fc.asyncProperty(configurations, async body => {
    const put = await call('PUT', at('both'), body)
    const { InventoryConfiguration: read } = await cos.getBucketInventory({ ...where, Id: 'both' })
    return put.status === 204 && JSON.stringify(sorted(read)) === JSON.stringify(sorted(inSdkSpelling({ Id: 'both', ...body })))
  }), { numRuns: 60 }))
})

function sorted (value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  return Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1).map(([name, each]) => [name, sorted(each)])
}

t.test('GET with all=true returns the same entries as two pages of the SDK', async t => {
  const { call, emulator } = await start(t)
  const cos = sdkFor(emulator.address)
  for (let index = 0; index < 150; index++) await call('PUT', at(`ID-${index}`), configuration)
  const first = await cos.listBucketInventory(where)
  const second = await cos.listBucketInventory({ ...where, ContinuationToken: first.NextContinuationToken })
  const ours = (await call('GET', `${collection}?all=true`)).json.InventoryConfigurations as Array<{ Id: string }>
  t.equal(ours.length, 150)
  const theirs = [...first.InventoryConfigurations, ...second.InventoryConfigurations]
  t.strictSame(theirs.map(({ Id }) => Id), ours.map(({ Id }) => Id))
})

t.test('GET and PUT return the error codes that the SDK gets', async t => {
  const { call, emulator } = await start(t)
  const cos = sdkFor(emulator.address)
  t.strictSame(await rejectionOf(cos.getBucketInventory({ ...where, Id: 'none' })), [404, 'InventoryConfigurationNotFoundError'])
  t.match((await call('GET', at('none'))).json, { status: 404, code: 'InventoryConfigurationNotFoundError' })
  t.strictSame(await rejectionOf(cos.listBucketInventory({ ...where, Region: 'ap-beijing' })), [404, 'NoSuchBucket'])
  t.match((await call('GET', `${collection}?region=ap-beijing`)).json, { status: 404, code: 'NoSuchBucket' })
  const elsewhere = structuredClone(configuration)
  elsewhere.Destination.COSBucketDestination.Bucket = 'qcs::cos:ap-beijing::examplebucket-1250000000'
  const put = cos.putBucketInventory({ ...where, Id: 'a', InventoryConfiguration: inSdkSpelling({ Id: 'a', ...elsewhere }) })
  t.strictSame(await rejectionOf(put), [400, 'TargetBucketNameInvalid'])
  t.match((await call('PUT', at('a'), elsewhere)).json, { status: 400, code: 'TargetBucketNameInvalid' })
})

async function rejectionOf (call: Promise<unknown>): Promise<unknown> {
  try {
    return await call
  } catch (error) {
    const { statusCode, code } = error as { statusCode: number, code: string }
    return [statusCode, code]
  }
}
