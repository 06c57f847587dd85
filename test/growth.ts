/**
 * Returns the processor time of some work in milliseconds, the least of three runs. Other processes and garbage
 * collection can only add to it.
 */
function costOf (work: () => unknown): number {
  return Math.min(...[1, 2, 3].map(() => {
    const before = process.cpuUsage()
    work()
    const { user, system } = process.cpuUsage(before)
    return (user + system) / 1000
  }))
}

/**
 * Returns whether work grows no faster than its input. An input of four times the size may cost eight times as much,
 * plus 20 ms. Quadratic work costs sixteen times as much.
 *
 * @param size of the smaller input; quadratic work on it must take more than 3 ms
 */
export function growsLinearly (work: (size: number) => unknown, size: number): boolean {
  work(size)
  return costOf(() => work(4 * size)) <= 8 * costOf(() => work(size)) + 20
}
