import { request } from 'undici'
import type { Dispatcher } from 'undici'
import {
  bucket, changingBucket, configuration, configurationXml, ids, pageSize, richBucket, slowBucket
} from './documents.ts'
import type { Server } from './servers.ts'

/**
 * What is asked of a server. `slow` is the `get` of a bucket that COS takes its time for, `rich` a `list` of large
 * configurations; `changed` and `changedList` are those of configurations that nobody has seen before.
 */
export type Operation = 'get' | 'changed' | 'slow' | 'put' | 'list' | 'changedList' | 'rich' | 'livez'

/** A request, and what the answer to it must be. */
export interface Exchange {
  options: Dispatcher.DispatchOptions
  status: number
  /** Of the answer's body. */
  bytes: number
}

/** Requests to a server, one after the other. */
export interface Requests {
  origin: string
  /** The request of that number. Ids take turns. */
  at (index: number): Exchange
}

type Shape = Pick<Dispatcher.DispatchOptions, 'method' | 'path'> & { contentType?: string, body?: string }

/** A request in the words of those who speak JSON, or of those who speak COS's XML. */
function shapeOf (operation: Operation, { speaks }: Server, id: string): Shape {
  const isJson = speaks === 'json'
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
    case 'rich': return { method: 'GET', path: `/buckets/${richBucket}/inventories` }
    case 'livez': return { method: 'GET', path: '/livez' }
  }
}

/** How many configurations an answer holds. */
const configurationsIn: Record<Operation, number> = {
  get: 1, changed: 1, slow: 1, put: 0, list: pageSize, changedList: pageSize, rich: pageSize, livez: 0
}

/**
 * Requests of a kind, made before they are sent. One is sent here: its answer says how long the others must be.
 *
 * @throws {Error} when its answer is not a success, or has not the configurations it should have
 */
export async function requestsOf (server: Server, operation: Operation): Promise<Requests> {
  const { name, origin, speaks, headers } = server
  const status = operation === 'put' && speaks === 'json' ? 204 : 200
  const all = ids.map(id => {
    const { contentType, body, ...shape } = shapeOf(operation, server, id)
    const ownHeaders = { ...headers, ...(contentType !== undefined && { 'content-type': contentType }) }
    return { ...shape, headers: ownHeaders, body: body === undefined ? null : Buffer.from(body) }
  })
  const [first] = all as [typeof all[number]]
  const answer = await request(origin, { ...first, reset: true })
  const text = await answer.body.text()
  const found = text.match(/"Id":|<Id>/g)?.length ?? 0
  if (answer.statusCode !== status || found !== configurationsIn[operation]) {
    throw new Error(`${name}: wrong answer to ${first.method} ${first.path}: ${answer.statusCode} ${text.slice(0, 1_000)}`)
  }
  const bytes = Buffer.byteLength(text)
  const exchanges = all.map(options => ({ options, status, bytes }))
  return { origin, at: index => exchanges[index % exchanges.length] as Exchange }
}

/** Nearly all GETs; two in a hundred are a PUT and a LIST. */
export async function mixedRequests (server: Server): Promise<Requests> {
  const [get, put, list] = await Promise.all([
    requestsOf(server, 'get'), requestsOf(server, 'put'), requestsOf(server, 'list')
  ])
  const at = (index: number) => ({ 33: put, 66: list }[index % 100] ?? get).at(index)
  return { origin: server.origin, at }
}
