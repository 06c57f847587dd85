/** The scenario with types of openapi-typescript and the client openapi-fetch. */
import createClient from 'openapi-fetch'
import { configuration, job, patch } from './bodies.ts'
import type { Results } from './bodies.ts'
import type { components, paths } from './types.ts'

type Input = components['schemas']['InventoryConfigurationInput']

const item = '/buckets/{bucket}/inventories/{id}'
const collection = '/buckets/{bucket}/inventories'

export async function run (baseUrl: string, bucket: string): Promise<Results> {
  const client = createClient<paths>({ baseUrl })
  const path = { bucket, id: 'daily' }
  const typed: Input = configuration

  const created = await client.PUT(item, { params: { path, header: { 'If-None-Match': '*' } }, body: typed })
  const again = await client.PUT(item, { params: { path, header: { 'If-None-Match': '*' } }, body: typed })
  const read = await client.GET(item, { params: { path } })
  const etag = read.response.headers.get('etag') ?? ''
  const unchanged = await client.GET(item, { params: { path, header: { 'If-None-Match': etag } } })
  if (read.data === undefined) throw new Error(read.error.detail)
  const putBack = await client.PUT(item, { params: { path, header: { 'If-Match': etag } }, body: read.data })
  const patched = await client.PATCH(item, { params: { path, header: { 'If-Match': etag } }, body: patch })
  const InventoryConfigurations = Array.from({ length: 250 }, (_, index) => ({ ...typed, Id: `set-${index}` }))
  const params = { path: { bucket } }
  const body = { InventoryConfigurations }
  const applied = await client.PUT(collection, { params: { ...params, query: { prune: true } }, body })
  let listed = 0
  let token: string | undefined
  do {
    const query: { 'continuation-token'?: string } = token === undefined ? {} : { 'continuation-token': token }
    const { data } = await client.GET(collection, { params: { ...params, query } })
    listed += data?.InventoryConfigurations.length ?? 0
    token = data?.NextContinuationToken
  } while (token !== undefined)
  const invalid = await client.PUT(item, { params: { path }, body: { ...typed, Schedule: { Frequency: 'Hourly' } } })
  const preview = await client.POST(`${item}/preview`, { params: { path }, body: job, parseAs: 'text' })
  const started = await client.POST(item, { params: { path: { bucket, id: 'once-openapi-fetch' } }, body: job })
  const missing = await client.HEAD(item, { params: { path: { bucket, id: 'no-such-id' } } })
  return {
    created: created.response.status,
    again: again.error?.code,
    unchanged: unchanged.response.status,
    putBack: putBack.response.status,
    patched: patched.data?.IsEnabled,
    applied: applied.data?.Created.length,
    listed,
    invalid: invalid.error?.code,
    preview: preview.data?.slice(0, 24),
    started: typeof started.data?.JobId,
    missing: missing.response.status
  }
}
