import { ServiceError } from '../errors.ts'
import { retryAdvice, UpstreamError } from '../cos/upstream-error.ts'

/** The call that failed. */
export interface FailedCall {
  bucket: string | undefined
  region: string | undefined
  host: string
  /** The actions that the call needs. */
  action: string
  /** The source of the credentials, as `COS_CREDENTIALS=env`. */
  origin: string
}

/** Causes and remedies by the code with which COS rejected the credentials. */
const rejections: Readonly<Record<string, string>> = {
  InvalidAccessKeyId: 'COS does not know the secret id, or the token of a temporary key is missing. Correct them',
  SignatureDoesNotMatch: 'The secret key does not belong to the secret id. Correct the key',
  ExpiredToken: 'The token of the temporary key has expired. Get a new one',
  InvalidToken: 'The token is not that of the temporary key. Correct it'
}

/** Tells whether a call failed because COS did not respond. */
export function isUnreachable (error: unknown): boolean {
  return error instanceof UpstreamError && ['unreachable', 'timeout'].includes(error.class)
}

/**
 * Returns why a call failed and what the operator can do.
 *
 * @throws any error that is not a {@link ServiceError}
 */
export function textOf (error: unknown, { bucket, region, host, action, origin }: FailedCall): string {
  if (!(error instanceof ServiceError)) throw error
  const { code, cosCode = '', cause } = error
  const rejection = rejections[cosCode]
  if (rejection !== undefined) return `${rejection} (${origin}).`
  const fault = String((cause as { code?: unknown } | undefined)?.code)
  if (/CERT|^UNABLE_TO_/.test(fault)) {
    return `The certificate of ${host} is not trusted: ${fault}. If a gateway decrypts TLS, set NODE_EXTRA_CA_CERTS.`
  }
  if (code === 'AccessDenied') {
    return `The credentials lack ${action}${bucket === undefined ? '' : ` on ${bucket}`}. Allow it in CAM.`
  }
  if (code === 'NoSuchBucket') {
    return `There is no bucket ${bucket} in ${region ?? 'the account'}. Correct COS_REGION, COS_BUCKET_REGIONS or the bucket.`
  }
  if (error instanceof UpstreamError && error.remedy === 'correct-clock') return 'COS rejected the time of the signature.'
  return error.detail.replace(` ${retryAdvice}`, '')
}
