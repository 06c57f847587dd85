import { performance } from 'node:perf_hooks'
import { Agent } from 'undici'
import type { Dispatcher } from 'undici'

interface Test {
  teardown (handler: () => unknown): void
}

/** What came of a request. */
export interface Reply {
  method: string
  path: string
  /** 0 when no answer came; `fault` says why then. */
  status: number
  headers: Record<string, string | string[] | undefined>
  text: string
  /** The `code` of a problem document. */
  code: string | undefined
  fault: string | undefined
  startedAt: number
  /** Milliseconds from sending to the last byte. */
  ms: number
}

/** A caller of the service, over connections of its own. */
export interface Caller {
  /** Never rejects: a request that fails is a reply with status 0. An object is sent as JSON. */
  call (method: string, path: string, body?: object, signal?: AbortSignal): Promise<Reply>
  /** Closes its connections. */
  close (): Promise<void>
}

/** Whether everything runs at full length; else in the short form that `npm test` has time for. */
export const isFull = process.env['FAULTS'] === 'full'

/** As many connections as there are requests at once, kept alive between them. */
export function createCaller (t: Test, origin: string): Caller {
  const agent = new Agent({ pipelining: 1, connections: null, headersTimeout: 60_000, bodyTimeout: 60_000 })
  t.teardown(() => agent.destroy())
  return {
    close: () => agent.destroy(),
    async call (method, path, body, signal) {
      const startedAt = performance.now()
      const about = { method, path, startedAt }
      try {
        const answer = await agent.request({
          origin,
          path,
          method: method as Dispatcher.HttpMethod,
          headers: body === undefined ? {} : { 'content-type': 'application/json' },
          body: body === undefined ? null : JSON.stringify(body),
          ...(signal !== undefined && { signal })
        })
        const text = await answer.body.text()
        const { statusCode: status, headers } = answer
        const ms = performance.now() - startedAt
        return { ...about, status, headers, text, code: codeOf(headers, text), fault: undefined, ms }
      } catch (error) {
        const { code, name, message } = error as NodeJS.ErrnoException
        const fault = `${code ?? name}: ${message}`
        return { ...about, status: 0, headers: {}, text: '', code: undefined, fault, ms: performance.now() - startedAt }
      }
    }
  }
}

function codeOf (headers: Reply['headers'], text: string): string | undefined {
  if (headers['content-type'] !== 'application/problem+json') return undefined
  return text === '' ? undefined : (JSON.parse(text) as { code: string }).code
}

/**
 * Sends at a rate, whatever comes back and however late: callers in the world do not wait for each other.
 *
 * @param perSecond requests a second, by the clock: a timer that comes late sends what has become due
 * @returns what every request gave, once all have
 */
export async function openLoop<T> (
  perSecond: number, seconds: number, send: (index: number) => Promise<T>
): Promise<T[]> {
  const total = Math.round(perSecond * seconds)
  const sent: Array<Promise<T>> = []
  const startedAt = performance.now()
  await new Promise<void>(resolve => {
    const timer = setInterval(() => {
      const due = Math.min(total, Math.floor((performance.now() - startedAt) / 1000 * perSecond) + 1)
      while (sent.length < due) sent.push(send(sent.length))
      if (sent.length < total) return
      clearInterval(timer)
      resolve()
    }, 2)
  })
  return await Promise.all(sent)
}

/** Keeps so many requests under way until `total` have been sent, and gives what each gave. */
export async function closedLoop<T> (
  concurrency: number, total: number, send: (index: number) => Promise<T>
): Promise<T[]> {
  const results: T[] = []
  let next = 0
  await Promise.all(Array.from({ length: Math.min(concurrency, total) }, async () => {
    while (next < total) {
      const index = next++
      results[index] = await send(index)
    }
  }))
  return results
}

/** Keeps so many requests under way until told to stop; then gives what each gave. */
export function loadUntilStopped<T> (
  concurrency: number, send: (index: number) => Promise<T>
): { results: T[], stop: () => Promise<T[]> } {
  const results: T[] = []
  const stopped = new AbortController()
  let next = 0
  const workers = Array.from({ length: concurrency }, async () => {
    while (!stopped.signal.aborted) results.push(await send(next++))
  })
  return {
    results,
    async stop () {
      stopped.abort()
      await Promise.all(workers)
      return results
    }
  }
}

/** Resolves after so many milliseconds with what the act gives: for what must happen at a time, not after an event. */
export async function at<T> (ms: number, act: () => T): Promise<T> {
  return await new Promise(resolve => { setTimeout(() => { resolve(act()) }, ms) })
}

/**
 * Looks until a check holds: for what no event tells of, such as figures of another process.
 *
 * @throws {Error} when it does not hold within `limitMs`; the error has what was seen last
 */
export async function until<T> (
  look: () => T | Promise<T>, holds: (seen: T) => boolean, limitMs = 10_000
): Promise<T> {
  const endsAt = performance.now() + limitMs
  for (;;) {
    const seen = await at(10, look)
    if (holds(seen)) return seen
    if (performance.now() > endsAt) throw new Error(`not within ${limitMs} ms; last seen: ${JSON.stringify(seen)}`)
  }
}

/** The value that the share `q` (0 to 1) of the values does not exceed. */
export function quantile (values: number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(sorted.length * q) - 1)] ?? NaN
}

/** How often each key comes, such as each status. */
export function countBy<T> (values: T[], keyOf: (value: T) => string | number | undefined): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const value of values) {
    const key = String(keyOf(value))
    counts[key] = (counts[key] ?? 0) + 1
  }
  return counts
}

/** Numbers from 0 to 1 that a seed decides (mulberry32). */
export function createRandom (seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6D2B79F5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
