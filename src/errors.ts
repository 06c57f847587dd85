/**
 * Codes of the errors that this service creates: status, title and meaning for the caller.
 * `cos/client/response-errors.ts` passes codes of COS on with their own status.
 */
export const problemTable = {
  ValidationFailed: {
    status: 400,
    title: 'Bad Request',
    meaning: 'Path, query, headers or body are invalid; errors names every issue.'
  },
  MalformedJSON: {
    status: 400,
    title: 'Bad Request',
    meaning: 'The body is not JSON in UTF-8.'
  },
  MalformedRequest: {
    status: 400,
    title: 'Bad Request',
    meaning: 'The request is not valid HTTP, or its path is not valid percent-encoding.'
  },
  Unauthenticated: {
    status: 401,
    title: 'Unauthorized',
    meaning: 'The request has no key, token or certificate that this service accepts.'
  },
  CallerNotAllowed: {
    status: 403,
    title: 'Forbidden',
    meaning: 'The caller lacks a permission for this action, bucket or destination.'
  },
  HostNotAllowed: {
    status: 403,
    title: 'Forbidden',
    meaning: 'With AUTH=none: Host names neither this machine nor a host of ALLOWED_HOSTS, or the request comes from a page of another site.'
  },
  ReadOnly: {
    status: 403,
    title: 'Forbidden',
    meaning: 'The service runs with READ_ONLY=true and changes nothing.'
  },
  RouteNotFound: {
    status: 404,
    title: 'Not Found',
    meaning: 'The path does not exist.'
  },
  MethodNotAllowed: {
    status: 405,
    title: 'Method Not Allowed',
    meaning: 'The path does not support this method; Allow names those it supports.'
  },
  RequestTimeout: {
    status: 408,
    title: 'Request Timeout',
    meaning: 'The request was not complete in time.'
  },
  PreconditionFailed: {
    status: 412,
    title: 'Precondition Failed',
    meaning: 'If-Match or If-None-Match does not match; nothing was changed.'
  },
  PayloadTooLarge: {
    status: 413,
    title: 'Payload Too Large',
    meaning: 'The body exceeds 256 KiB, or a set of configurations 1 MiB.'
  },
  URITooLong: {
    status: 414,
    title: 'URI Too Long',
    meaning: 'A segment of the path is too long.'
  },
  UnsupportedMediaType: {
    status: 415,
    title: 'Unsupported Media Type',
    meaning: 'The media type or charset of the body is not supported, or the body is compressed.'
  },
  RateLimited: {
    status: 429,
    title: 'Too Many Requests',
    meaning: 'Too many requests from this caller, or too many failed attempts from this address; Retry-After says when to retry.'
  },
  RequestHeaderFieldsTooLarge: {
    status: 431,
    title: 'Request Header Fields Too Large',
    meaning: 'Request line and headers together are larger than 16 KiB, or there are more than 1,000 headers.'
  },
  InternalError: {
    status: 500,
    title: 'Internal Server Error',
    meaning: 'The service failed; its log has the cause.'
  },
  TransferCodingNotSupported: {
    status: 501,
    title: 'Not Implemented',
    meaning: 'The body has a transfer coding other than chunked.'
  },
  UpstreamCredentialsRejected: {
    status: 502,
    title: 'Bad Gateway',
    meaning: 'COS rejected the credentials, signature or clock of this service; cosCode says which.'
  },
  UpstreamInvalidResponse: {
    status: 502,
    title: 'Bad Gateway',
    meaning: 'COS returned a malformed or unexpected response.'
  },
  UpstreamUnreachable: {
    status: 502,
    title: 'Bad Gateway',
    meaning: 'COS could not be reached, or the connection was closed early.'
  },
  IssuerUnreachable: {
    status: 503,
    title: 'Service Unavailable',
    meaning: 'The token cannot be verified, because the keys of its issuer could not be fetched yet; Retry-After says when to retry.'
  },
  UpstreamCredentialsUnavailable: {
    status: 503,
    title: 'Service Unavailable',
    meaning: 'The service has no valid credentials for COS at the moment; Retry-After says when to retry.'
  },
  AuditLogUnavailable: {
    status: 503,
    title: 'Service Unavailable',
    meaning: 'The audit log cannot be written, so the change was not sent to COS; Retry-After says when to retry.'
  },
  Overloaded: {
    status: 503,
    title: 'Service Unavailable',
    meaning: 'The service has no capacity for this request; nothing was sent to COS; Retry-After says when to retry.'
  },
  ShuttingDown: {
    status: 503,
    title: 'Service Unavailable',
    meaning: 'This replica is stopping; Retry-After says when to retry.'
  },
  UpstreamTimeout: {
    status: 504,
    title: 'Gateway Timeout',
    meaning: 'COS did not respond in time.'
  },
  HTTPVersionNotSupported: {
    status: 505,
    title: 'HTTP Version Not Supported',
    meaning: 'The request is not HTTP/1.1.'
  }
} as const

/** A code of {@link problemTable}. */
export type ProblemCode = keyof typeof problemTable

/** One issue of a request: its part, its place (RFC 6901 pointer) and the remedy. */
export interface ValidationIssue {
  in: 'path' | 'query' | 'header' | 'body'
  pointer: string
  detail: string
}

/** Ids of an exchange with COS. Callers may see them. */
export interface CosContext {
  requestId?: string | undefined
  traceId?: string | undefined
}

/** Further properties of a {@link ServiceError}. */
export interface ServiceErrorOptions {
  cause?: unknown
  errors?: ValidationIssue[] | undefined
  cos?: CosContext | undefined
  cosCode?: string | undefined
  retryAfterSeconds?: number | undefined
  challenge?: string | undefined
  mayHaveTakenEffect?: boolean
}

/**
 * A failure that is reported to the caller. `detail` says what happened and what to do. It never quotes a secret or the
 * message of a cause.
 */
export class ServiceError extends Error {
  readonly code: string
  readonly status: number
  readonly title: string
  readonly detail: string
  readonly errors: ValidationIssue[] | undefined
  readonly cos: CosContext | undefined
  readonly cosCode: string | undefined
  readonly retryAfterSeconds: number | undefined
  /** The value of WWW-Authenticate (RFC 9110, section 11.6.1). */
  readonly challenge: string | undefined
  /** Whether COS may have made the change despite the failure. */
  readonly mayHaveTakenEffect: boolean

  /**
   * @param kind a code of the table, or a code of COS with the status of the response
   * @param detail what happened, and what the caller can do
   */
  constructor (
    kind: ProblemCode | { code: string, status: number, title: string },
    detail: string,
    options: ServiceErrorOptions = {}
  ) {
    super(detail, { cause: options.cause })
    this.name = 'ServiceError'
    const { code, status, title } = typeof kind === 'string' ? { code: kind, ...problemTable[kind] } : kind
    this.code = code
    this.status = status
    this.title = title
    this.detail = detail
    this.errors = options.errors
    this.cos = options.cos
    this.cosCode = options.cosCode
    this.retryAfterSeconds = options.retryAfterSeconds
    this.challenge = options.challenge
    this.mayHaveTakenEffect = options.mayHaveTakenEffect ?? false
  }
}
