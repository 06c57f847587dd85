import type { Socket } from 'node:net'
import type { FastifyReply, FastifyRequest } from 'fastify'

/** What waits for the end of exchanges, by connection. */
const waiting = new WeakMap<Socket, Set<() => void>>()

/**
 * Calls back once: when the answer has been sent, or nobody can get it any more. Node says nothing of the answers to
 * pipelined requests whose turn has not come when their connection ends, so the connection is asked, too.
 */
export function onceOver (
  { raw: { socket } }: Pick<FastifyRequest, 'raw'>, { raw }: Pick<FastifyReply, 'raw'>, callback: () => void
): void {
  if (raw.destroyed || socket.destroyed) {
    callback()
    return
  }
  const callbacks = waiting.get(socket) ?? watch(socket)
  const over = () => {
    callbacks.delete(over)
    raw.off('close', over)
    callback()
  }
  callbacks.add(over)
  raw.once('close', over)
}

function watch (socket: Socket): Set<() => void> {
  const callbacks = new Set<() => void>()
  waiting.set(socket, callbacks)
  socket.once('close', () => { for (const each of callbacks) each() })
  return callbacks
}
