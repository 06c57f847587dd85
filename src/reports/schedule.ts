/** When reports are due, and when they are stale. All functions are pure. */
import type { InventoryConfiguration } from '../contract/inventory.ts'

const daySeconds = 86_400
const dayMs = daySeconds * 1000

/** COS probably names days in the time zone of China. This is not documented, so callers also try UTC. */
const chinaOffsetMs = 8 * 3_600_000

/** Hour of the day, in China, before which the report of a day need not have arrived. */
const arrivalHour = 6

const intervalDays: Readonly<Record<string, number>> = { Daily: 1, Weekly: 7, Monthly: 31 }

/** The schedule of a configuration that creates reports. */
export interface ReportSchedule {
  frequency: string
  /** The interval of the schedule plus one day, in seconds. */
  staleAfterSeconds: number
}

/** Returns the schedule of a configuration; undefined when it is disabled, or has no schedule that is known. */
export function scheduleOf (
  { IsEnabled: isEnabled, Schedule: schedule }: InventoryConfiguration
): ReportSchedule | undefined {
  const days = intervalDays[schedule?.Frequency ?? '']
  if (isEnabled !== true || schedule === undefined || days === undefined) return undefined
  return { frequency: schedule.Frequency, staleAfterSeconds: (days + 1) * daySeconds }
}

/** Returns a day as `YYYYMMDD`. @param offsetMs time zone */
function dayOf (atMs: number, offsetMs: number): string {
  return new Date(atMs + offsetMs).toISOString().slice(0, 10).replaceAll('-', '')
}

/** Returns today and yesterday, in UTC and in China, the latest first. @param nowMs milliseconds since 1970 */
export function recentDays (nowMs: number): string[] {
  const days = [0, dayMs].flatMap(agoMs => [chinaOffsetMs, 0].map(offsetMs => dayOf(nowMs - agoMs, offsetMs)))
  return [...new Set(days)].sort().reverse()
}

/** Returns tomorrow. A report of a later day is none of COS. */
export function lastDay (nowMs: number): string {
  return dayOf(nowMs + dayMs, chinaOffsetMs)
}

/** Returns a day that is older than the latest report of any schedule that is kept. */
export function dayBeforeAnyInterval (nowMs: number): string {
  return dayOf(nowMs - 40 * dayMs, 0)
}

/**
 * Tells whether a newer report than that of a day can be expected by now.
 *
 * @param latest `YYYYMMDD` of the latest known report; undefined when there is none
 * @param schedule undefined when nothing is known of it
 */
export function isNewerDue (latest: string | undefined, schedule: ReportSchedule | undefined, nowMs: number): boolean {
  if (latest === undefined) return true
  if (schedule === undefined) return false
  const [, year, month, day] = /^(....)(..)(..)$/.exec(latest) as unknown as [string, string, string, string]
  const intervalMs = schedule.staleAfterSeconds * 1000 - dayMs
  const beginMs = Date.UTC(Number(year), Number(month) - 1, Number(day)) - chinaOffsetMs
  return beginMs + intervalMs + arrivalHour * 3_600_000 <= nowMs
}
