/** Sends long responses piece by piece. */
import { Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { callerLeft, ServiceError } from '../errors.ts'
import { onExchangeEnd } from './connections/connection.ts'
import { logProblem, toServiceError } from './errors/problem-replies.ts'

/** Time for which a client may read nothing, in milliseconds. Rows may be processed in batches. */
const callerIdleMs = 60_000

/** Time for a whole response, in milliseconds. */
const totalMs = 1_800_000

/** Bytes that wait for the client. */
const bufferBytes = 64 * 1024

interface LongResponseOptions {
  /** Sets status and headers. Called when the first piece is known, so that an error before it has none of them. */
  onBegin: () => void
  /** Closes what the pieces are read from, even while a piece is awaited. */
  close: () => void
  /** Longest time for the response, in milliseconds. */
  limitMs?: number
}

/**
 * Sends pieces as the body of a response. Empty ones are skipped. An error before the first piece is thrown.
 * A later one breaks the response: the connection is closed, so that no client takes it as complete. So does a client
 * that reads nothing for 60 s, and a response that takes 30 min.
 *
 * @throws anything that the first piece throws
 */
export async function sendPieces (
  request: FastifyRequest, reply: FastifyReply, pieces: AsyncGenerator<string | Buffer>,
  { onBegin, close, limitMs = totalMs }: LongResponseOptions
): Promise<FastifyReply> {
  const { context } = request
  const breakOff = (error: ServiceError) => {
    context.problem = error
    logProblem(request.log, error)
    reply.raw.destroy()
  }
  const timer = setTimeout(() => { breakOff(beyondTimeLimit()) }, limitMs)
  onExchangeEnd(context.exchange, () => {
    clearTimeout(timer)
    close()
  })

  async function * guarded (first: string | Buffer): AsyncGenerator<string | Buffer, undefined> {
    // The head says that the report exists, although the first row that the caller wants may come late.
    reply.raw.flushHeaders()
    try {
      if (first !== '') yield first
      for await (const piece of pieces) if (piece !== '') yield piece
    } catch (error) {
      // After the client has disconnected, the source fails because it was closed.
      if (!reply.raw.destroyed) breakOff(toServiceError(error))
      // The error keeps the body from ending, which would end the response. A destroyed body does not emit it.
      body.destroy()
      throw error
    }
  }

  const { value: first = '' } =
    await pieces.next().catch((error: unknown) => { throw reply.raw.destroyed ? left(error) : error })
  onBegin()
  const body = Readable.from(guarded(first), { objectMode: false, highWaterMark: bufferBytes })
  context.exchange.stalledMs = callerIdleMs
  return reply.send(body)
}

/** Returns the error of a response whose source failed because the client disconnected. */
function left (cause: unknown): ServiceError {
  return new ServiceError(callerLeft, 'The caller disconnected before the response.', { cause })
}

function beyondTimeLimit (): ServiceError {
  return new ServiceError({ code: 'ResponseTimeLimit', status: 504, title: 'Gateway Timeout' },
    'The response took longer than its limit.')
}
