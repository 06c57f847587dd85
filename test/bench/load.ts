import { setTimeout as sleep } from 'node:timers/promises'
import { Client, Pool } from 'undici'
import type { Dispatcher } from 'undici'
import type { Exchange, Requests } from './requests.ts'

/** What a stretch of load came to. */
export interface Measured {
  /** How many answers came. */
  answers: number
  seconds: number
  /** CPU microseconds for each answer of those under load. */
  cpuMicros: number
  /** The share of a core they were busy: 1 is all of it. Well below, the load was the bottleneck, not the server. */
  busy: number
  /** Milliseconds from sending to the last byte, one for each answer. */
  latencies: number[]
}

interface ClosedLoop {
  connections: number
  /**
   * Unmeasured load before, in milliseconds. Callers come one by one during it: those that begin together would go on
   * in step for ever where the upstream is slow, and wait for each other.
   */
  leadMs: number
  measuredMs: number
  /** CPU microseconds so far of those under load. */
  cpuMicrosSoFar: () => number
}

/**
 * Keeps a request under way on each connection, so that the servers are as busy as they can be.
 *
 * @param targets connections are shared out among them in turn
 * @throws {Error} for the first answer that is not as it should be
 */
export async function closedLoop (
  targets: Requests[], { connections, leadMs, measuredMs, cpuMicrosSoFar }: ClosedLoop
): Promise<Measured> {
  const latencies: number[] = []
  const over = new AbortController()
  let next = 0
  const work = async ({ client, requests }: Caller, index: number) => {
    await sleep(index / connections * leadMs)
    while (!over.signal.aborted) latencies.push(await send(client, requests.at(next++)))
  }
  const look = () => ({ at: performance.now(), cpu: cpuMicrosSoFar(), answers: latencies.length })
  return await withCallers(targets, connections, async callers => {
    const working = Promise.all(callers.map(work))
    await Promise.race([working, sleep(leadMs)])
    const before = look()
    await Promise.race([working, sleep(measuredMs)])
    const after = look()
    over.abort()
    await working
    const answers = after.answers - before.answers
    const seconds = (after.at - before.at) / 1_000
    const cpu = after.cpu - before.cpu
    return {
      answers,
      seconds,
      cpuMicros: cpu / answers,
      busy: cpu / 1e6 / seconds,
      latencies: latencies.slice(before.answers, after.answers)
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

/** A connection, and what is asked over it. */
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
  /** Unmeasured load before, in milliseconds. */
  leadMs: number
  measuredMs: number
}

/** A timer of Node comes up to a millisecond late, and sometimes a bit more. */
const timerMs = 1.5

/**
 * Sends by the clock, however late answers are. Latency counts from when a request was due, so that neither a server
 * that stalls nor a sender that is late hides what callers would have waited. To be late by microseconds only, the
 * sender sleeps until shortly before a request is due and asks for the time in every turn of the event loop from then
 * on; reading answers goes on meanwhile.
 *
 * @returns milliseconds from due to the last byte, one for each request
 * @throws {Error} for the first answer that is not as it should be
 */
export async function openLoop (
  requests: Requests, { perSecond, leadMs, measuredMs }: OpenLoop
): Promise<number[]> {
  // More connections than requests are ever under way at once, unless the server cannot keep up.
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
      const turn = () => {
        while (sent.length < total && dueAt(sent.length) <= performance.now()) {
          const answer = sendDue(sent.length)
          answer.catch(reject)
          sent.push(answer)
        }
        if (sent.length === total) resolve()
        else if (dueAt(sent.length) - performance.now() > timerMs) setTimeout(turn, 1)
        else setImmediate(turn)
      }
      turn()
    })
    return (await Promise.all(sent)).slice(lead)
  } finally {
    await pool.destroy()
  }
}

/** A connection to where these requests go. It stays open between them. */
export function connect ({ origin }: Requests): Client {
  return new Client(origin, { pipelining: 1, keepAliveTimeout: 60_000 })
}

/**
 * Sends a request and reads the answer.
 *
 * @returns milliseconds from sending to the last byte
 * @throws {Error} when no answer comes, or one of another status or length than it must have
 */
export function send (dispatcher: Dispatcher, { options, status, bytes }: Exchange): Promise<number> {
  return new Promise((resolve, reject) => {
    const sentAt = performance.now()
    let received = 0
    let answered = 0
    dispatcher.dispatch(options, {
      onRequestStart () {},
      onResponseStart (_, statusCode) { answered = statusCode },
      onResponseData (_, chunk) { received += chunk.length },
      onResponseEnd () {
        if (answered === status && received === bytes) {
          resolve(performance.now() - sentAt)
        } else {
          reject(new Error(`${options.method} ${options.path}: ${answered} with ${received} bytes instead of ${status} with ${bytes}`))
        }
      },
      onResponseError (_, error) { reject(new Error(`${options.method} ${options.path} has no answer: ${error.message}`, { cause: error })) }
    })
  })
}
