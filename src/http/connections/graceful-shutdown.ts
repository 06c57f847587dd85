import { Server } from 'node:net'
import { setImmediate as nextIteration, setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import type { ConnectionRegistry } from './connection-registry.ts'

/**
 * The state of the process. `finishing` accepts no new connections, but serves what arrives on open ones; `closing`
 * rejects that, too.
 */
type Phase = 'serving' | 'draining' | 'finishing' | 'closing'

/** The state of a shutdown that probes, routes and connections share. */
export interface Lifecycle {
  phase: Phase
  /** Called when requests are still in flight at the end of the grace period. */
  whenCut: Array<() => void>
}

/** Creates the lifecycle of a service that has just started. */
export function createLifecycle (): Lifecycle {
  return { phase: 'serving', whenCut: [] }
}

/** Iterations of the event loop after which everything that the kernel has is here. */
const iterations = 3
/** An upper bound when new connections do not stop. */
const maxRounds = 1_000
/** Requests that were in transit when the stop began have arrived after this long without a new one. */
const quietMs = 100
const maxFinishingMs = 1_000

/** How long a connection without a request may stay open once the service is closing: one may be about to arrive. */
const unusedMs = 2_000

/** Lets app.close() end connections without a request. */
export function closeUnusedOnClose (app: FastifyInstance, connections: ConnectionRegistry): void {
  app.addHook('preClose', async () => { closeUnusedLater(connections) })
}

function closeUnusedLater (connections: ConnectionRegistry): void {
  setTimeout(() => { connections.closeUnused() }, unusedMs).unref()
}

/**
 * Stops in order. Readiness turns 503 while everything is still served for `delayMs`, so that load balancers stop
 * sending requests. Then no new connection is accepted, and the last response of each connection ends it. Requests that
 * were in transit are served. Then the responses in flight have `graceMs` to be sent whole.
 *
 * @returns whether every response was sent, or its client disconnected
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
  // http.Server.close() also closes idle connections at once, among them those whose request has not been read.
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
  // Nothing that has ended is written off.
  cutRequests(lifecycle)
  return inTime
}

/**
 * Waits for connections that the kernel has established already, of which Node may accept one an iteration. Iterations
 * are counted, because the time of a process that did not run for a while means nothing.
 */
async function untilAccepted (arrived: ConnectionRegistry['arrived']): Promise<void> {
  let before = NaN
  for (let rounds = 0; before !== arrived.connections && rounds < maxRounds; rounds++) {
    before = arrived.connections
    await untilPolled()
  }
}

/** Waits for requests that are in transit on open connections. */
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

/** Tells the observers of requests in flight that these will not end. */
export function cutRequests ({ whenCut }: Lifecycle): void {
  for (const each of whenCut) each()
}
