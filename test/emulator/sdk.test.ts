import { createHash } from 'node:crypto'
import { gunzipSync } from 'node:zlib'
import COS from 'cos-nodejs-sdk-v5'
import t from 'tap'
import { exampleCredential } from '../../src/emulator/examples.ts'
import type { Emulator } from '../../src/emulator/server.ts'
import { bucketName, startForTest } from './client.ts'

// The official Node SDK 3.0.0 sends these requests, independently of the emulator's view of the protocol.

const place = { Bucket: bucketName, Region: 'ap-guangzhou' }

function connect (emulator: Emulator, options: COS.COSOptions = {}): COS {
  return new COS({
    SecretId: exampleCredential.secretId,
    SecretKey: exampleCredential.secretKey,
    Protocol: 'http:',
    // `Ip` sets the address and keeps the Host of the bucket.
    Ip: emulator.address,
    KeepAlive: false,
    ...options
  })
}

// The SDK type requires elements that COS does not require, so this is a plain object.
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

// The types of the SDK lack tokens and pages.
function listPage (cos: COS, ContinuationToken?: string): Promise<Listed> {
  const list = cos.listBucketInventory.bind(cos) as unknown as (params: object) => Promise<Listed>
  return list({ ...place, ContinuationToken })
}

// t.rejects cannot handle errors of the SDK, because some properties are read-only.
async function failure (call: Promise<unknown>): Promise<unknown[]> {
  try {
    return ['no failure', await call]
  } catch (error) {
    const { code, statusCode } = error as { code: string, statusCode: number }
    return [statusCode, code]
  }
}

t.test('SDK puts, gets, replaces and deletes a configuration', async t => {
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

t.test('SDK lists two pages in the order of creation', async t => {
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

t.test('SDK lists one configuration and none', async t => {
  const cos = connect(await startForTest(t))
  t.strictSame((await listPage(cos)).InventoryConfigurations, [])
  await cos.putBucketInventory({ ...place, Id: 'a', InventoryConfiguration: toInventory('a') })
  t.strictSame((await listPage(cos)).InventoryConfigurations, [toInventory('a')])
})

t.test('SDK reports status and code of errors', async t => {
  const emulator = await startForTest(t)
  const cos = connect(emulator)
  t.strictSame(
    await failure(cos.listBucketInventory({ ...place, Bucket: 'absent-1250000000' })), [404, 'NoSuchBucket'])
  const InventoryConfiguration = toInventory('a', { IncludedObjectVersions: 'No' })
  t.strictSame(
    await failure(cos.putBucketInventory({ ...place, Id: 'a', InventoryConfiguration })), [400, 'MalformedXML'])
  const other = connect(emulator, { SecretKey: 'AnotherExampleKeyNotASecret00000' })
  t.strictSame(await failure(other.listBucketInventory(place)), [403, 'SignatureDoesNotMatch'])
  t.strictSame(await failure(cos.deleteBucket(place)), [501, 'NotImplemented'], 'the emulator deletes no bucket')
})

t.test('SDK sends the token of a temporary key', async t => {
  const temporary = { secretId: 'AKIDtemporary', secretKey: 'temporaryExampleKey', token: 'token+/==~' }
  const emulator = await startForTest(t, { credentials: [temporary] })
  const { secretId: SecretId, secretKey: SecretKey } = temporary
  const keys = { SecretId, SecretKey }
  const found = await connect(emulator, { ...keys, SecurityToken: temporary.token }).listBucketInventory(place)
  t.equal(found.statusCode, 200)
  const old = connect(emulator, { ...keys, SecurityToken: 'old' })
  t.strictSame(await failure(old.listBucketInventory(place)), [400, 'ExpiredToken'])
})

t.test('SDK corrects its clock and retries when the signature has expired', async t => {
  const emulator = await startForTest(t)
  emulator.setClockOffset(2 * 3600 * 1000)
  const cos = connect(emulator, { CorrectClockSkew: true })
  t.equal((await cos.listBucketInventory(place)).statusCode, 200)
  t.strictSame(emulator.requests.map(({ status }) => status), [403, 200])
})

t.test('SDK retries after a reset and a 503', async t => {
  const emulator = await startForTest(t)
  emulator.addFault({ kind: 'reset', times: 1 })
  emulator.addFault({ kind: 'error', status: 503, code: 'SlowDown', times: 1 })
  t.equal((await connect(emulator).listBucketInventory(place)).statusCode, 200)
  t.strictSame(emulator.requests.map(({ status }) => status), [0, 503, 200])
  t.equal(emulator.requests[2]?.headers['x-cos-sdk-retry'], 'true')
})

t.test('emulator works as the HTTP proxy of the SDK', async t => {
  const emulator = await startForTest(t)
  const cos = connect(emulator, { Ip: '', Proxy: `http://${emulator.address}` })
  t.equal((await cos.listBucketInventory(place)).statusCode, 200)
  t.match(emulator.requests[0]?.target, /^http:\/\/examplebucket/)
})

t.test('SDK lists buckets and finds their regions', async t => {
  const cos = connect(await startForTest(t))
  t.strictSame((await cos.getService({ Region: 'ap-shanghai' })).Buckets.map(({ Name }) => Name), ['logs-1250000000'])
  t.equal((await cos.headBucket(place)).statusCode, 200)
})

t.test('SDK lists and reads the objects of a report', async t => {
  const emulator = await startForTest(t)
  const cos = connect(emulator)
  await cos.putBucketInventory({ ...place, Id: 'a', InventoryConfiguration: toInventory('a') })
  const report = await emulator.deliverReport({ bucket: bucketName, id: 'a', count: 3000, form: { rowsPerFile: 1000 } })
  const destination = { Bucket: 'reports-1250000000', Region: 'ap-guangzhou' }

  const Prefix = 'list1/1250000000/examplebucket/a/'
  const listed = await cos.getBucket({ ...destination, Prefix })
  t.strictSame(listed.Contents.map(({ Key }) => Key), [...report.keys].sort())
  const [folders, page] = [
    await cos.getBucket({ ...destination, Prefix, Delimiter: '/' }), await cos.getBucket({ ...destination, MaxKeys: 2 })
  ]
  t.strictSame(folders.CommonPrefixes.map(each => each.Prefix), [`${Prefix}${report.date}/`])
  t.strictSame([page.IsTruncated, page.NextMarker, page.Contents.length], ['true', page.Contents[1]?.Key, 2])

  const body = async (Key: string) => (await cos.getObject({ ...destination, Key })).Body
  const json = await body(report.manifest)
  const md5 = (bytes: Buffer) => createHash('md5').update(bytes).digest('hex')
  t.equal((await body(report.checksum)).toString(), md5(json))
  const { files } = JSON.parse(json.toString()) as { files: Array<{ key: string, size: string, md5Checksum: string }> }
  t.strictSame(files.map(({ key }) => key), report.files)
  let rows = 0
  for (const { key: Key, size, md5Checksum } of files) {
    const { headers, ETag } = await cos.headObject({ ...destination, Key })
    t.strictSame([headers?.['content-length'], ETag], [size, `"${md5Checksum}"`])
    const bytes = await body(Key)
    t.strictSame([String(bytes.length), md5(bytes)], [size, md5Checksum])
    rows += gunzipSync(bytes).toString().split('\n').length - 1
  }
  t.equal(rows, 3000)
  const part = await cos.getObject({ ...destination, Key: report.manifest, Range: 'bytes=0-9' })
  t.strictSame([part.statusCode, part.Body.toString()], [206, json.subarray(0, 10).toString()])
  t.strictSame(await failure(cos.getObject({ ...destination, Key: 'absent' })), [404, 'NoSuchKey'])
  t.match(await failure(cos.headObject({ ...destination, Key: 'absent' })), [404])
  t.strictSame(await failure(cos.deleteObject({ ...destination, Key: report.manifest })), [501, 'NotImplemented'])
})
