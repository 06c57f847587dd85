/** Delivered reports: which there are, how old they are, and what their manifests say. */
import { createHash } from 'node:crypto'
import type { Call } from '../cos/inventories.ts'
import type { Outcome } from '../cos/client/results.ts'
import { checksumKey, manifestKey } from '../cos/report-keys.ts'
import type { ListedReport, ObjectState, ReportObjects } from '../cos/report-objects.ts'
import { maxChecksumBytes, maxManifestBytes } from '../cos/operations.ts'
import { ServiceError } from '../errors.ts'
import type { ReportSource } from './destination.ts'
import { createManifestLimiter } from './manifest-limiter.ts'
import { corrupt, readChecksum, readManifest } from './manifest.ts'
import type { Manifest } from './manifest.ts'
import { dayBeforeAnyInterval, isNewerDue, lastDay, recentDays } from './schedule.ts'

/** A report with its manifest, which equals its checksum. */
export interface VerifiedReport extends ListedReport {
  content: Manifest
}

/** Days of a list, the first and the last included, as `YYYYMMDD`; undefined for no bound. */
export interface Days {
  from: string | undefined
  to: string | undefined
}

/** Reads reports. The bucket and the region of a call are those of the destination. */
export interface Reports {
  /** Returns the reports of some days, the latest first. */
  list (call: Call, source: ReportSource, days: Days): Promise<Outcome<ListedReport[]>>
  /**
   * Returns the latest report. COS may not list it for some seconds, so that the manifests of today and yesterday are
   * looked up when a newer report is due.
   *
   * @throws {ServiceError} ReportNotFound
   */
  latest (call: Call, source: ReportSource): Promise<Outcome<ListedReport>>
  /**
   * Reads the manifest of a day.
   *
   * @throws {ServiceError} ReportNotFound, ReportIncomplete, ReportCorrupt, ReportUnsupported, ReportTooLarge
   */
  read (call: Call, source: ReportSource, date: string): Promise<Outcome<VerifiedReport>>
}

interface Dependencies {
  objects: ReportObjects
  /** Wall clock, in milliseconds since 1970. */
  now: () => number
  /** Monotonic clock, in milliseconds. */
  steadyNow: () => number
}

/** Creates the reads of reports. */
export function createReports ({ objects, now, steadyNow }: Dependencies): Reports {
  const manifestLimiter = createManifestLimiter(steadyNow)

  async function stateOf (call: Call, { folder }: ReportSource, date: string): Promise<ListedReport | undefined> {
    const { value: manifest } = await objects.head(call, folder, manifestKey(folder, date))
    if (manifest === undefined) return undefined
    return { date, manifest, hasChecksum: await exists(call, folder, checksumKey(folder, date)) }
  }

  async function exists (call: Call, folder: string, key: string): Promise<boolean> {
    return (await objects.head(call, folder, key)).value !== undefined
  }

  /** Returns the latest report of the last days; undefined when COS lists the latest one already. */
  async function unlisted (
    call: Call, source: ReportSource, listed: ListedReport | undefined
  ): Promise<ListedReport | undefined> {
    if (!isNewerDue(listed?.date, source.schedule, now())) return undefined
    for (const date of recentDays(now())) {
      if (listed !== undefined && date <= listed.date) return undefined
      const found = await stateOf(call, source, date)
      if (found !== undefined) return found
    }
    return undefined
  }

  return {
    async list (call, { folder }, { from, to = lastDay(now()) }) {
      const { value, cos } = await objects.list(call, folder, { from, to })
      return { value: value.reverse(), cos }
    },

    async latest (call, source) {
      const { folder } = source
      const to = lastDay(now())
      const recent = await objects.list(call, folder, { from: dayBeforeAnyInterval(now()), to })
      const latestListed = recent.value.at(-1)
      const found = await unlisted(call, source, latestListed)
      if (found !== undefined) return { value: found, cos: recent.cos }
      const listed = latestListed ?? (await objects.list(call, folder, { from: undefined, to })).value.at(-1)
      if (listed === undefined) throw notFound(source, undefined)
      // COS may list the manifest some seconds before the checksum.
      const hasChecksum = listed.hasChecksum || await exists(call, folder, checksumKey(folder, listed.date))
      return { value: { ...listed, hasChecksum }, cos: recent.cos }
    },

    async read (call, source, date) {
      // A second report of a day may have replaced the manifest between the two reads.
      const attempt = () => readVerified(objects, call, source, date)
      const report = await manifestLimiter.run(call, async () => await attempt() ?? await attempt())
      if (report === undefined) throw corrupt('the MD5 of manifest.json is not that of manifest.checksum')
      return report
    }
  }
}

/** Returns a report; undefined when its manifest differs from its checksum. */
async function readVerified (
  objects: ReportObjects, call: Call, source: ReportSource, date: string
): Promise<Outcome<VerifiedReport> | undefined> {
  const { folder } = source
  const manifest = await objects.get(call, folder, manifestKey(folder, date), maxManifestBytes)
  if (manifest.value === undefined) throw notFound(source, date)
  const checksum = await objects.get(call, folder, checksumKey(folder, date), maxChecksumBytes)
  if (checksum.value === undefined) throw incomplete('Its checksum does not exist yet.')
  const { bytes, ...state } = manifest.value
  if (createHash('md5').update(bytes).digest('hex') !== readChecksum(checksum.value.bytes)) return undefined
  const content = readManifest(bytes, folder)
  return { value: { date, manifest: state, hasChecksum: true, content }, cos: manifest.cos }
}

/** Returns the key of the manifest of a day. @param date `YYYYMMDD` */
export function manifestKeyOf ({ folder }: ReportSource, date: string): string {
  return manifestKey(folder, date)
}

/** Returns the error of a report whose objects are not all there. */
export function incomplete (reason: string): ServiceError {
  return new ServiceError('ReportIncomplete', `COS has not delivered the whole report. ${reason} Retry in 60 s.`, { retryAfterSeconds: 60 })
}

function notFound ({ bucket, folder, schedule, isEnabled }: ReportSource, date: string | undefined): ServiceError {
  const what = date === undefined ? 'no report' : `no report of ${date}`
  const job = {
    true: `The configuration is enabled, ${schedule?.frequency ?? 'with an unknown schedule'}.`,
    false: 'The configuration is disabled.',
    undefined: 'The query names the destination, so the service did not read the configuration.'
  }[String(isEnabled)]
  return new ServiceError('ReportNotFound', `There is ${what} in ${bucket} under ${folder}/. ${job} Common causes: the ` +
    'configuration is new, as reports arrive early in the morning (China); COS may not write to the destination; no ' +
    'object matches the filter; another destination was configured then (see destination and prefix).')
}

/** Returns whether a report is stale, and after how many seconds; undefined without a schedule. */
export function stalenessOf (
  { modifiedAt }: Pick<ObjectState, 'modifiedAt'>, { schedule }: ReportSource, nowMs: number
): { isStale: boolean, afterSeconds: number } | undefined {
  if (schedule === undefined) return undefined
  const { staleAfterSeconds: afterSeconds } = schedule
  return { isStale: ageSecondsOf({ modifiedAt }, nowMs) > afterSeconds, afterSeconds }
}

/** Returns the age of a report in whole seconds, at least 0. */
export function ageSecondsOf ({ modifiedAt }: Pick<ObjectState, 'modifiedAt'>, nowMs: number): number {
  return Math.max(0, Math.floor((nowMs - modifiedAt) / 1000))
}

/** Returns the entity tag of a report. It changes with its manifest, its staleness and its completeness. */
export function reportTag ({ date, manifest, hasChecksum }: ListedReport, source: ReportSource, nowMs: number): string {
  const isStale = stalenessOf(manifest, source, nowMs)?.isStale
  const text = JSON.stringify([source.bucket, source.folder, date, manifest.etag, isStale, hasChecksum])
  return `"${createHash('sha256').update(text).digest('base64url').slice(0, 27)}"`
}
