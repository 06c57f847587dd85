/** Publishes when the latest reports of some configurations were delivered. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { AttemptLog } from '../cos/client/messages.ts'
import type { Call, Inventories } from '../cos/inventories.ts'
import type { Regions } from '../cos/regions/regions.ts'
import type { InventoryConfiguration } from '../contract/inventory.ts'
import { CancelSource } from '../concurrency/cancel-signal.ts'
import type { CancelSignal } from '../concurrency/cancel-signal.ts'
import { ServiceError } from '../errors.ts'
import type { ReportMetrics } from '../metrics/report-metrics.ts'
import { untraced } from '../tracing/tracing.ts'
import { sourceOf } from './destination.ts'
import type { ReportSource } from './destination.ts'
import { stalenessOf } from './reports.ts'
import type { Reports, VerifiedReport } from './reports.ts'
import { scheduleOf } from './schedule.ts'

/** A configuration, or with the id `*` all configurations of a bucket. */
export interface Watched {
  bucket: string
  id: string
}

interface Dependencies {
  inventories: Pick<Inventories, 'get' | 'listAll'>
  regions: Pick<Regions, 'resolve'>
  reports: Reports
  metrics: Pick<ReportMetrics, 'reportChecked' | 'reportCheckFailed'>
  log: AttemptLog & { warn (fields: object, message: string): void }
  deadlineMs: number
  /** Monotonic clock, in milliseconds. */
  steadyNow: () => number
  /** Wall clock, in milliseconds since 1970. */
  now: () => number
}

/**
 * Checks each configuration now and then every `seconds`, one after another. Returns the function that ends the checks.
 */
export function watchReports (watched: readonly Watched[], seconds: number, dependencies: Dependencies): () => void {
  const aborter = new AbortController()
  const ended = new CancelSource()
  const check = createReportCheck(dependencies, ended)

  async function run (): Promise<void> {
    while (!ended.aborted) {
      for (const each of watched) await check(each)
      await sleep(seconds * 1000, undefined, { signal: aborter.signal, ref: false }).catch(() => {})
    }
  }

  void run()
  return () => {
    ended.cancel()
    aborter.abort()
  }
}

/**
 * Creates the function that checks a configuration, or all of a bucket, and publishes the latest reports. It never
 * rejects. Disabled configurations and those without a known schedule are not published.
 *
 * @param ended ends a check; it then publishes and logs nothing more
 */
export function createReportCheck (
  dependencies: Dependencies, ended: CancelSignal
): (watched: Watched) => Promise<void> {
  const { metrics, log, now } = dependencies
  const { configurationsOf, latestOf } = createReads(dependencies, ended)
  const { publish, keepOnly } = createPublication(metrics, now)

  /** Does a part of a check. A failure is counted and logged. */
  async function attempt (bucket: string, id: string, work: () => Promise<void>): Promise<void> {
    try {
      if (!ended.aborted) await work()
    } catch (error) {
      if (ended.aborted) return
      const { code, detail } = error instanceof ServiceError ? error : new ServiceError('InternalError', String(error))
      metrics.reportCheckFailed(bucket)
      log.warn({ bucket, id, code, detail }, 'check of reports failed')
    }
  }

  return async watched => {
    const { bucket, id } = watched
    await attempt(bucket, id, async () => {
      const configurations = await configurationsOf(watched).catch((error: unknown) => {
        if (hasCode(error, 'InventoryConfigurationNotFoundError')) keepOnly(watched, new Set())
        throw error
      })
      keepOnly(watched, new Set(configurations.map(({ Id }) => Id)))
      for (const each of configurations) {
        await attempt(bucket, each.Id, async () => {
          const source = sourceOf({ bucket, id: each.Id }, each)
          const report = await latestOf(source)
          if (!ended.aborted) publish(bucket, source, report)
        })
      }
    })
  }
}

/** Creates the reads of a check. */
function createReads (
  { inventories, regions, reports, log, deadlineMs, steadyNow }: Dependencies, ended: CancelSignal
) {
  const callTo = (bucket: string, region: string | undefined): Call => ({
    bucket, region, deadlineAt: steadyNow() + deadlineMs, log, trace: untraced, signal: ended, tally: { attempts: 0 }
  })

  return {
    /** Returns the watched configurations that deliver reports. */
    async configurationsOf ({ bucket, id }: Watched): Promise<InventoryConfiguration[]> {
      const { region } = await regions.resolve(bucket, undefined, callTo(bucket, undefined))
      const call = callTo(bucket, region)
      const configurations = id === '*'
        ? (await inventories.listAll(call)).value.documents.map(({ configuration }) => configuration)
        : [(await inventories.get(call, id)).value.configuration]
      return configurations.filter(each => scheduleOf(each) !== undefined)
    },

    /** Returns the latest report; undefined when there is none. */
    async latestOf (source: ReportSource): Promise<VerifiedReport | undefined> {
      const call = callTo(source.bucket, source.region)
      try {
        const { value: { date } } = await reports.latest(call, source)
        return (await reports.read(call, source, date)).value
      } catch (error) {
        if (hasCode(error, 'ReportNotFound')) return undefined
        throw error
      }
    }
  }
}

/** Creates the functions that publish reports and forget them. @param now wall clock, in milliseconds since 1970 */
function createPublication (metrics: Pick<ReportMetrics, 'reportChecked'>, now: () => number) {
  /** Ids that were published, by the watched entry. */
  const published = new Map<string, Set<string>>()
  /**
   * When the last known report of a configuration was delivered, else when a check first found none, in milliseconds
   * since 1970.
   */
  const since = new Map<string, number>()

  return {
    /** Publishes the latest report of a configuration with a schedule. */
    publish (bucket: string, source: ReportSource, report: VerifiedReport | undefined): void {
      const { id } = source
      const key = `${bucket}/${id}`
      const deliveredAt = report?.manifest.modifiedAt
      const modifiedAt = deliveredAt ?? since.get(key) ?? now()
      since.set(key, modifiedAt)
      const { filterObjectCount: objects, filterStorageSize } = report?.content ?? {}
      metrics.reportChecked(bucket, id, {
        deliveredAt,
        objects,
        bytes: filterStorageSize === undefined ? undefined : Number(filterStorageSize),
        // Later checks may fail, and the report still becomes stale.
        isStale: () => stalenessOf({ modifiedAt }, source, now())?.isStale === true
      })
    },

    /** Forgets the configurations of an entry, except these. */
    keepOnly ({ bucket, id }: Watched, ids: Set<string>): void {
      for (const each of published.get(`${bucket}/${id}`) ?? []) {
        if (ids.has(each)) continue
        metrics.reportChecked(bucket, each, undefined)
        since.delete(`${bucket}/${each}`)
      }
      published.set(`${bucket}/${id}`, ids)
    }
  }
}

function hasCode (error: unknown, code: string): boolean {
  return error instanceof ServiceError && error.code === code
}
