import { deepStrictEqual } from 'node:assert/strict'
import { request } from 'undici'
import { bucket, configuration, ids } from './documents.ts'
import { startEmulator } from './servers.ts'
import type { Kind, Server } from './servers.ts'

/** A configuration in any form of the compared services: that of COS, its SDK or this service. */
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
 * Checks that the compared services do the compared work. They put, get and list a configuration at the emulator, which
 * checks signatures and documents.
 *
 * @throws {Error} when a service returns an error or another configuration
 */
export async function checkPeers (kinds: Kind[]): Promise<void> {
  const emulator = await startEmulator()
  const translators = kinds.filter(({ format }) => format === 'json')
  await Promise.all(translators.map(async (kind, index) => {
    const server = await kind.start(emulator.captured, undefined)
    await check(server, ids[index] as string)
    await server.stop()
  }))
  await emulator.stop()
}

async function check ({ name, origin, headers }: Server, id: string): Promise<void> {
  const collection = `/buckets/${bucket}/inventories`
  const call = async (method: 'GET' | 'PUT', path: string, body?: object) => {
    const response = await request(origin + path, {
      method,
      headers: { ...headers, ...(body && { 'content-type': 'application/json' }) },
      body: body === undefined ? null : JSON.stringify(body),
      reset: true
    })
    const text = await response.body.text()
    if (response.statusCode >= 300) throw new Error(`${name}: ${method} ${path}: ${response.statusCode} ${text}`)
    return text === '' ? undefined : JSON.parse(text)
  }
  await call('PUT', `${collection}/${id}`, configuration)
  const expected = mainMembers({ Id: id, ...configuration })
  const message = `${name} does not return the configuration of the PUT`
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
