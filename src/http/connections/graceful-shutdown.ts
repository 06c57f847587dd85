import { Server } from 'node:net'
import { setImmediate as nextIteration, setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import type { ConnectionRegistry } from './connection-registry.ts'

/**
 * The phase of the process. `finishing` accepts no new connections, but serves requests on open ones. `closing` rejects
 * those, too.
 */
type Phase = 'serving' | 'draining' | 'finishing' | 'closing'

/** The state of a shutdown that probes, routes and connections share. */
export interface Lifecycle {
  phase: Phase
  /** Called when requests are still in flight at the end of the grace period. */
  whenAborted: Array<() => void>
}

/** Creates the lifecycle of a service that has just started. */
export function createLifecycle (): Lifecycle {
  return { phase: 'serving', whenAborted: [] }
}

/** Iterations of the event loop after which all data of the kernel has been read. */
const iterations = 3
/** Upper bound if new connections do not stop. */
const maxRounds = 1_000
/** Time without a new request after which all requests in transit have arrived. */
const quietMs = 100
const maxFinishingMs = 1_000

/**
 * Time for which a connection without a request stays open when the service is closing. A request may be in transit.
 */
const unusedMs = 2_000

/** Lets app.close() close connections without a request. */
export function closeUnusedOnClose (app: FastifyInstance, connections: ConnectionRegistry): void {
  app.addHook('preClose', async () => { closeUnusedLater(connections) })
}

function closeUnusedLater (connections: ConnectionRegistry): void {
  setTimeout(() => { connections.closeUnused() }, unusedMs).unref()
}

/**
 * Shuts the service down in this order:
 *
 * 1. Readiness returns 503 for `delayMs` and all requests are served, so that load balancers stop sending requests.
 * 2. New connections are rejected. The last response of each connection closes it. Requests in transit are served.
 * 3. Responses in flight have `graceMs` to be sent completely.
 *
 * @returns whether every response was sent or its client disconnected
 */
export async function shutDown (
  app: FastifyInstance,
  lifecycle: Lifecycle,
  connections: ConnectionRegistry,
  { delayMs, graceMs }: { delayMs: number, graceMs: number }
): Promise<boolean> {
  const { arrived } = connections
  lifecycle.phase = 'draining'
  await sleep(delayMs)
  lifecycle.phase = 'finishing'
  await untilAccepted(arrived)
  // http.Server.close() also closes idle connections at once, even if a request has arrived and is not read yet.
  Server.prototype.close.call(app.server)
  await untilRead(arrived)
  lifecycle.phase = 'closing'
  connections.closeIdle()
  closeUnusedLater(connections)
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<boolean>(resolve => { timer = setTimeout(resolve, graceMs, false) })
  // Node counts a connection as idle before its response has been sent, and app.close() closes idle connections.
  const closed = connections.drained().then(() => app.close()).then(() => true)
  const inTime = await Promise.race([closed, late])
  clearTimeout(timer)
  // Requests that have ended are not in flight any more.
  reportAborted(lifecycle)
  return inTime
}

/**
 * Waits for connections that the kernel has established. Node may accept only one per iteration. Iterations are counted
 * instead of time, because the process may have been suspended.
 */
async function untilAccepted (arrived: ConnectionRegistry['arrived']): Promise<void> {
  let before = NaN
  for (let rounds = 0; before !== arrived.connections && rounds < maxRounds; rounds++) {
    before = arrived.connections
    await untilPolled()
  }
}

/** Waits for requests in transit on open connections. */
async function untilRead (arrived: ConnectionRegistry['arrived']): Promise<void> {
  let before = NaN
  for (let waitedMs = 0; before !== arrived.requests && waitedMs < maxFinishingMs; waitedMs += quietMs) {
    before = arrived.requests
    await sleep(quietMs)
    await untilPolled()
  }
}

/** Lets the event loop poll every socket. */
async function untilPolled (): Promise<void> {
  for (let count = 0; count < iterations; count++) await nextIteration()
}

/** Tells observers that requests in flight will not end. */
export function reportAborted ({ whenAborted }: Lifecycle): void {
  for (const each of whenAborted) each()
}
