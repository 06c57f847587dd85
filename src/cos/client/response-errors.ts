/**
 * What COS's refusals mean for callers. COS answers errors as XML, sometimes as JSON or in headers only;
 * gateways in between answer HTML or nothing.
 */
import { ServiceError } from '../../errors.ts'
import type { CosContext } from '../../errors.ts'
import type { CosAnswer } from './transport.ts'
import { UpstreamError } from '../upstream-error.ts'
import type { Remedy } from '../upstream-error.ts'
import { maxErrorBytes } from '../operations.ts'
import { errorExtent, parseXml } from '../xml/parser.ts'

/** A COS error document (COS document 7730), whatever form it came in. */
interface CosError {
  code: string
  message: string
}

/** COS says these about the caller's request; the status is passed on. */
const titles: ReadonlyMap<number, string> = new Map([
  [400, 'Bad Request'], [403, 'Forbidden'], [404, 'Not Found'], [409, 'Conflict'], [412, 'Precondition Failed']
])

/** A code-less answer that has COS's request id still says this much. */
const codelessCodes: ReadonlyMap<number, string> = new Map([
  [400, 'BadRequest'], [403, 'AccessDenied'], [404, 'NotFound'], [409, 'Conflict'], [412, 'PreconditionFailed'],
  [429, 'SlowDown'], [503, 'ServiceUnavailable']
])

const credentialCodes = new Set([
  'InvalidAccessKeyId', 'SignatureDoesNotMatch', 'ExpiredToken', 'InvalidToken', 'RequestTimeTooSkewed',
  'Request has expired', 'RequestExpired'
])

// COS writes some of these as the message of AccessDenied (COS document 7730 and older troubleshooting pages).
const credentialMessage =
  /request has expired|RequestTimeTooSkewed|SignatureDoesNotMatch|InvalidAccessKeyId|ExpiredToken|strict signature missing/i

/** Codes that mean "no such configuration": COS's own, and those of other clouds that proxies in between know. */
const notFoundCodes = new Set([
  'InventoryConfigurationNotFoundError', 'NoSuchConfiguration', 'NoSuchInventoryConfiguration'
])

/** The statuses COS refuses a request with. Another one says nothing about credentials, whatever words it holds. */
const refusals = new Set([400, 401, 403])

/** Credentials that another key mends at once, and ones that another time does; COS writes either as a message, too. */
const keyRejection = /^(InvalidAccessKeyId|ExpiredToken|InvalidToken)$/
const keyRejectionMessage = /InvalidAccessKeyId|ExpiredToken/i
const timeRejection = /^(RequestTimeTooSkewed|RequestExpired|Request has expired)$/
const timeRejectionMessage = /RequestTimeTooSkewed|request has expired/i

/** Statuses after which the same request may succeed a moment later. 501 and its like do not pass. */
const passing = new Set([429, 500, 502, 503, 504])

/** 400s about what became of the request on its way (COS document 7730). */
const transitDamage: ReadonlyMap<string, Remedy> = new Map([
  ['BadDigest', 'repeat-once'], ['InvalidDigest', 'repeat-once'], ['EntitySizeNotMatch', 'repeat'],
  ['IncompleteBody', 'repeat'], ['RequestTimeout', 'repeat'], ['UserNetworkTooSlow', 'repeat']
])

const longestMessage = 500

const reflectedLabels = /q-(ak|signature|sign-algorithm|sign-time|key-time)|x-cos-security-token/i

function quotes (confidential: readonly string[], text: string): boolean {
  return reflectedLabels.test(text) || confidential.some(each => text.includes(each))
}

/** Something between COS and us may quote our request; what is or looks like its credentials goes no further. */
function reflects ({ confidential }: CosAnswer, text: string): boolean {
  return /AKID/.test(text) || quotes(confidential, text)
}

/** COS's request and trace id of an answer, from its headers. */
export function cosContext (answer: CosAnswer): CosContext {
  const { headers } = answer
  return { requestId: cosId(answer, headers['x-cos-request-id']), traceId: cosId(answer, headers['x-cos-trace-id']) }
}

/** Whether an error says that the configuration (or, for LIST, every configuration) does not exist. */
export function isNotFound (error: unknown): error is ServiceError & { cos: CosContext } {
  return error instanceof ServiceError && error.status === 404 && error.code === 'InventoryConfigurationNotFoundError'
}

/** Whether COS says that there is no such bucket in the region it was asked in. */
export function isNoSuchBucket (error: unknown): error is UpstreamError {
  return error instanceof UpstreamError && error.code === 'NoSuchBucket'
}

/**
 * Whether a response is an error whatever its status says: some gateways, and COS for what takes long, have responded
 * 200 before an error occurred.
 */
export function isErrorDocument ({ body }: CosAnswer): boolean {
  return body.length <= maxErrorBytes && Buffer.from(body.buffer, body.byteOffset, body.length).includes('<Error') &&
    fromXml(body) !== undefined
}

/** Statuses of the codes that may follow a success (COS document 7730). Another code is a failure of COS. */
const documentedStatuses: ReadonlyMap<string, number> = new Map([
  ['InvalidArgument', 400], ['MalformedXML', 400], ['ExpiredToken', 400], ['InventoryFull', 400],
  ['TooManyConfigurations', 400], ['TargetBucketNameInvalid', 400], ['AccessDenied', 403], ['InvalidAccessKeyId', 403],
  ['SignatureDoesNotMatch', 403], ['RequestTimeTooSkewed', 403], ['NoSuchBucket', 404],
  ['InventoryConfigurationNotFoundError', 404], ['InvalidBucketState', 409], ['DuplicateInventoryId', 409],
  ['ServiceUnavailable', 503], ['SlowDown', 503]
])

/**
 * Turns an answer that is not a success into what the caller is told. COS's code, request id and trace id are kept;
 * its StringToSign and FormatString, which describe our signature, are never read. An error document with a status of
 * success gets the status that COS documents for its code.
 */
export function toUpstreamError (received: CosAnswer): UpstreamError {
  const cos = cosContext(received)
  const error = readError(received)
  const isSuccess = received.status >= 200 && received.status <= 299
  if (isSuccess && (error === undefined || !isErrorDocument(received))) return undocumented(received.status, cos)
  const answer = isSuccess && error !== undefined
    ? { ...received, status: documentedStatuses.get(error.code) ?? 500 }
    : received
  if (error === undefined) return codeless(answer, cos)
  const { status } = answer
  const code = notFoundCodes.has(error.code) ? 'InventoryConfigurationNotFoundError' : error.code
  const isAboutUs = credentialCodes.has(code) || (code === 'AccessDenied' && credentialMessage.test(error.message))
  if (isAboutUs && refusals.has(status)) {
    const says = (codes: RegExp, messages: RegExp) =>
      codes.test(code) || (code === 'AccessDenied' && messages.test(error.message))
    const remedy = says(keyRejection, keyRejectionMessage)
      ? 'renew-key'
      : says(timeRejection, timeRejectionMessage) ? 'correct-clock' : 'none'
    return new UpstreamError('UpstreamCredentialsRejected', 'COS does not accept the credentials, the signature or the ' +
      'clock of this service. This is for its operator to mend; the request itself may be right.',
    { class: 'credentials', remedy, cosTime: cosTime(answer, cos), cos, cosCode: code })
  }
  const said = error.message === '' ? `COS answered ${code}.` : `COS answered ${code}: ${error.message.replace(/\.?$/, '.')}`
  return refusal(answer, code, said, cos)
}

function refusal (answer: CosAnswer, code: string, said: string, cos: CosContext): UpstreamError {
  const { status } = answer
  const remedy = passing.has(status) || code === 'SlowDown' ? 'repeat' : transitDamage.get(code) ?? 'none'
  if (code === 'SlowDown' || status === 429 || status === 503) {
    const waitMs = retryAfterMs(answer)
    const retryAfterSeconds = Math.max(1, Math.ceil((waitMs ?? 0) / 1000))
    const detail = `${said} Try again in ${retryAfterSeconds} s or later.`
    return new UpstreamError({ code, status: 503, title: 'Service Unavailable' }, detail,
      { class: 'throttled', remedy, waitMs, cos, retryAfterSeconds })
  }
  const title = titles.get(status)
  if (title !== undefined) {
    return new UpstreamError({ code, status, title }, `${said}${advice.get(code) ?? ''}`, { class: 'caller', remedy, cos })
  }
  return new UpstreamError({ code, status: 502, title: 'Bad Gateway' }, said,
    { class: status >= 500 ? 'server' : 'caller', remedy, waitMs: retryAfterMs(answer), cos })
}

const advice: ReadonlyMap<string, string> = new Map([
  ['NoSuchBucket', ' The bucket does not exist, or it is in another region: check the query parameter region.'],
  ['InventoryFull', ' A bucket holds at most 1,000 configurations: delete one first.'],
  ['TooManyConfigurations', ' A bucket holds at most 1,000 configurations: delete one first.'],
  ['AccessDenied', ' The credentials of this service may not do this to this bucket.'],
  ['DuplicateInventoryId', ' The id of a one-time job may not repeat within a day, nor equal that of a configuration. ' +
    'Either the id was used before, or an earlier request of yours for this job got through although its answer was lost: ' +
    'then the job is running, and its report is what tells. If you have sent this for the first time, take another id.']
])

/** The response may be a part of one, or a gateway's. */
function undocumented (status: number, cos: CosContext): UpstreamError {
  return new UpstreamError('UpstreamInvalidResponse',
    `COS returned status ${status}, which does not belong to this operation. Retry; if it persists, contact the operator.`,
    { class: 'invalid', remedy: 'repeat', cos })
}

function codeless (answer: CosAnswer, cos: CosContext): UpstreamError {
  const { status } = answer
  const code = codelessCodes.get(status)
  if (cos.requestId !== undefined && code !== undefined) {
    return refusal(answer, code, `COS answered ${status} without saying why.`, cos)
  }
  return new UpstreamError('UpstreamInvalidResponse',
    `The answer (status ${status}) is not one of COS: a gateway in between may have spoken.`, {
      class: 'invalid',
      remedy: passing.has(status) ? 'repeat' : 'none',
      waitMs: retryAfterMs(answer),
      cos
    })
}

function readError (answer: CosAnswer): CosError | undefined {
  const { headers, body } = answer
  const type = headerText(headers['content-type'])
  const stated = (type.includes('json') ? fromJson(body) : fromXml(body)) ??
    { code: headerText(headers['x-cos-error-code']), message: headerText(headers['x-cos-error-message']) }
  const code = stated.code.trim()
  if (!/^[A-Za-z0-9][A-Za-z0-9 ._-]{0,127}$/.test(code) || reflects(answer, code)) return undefined
  // A log for people would show a second line as one of ours.
  const message = stated.message.replace(/\p{Cc}+/gu, ' ').trim()
  return { code, message: reflects(answer, message) ? '' : message.slice(0, longestMessage) }
}

function fromXml (body: Uint8Array): CosError | undefined {
  try {
    const root = parseXml(body, errorExtent)
    if (root.name !== 'Error') return undefined
    const textOf = (name: string) => root.children.find(child => child.name === name)?.text ?? ''
    return { code: textOf('Code'), message: textOf('Message') }
  } catch {
    return undefined
  }
}

function fromJson (body: Uint8Array): CosError | undefined {
  try {
    const json = JSON.parse(Buffer.from(body).toString()) as Record<string, unknown> | null
    const textOf = (...names: string[]) =>
      String(names.map(name => json?.[name]).find(value => ['string', 'number'].includes(typeof value)) ?? '')
    return { code: textOf('code', 'Code'), message: textOf('message', 'Message') }
  } catch {
    return undefined
  }
}

function headerText (value: string | string[] | undefined): string {
  return (Array.isArray(value) ? value[0] : value) ?? ''
}

/** COS's ids are Base64, in which AKID may come by chance. Anything else is not one, and not passed on. */
function cosId ({ confidential }: CosAnswer, value: string | string[] | undefined): string | undefined {
  const text = headerText(value)
  return /^[A-Za-z0-9+/=_.-]{1,256}$/.test(text) && !quotes(confidential, text) ? text : undefined
}

/** More than an hour is not meant. */
const longestWaitMs = 3_600_000

/** `Retry-After` in milliseconds: seconds, or a date (RFC 9110, section 10.2.3) by the clock of whoever answered. */
function retryAfterMs ({ headers }: CosAnswer): number | undefined {
  const text = headerText(headers['retry-after'])
  const waitMs = /^[0-9]+$/.test(text) ? Number(text) * 1000 : httpDate(text) - httpDate(headerText(headers['date']))
  return waitMs >= 0 ? Math.min(waitMs, longestWaitMs) : undefined
}

/** Milliseconds since 1970 of a date in the one form that is to be written (RFC 9110, section 5.6.7), else NaN. */
function httpDate (text: string): number {
  return /^[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} 20\d\d \d\d:\d\d:\d\d GMT$/.test(text) ? Date.parse(text) : NaN
}

/** What COS's clock showed. Something in between may have another one. */
function cosTime ({ headers }: CosAnswer, { requestId }: CosContext): number | undefined {
  const time = httpDate(headerText(headers['date']))
  return requestId === undefined || Number.isNaN(time) ? undefined : time
}
