/** The scenario with the client that @hey-api/openapi-ts generates. */
import { configuration, job, patch } from './bodies.ts'
import type { Results } from './bodies.ts'
import { createClient, createConfig } from './hey-api/client/index.ts'
import {
  applyInventories, getInventory, headInventory, listInventories, patchInventory, previewInventory, putInventory,
  startInventoryJob
} from './hey-api/sdk.gen.ts'
import type { InventoryConfigurationInput } from './hey-api/types.gen.ts'

export async function run (baseUrl: string, bucket: string): Promise<Results> {
  const client = createClient(createConfig({ baseUrl }))
  const path = { bucket, id: 'daily' }
  const typed: InventoryConfigurationInput = configuration

  const created = await putInventory({ client, path, headers: { 'If-None-Match': '*' }, body: typed })
  const again = await putInventory({ client, path, headers: { 'If-None-Match': '*' }, body: typed })
  const read = await getInventory({ client, path })
  const etag = read.response?.headers.get('etag') ?? ''
  const unchanged = await getInventory({ client, path, headers: { 'If-None-Match': etag } })
  if (read.data === undefined) throw new Error('there is no configuration')
  const putBack = await putInventory({ client, path, headers: { 'If-Match': etag }, body: read.data })
  const patched = await patchInventory({ client, path, headers: { 'If-Match': etag }, body: patch })
  const InventoryConfigurations = Array.from({ length: 250 }, (_, index) => ({ ...typed, Id: `set-${index}` }))
  const body = { InventoryConfigurations }
  const applied = await applyInventories({ client, path: { bucket }, query: { prune: true }, body })
  let listed = 0
  let token: string | undefined
  do {
    const query = token === undefined ? {} : { 'continuation-token': token }
    const { data } = await listInventories({ client, path: { bucket }, query })
    listed += data?.InventoryConfigurations.length ?? 0
    token = data?.NextContinuationToken
  } while (token !== undefined)
  const invalid = await putInventory({ client, path, body: { ...typed, Schedule: { Frequency: 'Hourly' } } })
  const preview = await previewInventory({ client, path, body: job })
  // The generator takes XML for a file, and its client resolves the type of a file to that of its members.
  const xml = preview.data as Blob | undefined
  const started = await startInventoryJob({ client, path: { bucket, id: 'once-hey-api' }, body: job })
  const missing = await headInventory({ client, path: { bucket, id: 'no-such-id' } })
  return {
    created: Number(created.response?.status),
    again: again.error?.code,
    unchanged: Number(unchanged.response?.status),
    putBack: Number(putBack.response?.status),
    patched: patched.data?.IsEnabled,
    applied: applied.data?.Created.length,
    listed,
    invalid: invalid.error?.code,
    preview: (await xml?.text())?.slice(0, 24),
    started: typeof started.data?.JobId,
    missing: Number(missing.response?.status)
  }
}
