import { quantile } from '../faults/load.ts'

/** The middle one of the values, the lower of two. */
export function median (values: number[]): number {
  return quantile(values, 0.5)
}

/** Median, least and greatest, such as `4,210 (4,102-4,280)`. */
export function spread (values: number[], digits = 0): string {
  return `${round(median(values), digits)} (${round(Math.min(...values), digits)}-${round(Math.max(...values), digits)})`
}

/** The spread of what rounds gave for one in relation to what the same rounds gave for the other. */
export function ratio (ones: number[], others: number[]): string {
  return spread(ones.map((one, round) => one / (others[round] as number)), 2)
}

/** A number for people, such as `4,210`. */
export function round (value: number, digits = 0): string {
  return value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}

/** A table of markdown; all columns but the first are figures. */
export function table (head: string[], rows: string[][]): string {
  const line = (cells: string[]) => `| ${cells.join(' | ')} |`
  return [line(head), line(head.map((_, column) => column === 0 ? '---' : '---:')), ...rows.map(line)].join('\n')
}
