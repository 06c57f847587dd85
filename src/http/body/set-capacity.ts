import type { FastifyReply, FastifyRequest } from 'fastify'
import { maxSetBytes } from '../../contract/requests.ts'
import { ServiceError } from '../../errors.ts'
import { onExchangeEnd } from '../connections/connection.ts'

/** The bodies of all sets in progress or waiting have this many bytes together: eight of the largest, 80 usual ones. */
const capacityBytes = 8 * maxSetBytes

/**
 * Returns an onRequest hook that admits a set before its body is read, while the bodies of all admitted sets fit into
 * the capacity. A body of unknown length counts as the largest. A set is admitted until its exchange ends.
 *
 * The hook throws Overloaded with Retry-After 1 for any other set.
 */
export function limitSets () {
  let admittedBytes = 0
  return (request: FastifyRequest, _: FastifyReply, done: () => void): void => {
    const { 'content-length': length = maxSetBytes } = request.headers
    // A longer one is rejected unread.
    const bytes = Math.min(Number(length), maxSetBytes)
    if (admittedBytes + bytes > capacityBytes) {
      throw new ServiceError('Overloaded', 'The service is working on as many sets as it has capacity for. ' +
        'Nothing was sent to COS. Retry in 1 s.', { retryAfterSeconds: 1 })
    }
    admittedBytes += bytes
    onExchangeEnd(request.context.exchange, () => { admittedBytes -= bytes })
    done()
  }
}
