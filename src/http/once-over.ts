import type { Socket } from 'node:net'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'

declare module 'fastify' {
  interface FastifyRequest {
    /** What waits for the end of the exchange; null before the first that does. */
    whenOver: Array<() => void> | null
  }
}

/** What is to be done when a connection ends before its exchanges do, by connection. */
const exchanges = new WeakMap<Socket, Set<() => void>>()

/** Lets {@link onceOver} be used with the requests of an application. */
export function addOnceOver (app: FastifyInstance): void {
  app.decorateRequest('whenOver', null)
}

/**
 * Calls back once: when the answer has been sent, or nobody can get it any more. Node says nothing of the answers to
 * pipelined requests whose turn has not come when their connection ends, so the connection is asked, too.
 *
 * @param callback must not throw: those after it would not be called
 */
export function onceOver (
  request: Pick<FastifyRequest, 'raw' | 'whenOver'>, { raw }: Pick<FastifyReply, 'raw'>, callback: () => void
): void {
  const { raw: { socket } } = request
  if (raw.destroyed || socket.destroyed) {
    callback()
    return
  }
  if (request.whenOver !== null) {
    request.whenOver.push(callback)
    return
  }
  const waiting = [callback]
  request.whenOver = waiting
  const ofConnection = exchanges.get(socket) ?? watch(socket)
  const over = () => {
    ofConnection.delete(over)
    raw.off('close', over)
    for (const each of waiting) each()
  }
  ofConnection.add(over)
  raw.once('close', over)
}

function watch (socket: Socket): Set<() => void> {
  const callbacks = new Set<() => void>()
  exchanges.set(socket, callbacks)
  socket.once('close', () => { for (const each of callbacks) each() })
  return callbacks
}
