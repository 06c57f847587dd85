import { setTimeout as sleep } from 'node:timers/promises'
import { Client, Pool } from 'undici'
import type { Dispatcher } from 'undici'
import type { Exchange, Requests } from './requests.ts'

/** The result of a measured load. */
export interface Measured {
  /** Number of responses. */
  responses: number
  seconds: number
  /** CPU microseconds of the measured processes per response. */
  cpuMicros: number
  /** Used share of a core; 1 is a whole core. A low value shows that the load generator was the bottleneck. */
  busy: number
  /** Milliseconds from sending to the last byte, one for each response. */
  latencies: number[]
}

interface ClosedLoop {
  connections: number
  /**
   * Milliseconds of unmeasured load first. Callers start one by one during this time. Callers that start together would
   * stay synchronized with a slow upstream.
   */
  leadMs: number
  measuredMs: number
  /** Returns the CPU microseconds of the measured processes so far. */
  cpuMicrosSoFar: () => number
}

/**
 * Keeps a request in flight on each connection, so that the servers are as busy as possible.
 *
 * @param targets the targets of the connections, used round-robin
 * @throws {Error} for the first unexpected response
 */
export async function closedLoop (
  targets: Requests[], { connections, leadMs, measuredMs, cpuMicrosSoFar }: ClosedLoop
): Promise<Measured> {
  const latencies: number[] = []
  const stopped = new AbortController()
  let next = 0
  const work = async ({ client, requests }: Caller, index: number) => {
    await sleep(index / connections * leadMs)
    while (!stopped.signal.aborted) latencies.push(await send(client, requests.at(next++)))
  }
  const snapshot = () => ({ at: performance.now(), cpu: cpuMicrosSoFar(), responses: latencies.length })
  return await withCallers(targets, connections, async callers => {
    const working = Promise.all(callers.map(work))
    await Promise.race([working, sleep(leadMs)])
    const before = snapshot()
    await Promise.race([working, sleep(measuredMs)])
    const after = snapshot()
    stopped.abort()
    await working
    const responses = after.responses - before.responses
    const seconds = (after.at - before.at) / 1_000
    const cpu = after.cpu - before.cpu
    return {
      responses,
      seconds,
      cpuMicros: cpu / responses,
      busy: cpu / 1e6 / seconds,
      latencies: latencies.slice(before.responses, after.responses)
    }
  })
}

/**
 * Sends the requests `from` to `to`, the latter excluded, one after the other on each connection.
 *
 * @returns milliseconds from sending to the last byte, one for each response
 * @throws {Error} for the first response with another status or length than it must have
 */
export async function sendAll (
  requests: Requests, connections: number, from: number, to: number
): Promise<number[]> {
  const latencies: number[] = []
  let next = from
  await withCallers([requests], connections, async callers => {
    await Promise.all(callers.map(async ({ client }) => {
      while (next < to) latencies.push(await send(client, requests.at(next++)))
    }))
  })
  return latencies
}

/** A connection and its requests. */
interface Caller {
  client: Client
  requests: Requests
}

async function withCallers<T> (
  targets: Requests[], connections: number, use: (callers: Caller[]) => Promise<T>
): Promise<T> {
  const callers = Array.from({ length: connections }, (_, index) => {
    const requests = targets[index % targets.length] as Requests
    return { client: connect(requests), requests }
  })
  try {
    return await use(callers)
  } finally {
    await Promise.all(callers.map(({ client }) => client.destroy()))
  }
}

interface OpenLoop {
  perSecond: number
  /** Milliseconds of unmeasured load first. */
  leadMs: number
  measuredMs: number
}

/** Timers of Node fire up to about a millisecond late. */
const timerMs = 1.5

/**
 * Sends requests by the clock, independent of their responses. Latency counts from the time a request was due. A
 * stalled server or a late sender therefore hides no waiting time. The sender sleeps until shortly before a request is
 * due. It then checks the time in each event-loop iteration, so that it is late by microseconds only.
 *
 * @returns milliseconds from due to the last byte, one for each request
 * @throws {Error} for the first unexpected response
 */
export async function openLoop (
  requests: Requests, { perSecond, leadMs, measuredMs }: OpenLoop
): Promise<number[]> {
  // The pool has more connections than concurrent requests, unless the server is too slow.
  const pool = new Pool(requests.origin, { connections: 64, pipelining: 1, keepAliveTimeout: 60_000 })
  const total = Math.round((leadMs + measuredMs) / 1_000 * perSecond)
  const lead = Math.round(leadMs / 1_000 * perSecond)
  const sent: Array<Promise<number>> = []
  const startedAt = performance.now()
  const dueAt = (index: number) => startedAt + index / perSecond * 1_000
  const sendDue = async (index: number) => {
    await send(pool, requests.at(index))
    return performance.now() - dueAt(index)
  }
  try {
    await new Promise<void>((resolve, reject) => {
      const loop = () => {
        while (sent.length < total && dueAt(sent.length) <= performance.now()) {
          const response = sendDue(sent.length)
          response.catch(reject)
          sent.push(response)
        }
        if (sent.length === total) resolve()
        else if (dueAt(sent.length) - performance.now() > timerMs) setTimeout(loop, 1)
        else setImmediate(loop)
      }
      loop()
    })
    return (await Promise.all(sent)).slice(lead)
  } finally {
    await pool.destroy()
  }
}

/** Opens a connection for these requests. It stays open between them. */
export function connect ({ origin }: Requests): Client {
  return new Client(origin, { pipelining: 1, keepAliveTimeout: 60_000 })
}

/**
 * Sends a request and reads the response.
 *
 * @returns milliseconds from sending to the last byte
 * @throws {Error} when there is no response, or its status or length is unexpected
 */
export function send (dispatcher: Dispatcher, { options, status, bytes }: Exchange): Promise<number> {
  return new Promise((resolve, reject) => {
    const sentAt = performance.now()
    let received = 0
    let responseStatus = 0
    dispatcher.dispatch(options, {
      onRequestStart () {},
      onResponseStart (_, statusCode) { responseStatus = statusCode },
      onResponseData (_, chunk) { received += chunk.length },
      onResponseEnd () {
        if (responseStatus === status && received === bytes) {
          resolve(performance.now() - sentAt)
        } else {
          reject(new Error(`${options.method} ${options.path}: ${responseStatus} with ${received} bytes instead of ${status} with ${bytes}`))
        }
      },
      onResponseError (_, error) { reject(new Error(`${options.method} ${options.path} has no response: ${error.message}`, { cause: error })) }
    })
  })
}
