/** Publishes when the latest reports of some configurations were delivered. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { AttemptLog } from '../cos/client/messages.ts'
import type { Call, Inventories } from '../cos/inventories.ts'
import type { Regions } from '../cos/regions/regions.ts'
import type { InventoryConfiguration } from '../contract/inventory.ts'
import { CancelSource } from '../concurrency/cancel-signal.ts'
import { ServiceError } from '../errors.ts'
import type { ReportMetrics } from '../metrics/report-metrics.ts'
import { untraced } from '../tracing/tracing.ts'
import { sourceOf } from './destination.ts'
import { stalenessOf } from './reports.ts'
import type { Reports } from './reports.ts'

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
  const check = createReportCheck(dependencies)

  async function run (): Promise<void> {
    while (!aborter.signal.aborted) {
      for (const each of watched) if (!aborter.signal.aborted) await check(each)
      await sleep(seconds * 1000, undefined, { signal: aborter.signal, ref: false }).catch(() => {})
    }
  }

  void run()
  return () => { aborter.abort() }
}

/** Creates the function that checks a configuration, or all of a bucket, and publishes what it finds. Never rejects. */
export function createReportCheck (
  { inventories, regions, reports, metrics, log, deadlineMs, steadyNow, now }: Dependencies
): (watched: Watched) => Promise<void> {
  /** Ids that were published, by bucket. */
  const published = new Map<string, Set<string>>()
  const signal = new CancelSource()
  const callTo = (bucket: string, region: string | undefined): Call =>
    ({ bucket, region, deadlineAt: steadyNow() + deadlineMs, log, trace: untraced, signal, tally: { attempts: 0 } })

  async function regionOf (bucket: string): Promise<string | undefined> {
    return (await regions.resolve(bucket, undefined, callTo(bucket, undefined))).region
  }

  /** Publishes the latest report of a configuration. One without any report is published as never delivered. */
  async function publish (bucket: string, configuration: InventoryConfiguration): Promise<void> {
    const source = sourceOf({ bucket, id: configuration.Id }, configuration)
    const call = callTo(source.bucket, source.region)
    const { value: { date } } = await reports.latest(call, source)
    const { value: { manifest, content } } = await reports.read(call, source, date)
    metrics.reportChecked(bucket, configuration.Id, {
      deliveredAt: manifest.modifiedAt,
      objects: content.filterObjectCount,
      bytes: content.filterStorageSize === undefined ? undefined : Number(content.filterStorageSize),
      isStale: stalenessOf(manifest, source, now())?.isStale
    })
  }

  async function attempt (bucket: string, id: string, work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      const { code, detail } = error instanceof ServiceError ? error : new ServiceError('InternalError', String(error))
      metrics.reportCheckFailed(bucket)
      log.warn({ bucket, id, code, detail }, 'check of reports failed')
    }
  }

  async function configurationsOf ({ bucket, id }: Watched): Promise<InventoryConfiguration[]> {
    const call = callTo(bucket, await regionOf(bucket))
    if (id !== '*') return [(await inventories.get(call, id)).value.configuration]
    return (await inventories.listAll(call)).value.documents.map(({ configuration }) => configuration)
  }

  return async watched => {
    const { bucket, id } = watched
    await attempt(bucket, id, async () => {
      const configurations = await configurationsOf(watched)
      const ids = new Set(configurations.map(({ Id }) => Id))
      for (const gone of [...published.get(`${bucket}/${id}`) ?? []].filter(each => !ids.has(each))) metrics.reportChecked(bucket, gone, undefined)
      published.set(`${bucket}/${id}`, ids)
      for (const each of configurations) await attempt(bucket, each.Id, () => publish(bucket, each))
    })
  }
}
