/** Sends long responses piece by piece. */
import { Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { ServiceError } from '../errors.ts'
import { onExchangeEnd } from './connections/connection.ts'
import { logProblem, toServiceError } from './errors/problem-replies.ts'

/** Time for which a client may read nothing, in milliseconds. Rows may be processed in batches. */
const callerIdleMs = 60_000

/** Time for a whole response, in milliseconds. */
const totalMs = 1_800_000

/** Bytes that wait for the client. */
const bufferBytes = 64 * 1024

interface StreamOptions {
  /** Closes what the pieces are read from, even while a piece is awaited. */
  close: () => void
  /** Longest time for the response, in milliseconds. */
  limitMs?: number
}

/**
 * Sends pieces as the body of a response. An error before the first piece is thrown. A later one breaks the response:
 * the connection is closed, so that no client takes it as complete. So does a client that reads nothing for 60 s, and a
 * response that takes 30 min.
 *
 * @throws anything that the first piece throws
 */
export async function sendPieces (
  request: FastifyRequest, reply: FastifyReply, pieces: AsyncGenerator<string | Buffer>,
  { close, limitMs = totalMs }: StreamOptions
): Promise<FastifyReply> {
  const { context } = request
  const breakOff = (error: ServiceError) => {
    context.problem = error
    logProblem(request.log, error)
    reply.raw.destroy()
  }
  const timer = setTimeout(() => { breakOff(tooLong()) }, limitMs)
  onExchangeEnd(context.exchange, () => {
    clearTimeout(timer)
    close()
  })

  async function * guarded (first: IteratorResult<string | Buffer>): AsyncGenerator<string | Buffer, undefined> {
    try {
      for (let next = first; next.done !== true; next = await pieces.next()) yield next.value
    } catch (error) {
      // After the client has disconnected, the source fails because it was closed.
      if (!reply.raw.destroyed) breakOff(toServiceError(error))
      // The error keeps the body from ending, which would end the response. A destroyed body does not emit it.
      body.destroy()
      throw error
    }
  }

  const body = Readable.from(guarded(await pieces.next()), { objectMode: false, highWaterMark: bufferBytes })
  context.exchange.stalledMs = callerIdleMs
  return reply.send(body)
}

function tooLong (): ServiceError {
  return new ServiceError({ code: 'CallerLeft', status: 499, title: 'Client Closed Request' },
    'The response took longer than its limit.')
}
