/**
 * Turns error responses of COS into errors for callers. COS returns errors as XML, sometimes as JSON or in headers
 * only. Gateways in between return HTML or nothing.
 */
import { ServiceError } from '../../errors.ts'
import type { CosContext } from '../../errors.ts'
import { isErrorDocument, readError } from './error-document.ts'
import type { CosResponse } from './messages.ts'
import { cosContext, cosTime, retryAfterMs } from './response-headers.ts'
import { retryAdvice, UpstreamError } from '../upstream-error.ts'
import type { Remedy } from '../upstream-error.ts'

/** Titles of the statuses that COS returns because of the caller's request. They are passed on. */
const titles: ReadonlyMap<number, string> = new Map([
  [400, 'Bad Request'], [403, 'Forbidden'], [404, 'Not Found'], [409, 'Conflict'], [412, 'Precondition Failed']
])

/** Codes for responses that have COS's request id but no error code. */
const codelessCodes: ReadonlyMap<number, string> = new Map([
  [400, 'BadRequest'], [403, 'AccessDenied'], [404, 'NotFound'], [409, 'Conflict'], [412, 'PreconditionFailed'],
  [429, 'SlowDown'], [503, 'ServiceUnavailable']
])

/** Codes that are about the credentials, the signature or the clock of this service. */
const credentialCodes = new Set([
  'InvalidAccessKeyId', 'SignatureDoesNotMatch', 'ExpiredToken', 'InvalidToken', 'RequestTimeTooSkewed',
  'Request has expired', 'RequestExpired'
])

// COS writes some of these as the message of AccessDenied (COS document 7730 and older troubleshooting pages).
const credentialMessage =
  /request has expired|RequestTimeTooSkewed|SignatureDoesNotMatch|InvalidAccessKeyId|ExpiredToken|strict signature missing/i

/** Codes for "no such configuration": those of COS, and those of other clouds that proxies may send. */
const notFoundCodes = new Set([
  'InventoryConfigurationNotFoundError', 'NoSuchConfiguration', 'NoSuchInventoryConfiguration'
])

/** Statuses with which COS rejects credentials. Any other status says nothing about credentials. */
const rejections = new Set([400, 401, 403])

/** Rejections that refreshed credentials or a corrected clock fix. COS also writes either as a message. */
const keyRejection = /^(InvalidAccessKeyId|ExpiredToken|InvalidToken)$/
const keyRejectionMessage = /InvalidAccessKeyId|ExpiredToken/i
const timeRejection = /^(RequestTimeTooSkewed|RequestExpired|Request has expired)$/
const timeRejectionMessage = /RequestTimeTooSkewed|request has expired/i

/** Statuses after which the same request may succeed a moment later. 501 is permanent. */
const transient = new Set([429, 500, 502, 503, 504])

/** Codes of status 400 for a request that was damaged in transit (COS document 7730). */
const transitDamage: ReadonlyMap<string, Remedy> = new Map([
  ['BadDigest', 'retry-once'], ['InvalidDigest', 'retry-once'], ['EntitySizeNotMatch', 'retry'],
  ['IncompleteBody', 'retry'], ['RequestTimeout', 'retry'], ['UserNetworkTooSlow', 'retry']
])

/** Tells whether an error says that the configuration (or, for LIST, every configuration) does not exist. */
export function isNotFound (error: unknown): error is ServiceError & { cos: CosContext } {
  return error instanceof ServiceError && error.status === 404 && error.code === 'InventoryConfigurationNotFoundError'
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
 * Turns a response that is not a success into the error for the caller. It keeps COS's code, request id and trace id.
 * It never reads StringToSign and FormatString, which describe the service's signature. An error document with a
 * success status gets the status that COS documents for its code.
 */
export function toUpstreamError (received: CosResponse): UpstreamError {
  const cos = cosContext(received)
  const error = readError(received)
  const isSuccess = received.status >= 200 && received.status <= 299
  if (isSuccess && (error === undefined || !isErrorDocument(received))) return undocumented(received.status, cos)
  const response = isSuccess && error !== undefined
    ? { ...received, status: documentedStatuses.get(error.code) ?? 500 }
    : received
  if (error === undefined) return codeless(response, cos)
  const { status } = response
  const code = notFoundCodes.has(error.code) ? 'InventoryConfigurationNotFoundError' : error.code
  const isAboutUs = credentialCodes.has(code) || (code === 'AccessDenied' && credentialMessage.test(error.message))
  if (isAboutUs && rejections.has(status)) {
    const says = (codes: RegExp, messages: RegExp) =>
      codes.test(code) || (code === 'AccessDenied' && messages.test(error.message))
    const remedy = says(keyRejection, keyRejectionMessage)
      ? 'refresh-credentials'
      : says(timeRejection, timeRejectionMessage) ? 'correct-clock' : 'none'
    return new UpstreamError('UpstreamCredentialsRejected', 'COS rejected the credentials, the signature or the clock ' +
      'of this service. Contact the operator; the request itself may be valid.',
    { class: 'credentials', remedy, cosTime: cosTime(response, cos), cos, cosCode: code })
  }
  const said = error.message === '' ? `COS returned ${code}.` : `COS returned ${code}: ${error.message.replace(/\.?$/, '.')}`
  return rejection(response, code, said, cos)
}

function rejection (response: CosResponse, code: string, said: string, cos: CosContext): UpstreamError {
  const { status } = response
  const remedy = transient.has(status) || code === 'SlowDown' ? 'retry' : transitDamage.get(code) ?? 'none'
  if (code === 'SlowDown' || status === 429 || status === 503) {
    const waitMs = retryAfterMs(response)
    const retryAfterSeconds = Math.max(1, Math.ceil((waitMs ?? 0) / 1000))
    const detail = `${said} Retry after ${retryAfterSeconds} s.`
    return new UpstreamError({ code, status: 503, title: 'Service Unavailable' }, detail,
      { class: 'throttled', remedy, waitMs, cos, retryAfterSeconds })
  }
  const title = titles.get(status)
  if (title !== undefined) {
    return new UpstreamError({ code, status, title }, `${said}${advice.get(code) ?? ''}`, { class: 'caller', remedy, cos })
  }
  return new UpstreamError({ code, status: 502, title: 'Bad Gateway' }, `${said} ${adviceFor(remedy)}`,
    { class: status >= 500 ? 'server' : 'caller', remedy, waitMs: retryAfterMs(response), cos, cosStatus: status })
}

function adviceFor (remedy: Remedy): string {
  return remedy === 'none' ? 'Contact the operator.' : retryAdvice
}

/** Advice for the caller by code of COS. */
const advice: ReadonlyMap<string, string> = new Map([
  ['NoSuchBucket', ' The bucket does not exist, or it is in another region. Check the query parameter region.'],
  ['InventoryFull', ' A bucket can have at most 1,000 configurations. Delete one, then retry.'],
  ['TooManyConfigurations', ' A bucket can have at most 1,000 configurations. Delete one, then retry.'],
  ['AccessDenied', ' The credentials of this service lack a permission on this bucket. Ask the operator to grant it.'],
  ['DuplicateInventoryId', ' The id of a one-time job must be unique within a day, and differ from the ids of ' +
    'configurations. If an earlier request for this job had no response, the job may be running; wait for its report. ' +
    'Otherwise use another id.']
])

/** Returns the error of an undocumented status. The response may be truncated, or come from a gateway. */
function undocumented (status: number, cos: CosContext): UpstreamError {
  return new UpstreamError('UpstreamInvalidResponse',
    `COS returned status ${status}, which does not belong to this operation. ${retryAdvice}`,
    { class: 'invalid', remedy: 'retry', cos })
}

function codeless (response: CosResponse, cos: CosContext): UpstreamError {
  const { status } = response
  const code = codelessCodes.get(status)
  if (cos.requestId !== undefined && code !== undefined) {
    return rejection(response, code, `COS returned ${status} without an error code.`, cos)
  }
  const remedy = transient.has(status) ? 'retry' : 'none'
  return new UpstreamError('UpstreamInvalidResponse',
    `The response (status ${status}) is not one of COS; a gateway may have sent it. ${adviceFor(remedy)}`, {
      class: 'invalid',
      remedy,
      waitMs: retryAfterMs(response),
      cos,
      cosStatus: status
    })
}
