import type { FastifyInstance } from 'fastify'
import { ServiceError } from '../errors.ts'

/** Where the process stands. `closing` refuses new requests, also on connections that are open already. */
export type Phase = 'serving' | 'draining' | 'closing'

/** What the probes and the server share of a shutdown. */
export interface Lifecycle {
  phase: Phase
}

/** Once closing, requests on kept-alive connections are answered 503 and their connections end. */
export function refuseWhenClosing (app: FastifyInstance, lifecycle: Lifecycle): void {
  app.addHook('onRequest', async (_, reply) => {
    if (lifecycle.phase !== 'closing') return
    reply.header('connection', 'close')
    throw new ServiceError('ShuttingDown', 'This replica is stopping. Send the request again.', { retryAfterSeconds: 1 })
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
  return closed
}
