/** Reads the objects of reports in their destination bucket: manifests, checksums and data files. */
import type { Readable } from 'node:stream'
import type { Config } from '../config/config.ts'
import { ServiceError } from '../errors.ts'
import type { CosCall } from './client/attempt.ts'
import { createAddressBook, objectPageTarget, objectTarget } from './client/endpoints.ts'
import { tooLarge } from './client/exchange.ts'
import type { CosResponse } from './client/messages.ts'
import { cosContext, headerText } from './client/response-headers.ts'
import { invalidResponse, reading } from './client/results.ts'
import type { Outcome } from './client/results.ts'
import type { Attempts } from './client/retry.ts'
import type { Call } from './inventories.ts'
import { lastKeyOf, manifestObjectOf } from './report-keys.ts'
import { retryAdvice, UpstreamError } from './upstream-error.ts'
import { fromObjectListXml, quoted } from './xml/object-list.ts'
import type { ListedObject, ObjectList } from './xml/object-list.ts'

/** The state of an object as COS has it. */
export type ObjectState = Omit<ListedObject, 'keys'>

/** An object that was read whole. */
export interface SmallObject extends ObjectState {
  bytes: Uint8Array
}

/** A manifest in a list, and whether its checksum exists. */
export interface ListedReport {
  /** `YYYYMMDD`. */
  date: string
  manifest: ObjectState
  hasChecksum: boolean
}

/** A data file that is being read. */
export interface OpenObject {
  stream: Readable
  /** 200, or 206 for a range. */
  status: number
  /** Bytes of the stream; undefined when COS does not say. */
  length: number | undefined
  headers: CosResponse['headers']
}

/**
 * Reads of one folder of reports. The bucket and the region of a call are those of the destination. All functions throw
 * the errors of {@link UpstreamError}, and AccountUnknown when the service has no account for the bucket.
 */
export interface ReportObjects {
  /**
   * Returns the reports of a folder, the oldest first. COS may omit the latest ones for some seconds.
   *
   * @param from the first day, `YYYYMMDD`; undefined for all
   * @param to the last day, `YYYYMMDD`
   */
  list (call: Call, folder: string, days: { from: string | undefined, to: string }): Promise<Outcome<ListedReport[]>>
  /** Returns the state of an object; undefined when it does not exist. */
  head (call: Call, folder: string, key: string): Promise<Outcome<ObjectState | undefined>>
  /** Returns a small object; undefined when it does not exist. @throws {ServiceError} ReportTooLarge */
  get (call: Call, folder: string, key: string, maxBytes: number): Promise<Outcome<SmallObject | undefined>>
  /** Opens a data file; undefined when it does not exist. @param range a `Range` header with one range */
  open (call: Call, folder: string, key: string, range?: string): Promise<Outcome<OpenObject | undefined>>
}

interface Dependencies {
  attempts: Pick<Attempts, 'run'>
  /** Attempts whose responses are streams. */
  streams: Pick<Attempts, 'run'>
  /** As in `createInventories`. */
  credentialsOf: (bucket: string) => CosCall['credentials']
}

/**
 * The most pages of a list. The prefix of a list ends with `20`, the begin of a day. It matches two objects of each
 * report, and 1 of 256 data files: their names are hexadecimal.
 */
const maxPages = 20

/** Creates the reads of reports. */
export function createReportObjects (config: Config['cos'], { attempts, streams, credentialsOf }: Dependencies): ReportObjects {
  const addressOf = createAddressBook(config)

  const toCosCall = (call: Call, folder: string, more: Pick<CosCall, 'operation' | 'method' | 'target' | 'success' | 'range'>): CosCall => ({
    ...more,
    credentials: credentialsOf(call.bucket),
    address: addressOf(call.bucket, call.region),
    deadlineAt: call.deadlineAt,
    reportFolder: folder,
    body: undefined,
    call
  })

  const readPage = (call: Call, folder: string, marker: string | undefined) => attempts.run(
    toCosCall(call, folder, { operation: 'GetBucket', method: 'GET', target: objectPageTarget({ prefix: `${folder}/20`, marker }) }),
    reading(fromObjectListXml))

  return {
    async list (call, folder, { from, to }) {
      const reports = new Map<string, Partial<ListedReport>>()
      let marker = from === undefined ? undefined : `${folder}/${from}`
      for (let page = 0; page < maxPages; page++) {
        const { value, cos }: Outcome<ObjectList> = await readPage(call, folder, marker)
        for (const object of value.objects) addTo(reports, object, folder, to)
        if (value.nextMarker === undefined) return { value: complete(reports), cos }
        const next = inFolder(value.nextMarker, folder)
        if (next === undefined || next <= (marker ?? '')) {
          throw invalidResponse(`COS returned a page with a malformed NextMarker. ${retryAdvice}`, { cos })
        }
        if (next > lastKeyOf(folder, to)) return { value: complete(reports), cos }
        marker = next
      }
      throw new ServiceError('ReportTooLarge', 'The folder of the reports has too many objects. Name a later day in `from`.')
    },

    head: (call, folder, key) => orAbsent(attempts.run(
      toCosCall(call, folder, { operation: 'HeadObject', method: 'HEAD', target: objectTarget(key) }),
      response => ({ value: stateOf(response), cos: cosContext(response) }))),

    async get (call, folder, key, maxBytes) {
      const success = { status: 200, maxBytes }
      const object = attempts.run(
        toCosCall(call, folder, { operation: 'GetObject', method: 'GET', target: objectTarget(key), success }),
        response => ({ value: toSmallObject(response), cos: cosContext(response) }))
      return await orAbsent(object.catch((error: unknown) => { throw isTooLarge(error) ? beyond(maxBytes) : error }))
    },

    async open (call, folder, key, range) {
      const success = { status: range === undefined ? 200 : 206, maxBytes: Infinity }
      const object = streams.run(
        toCosCall(call, folder, { operation: 'GetObject', method: 'GET', target: objectTarget(key), success, range }),
        response => ({ value: toOpenObject(response), cos: cosContext(response) }))
      return await orAbsent(object.catch((error: unknown) => {
        throw isBeyondEnd(error) ? unsatisfiable(error) : error
      }))
    }
  }
}

function addTo (
  reports: Map<string, Partial<ListedReport>>, { keys, ...object }: ListedObject, folder: string, to: string
): void {
  const key = inFolder(keys, folder)
  const { date, kind } = (key && manifestObjectOf(key, folder)) || {}
  if (date === undefined || date > to) return
  const report = reports.get(date) ?? { date }
  if (kind === 'json') report.manifest = object
  else report.hasChecksum = true
  reports.set(date, report)
}

/** Returns the reports that have a manifest. */
function complete (reports: Map<string, Partial<ListedReport>>): ListedReport[] {
  return [...reports.values()].flatMap(({ date, manifest, hasChecksum = false }) =>
    manifest === undefined ? [] : [{ date: date as string, manifest, hasChecksum }])
}

/** Returns the key that is in the folder. */
function inFolder (keys: readonly string[], folder: string): string | undefined {
  return keys.find(key => key.startsWith(`${folder}/`))
}

/** @throws {UpstreamError} UpstreamInvalidResponse for a response without the headers of an object */
function stateOf (response: CosResponse, size = lengthOf(response)): ObjectState {
  const { headers } = response
  const modifiedAt = Date.parse(headerText(headers['last-modified']))
  if (size === undefined || Number.isNaN(modifiedAt)) {
    throw invalidResponse(`COS returned an object without a valid Last-Modified or Content-Length. ${retryAdvice}`,
      { cos: cosContext(response) })
  }
  return { etag: quoted(headerText(headers['etag'])), size, modifiedAt }
}

function lengthOf ({ headers }: Pick<CosResponse, 'headers'>): number | undefined {
  const text = headerText(headers['content-length'])
  return /^[0-9]{1,15}$/.test(text) ? Number(text) : undefined
}

function toSmallObject (response: CosResponse): SmallObject {
  const { body: bytes } = response
  return { ...stateOf(response, bytes.length), bytes }
}

function toOpenObject ({ status, headers, stream }: CosResponse): OpenObject {
  return { stream: stream as Readable, status, length: lengthOf({ headers }), headers }
}

/** Returns undefined for an object that does not exist. A redirect leads to the origin of the bucket. */
async function orAbsent<T> (result: Promise<Outcome<T>>): Promise<Outcome<T | undefined>> {
  try {
    return await result
  } catch (error) {
    if (!(error instanceof UpstreamError) || !isAbsence(error)) throw error
    return { value: undefined, cos: error.cos ?? {} }
  }
}

function isAbsence ({ status, code, cosStatus = 0 }: UpstreamError): boolean {
  return (status === 404 && code !== 'NoSuchBucket') || (cosStatus >= 300 && cosStatus < 400)
}

function isTooLarge (error: unknown): boolean {
  return error instanceof UpstreamError && error.cause === tooLarge
}

/** Tells whether a range begins behind the end of the object. */
function isBeyondEnd (error: unknown): error is UpstreamError {
  return error instanceof UpstreamError && error.cosStatus === 416
}

function unsatisfiable ({ cos }: UpstreamError): ServiceError {
  return new ServiceError('InvalidRange',
    'The range begins behind the end of the data file. Size in Files is its length.', { cos })
}

function beyond (maxBytes: number): ServiceError {
  return new ServiceError('ReportTooLarge', `An object of the report has more than ${maxBytes} bytes. Read the files from COS.`)
}
