import type { TLSSocket } from 'node:tls'
import type { FastifyRequest } from 'fastify'
import type { Caller, Callers, PresentedCertificate } from '../../callers/callers.ts'
import { ServiceError } from '../../errors.ts'
import type { FailureLimit } from './rate-limits.ts'

/**
 * Returns the caller of a request. Accepts a valid key after any number of failures of its address. A key has 256 bits
 * and cannot be guessed. The limit of failures protects logs and capacity, and must not lock out callers that share an
 * address.
 *
 * @throws {ServiceError} Unauthenticated with a challenge (RFC 6750, section 3), RateLimited after too many failures,
 *   or IssuerUnreachable while tokens cannot be verified
 */
export async function authenticate (
  request: FastifyRequest, callers: Pick<Callers, 'identify'>, countFailure: FailureLimit
): Promise<Caller> {
  const { authorization } = request.headers
  const certificate = certificateOf(request.raw.socket as CertificateSource, Date.now())
  const caller = await callers.identify({ authorization, certificate })
  if (caller !== undefined) return caller
  const { isExceeded, retryAfterSeconds } = await countFailure(request)
  if (isExceeded) {
    throw new ServiceError('RateLimited', 'Too many requests from this address had no valid credentials. ' +
      `Retry in ${retryAfterSeconds} s, or send a valid key or token.`, { retryAfterSeconds })
  }
  if (certificate !== undefined && authorization === undefined) {
    // The operator can copy it to the callers file. Certificates are public.
    request.log.info(certificate, 'client certificate belongs to no caller')
  }
  throw unauthenticated(authorization !== undefined, certificate !== undefined)
}

const realm = 'Bearer realm="cos-inventory-proxy"'

function unauthenticated (hasToken: boolean, hasCertificate: boolean): ServiceError {
  if (hasToken) {
    return new ServiceError('Unauthenticated', 'The key or token in Authorization is not valid, or no longer valid. Send a valid one.',
      { challenge: `${realm}, error="invalid_token"` })
  }
  const detail = hasCertificate
    ? 'The client certificate belongs to no caller. Ask the operator to add its subject or a subject alternative name ' +
      'to a caller, or send a key or token as Authorization: Bearer.'
    : 'The request has no credentials. Send a key or token as Authorization: Bearer.'
  return new ServiceError('Unauthenticated', detail, { challenge: realm })
}

/** The members of a TLS socket for the client certificate. Plain sockets do not have them. */
type CertificateSource = Partial<Pick<TLSSocket, 'authorized' | 'getPeerX509Certificate'>>

/**
 * Returns the client certificate of a connection, unless it has expired since the handshake.
 *
 * @param now milliseconds since 1970
 */
export function certificateOf (socket: CertificateSource, now: number): PresentedCertificate | undefined {
  const certificate = socket.authorized === true ? socket.getPeerX509Certificate?.() : undefined
  if (certificate === undefined || Date.parse(certificate.validTo) <= now) return undefined
  return { subject: certificate.subject, subjectAltName: certificate.subjectAltName }
}
