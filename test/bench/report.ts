import { quantile } from '../faults/load.ts'

/** Returns the middle value, or the lower of two. */
export function median (values: number[]): number {
  return quantile(values, 0.5)
}

/** Returns median, minimum and maximum, such as `4,210 (4,102-4,280)`. */
export function spread (values: number[], digits = 0): string {
  return `${round(median(values), digits)} (${round(Math.min(...values), digits)}-${round(Math.max(...values), digits)})`
}

/** Returns the spread of the ratios of two servers, round by round. */
export function ratio (ones: number[], others: number[]): string {
  return spread(ones.map((one, round) => one / (others[round] as number)), 2)
}

/** Formats a number, such as `4,210`. */
export function round (value: number, digits = 0): string {
  return value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}

/** Formats a markdown table; all columns except the first are numbers. */
export function table (head: string[], rows: string[][]): string {
  const line = (cells: string[]) => `| ${cells.join(' | ')} |`
  return [line(head), line(head.map((_, column) => column === 0 ? '---' : '---:')), ...rows.map(line)].join('\n')
}
