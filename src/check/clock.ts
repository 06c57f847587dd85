import type { Report } from './finding.ts'

/** Dates of responses have whole seconds, and responses take time. In milliseconds. */
const toleranceMs = 10_000

/**
 * Compares the clocks.
 *
 * @param skewMs COS's clock minus the clock of this machine; undefined without a response of COS
 * @param isRejected whether COS rejected a signature because of its time
 */
export function checkClock (skewMs: number | undefined, isRejected: boolean, report: Report): void {
  if (skewMs === undefined) {
    report.warning('Not checked, because there is no response of COS.')
    return
  }
  const difference = `The clock of this machine is ${durationOf(Math.abs(skewMs))} ${skewMs > 0 ? 'behind' : 'ahead of'} COS`
  if (isRejected) report.error(`${difference}, which rejects signatures of this time. Synchronize the clock.`)
  else if (Math.abs(skewMs) > toleranceMs) report.warning(`${difference}. Synchronize the clock.`)
  else report.ok('The clock of this machine is that of COS.')
}

function durationOf (ms: number): string {
  const seconds = Math.round(ms / 1000)
  return seconds < 120 ? `${seconds} s` : `${Math.round(seconds / 60)} min`
}
