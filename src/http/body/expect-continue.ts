import type { FastifyReply, FastifyRequest, RequestPayload } from 'fastify'
import { maxBodyBytes, maxSetBytes } from '../../contract/requests.ts'
import { ServiceError } from '../../errors.ts'

/** Detail of the problem for a body that is too large. */
export const tooLargeDetail = `The body is too large. Send at most ${maxBodyBytes} bytes, or ${maxSetBytes} for a set of configurations.`

/**
 * Sends 100 Continue to a client that waits for it (RFC 9110, section 10.1.1). This preParsing hook comes after all
 * checks that do not need the body.
 *
 * @throws {ServiceError} PayloadTooLarge if Content-Length exceeds the limit; MalformedRequest if the client
 *   disconnected, so that the rest of the body never arrives
 */
export function inviteBody (
  request: FastifyRequest, reply: FastifyReply, _: RequestPayload, done: () => void
): void {
  const { raw, headers } = request
  if (raw.destroyed && !raw.readableEnded) throw new ServiceError('MalformedRequest', 'The client disconnected before the request was complete. Send it again.')
  if (/\b100-continue\b/i.test(headers.expect ?? '') && raw.httpVersion !== '1.0') {
    const { bodyLimit } = request.routeOptions
    if (Number(headers['content-length']) > bodyLimit) throw new ServiceError('PayloadTooLarge', tooLargeDetail)
    reply.raw.writeContinue()
  }
  done()
}
