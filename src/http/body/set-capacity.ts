import type { FastifyReply, FastifyRequest } from 'fastify'
import { maxSetBytes } from '../../contract/requests.ts'
import { ServiceError } from '../../errors.ts'
import { onExchangeEnd } from '../connections/connection.ts'

/** Most bytes of all admitted sets together: eight of the largest, or about 80 typical ones. */
const capacityBytes = 8 * maxSetBytes

/**
 * Returns an onRequest hook that limits the bodies of concurrent sets before they are read. A body of unknown length
 * counts as the largest. A set counts until its exchange ends.
 *
 * The hook throws Overloaded with Retry-After 1 when there is no capacity.
 */
export function limitSets () {
  let admittedBytes = 0
  return (request: FastifyRequest, _: FastifyReply, done: () => void): void => {
    const { 'content-length': length = maxSetBytes } = request.headers
    // A longer body is rejected without reading it.
    const bytes = Math.min(Number(length), maxSetBytes)
    if (admittedBytes + bytes > capacityBytes) {
      throw new ServiceError('Overloaded', 'The service has no capacity for another set of ' +
        'configurations. Nothing was sent to COS. Retry in 1 s.', { retryAfterSeconds: 1 })
    }
    admittedBytes += bytes
    onExchangeEnd(request.context.exchange, () => { admittedBytes -= bytes })
    done()
  }
}
