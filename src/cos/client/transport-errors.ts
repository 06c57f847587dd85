import { ProxyError } from '../../outbound/proxied-agent.ts'
import { canceled, retryAdvice, UpstreamError } from '../upstream-error.ts'
import { canceledByCaller, timedOut, tooLarge } from './exchange.ts'
import type { BrokenExchange } from './exchange.ts'
import type { CosRequest } from './messages.ts'

interface Circumstances {
  request: Pick<CosRequest, 'address'>
  /** True when the deadline did not shorten the time of the attempt. */
  hadFullTime: boolean
  /** Host of COS_CONNECT_TO, if there is one. */
  connectTo: string | undefined
}

/** Codes of undici for bytes that are not an HTTP response. */
const notResponses = /^(UND_ERR_HEADERS_OVERFLOW|ERR_ASSERTION)/

/** Returns the error of an exchange without a whole response. */
export function toTransportError (
  { cause, wasSent, hasResponse }: BrokenExchange, { request, hadFullTime, connectTo }: Circumstances
): UpstreamError {
  if (cause === canceledByCaller) return canceled(wasSent)
  // Errors of undici are told by name, because only the transport may import undici.
  const { name } = cause as Error
  if (cause === timedOut || name === 'ConnectTimeoutError') {
    return toTimeout(request, { wasSent, isUnresponsive: !hasResponse && hadFullTime })
  }
  const { host } = request.address
  const code = codeOf(cause)
  const invalid = (detail: string, remedy: 'none' | 'retry') =>
    new UpstreamError('UpstreamInvalidResponse', detail, { class: 'invalid', remedy, cause })
  const unreachable = (hint: string, remedy: 'none' | 'retry') =>
    new UpstreamError('UpstreamUnreachable', `COS cannot be reached: ${hint}`,
      { class: 'unreachable', remedy, cause, wasSent })
  if (cause === tooLarge) return invalid(`The response of ${host} is larger than any of COS for this operation. Contact the operator.`, 'none')
  if (name === 'HTTPParserError' || notResponses.test(code)) {
    return invalid(`The response of ${host} is not valid HTTP. ${retryAdvice}`, 'retry')
  }
  if (cause instanceof ProxyError) {
    return unreachable(`the proxy did not connect to ${host} (${code}). Retry; if it persists, ask the operator to check the proxy.`, 'retry')
  }
  if (code === 'ENOTFOUND') {
    const hint = connectTo === undefined ? 'Check the region.' : 'Ask the operator to check COS_CONNECT_TO.'
    return unreachable(`there is no host ${connectTo ?? host}. ${hint}`, 'none')
  }
  return unreachable(`${host} is unreachable or closed the connection (${code}). ${retryAdvice}`, 'retry')
}

/** Returns the error of an attempt that had no response in time. */
export function toTimeout (
  { address }: Pick<CosRequest, 'address'>, { wasSent, isUnresponsive }: { wasSent: boolean, isUnresponsive: boolean }
): UpstreamError {
  return new UpstreamError('UpstreamTimeout', `COS (${address.host}) did not respond in time. ${retryAdvice}`,
    { class: 'timeout', remedy: 'retry', wasSent, isUnresponsive })
}

/** Returns the code of an error. Errors of the network, of TLS and nearly all of undici have one. */
export function codeOf (error: unknown): string {
  return String((error as { code?: unknown }).code)
}
