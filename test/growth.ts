/** Returns the processor time of one run of some work, in milliseconds. */
function costOf (work: () => unknown): number {
  const before = process.cpuUsage()
  work()
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1000
}

/**
 * Returns whether work grows no faster than its input. An input of four times the size may cost eight times as much,
 * plus 20 ms. Quadratic work costs sixteen times as much.
 *
 * The least of 3 to 12 runs of each size counts, because compilation, garbage collection and other processes can only
 * add to it. The sizes alternate, so that both get the same share of compiled code.
 *
 * @param size of the smaller input; quadratic work on it must take more than 3 ms
 */
export function growsLinearly (work: (size: number) => unknown, size: number): boolean {
  work(4 * size)
  let [small, large] = [Infinity, Infinity]
  for (let run = 1; run <= 12; run++) {
    large = Math.min(large, costOf(() => work(4 * size)))
    small = Math.min(small, costOf(() => work(size)))
    if (run >= 3 && large <= 8 * small + 20) return true
  }
  return false
}
