import { dayOf, toDate } from './day.ts'
import type { Schedule } from './job.ts'

/** A clock that moves far makes the last reports only. */
const mostDays = 31

/**
 * Returns the days whose first moment is in a span of time and on which a periodic job is due, in order. Daily jobs run
 * each day, weekly ones every 7 days from the day after the PUT. A month without the day of a monthly job has it on its
 * last day (a guess).
 *
 * @param putAtMs time of the last PUT
 * @param afterMs the span begins after this moment
 * @param untilMs the span ends with this moment
 * @returns days since 1970, at most 31
 */
export function dueDays (schedule: Schedule, putAtMs: number, afterMs: number, untilMs: number): number[] {
  const last = dayOf(untilMs)
  const firstScan = dayOf(putAtMs) + 1
  const first = Math.max(dayOf(afterMs) + 1, firstScan, last - mostDays + 1)
  const days = Array.from({ length: Math.max(0, last - first + 1) }, (_, index) => first + index)
  return days.filter(day => isDue(schedule, day, firstScan))
}

function isDue ({ frequency, monthlyDate }: Schedule, day: number, firstScan: number): boolean {
  switch (frequency) {
    case 'Daily':
      return true
    case 'Weekly':
      return (day - firstScan) % 7 === 0
    case 'Monthly': {
      const isLastOfMonth = ofMonth(day + 1) === 1
      return ofMonth(day) === monthlyDate || (isLastOfMonth && ofMonth(day) < monthlyDate)
    }
  }
}

function ofMonth (day: number): number {
  return Number(toDate(day).slice(6))
}
