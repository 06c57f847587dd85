/** Reads the objects of reports in their destination bucket: manifests, checksums and data files. */
import type { Readable } from 'node:stream'
import type { Config } from '../config/config.ts'
import { ServiceError } from '../errors.ts'
import type { CosCall } from './client/attempt.ts'
import { createAddressBook, objectPageTarget, objectTarget } from './client/endpoints.ts'
import { tooLarge } from './client/exchange.ts'
import type { CosResponse } from './client/messages.ts'
import { cosContext, headerText } from './client/response-headers.ts'
import { reading } from './client/results.ts'
import type { Outcome } from './client/results.ts'
import type { Attempts } from './client/retry.ts'
import type { Call } from './inventories.ts'
import { manifestObjectOf } from './report-keys.ts'
import { UpstreamError } from './upstream-error.ts'
import { fromObjectListXml, quoted } from './xml/object-list.ts'
import type { ListedObject, ObjectList } from './xml/object-list.ts'

/** The state of an object as COS has it. */
export type ObjectState = Omit<ListedObject, 'key'>

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
  headers: CosResponse['headers']
}

/**
 * Reads of one folder of reports. The bucket and the region of a call are those of the destination. All functions throw
 * the errors of {@link UpstreamError}.
 */
export interface ReportObjects {
  /**
   * Returns the reports of a folder, the oldest first. COS may omit the latest ones for some seconds.
   *
   * @param from the first day, `YYYYMMDD`; undefined for all
   */
  list (call: Call, folder: string, from: string | undefined): Promise<Outcome<ListedReport[]>>
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
}

/** More pages than any folder has: 20,000 objects are 27 years of daily reports. */
const maxPages = 20

/** Creates the reads of reports. */
export function createReportObjects (config: Config['cos'], { attempts, streams }: Dependencies): ReportObjects {
  const addressOf = createAddressBook(config)

  const toCosCall = (call: Call, folder: string, more: Pick<CosCall, 'operation' | 'method' | 'target' | 'success' | 'range'>): CosCall => ({
    ...more,
    address: addressOf(call.bucket, call.region),
    reportFolder: folder,
    body: undefined,
    deadlineAt: call.deadlineAt,
    call
  })

  const readPage = (call: Call, folder: string, marker: string | undefined) => attempts.run(
    toCosCall(call, folder, { operation: 'GetBucket', method: 'GET', target: objectPageTarget({ prefix: `${folder}/20`, marker }) }),
    reading(fromObjectListXml))

  return {
    async list (call, folder, from) {
      const reports = new Map<string, Partial<ListedReport>>()
      let marker = from === undefined ? undefined : `${folder}/${from}`
      for (let page = 0; page < maxPages; page++) {
        const { value, cos }: Outcome<ObjectList> = await readPage(call, folder, marker)
        for (const object of value.objects) addTo(reports, object, folder)
        if (value.nextMarker === undefined) return { value: complete(reports), cos }
        marker = inFolder(value.nextMarker, folder)
      }
      throw new ServiceError('ReportTooLarge', 'The folder of the reports has too many objects. Name a later day in from.')
    },

    head: (call, folder, key) => orAbsent(attempts.run(
      toCosCall(call, folder, { operation: 'HeadObject', method: 'HEAD', target: objectTarget(key) }),
      response => ({ value: stateOf(response), cos: cosContext(response) }))),

    async get (call, folder, key, maxBytes) {
      const success = { status: 200, maxBytes }
      const object = attempts.run(
        toCosCall(call, folder, { operation: 'GetObject', method: 'GET', target: objectTarget(key), success }),
        response => ({ value: { ...stateOf(response), bytes: response.body }, cos: cosContext(response) }))
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
  reports: Map<string, Partial<ListedReport>>, { key: written, ...object }: ListedObject, folder: string
): void {
  const key = inFolder(written, folder)
  const { date, kind } = (key && manifestObjectOf(key, folder)) || {}
  if (date === undefined) return
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

/** Returns the reading of a key that is in the folder. COS may write a blank as a plus. */
function inFolder (key: string, folder: string): string | undefined {
  return [key, key.replaceAll('+', ' ')].find(each => each.startsWith(`${folder}/`))
}

function stateOf ({ headers }: CosResponse): ObjectState {
  return {
    etag: quoted(headerText(headers['etag'])),
    size: Number(headerText(headers['content-length'])),
    modifiedAt: Date.parse(headerText(headers['last-modified']))
  }
}

function toOpenObject ({ status, headers, stream }: CosResponse): OpenObject {
  return { stream: stream as Readable, status, headers }
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

function unsatisfiable ({ code, cos }: UpstreamError): ServiceError {
  return new ServiceError({ code, status: 416, title: 'Range Not Satisfiable' },
    'The range begins behind the end of the data file. Size in Files is its length.', { cos })
}

function beyond (maxBytes: number): ServiceError {
  return new ServiceError('ReportTooLarge', `An object of the report has more than ${maxBytes} bytes. Read the files from COS.`)
}
