/** Wires the parts that read delivered reports. */
import type { Logger } from 'pino'
import type { Config } from './config/config.ts'
import type { ConnectionRegistry } from './http/connections/connection-registry.ts'
import type { Metrics } from './metrics.ts'
import { watchReports } from './reports/report-watch.ts'
import { createReports } from './reports/reports.ts'
import { createStreamSlots } from './reports/stream-slots.ts'
import type { CosClient } from './upstream.ts'

interface Dependencies {
  connections: ConnectionRegistry
  metrics: Metrics
  log: Logger
  /** Monotonic clock, in milliseconds. */
  steadyNow: () => number
}

/** Creates the reads of reports. `watch` starts the checks of `REPORTS_WATCH`, and returns how to end them. */
export function createReporting (
  { cos: { deadlineMs }, reports: { isEnabled, maxStreams, watched, watchSeconds } }: Config,
  { clock, inventories, regions, reportObjects: objects }: CosClient,
  { connections, metrics, log, steadyNow }: Dependencies
) {
  // COS dates its objects with its own clock.
  const { now } = clock
  const reports = createReports({ objects, now, steadyNow })
  return {
    isEnabled,
    objects,
    reports,
    slots: createStreamSlots(maxStreams, () => connections.backlog().inFlight),
    now,
    watch: (): (() => void) => watched.length === 0
      ? () => {}
      : watchReports(watched, watchSeconds, { inventories, regions, reports, metrics, log, deadlineMs, steadyNow, now })
  }
}
