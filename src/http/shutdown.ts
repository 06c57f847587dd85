import { Server } from 'node:net'
import type { Socket } from 'node:net'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import { ServiceError } from '../errors.ts'
import { farEndOf } from './far-end.ts'
import { onceOver } from './once-over.ts'

/**
 * Where the process stands. `finishing` takes no new connections, but serves what arrives on open ones; `closing`
 * refuses that, too.
 */
type Phase = 'serving' | 'draining' | 'finishing' | 'closing'

/** What the probes and the server share of a shutdown. */
export interface Lifecycle {
  phase: Phase
  /** Connections and requests that have arrived so far. */
  arrived: { connections: number, requests: number }
  /** Called when requests are still under way at the end of all patience. */
  whenCut: Array<() => void>
}

/** A service that has just begun. */
export function createLifecycle (): Lifecycle {
  return { phase: 'serving', arrived: { connections: 0, requests: 0 }, whenCut: [] }
}

/** Of the event loop, so that what the kernel has is here: it may have been interrupted in the middle of one. */
const looks = 3
/** When connections do not stop coming. */
const mostTurns = 1_000
/** Nothing has arrived on open connections for so long: what was on its way when the stop began is here. */
const quietMs = 100
const longestFinishingMs = 1_000

/** How long a connection without a request may stay once the service is closing: one may have begun to arrive. */
const silentMs = 2_000

/**
 * Once finishing, every answer ends its connection; once closing, new requests on open connections get a 503. Idle
 * connections are closed by Fastify; ones that have said nothing, or half of something, are closed here, because Node
 * does not count them as idle, but not at once: under load their request may just not be read yet.
 */
export function refuseWhenClosing (app: FastifyInstance, lifecycle: Lifecycle): void {
  // By name, because of a TLS connection's two sockets requests know the second.
  const connections = new Map<string, Socket>()
  const underWay = new Map<string, number>()
  app.server.on('connection', socket => {
    const name = farEndOf(socket)
    lifecycle.arrived.connections += 1
    connections.set(name, socket)
    socket.once('close', () => connections.delete(name))
  })
  app.addHook('onRequest', (request, reply, done) => {
    const name = farEndOf(request.raw.socket)
    const before = underWay.get(name) ?? 0
    underWay.set(name, before + 1)
    onceOver(request, reply, () => {
      const left = Number(underWay.get(name)) - 1
      if (left === 0) underWay.delete(name)
      else underWay.set(name, left)
    })
    lifecycle.arrived.requests += 1
    if (lifecycle.phase !== 'closing') {
      done()
      return
    }
    throw new ServiceError('ShuttingDown', 'This replica is stopping. Send the request again.', { retryAfterSeconds: 1 })
  })
  app.addHook('onSend', (_, reply, __, done) => {
    if (lifecycle.phase === 'finishing' || lifecycle.phase === 'closing') reply.header('connection', 'close')
    done()
  })
  app.addHook('preClose', async () => {
    setTimeout(() => {
      for (const [name, socket] of connections) if (!underWay.has(name)) socket.destroy()
    }, silentMs).unref()
  })
}

/**
 * Stops in order: readiness turns 503 while everything is still served for `delayMs`, so that load balancers look
 * away; then nobody new may connect, and each answer ends its connection; what had been sent by then is served; then
 * requests under way have `graceMs` to end.
 *
 * @returns whether every request had ended
 */
export async function shutDown (
  app: FastifyInstance, lifecycle: Lifecycle, { delayMs, graceMs }: { delayMs: number, graceMs: number }
): Promise<boolean> {
  const { arrived } = lifecycle
  lifecycle.phase = 'draining'
  await sleep(delayMs)
  lifecycle.phase = 'finishing'
  await untilAccepted(arrived)
  // The way of HTTP servers would reset idle connections at once, among them those whose request has not been read.
  Server.prototype.close.call(app.server)
  await untilRead(arrived)
  lifecycle.phase = 'closing'
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<boolean>(resolve => { timer = setTimeout(resolve, graceMs, false) })
  const closed = await Promise.race([app.close().then(() => true), late])
  clearTimeout(timer)
  // Of what has ended nothing is left to write off.
  cutRequests(lifecycle)
  return closed
}

/**
 * Waits for connections that the kernel has made already, of which Node may take one a turn. Counted in turns, because
 * of a process that did not run for a while time says nothing.
 */
async function untilAccepted (arrived: Lifecycle['arrived']): Promise<void> {
  let before = NaN
  for (let turns = 0; before !== arrived.connections && turns < mostTurns; turns++) {
    before = arrived.connections
    await turn()
  }
}

/** Waits for requests that are on their way on connections that are there. */
async function untilRead (arrived: Lifecycle['arrived']): Promise<void> {
  let before = NaN
  for (let waitedMs = 0; before !== arrived.requests && waitedMs < longestFinishingMs; waitedMs += quietMs) {
    before = arrived.requests
    await sleep(quietMs)
    await turn()
  }
}

/** Lets the event loop look at every socket. */
async function turn (): Promise<void> {
  for (let count = 0; count < looks; count++) await nextTurn()
}

/** Tells those who must know that requests under way will not end. */
export function cutRequests ({ whenCut }: Lifecycle): void {
  for (const each of whenCut) each()
}
