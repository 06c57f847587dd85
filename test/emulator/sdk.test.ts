import COS from 'cos-nodejs-sdk-v5'
import t from 'tap'
import { exampleCredential } from '../../src/emulator/examples.ts'
import type { Emulator } from '../../src/emulator/server.ts'
import { bucketName, startForTest } from './client.ts'

// The official Node SDK 3.0.0 as client: what it sends and reads is the service's own idea of the protocol.

const place = { Bucket: bucketName, Region: 'ap-guangzhou' }

function connect (emulator: Emulator, options: COS.COSOptions = {}): COS {
  return new COS({
    SecretId: exampleCredential.secretId,
    SecretKey: exampleCredential.secretKey,
    Protocol: 'http:',
    // Connects here and keeps the Host of the bucket.
    Ip: emulator.address,
    KeepAlive: false,
    ...options
  })
}

// With plain objects instead of the SDK's type, which asks for elements the service does not.
function toInventory (Id: string, parts: object = {}): COS.InventoryConfiguration {
  return {
    Id,
    IsEnabled: 'true',
    IncludedObjectVersions: 'All',
    Filter: { Prefix: 'my & <Prefix>' },
    OptionalFields: ['Size', 'ETag'],
    Schedule: { Frequency: 'Daily' },
    Destination: {
      COSBucketDestination: {
        Format: 'CSV',
        AccountId: '100000000001',
        Bucket: 'qcs::cos:ap-guangzhou::reports-1250000000',
        Prefix: 'list1',
        Encryption: { SSECOS: '' }
      }
    },
    ...parts
  } as unknown as COS.InventoryConfiguration
}

interface Listed {
  InventoryConfigurations: Array<{ Id: string }>
  IsTruncated: string
  ContinuationToken: string
  NextContinuationToken: string
}

// The SDK's types know neither the token nor the pages.
function listPage (cos: COS, ContinuationToken?: string): Promise<Listed> {
  const list = cos.listBucketInventory.bind(cos) as unknown as (params: object) => Promise<Listed>
  return list({ ...place, ContinuationToken })
}

// Not t.rejects: it cannot handle the SDK's errors, some properties of which are read-only.
async function failure (call: Promise<unknown>): Promise<unknown[]> {
  try {
    return ['no failure', await call]
  } catch (error) {
    const { code, statusCode } = error as { code: string, statusCode: number }
    return [statusCode, code]
  }
}

t.test('put, get, replace and delete', async t => {
  const cos = connect(await startForTest(t))
  const put = (parts: object) =>
    cos.putBucketInventory({ ...place, Id: 'a', InventoryConfiguration: toInventory('a', parts) })
  t.equal((await put({})).statusCode, 200)
  t.strictSame((await cos.getBucketInventory({ ...place, Id: 'a' })).InventoryConfiguration, toInventory('a'))

  await put({ IsEnabled: 'false', OptionalFields: ['Size'] })
  const replaced = await cos.getBucketInventory({ ...place, Id: 'a' })
  t.strictSame(replaced.InventoryConfiguration, toInventory('a', { IsEnabled: 'false', OptionalFields: ['Size'] }))

  for (const attempt of ['first', 'second']) {
    t.equal((await cos.deleteBucketInventory({ ...place, Id: 'a' })).statusCode, 204, attempt)
  }
  t.strictSame(
    await failure(cos.getBucketInventory({ ...place, Id: 'a' })), [404, 'InventoryConfigurationNotFoundError'])
})

t.test('list over two pages, in the order of creation', async t => {
  const cos = connect(await startForTest(t))
  const ids = Array.from({ length: 150 }, (_, index) => `ID-${index}`)
  for (const Id of ids) await cos.putBucketInventory({ ...place, Id, InventoryConfiguration: toInventory(Id) })

  const first = await listPage(cos, '')
  const second = await listPage(cos, first.NextContinuationToken)
  t.strictSame([first.IsTruncated, second.IsTruncated], ['true', 'false'])
  t.equal(second.ContinuationToken, first.NextContinuationToken)
  t.strictSame(
    [first, second].map(({ InventoryConfigurations }) => InventoryConfigurations.map(({ Id }) => Id)),
    [ids.slice(0, 100), ids.slice(100)])
})

t.test('list of one and of none', async t => {
  const cos = connect(await startForTest(t))
  t.strictSame((await listPage(cos)).InventoryConfigurations, [])
  await cos.putBucketInventory({ ...place, Id: 'a', InventoryConfiguration: toInventory('a') })
  t.strictSame((await listPage(cos)).InventoryConfigurations, [toInventory('a')])
})

t.test('errors arrive with status and code', async t => {
  const emulator = await startForTest(t)
  const cos = connect(emulator)
  t.strictSame(
    await failure(cos.listBucketInventory({ ...place, Bucket: 'absent-1250000000' })), [404, 'NoSuchBucket'])
  const InventoryConfiguration = toInventory('a', { IncludedObjectVersions: 'No' })
  t.strictSame(
    await failure(cos.putBucketInventory({ ...place, Id: 'a', InventoryConfiguration })), [400, 'MalformedXML'])
  const other = connect(emulator, { SecretKey: 'AnotherExampleKeyNotASecret00000' })
  t.strictSame(await failure(other.listBucketInventory(place)), [403, 'SignatureDoesNotMatch'])
  t.strictSame(await failure(cos.deleteBucket(place)), [501, 'NotImplemented'], 'the bucket is safe')
})

t.test('a temporary key sends its token', async t => {
  const temporary = { secretId: 'AKIDtemporary', secretKey: 'temporaryExampleKey', token: 'token+/==~' }
  const emulator = await startForTest(t, { credentials: [temporary] })
  const { secretId: SecretId, secretKey: SecretKey } = temporary
  const keys = { SecretId, SecretKey }
  const found = await connect(emulator, { ...keys, SecurityToken: temporary.token }).listBucketInventory(place)
  t.equal(found.statusCode, 200)
  const old = connect(emulator, { ...keys, SecurityToken: 'old' })
  t.strictSame(await failure(old.listBucketInventory(place)), [400, 'ExpiredToken'])
})

t.test('the SDK corrects its clock after an expired signature and tries again', async t => {
  const emulator = await startForTest(t)
  emulator.setClockOffset(2 * 3600 * 1000)
  const cos = connect(emulator, { CorrectClockSkew: true })
  t.equal((await cos.listBucketInventory(place)).statusCode, 200)
  t.strictSame(emulator.requests.map(({ status }) => status), [403, 200])
})

t.test('the SDK tries again after a reset and a 503', async t => {
  const emulator = await startForTest(t)
  emulator.addFault({ kind: 'reset', times: 1 })
  emulator.addFault({ kind: 'error', status: 503, code: 'SlowDown', times: 1 })
  t.equal((await connect(emulator).listBucketInventory(place)).statusCode, 200)
  t.strictSame(emulator.requests.map(({ status }) => status), [0, 503, 200])
  t.equal(emulator.requests[2]?.headers['x-cos-sdk-retry'], 'true')
})

t.test('the emulator can be the HTTP proxy of an SDK', async t => {
  const emulator = await startForTest(t)
  const cos = connect(emulator, { Ip: '', Proxy: `http://${emulator.address}` })
  t.equal((await cos.listBucketInventory(place)).statusCode, 200)
  t.match(emulator.requests[0]?.target, /^http:\/\/examplebucket/)
})

t.test('the SDK finds buckets and their regions', async t => {
  const cos = connect(await startForTest(t))
  t.strictSame((await cos.getService({ Region: 'ap-shanghai' })).Buckets.map(({ Name }) => Name), ['logs-1250000000'])
  t.equal((await cos.headBucket(place)).statusCode, 200)
})
