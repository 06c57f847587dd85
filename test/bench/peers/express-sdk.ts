/** A typical service: Express and the official SDK, as in their documentation. */
import type { AddressInfo } from 'node:net'
import COS from 'cos-nodejs-sdk-v5'
import express from 'express'

const { COS_CONNECT_TO = '', COS_REGION = '', COS_SECRET_ID = '', COS_SECRET_KEY = '', COS_TOKEN = '' } = process.env

const cos = new COS({
  SecretId: COS_SECRET_ID,
  SecretKey: COS_SECRET_KEY,
  SecurityToken: COS_TOKEN,
  Protocol: 'http:',
  Ip: COS_CONNECT_TO,
  KeepAlive: true
})

const app = express()
app.use(express.json())

app.get('/buckets/:bucket/inventories/:id', async ({ params: { bucket, id } }, response) => {
  const found = await cos.getBucketInventory({ Bucket: bucket, Region: COS_REGION, Id: id })
  response.json(found.InventoryConfiguration)
})

app.put('/buckets/:bucket/inventories/:id', async ({ params: { bucket, id }, body }, response) => {
  await cos.putBucketInventory({
    Bucket: bucket,
    Region: COS_REGION,
    Id: id,
    InventoryConfiguration: {
      Id: id, ...body, Filter: { And: body.Filter }, OptionalFields: body.OptionalFields.Field
    }
  })
  response.status(204).end()
})

app.get('/buckets/:bucket/inventories', async ({ params: { bucket } }, response) => {
  const { InventoryConfigurations, IsTruncated } = await cos.listBucketInventory({ Bucket: bucket, Region: COS_REGION })
  response.json({ InventoryConfigurations, IsTruncated })
})

const server = app.listen(0, '127.0.0.1', () => {
  console.log(`listening at http://127.0.0.1:${(server.address() as AddressInfo).port}`)
})
