// Writes one inventory configuration through the service at the given URL and reads it back.
import assert from 'node:assert/strict'

const base = process.argv[2]
const url = `${base}/buckets/examplebucket-1250000000/inventories/image-test`
const configuration = {
  IsEnabled: true,
  IncludedObjectVersions: 'All',
  Schedule: { Frequency: 'Daily' },
  Destination: {
    COSBucketDestination: { Bucket: 'qcs::cos:ap-guangzhou::examplebucket-1250000000', Format: 'CSV' }
  }
}

const put = await fetch(url, {
  method: 'PUT',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(configuration)
})
assert.equal(put.status, 204, await put.text())
const get = await fetch(url)
assert.equal(get.status, 200)
assert.deepEqual(await get.json(), { Id: 'image-test', ...configuration })
