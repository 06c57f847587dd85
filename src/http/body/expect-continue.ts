import type { FastifyReply, FastifyRequest, RequestPayload } from 'fastify'
import { maxBodyBytes, maxSetBytes } from '../../contract/requests.ts'
import { ServiceError } from '../../errors.ts'

/** What a caller is told of a body that is too large. */
export const tooLargeDetail = `A body may have ${maxBodyBytes} bytes at most, a set of configurations ${maxSetBytes}.`

/**
 * Tells a client that waits for it to send its body (preParsing hook; RFC 9110, section 10.1.1). Comes after everything
 * that rejects a request without its body.
 *
 * @throws {ServiceError} PayloadTooLarge for a body whose announced length is too large; MalformedRequest when the
 *   client disconnected meanwhile, so that the rest of the body never arrives
 */
export function inviteBody (
  request: FastifyRequest, reply: FastifyReply, _: RequestPayload, done: () => void
): void {
  const { raw, headers } = request
  if (raw.destroyed && !raw.readableEnded) throw new ServiceError('MalformedRequest', 'The request was broken off.')
  if (/\b100-continue\b/i.test(headers.expect ?? '') && raw.httpVersion !== '1.0') {
    const { bodyLimit } = request.routeOptions
    if (Number(headers['content-length']) > bodyLimit) throw new ServiceError('PayloadTooLarge', tooLargeDetail)
    reply.raw.writeContinue()
  }
  done()
}
