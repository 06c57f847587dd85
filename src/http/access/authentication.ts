import type { TLSSocket } from 'node:tls'
import type { FastifyRequest } from 'fastify'
import type { Caller, Callers, PresentedCertificate } from '../../callers/callers.ts'
import { ServiceError } from '../../errors.ts'
import type { FailureLimit } from './rate-limits.ts'

/**
 * Returns the caller of a request. A valid key is always accepted, however many wrong ones came from its address: keys
 * have 256 bits, so the limit protects logs and capacity, and must not lock out callers that share an address.
 *
 * @throws {ServiceError} Unauthenticated with a challenge (RFC 6750, section 3), RateLimited after too many failures,
 *   IssuerUnreachable when a token cannot be checked yet
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
    throw new ServiceError('RateLimited', 'Too many requests from this address came from nobody who is known. ' +
      `Try again in ${retryAfterSeconds} s, or with a key or token that is good.`, { retryAfterSeconds })
  }
  if (certificate !== undefined && authorization === undefined) {
    // The operator needs it for the callers file. Certificates are public.
    request.log.info(certificate, 'nobody has this client certificate')
  }
  throw unauthenticated(authorization !== undefined, certificate !== undefined)
}

const realm = 'Bearer realm="cos-inventory-proxy"'

function unauthenticated (hasToken: boolean, hasCertificate: boolean): ServiceError {
  if (hasToken) {
    return new ServiceError('Unauthenticated', 'The key or token in Authorization is not one that is accepted here (any more).',
      { challenge: `${realm}, error="invalid_token"` })
  }
  const detail = hasCertificate
    ? 'No caller has your client certificate. Whoever runs this service must add its subject or a subject alternative ' +
      'name to a caller, or send a key or token as Authorization: Bearer.'
    : 'Send your key or token as Authorization: Bearer.'
  return new ServiceError('Unauthenticated', detail, { challenge: realm })
}

/** The part of a socket that knows the client certificate. Plain sockets have none of it. */
type CertificateSource = Partial<Pick<TLSSocket, 'authorized' | 'getPeerX509Certificate'>>

/**
 * Returns the certificate that a connection was opened with, unless it has expired since.
 *
 * @param now milliseconds since 1970
 */
export function certificateOf (socket: CertificateSource, now: number): PresentedCertificate | undefined {
  const certificate = socket.authorized === true ? socket.getPeerX509Certificate?.() : undefined
  if (certificate === undefined || Date.parse(certificate.validTo) <= now) return undefined
  return { subject: certificate.subject, subjectAltName: certificate.subjectAltName }
}
