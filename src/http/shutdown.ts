import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { ServiceError } from '../errors.ts'
import { farEndOf } from './far-end.ts'

/** Where the process stands. `closing` refuses new requests, also on connections that are open already. */
type Phase = 'serving' | 'draining' | 'closing'

/** What the probes and the server share of a shutdown. */
export interface Lifecycle {
  phase: Phase
  /** Called when requests are still under way at the end of all patience. */
  whenCut: Array<() => void>
}

/** How long a connection may stay silent once the service is closing. */
const silentMs = 1000

/**
 * Once closing, requests under way are answered, new ones on open connections get a 503, and either way the connection
 * ends with the answer. Idle connections are closed by Fastify; ones that have never said anything are closed here,
 * because Node does not count them as idle, but not at once: under load their first request may just not be read yet.
 */
export function refuseWhenClosing (app: FastifyInstance, lifecycle: Lifecycle, { isTls }: { isTls: boolean }): void {
  // Of a TLS connection's two sockets, requests name the second.
  const silent = new Map<string, Socket>()
  app.server.on('connection', socket => {
    const name = farEndOf(socket)
    silent.set(name, socket)
    socket.once('close', () => silent.delete(name))
  })
  app.addHook('onRequest', async request => {
    silent.delete(farEndOf(request.raw.socket))
    if (lifecycle.phase !== 'closing') return
    throw new ServiceError('ShuttingDown', 'This replica is stopping. Send the request again.', { retryAfterSeconds: 1 })
  })
  app.addHook('onSend', async (_, reply) => {
    if (lifecycle.phase === 'closing') reply.header('connection', 'close')
  })
  app.addHook('preClose', async () => {
    setTimeout(() => {
      // Of what came over TLS, nobody can tell how much was the handshake.
      for (const socket of silent.values()) if (isTls || socket.bytesRead === 0) socket.destroy()
    }, silentMs).unref()
  })
}

/**
 * Stops in order: readiness turns 503 while everything is still served for `delayMs`, so that load balancers look
 * away; then nothing new is taken, and requests under way have `graceMs` to end.
 *
 * @returns whether every request had ended
 */
export async function shutDown (
  app: FastifyInstance, lifecycle: Lifecycle, { delayMs, graceMs }: { delayMs: number, graceMs: number }
): Promise<boolean> {
  lifecycle.phase = 'draining'
  await new Promise(resolve => { setTimeout(resolve, delayMs) })
  lifecycle.phase = 'closing'
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<boolean>(resolve => { timer = setTimeout(resolve, graceMs, false) })
  const closed = await Promise.race([app.close().then(() => true), late])
  clearTimeout(timer)
  if (!closed) cutRequests(lifecycle)
  return closed
}

/** Tells those who must know that requests under way will not end. */
export function cutRequests ({ whenCut }: Lifecycle): void {
  for (const each of whenCut) each()
}
