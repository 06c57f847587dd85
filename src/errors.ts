/**
 * Every error code this service answers of its own accord: status, title, and what it means to a caller.
 * Codes of COS itself are passed on by `cos/answers.ts` and carry their own status.
 */
export const problemTable = {
  ValidationFailed: {
    status: 400,
    title: 'Bad Request',
    meaning: 'Path, query or body is not as it must be; errors names every fault.'
  },
  MalformedJSON: {
    status: 400,
    title: 'Bad Request',
    meaning: 'The body is not JSON in UTF-8.'
  },
  MalformedRequest: {
    status: 400,
    title: 'Bad Request',
    meaning: 'The request is not valid HTTP, or its path not valid percent-encoding.'
  },
  Unauthenticated: {
    status: 401,
    title: 'Unauthorized',
    meaning: 'The request brings no key, token or certificate that this service knows.'
  },
  CallerNotAllowed: {
    status: 403,
    title: 'Forbidden',
    meaning: 'The caller may not do this to this bucket, or may not name this destination.'
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
    meaning: 'There is no such path.'
  },
  MethodNotAllowed: {
    status: 405,
    title: 'Method Not Allowed',
    meaning: 'The path does not take this method; Allow names the ones it takes.'
  },
  RequestTimeout: {
    status: 408,
    title: 'Request Timeout',
    meaning: 'The request did not arrive whole in time.'
  },
  PreconditionFailed: {
    status: 412,
    title: 'Precondition Failed',
    meaning: 'If-Match or If-None-Match does not hold; nothing was changed.'
  },
  PayloadTooLarge: {
    status: 413,
    title: 'Payload Too Large',
    meaning: 'The body has more than 256 KiB, or a set of configurations more than 1 MiB.'
  },
  URITooLong: {
    status: 414,
    title: 'URI Too Long',
    meaning: 'A segment of the path is too long.'
  },
  UnsupportedMediaType: {
    status: 415,
    title: 'Unsupported Media Type',
    meaning: 'The body is not application/json, or a patch not application/merge-patch+json, in UTF-8, or it is compressed.'
  },
  RateLimited: {
    status: 429,
    title: 'Too Many Requests',
    meaning: 'Too many requests from this caller, or too many failed attempts from this address; Retry-After says when to try again.'
  },
  RequestHeaderFieldsTooLarge: {
    status: 431,
    title: 'Request Header Fields Too Large',
    meaning: 'Request line and headers together are larger than 16 KiB, or there are more than 1,000 headers.'
  },
  InternalError: {
    status: 500,
    title: 'Internal Server Error',
    meaning: 'The service itself failed; its log has the reason.'
  },
  TransferCodingNotSupported: {
    status: 501,
    title: 'Not Implemented',
    meaning: 'The body has a transfer coding other than chunked.'
  },
  UpstreamCredentialsRejected: {
    status: 502,
    title: 'Bad Gateway',
    meaning: 'COS does not accept the credentials, signature or clock of this service; cosCode says which.'
  },
  UpstreamInvalidResponse: {
    status: 502,
    title: 'Bad Gateway',
    meaning: 'What answered did not answer as COS does.'
  },
  UpstreamUnreachable: {
    status: 502,
    title: 'Bad Gateway',
    meaning: 'COS could not be reached, or the connection was cut.'
  },
  IssuerUnreachable: {
    status: 503,
    title: 'Service Unavailable',
    meaning: 'The token cannot be checked, because the keys of its issuer could not be fetched yet; Retry-After says when to try again.'
  },
  UpstreamCredentialsUnavailable: {
    status: 503,
    title: 'Service Unavailable',
    meaning: 'The service has no valid credentials for COS at the moment; Retry-After says when to try again.'
  },
  AuditLogUnavailable: {
    status: 503,
    title: 'Service Unavailable',
    meaning: 'The audit log cannot be written, so the change was not sent to COS; Retry-After says when to retry.'
  },
  Overloaded: {
    status: 503,
    title: 'Service Unavailable',
    meaning: 'The service has no capacity left for this request: nothing was sent to COS; Retry-After says when to try again.'
  },
  ShuttingDown: {
    status: 503,
    title: 'Service Unavailable',
    meaning: 'This replica is stopping; Retry-After says when to try again.'
  },
  UpstreamTimeout: {
    status: 504,
    title: 'Gateway Timeout',
    meaning: 'COS did not answer in time.'
  },
  HTTPVersionNotSupported: {
    status: 505,
    title: 'HTTP Version Not Supported',
    meaning: 'The request is not HTTP/1.1.'
  }
} as const

/** A code of {@link problemTable}. */
export type ProblemCode = keyof typeof problemTable

/** One thing wrong with a request: which part, where in it (RFC 6901 pointer), and what to do. */
export interface ValidationIssue {
  in: 'path' | 'query' | 'header' | 'body'
  pointer: string
  detail: string
}

/** What COS said about an exchange, as far as callers may know it. */
export interface CosContext {
  requestId?: string | undefined
  traceId?: string | undefined
}

/** What else is known of a failure. */
export interface ServiceErrorOptions {
  cause?: unknown
  errors?: ValidationIssue[] | undefined
  cos?: CosContext | undefined
  cosCode?: string | undefined
  retryAfterSeconds?: number | undefined
  challenge?: string | undefined
  mayHaveTakenEffect?: boolean
}

/** A failure a caller is told about. `detail` says what to do and never quotes a secret or an inner message. */
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
  /** Whether COS may have carried out what was asked of it all the same. */
  readonly mayHaveTakenEffect: boolean

  /**
   * @param kind a code of the table, or COS's own code with the status it is answered with
   * @param detail what happened and what the caller can do
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
