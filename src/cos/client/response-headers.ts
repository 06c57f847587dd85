import type { CosContext } from '../../errors.ts'
import type { CosResponse } from './messages.ts'

/** The longest wait that `Retry-After` can cause, in milliseconds. */
const longestWaitMs = 3_600_000

/** Names that occur in signatures. */
const reflectedLabels = /q-(ak|signature|sign-algorithm|sign-time|key-time)|x-cos-security-token/i

/** Tells whether a text contains a secret of the request, or a name that belongs to a signature. */
export function quotes (confidential: readonly string[], text: string): boolean {
  return reflectedLabels.test(text) || confidential.some(each => text.includes(each))
}

/** Returns the first value of a header, or an empty string. */
export function headerText (value: string | string[] | undefined): string {
  return (Array.isArray(value) ? value[0] : value) ?? ''
}

/** Returns COS's request id and trace id of a response. */
export function cosContext (response: CosResponse): CosContext {
  const { headers } = response
  return { requestId: cosId(response, headers['x-cos-request-id']), traceId: cosId(response, headers['x-cos-trace-id']) }
}

/** Returns a valid id; any other text is not passed on. Ids are Base64, which may contain AKID by chance. */
function cosId ({ confidential }: CosResponse, value: string | string[] | undefined): string | undefined {
  const text = headerText(value)
  return /^[A-Za-z0-9+/=_.-]{1,256}$/.test(text) && !quotes(confidential, text) ? text : undefined
}

/**
 * Returns `Retry-After` in milliseconds, an hour at most. It states seconds, or a date by the clock of the sender
 * (RFC 9110, section 10.2.3).
 */
export function retryAfterMs ({ headers }: CosResponse): number | undefined {
  const text = headerText(headers['retry-after'])
  const waitMs = /^[0-9]+$/.test(text) ? Number(text) * 1000 : httpDate(text) - httpDate(headerText(headers['date']))
  return waitMs >= 0 ? Math.min(waitMs, longestWaitMs) : undefined
}

/** Returns the time of COS's clock, in milliseconds since 1970. The response of a gateway has none. */
export function cosTime ({ headers }: CosResponse, { requestId }: CosContext): number | undefined {
  const time = httpDate(headerText(headers['date']))
  return requestId === undefined || Number.isNaN(time) ? undefined : time
}

/** Returns milliseconds since 1970 of a date in the form that senders must use (RFC 9110, section 5.6.7), else NaN. */
function httpDate (text: string): number {
  return /^[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} 20\d\d \d\d:\d\d:\d\d GMT$/.test(text) ? Date.parse(text) : NaN
}
