import type { TLSSocket } from 'node:tls'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Caller, Callers, PresentedCertificate } from '../callers/callers.ts'
import { ServiceError } from '../errors.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Who asks; null on routes that everyone may use, and for those who are not known. */
    caller: Caller | null
  }
}

/** Counts one more failure of this request's address. */
type FailureLimit = (request: FastifyRequest) => Promise<{ isExceeded: boolean, retryAfterSeconds: number }>

/**
 * Lets nobody in who is not known (onRequest, before a body is read). A right key is always let in, however many
 * wrong ones came from its address: keys hold 256 bits, so that the limit is there for logs and load, not for guessing,
 * and must lock nobody out who shares an address.
 *
 * @throws {ServiceError} Unauthenticated with a challenge (RFC 6750, section 3), RateLimited after too many failures,
 *   IssuerUnreachable when a token cannot be checked yet
 */
export function addAuthentication (app: FastifyInstance, callers: Pick<Callers, 'identify'>, limit: FailureLimit): void {
  app.decorateRequest('caller', null)
  app.addHook('onRequest', async request => {
    const { authorization } = request.headers
    const certificate = certificateOf(request.raw.socket as Socket, Date.now())
    const caller = await callers.identify({ authorization, certificate })
    if (caller !== undefined) {
      request.caller = caller
      return
    }
    const { isExceeded, retryAfterSeconds } = await limit(request)
    if (isExceeded) {
      throw new ServiceError('RateLimited', 'Too many requests from this address came from nobody who is known. ' +
        `Try again in ${retryAfterSeconds} s, or with a key or token that is good.`, { retryAfterSeconds })
    }
    if (certificate !== undefined && authorization === undefined) {
      // What an operator needs for the callers file; whoever shakes hands has said it to everyone on the way.
      request.log.info(certificate, 'nobody has this client certificate')
      throw new ServiceError('Unauthenticated', 'No caller has your client certificate. Whoever runs this service must add ' +
        'its subject or a subject alternative name to a caller, or send a key or token as Authorization: Bearer.', { challenge: realm })
    }
    throw authorization === undefined
      ? new ServiceError('Unauthenticated', 'Send your key or token as Authorization: Bearer.', { challenge: realm })
      : new ServiceError('Unauthenticated', 'The key or token in Authorization is not one that is accepted here (any more).',
        { challenge: `${realm}, error="invalid_token"` })
  })
}

const realm = 'Bearer realm="cos-inventory-proxy"'

/** A socket, as far as it is asked about its certificate; plain ones know of none. */
type Socket = Partial<Pick<TLSSocket, 'authorized' | 'getPeerX509Certificate'>>

/** The certificate a connection was opened with, unless it has expired since. `now` is milliseconds since 1970. */
export function certificateOf (socket: Socket, now: number): PresentedCertificate | undefined {
  const certificate = socket.authorized === true ? socket.getPeerX509Certificate?.() : undefined
  if (certificate === undefined || Date.parse(certificate.validTo) <= now) return undefined
  return { subject: certificate.subject, subjectAltName: certificate.subjectAltName }
}
