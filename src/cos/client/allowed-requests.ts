/** The safety invariant: which requests this service sends. The transport checks each request right before signing. */
import { isFolderOfReports, isReportObject } from '../report-keys.ts'
import { objectPageTarget, objectTarget } from './endpoints.ts'
import type { Address } from './endpoints.ts'
import type { CosRequest } from './messages.ts'

type CheckedRequest = Pick<CosRequest, 'method' | 'target' | 'body' | 'reportFolder'> & { address: Pick<Address, 'host'> }

interface Allowed {
  /** As {@link serviceAddress} returns it. */
  serviceHost: string
  /** Whether reads of reports are allowed. */
  readsReports: boolean
}

/**
 * Checks that the host of GET Service gets only GET Service. A bucket host gets only calls of the inventory API, and
 * with `REPORTS=true` reads of reports in the folder that the request names.
 *
 * @throws {Error} which callers see as an InternalError, before anything is sent
 */
export function assertAllowed (request: CheckedRequest, { serviceHost, readsReports }: Allowed): void {
  const { method, address: { host }, target, reportFolder } = request
  if (host === serviceHost) {
    if (method === 'GET' && /^\/\?max-keys=2000(&marker=[A-Za-z0-9._~%-]+)?$/.test(target)) return
    throw new Error('request not sent: it is not GET Service, but goes to its host')
  }
  if (reportFolder === undefined) assertInventoryTarget(target)
  else if (readsReports) assertReportRead(request, reportFolder)
  else throw new Error('request not sent: reports are disabled')
}

/**
 * Checks that a request is a call of the inventory API. PUT and DELETE of `/` without `?inventory` in front create and
 * delete buckets.
 *
 * @throws {Error} which callers see as an InternalError, before anything is sent
 */
export function assertInventoryTarget (target: string): void {
  if (!/^\/\?inventory(&(id|continuation-token)=[A-Za-z0-9._~%-]+)?$/.test(target)) {
    throw new Error('request not sent: it is not an inventory call')
  }
}

/**
 * Checks that a request only reads reports: a page of the objects in their folder, a manifest, a checksum or a data
 * file. COS takes a key that normalizes to `/` as the bucket itself.
 *
 * @param folder the folder of the reports of a configuration
 * @throws {Error} which callers see as an InternalError, before anything is sent
 */
function assertReportRead ({ method, target, body }: CheckedRequest, folder: string): void {
  const isRead = (method === 'GET' || method === 'HEAD') && body === undefined
  const isAllowed = target.startsWith('/?') ? method === 'GET' && isPageOf(folder, target) : isObjectOf(folder, target)
  if (isRead && isFolderOfReports(folder) && isAllowed) return
  throw new Error('request not sent: it is not a read of a report')
}

/** Compares with the target that this service would build, so that no other spelling passes. */
function isPageOf (folder: string, target: string): boolean {
  const prefix = `${folder}/20`
  const marker = /&marker=([^&]*)/.exec(target)?.[1]
  return target === objectPageTarget({ prefix, marker: marker && decodeURIComponent(marker) })
}

function isObjectOf (folder: string, target: string): boolean {
  const key = decodeURIComponent(target.slice(1))
  return target === objectTarget(key) && isReportObject(key, folder)
}
