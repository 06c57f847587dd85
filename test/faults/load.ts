import { performance } from 'node:perf_hooks'
import { Agent } from 'undici'
import type { Dispatcher } from 'undici'

interface Test {
  teardown (handler: () => unknown): void
}

/** The result of a request. */
export interface Reply {
  method: string
  path: string
  /** 0 when no response arrived; `failure` has the reason. */
  status: number
  headers: Record<string, string | string[] | undefined>
  text: string
  /** The `code` of a problem document. */
  code: string | undefined
  failure: string | undefined
  startedAt: number
  /** Milliseconds from sending to the last byte. */
  ms: number
}

/** A caller of the service with its own connections. */
export interface Caller {
  /** Sends a request; an object is sent as JSON. A failed request is a reply with status 0, not an error. */
  call (method: string, path: string, body?: object, signal?: AbortSignal): Promise<Reply>
  /** Closes its connections. */
  close (): Promise<void>
}

/** Whether tests run at full length; otherwise they run in the short form of `npm test`. */
export const isFull = process.env['FAULTS'] === 'full'

/** Creates a caller with one kept-alive connection per concurrent request. */
export function createCaller (t: Test, origin: string): Caller {
  const agent = new Agent({ pipelining: 1, connections: null, headersTimeout: 60_000, bodyTimeout: 60_000 })
  t.teardown(() => agent.destroy())
  return {
    close: () => agent.destroy(),
    async call (method, path, body, signal) {
      const startedAt = performance.now()
      const about = { method, path, startedAt }
      try {
        const response = await agent.request({
          origin,
          path,
          method: method as Dispatcher.HttpMethod,
          headers: body === undefined ? {} : { 'content-type': 'application/json' },
          body: body === undefined ? null : JSON.stringify(body),
          ...(signal !== undefined && { signal })
        })
        const text = await response.body.text()
        const { statusCode: status, headers } = response
        const ms = performance.now() - startedAt
        return { ...about, status, headers, text, code: codeOf(headers, text), failure: undefined, ms }
      } catch (error) {
        const { code, name, message } = error as NodeJS.ErrnoException
        const failure = `${code ?? name}: ${message}`
        return { ...about, status: 0, headers: {}, text: '', code: undefined, failure, ms: performance.now() - startedAt }
      }
    }
  }
}

function codeOf (headers: Reply['headers'], text: string): string | undefined {
  if (headers['content-type'] !== 'application/problem+json') return undefined
  return text === '' ? undefined : (JSON.parse(text) as { code: string }).code
}

/**
 * Sends requests at a rate, independent of their responses, as real callers do.
 *
 * @param perSecond requests per second; a late timer sends all requests that are due
 * @returns the results of all requests
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

/** Keeps this many requests in flight until `total` have been sent, and returns their results. */
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

/** Keeps this many requests in flight until `stop` is called, which returns their results. */
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

/** Runs a function after this many milliseconds and returns its result. */
export async function at<T> (ms: number, act: () => T): Promise<T> {
  return await new Promise(resolve => { setTimeout(() => { resolve(act()) }, ms) })
}

/**
 * Reads a value until it meets a condition, for values without events, such as metrics of another process.
 *
 * @throws {Error} when the condition is not met within `limitMs`; the message has the last value
 */
export async function until<T> (
  read: () => T | Promise<T>, isMet: (value: T) => boolean, limitMs = 10_000
): Promise<T> {
  const endsAt = performance.now() + limitMs
  for (;;) {
    const value = await at(10, read)
    if (isMet(value)) return value
    if (performance.now() > endsAt) throw new Error(`not within ${limitMs} ms; last value: ${JSON.stringify(value)}`)
  }
}

/** Returns the value that the share `q` (0 to 1) of the values does not exceed. */
export function quantile (values: number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(sorted.length * q) - 1)] ?? NaN
}

/** Counts the values by key, such as by status. */
export function countBy<T> (values: T[], keyOf: (value: T) => string | number | undefined): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const value of values) {
    const key = String(keyOf(value))
    counts[key] = (counts[key] ?? 0) + 1
  }
  return counts
}

/** Creates a generator of numbers from 0 to 1 with a seed (mulberry32). */
export function createRandom (seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6D2B79F5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
