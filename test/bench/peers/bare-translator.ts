/**
 * A minimal service for the same work: Fastify and undici with defaults, fast-xml-parser, a signature. It has no
 * authentication, validation, limits, retries or log. The difference to this service is their cost.
 */
import { createHash, createHmac } from 'node:crypto'
import Fastify from 'fastify'
import { XMLBuilder, XMLParser } from 'fast-xml-parser'
import { Pool } from 'undici'

const { COS_CONNECT_TO, COS_REGION, COS_SECRET_ID = '', COS_SECRET_KEY = '', COS_TOKEN = '' } = process.env

const pool = new Pool(`http://${COS_CONNECT_TO}`, { connections: 64 })
// Configurations are a list only in a page.
const lists = ['Tag', 'Field', 'ListInventoryConfigurationResult.InventoryConfiguration']
const parser = new XMLParser({
  ignoreDeclaration: true,
  parseTagValue: false,
  isArray: (name, path) => lists.includes(name) || lists.includes(String(path))
})
const builder = new XMLBuilder({})

interface Configuration {
  IsEnabled: string | boolean
  Filter?: { And?: object }
  Destination: { COSBucketDestination: { Encryption?: object } }
}

/** Converts a parsed document of COS to the form of the JSON API. */
function toJson (parsed: Configuration): object {
  const target = parsed.Destination.COSBucketDestination
  return {
    ...parsed,
    IsEnabled: parsed.IsEnabled === 'true',
    ...(parsed.Filter && { Filter: parsed.Filter.And ?? parsed.Filter }),
    Destination: { COSBucketDestination: { ...target, ...(target.Encryption && { Encryption: { SSECOS: {} } }) } }
  }
}

function toXml (id: string, body: Configuration): string {
  const target = body.Destination.COSBucketDestination
  return builder.build({
    InventoryConfiguration: {
      Id: id,
      ...body,
      ...(body.Filter && { Filter: { And: body.Filter } }),
      Destination: { COSBucketDestination: { ...target, ...(target.Encryption && { Encryption: { 'SSE-COS': '' } }) } }
    }
  })
}

/** Returns the Authorization of a request (COS document 7778). Names are sorted; ids and names need no encoding. */
function sign (method: string, parameters: Record<string, string>, headers: Record<string, string>): string {
  const seconds = Math.floor(Date.now() / 1000)
  const time = `${seconds - 60};${seconds + 900}`
  const pairs = (values: Record<string, string>) =>
    Object.entries(values).map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&')
  const hmac = (key: string, text: string) => createHmac('sha1', key).update(text).digest('hex')
  const httpString = `${method.toLowerCase()}\n/\n${pairs(parameters)}\n${pairs(headers)}\n`
  const digest = createHash('sha1').update(httpString).digest('hex')
  const signature = hmac(hmac(COS_SECRET_KEY, time), `sha1\n${time}\n${digest}\n`)
  return `q-sign-algorithm=sha1&q-ak=${COS_SECRET_ID}&q-sign-time=${time}&q-key-time=${time}` +
    `&q-header-list=${Object.keys(headers).join(';')}&q-url-param-list=${Object.keys(parameters).join(';')}&q-signature=${signature}`
}

async function call (method: 'GET' | 'PUT', bucket: string, id?: string, body?: string): Promise<string> {
  const parameters = { ...(id !== undefined && { id }), inventory: '' }
  const signed = {
    ...(body !== undefined && { 'content-md5': createHash('md5').update(body).digest('base64') }),
    host: `${bucket}.cos.${COS_REGION}.myqcloud.com`
  }
  const headers = {
    ...signed,
    ...(body !== undefined && { 'content-type': 'application/xml' }),
    'x-cos-security-token': COS_TOKEN,
    authorization: sign(method, parameters, signed)
  }
  const path = id === undefined ? '/?inventory' : `/?inventory&id=${id}`
  const response = await pool.request({ method, path, headers, body: body ?? null })
  const text = await response.body.text()
  if (response.statusCode !== 200) throw new Error(`COS: ${response.statusCode} ${text}`)
  return text
}

const app = Fastify({ logger: false })

app.get<{ Params: { bucket: string, id: string } }>('/buckets/:bucket/inventories/:id', async ({ params: { bucket, id } }) => {
  const { InventoryConfiguration: found } = parser.parse(await call('GET', bucket, id))
  return toJson(found)
})

app.put<{ Params: { bucket: string, id: string }, Body: Configuration }>(
  '/buckets/:bucket/inventories/:id',
  async ({ params: { bucket, id }, body }, reply) => {
    await call('PUT', bucket, id, toXml(id, body))
    reply.code(204)
  })

app.get<{ Params: { bucket: string } }>('/buckets/:bucket/inventories', async ({ params: { bucket } }) => {
  const { ListInventoryConfigurationResult: page } = parser.parse(await call('GET', bucket))
  return {
    InventoryConfigurations: (page.InventoryConfiguration ?? []).map(toJson),
    IsTruncated: page.IsTruncated === 'true'
  }
})

console.log(`listening at ${await app.listen({ host: '127.0.0.1', port: 0 })}`)
