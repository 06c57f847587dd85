const dayMs = 24 * 60 * 60 * 1000

// COS does not say in which time zone a day begins. UTC+8 is a guess.
const offsetMs = 8 * 60 * 60 * 1000

/** Returns the day of a time, as the number of days since 1970. */
export function dayOf (ms: number): number {
  return Math.floor((ms + offsetMs) / dayMs)
}

/** Returns the first moment of a day, in milliseconds since 1970. */
export function midnightOf (day: number): number {
  return day * dayMs - offsetMs
}

/** Returns a day as YYYYMMDD. */
export function toDate (day: number): string {
  return new Date(day * dayMs).toISOString().slice(0, 10).replaceAll('-', '')
}

/** Returns the day of YYYYMMDD; undefined when the calendar has no such day. */
export function parseDate (date: string): number | undefined {
  const [, year, month, ofMonth] = /^(\d{4})(\d{2})(\d{2})$/.exec(date) ?? []
  const day = Date.UTC(Number(year), Number(month) - 1, Number(ofMonth)) / dayMs
  return !Number.isNaN(day) && toDate(day) === date ? day : undefined
}
