import { deepStrictEqual } from 'node:assert/strict'
import { request } from 'undici'
import { bucket, configuration, ids } from './documents.ts'
import { startEmulator } from './servers.ts'
import type { Kind, Server } from './servers.ts'

/** A configuration in any of the forms that services may give it: those of COS, its SDK and this service. */
interface Found {
  Id: string
  IsEnabled: boolean | string
  IncludedObjectVersions: string
  Filter: Conditions & { And?: Conditions }
  OptionalFields: string[] | { Field: string[] }
  Schedule: object
  Destination: { COSBucketDestination: { Encryption: object } }
}

interface Conditions {
  Prefix?: string
  Tag?: object[]
}

/**
 * Whether those that are compared do what they are compared for: they put, get and list at the emulator, which checks
 * signatures and documents.
 *
 * @throws {Error} when one does not, or answers something else than was put
 */
export async function checkHonesty (kinds: Kind[]): Promise<void> {
  const emulator = await startEmulator()
  const speakers = kinds.filter(({ speaks }) => speaks === 'json')
  await Promise.all(speakers.map(async (kind, index) => {
    const server = await kind.start(emulator.said, undefined)
    await check(server, ids[index] as string)
    await server.stop()
  }))
  await emulator.stop()
}

async function check ({ name, origin, headers }: Server, id: string): Promise<void> {
  const collection = `/buckets/${bucket}/inventories`
  const call = async (method: 'GET' | 'PUT', path: string, body?: object) => {
    const answer = await request(origin + path, {
      method,
      headers: { ...headers, ...(body && { 'content-type': 'application/json' }) },
      body: body === undefined ? null : JSON.stringify(body),
      reset: true
    })
    const text = await answer.body.text()
    if (answer.statusCode >= 300) throw new Error(`${name}: ${method} ${path}: ${answer.statusCode} ${text}`)
    return text === '' ? undefined : JSON.parse(text)
  }
  await call('PUT', `${collection}/${id}`, configuration)
  const expected = mainMembers({ Id: id, ...configuration })
  const message = `${name} does not answer what was put`
  deepStrictEqual(mainMembers(await call('GET', `${collection}/${id}`)), expected, message)
  const { InventoryConfigurations: listed } = await call('GET', collection) as { InventoryConfigurations: Found[] }
  deepStrictEqual(listed.filter(({ Id }) => Id === id).map(mainMembers), [expected], message)
}

function mainMembers ({ Filter: filter, OptionalFields: fields, Destination: destination, ...rest }: Found): object {
  const { Encryption: encryption, ...target } = destination.COSBucketDestination
  return {
    ...rest,
    IsEnabled: String(rest.IsEnabled),
    filter: filter.And ?? filter,
    fields: Array.isArray(fields) ? fields : fields.Field,
    target,
    encryption: Object.keys(encryption)
  }
}
