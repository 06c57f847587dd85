/**
 * All errors that the emulator returns without an injected fault: status and message. The message is that of COS where
 * it is known. Codes and statuses are from COS documents 7730, 7753 and 46869. `README.md` states the cause of each.
 */
export const cosErrors = {
  AccessDenied: [403, 'Access Denied.'],
  ActionAccelerateNotSupported: [400, 'Bucket configuration is not served on the accelerate domain.'],
  BadDigest: [400, 'The Content-MD5 you specified did not match what we received.'],
  BadRequest: [400, 'The request could not be read as HTTP.'],
  DuplicateInventoryId: [409, 'The inventory id is already in use.'],
  ExpiredToken: [400, 'The provided token has expired.'],
  InternalError: [500, 'We encountered an internal error. Please try again.'],
  InvalidAccessKeyId: [403, 'The access key id you provided does not exist in our records.'],
  InvalidArgument: [400, 'Invalid Argument.'],
  InvalidBucketName: [400, 'The specified bucket is not valid.'],
  InvalidDigest: [400, 'The Content-MD5 you specified is not valid.'],
  InvalidObjectState: [403, 'The operation is not valid for the current state of the object.'],
  InvalidRange: [416, 'The requested range cannot be satisfied.'],
  InvalidRegionName: [400, 'The specified region is not valid.'],
  InvalidRequest: [400, 'Invalid Request.'],
  InvalidURI: [400, 'Could not parse the specified URI.'],
  InventoryConfigurationNotFoundError: [404, 'The specified inventory configuration does not exist.'],
  InventoryFull: [400, 'The bucket already holds 1000 inventory configurations.'],
  MalformedXML: [400, 'The XML you provided was not well-formed or did not fit the published schema.'],
  MethodNotAllowed: [405, 'The specified method is not allowed against this resource.'],
  MissingContentLength: [411, 'You must provide the Content-Length HTTP header.'],
  MissingRequestBodyError: [400, 'Request body is empty.'],
  NoSuchBucket: [404, 'The specified bucket does not exist.'],
  NoSuchKey: [404, 'The specified key does not exist.'],
  NotImplemented: [501, 'The functionality you requested is not emulated.'],
  PreconditionFailed: [412, 'The precondition on the object does not hold.'],
  RequestTimeTooSkewed: [403, 'The difference between the request time and the current time is too large.'],
  ServiceUnavailable: [503, 'The request bodies in flight are too large together. Please try again.'],
  SignatureDoesNotMatch: [403, 'The Signature you specified is invalid.'],
  TargetBucketNameInvalid: [400, 'The destination bucket is not valid.'],
  UnexpectedContent: [400, 'This request does not support content.'],
  XMLSizeLimit: [400, 'The XML you provided is too long.']
} as const

export type CosErrorCode = keyof typeof cosErrors

/** A rejection of a request by COS. `details` become further elements of the error document. */
export class CosError extends Error {
  readonly code: CosErrorCode
  readonly status: number
  readonly details: Record<string, string>

  constructor (code: CosErrorCode, message?: string, details: Record<string, string> = {}) {
    super(message ?? cosErrors[code][1])
    this.name = 'CosError'
    this.code = code
    this.status = cosErrors[code][0]
    this.details = details
  }
}
