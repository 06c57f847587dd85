/** The scenario with the client that orval generates. */
import { configuration, job, patch } from './bodies.ts'
import type { Results } from './bodies.ts'
import {
  applyInventories, getInventory, headInventory, listInventories, patchInventory, previewInventory, putInventory,
  startInventoryJob
} from './orval.gen.ts'
import type { InventoryConfigurationInput } from './orval.gen.ts'
import { useBaseUrl } from './orval-fetch.ts'

export async function run (baseUrl: string, bucket: string): Promise<Results> {
  useBaseUrl(baseUrl)
  const id = 'daily'
  const typed: InventoryConfigurationInput = configuration
  const createOnly = { headers: { 'If-None-Match': '*' } }

  const created = await putInventory(bucket, id, typed, {}, createOnly)
  const again = await putInventory(bucket, id, typed, {}, createOnly)
  const read = await getInventory(bucket, id)
  if (read.status !== 200) throw new Error('there is no configuration')
  const etag = read.headers.get('etag') ?? ''
  const unchanged = await getInventory(bucket, id, {}, { headers: { 'If-None-Match': etag } })
  const putBack = await putInventory(bucket, id, read.data, {}, { headers: { 'If-Match': etag } })
  const patched = await patchInventory(bucket, id, patch, {}, { headers: { 'If-Match': etag } })
  const InventoryConfigurations = Array.from({ length: 250 }, (_, index) => ({ ...typed, Id: `set-${index}` }))
  const applied = await applyInventories(bucket, { InventoryConfigurations }, { prune: true })
  let listed = 0
  let token: string | undefined
  do {
    const page = await listInventories(bucket, token === undefined ? {} : { 'continuation-token': token })
    if (page.status !== 200) throw new Error('there is no page')
    listed += page.data.InventoryConfigurations.length
    token = page.data.NextContinuationToken
  } while (token !== undefined)
  const invalid = await putInventory(bucket, id, { ...typed, Schedule: { Frequency: 'Hourly' } })
  const preview = await previewInventory(bucket, id, job)
  const started = await startInventoryJob(bucket, 'once-orval', job)
  const missing = await headInventory(bucket, 'no-such-id')
  return {
    created: created.status,
    again: again.status === 412 ? again.data.code : undefined,
    unchanged: unchanged.status,
    putBack: putBack.status,
    patched: patched.status === 200 ? patched.data.IsEnabled : undefined,
    applied: applied.status === 200 ? applied.data.Created.length : undefined,
    listed,
    invalid: invalid.status === 400 ? invalid.data.code : undefined,
    preview: preview.status === 200 ? preview.data.slice(0, 24) : undefined,
    started: started.status === 202 ? typeof started.data.JobId : '',
    missing: missing.status
  }
}
