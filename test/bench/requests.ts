import { request } from 'undici'
import type { Dispatcher } from 'undici'
import {
  bucket, changingBucket, configuration, configurationXml, ids, pageSize, richBucket, slowBucket
} from './documents.ts'
import type { Server } from './servers.ts'

/**
 * Kinds of requests. `slow` is the `get` of a slow bucket, `everyBucket` that of a bucket for each id, `rich` a `list`
 * of large configurations. `changed` and `changedList` read configurations that are different each time.
 */
export type Operation =
  'get' | 'changed' | 'slow' | 'put' | 'list' | 'changedList' | 'rich' | 'livez' | 'everyBucket'

/** A request and the expected response. */
export interface Exchange {
  options: Dispatcher.DispatchOptions
  status: number
  /** Length of the response body. */
  bytes: number
}

/** A sequence of requests to a server. */
export interface Requests {
  origin: string
  /** Returns the request with this number. Ids are used round-robin. */
  at (index: number): Exchange
}

type Shape = Pick<Dispatcher.DispatchOptions, 'method' | 'path'> & { contentType?: string, body?: string }

/** Returns a request in JSON or in the XML of COS. */
function shapeOf (operation: Operation, { format }: Server, id: string): Shape {
  const isJson = format === 'json'
  const path = isJson ? `/buckets/${bucket}/inventories/${id}` : `/?inventory&id=${id}`
  switch (operation) {
    case 'get': return { method: 'GET', path }
    case 'put': return isJson
      ? { method: 'PUT', path, contentType: 'application/json', body: JSON.stringify(configuration) }
      : { method: 'PUT', path, contentType: 'application/xml', body: configurationXml(id) }
    case 'list': return { method: 'GET', path: isJson ? `/buckets/${bucket}/inventories` : '/?inventory' }
    case 'changed': return { method: 'GET', path: `/buckets/${changingBucket}/inventories/${id}` }
    case 'changedList': return { method: 'GET', path: `/buckets/${changingBucket}/inventories` }
    case 'slow': return { method: 'GET', path: `/buckets/${slowBucket}/inventories/${id}` }
    case 'everyBucket': return { method: 'GET', path: `/buckets/${id}-1250000000/inventories/${id}` }
    case 'rich': return { method: 'GET', path: `/buckets/${richBucket}/inventories` }
    case 'livez': return { method: 'GET', path: '/livez' }
  }
}

/** Number of configurations in a response. */
const configurationsIn: Record<Operation, number> = {
  get: 1, changed: 1, slow: 1, put: 0, list: pageSize, changedList: pageSize, rich: pageSize, livez: 0, everyBucket: 1
}

/**
 * Prepares requests of a kind. One is sent here, and its response defines the length of the others.
 *
 * @throws {Error} when its response is not a success, or has another number of configurations
 */
export async function requestsOf (server: Server, operation: Operation): Promise<Requests> {
  const { name, origin, format, headers } = server
  const status = operation === 'put' && format === 'json' ? 204 : 200
  const all = ids.map(id => {
    const { contentType, body, ...shape } = shapeOf(operation, server, id)
    const ownHeaders = { ...headers, ...(contentType !== undefined && { 'content-type': contentType }) }
    return { ...shape, headers: ownHeaders, body: body === undefined ? null : Buffer.from(body) }
  })
  const [first] = all as [typeof all[number]]
  const response = await request(origin, { ...first, reset: true })
  const text = await response.body.text()
  const found = text.match(/"Id":|<Id>/g)?.length ?? 0
  if (response.statusCode !== status || found !== configurationsIn[operation]) {
    throw new Error(`${name}: unexpected response to ${first.method} ${first.path}: ${response.statusCode} ${text.slice(0, 1_000)}`)
  }
  const bytes = Buffer.byteLength(text)
  const exchanges = all.map(options => ({ options, status, bytes }))
  return { origin, at: index => exchanges[index % exchanges.length] as Exchange }
}

/** Returns mostly GETs, with one PUT and one LIST per hundred requests. */
export async function mixedRequests (server: Server): Promise<Requests> {
  const [get, put, list] = await Promise.all([
    requestsOf(server, 'get'), requestsOf(server, 'put'), requestsOf(server, 'list')
  ])
  const at = (index: number) => ({ 33: put, 66: list }[index % 100] ?? get).at(index)
  return { origin: server.origin, at }
}
