/** `npm test` makes a fifth of the runs. `RUNS=1` makes all of them, and `RUNS=10` ten times as many. */
const share = Number(process.env['RUNS'] ?? 0.2)

/** Returns how many inputs a property is tested with: a share of `full`, but at least 100 or `full` if that is less. */
export function runsOf (full: number): number {
  return Math.max(Math.min(full, 100), Math.ceil(full * share))
}
