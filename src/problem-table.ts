/**
 * Lists every error code of this service: status, title, meaning, and what the caller does about it. `npm run docs`
 * prints the table to docs/errors.md. `cos/client/response-errors.ts` passes on the codes of COS.
 */
export const problemTable = {
  ValidationFailed: {
    status: 400,
    title: 'Bad Request',
    meaning: 'The path, query, headers or body is not valid; errors names every issue.',
    action: 'Fix the request. A retry without a change fails again.'
  },
  MalformedJSON: {
    status: 400,
    title: 'Bad Request',
    meaning: 'The body is not JSON in UTF-8.',
    action: 'Fix the body.'
  },
  MalformedRequest: {
    status: 400,
    title: 'Bad Request',
    meaning: 'The request is not valid HTTP, or its path is not valid percent-encoding.',
    action: 'Fix the client.'
  },
  Unauthenticated: {
    status: 401,
    title: 'Unauthorized',
    meaning: 'The request has no key, token or certificate of a known caller.',
    action: 'Send a valid key or token, or ask the operator for a new one.'
  },
  CallerNotAllowed: {
    status: 403,
    title: 'Forbidden',
    meaning: 'The caller may not do this to this bucket, or may not name this destination.',
    action: 'Ask the operator for the permission that `detail` names.'
  },
  HostNotAllowed: {
    status: 403,
    title: 'Forbidden',
    meaning: 'With AUTH=none: Host is neither a loopback name nor in ALLOWED_HOSTS, or a page of another site sent the request.',
    action: 'Use `localhost`, or ask the operator to extend `ALLOWED_HOSTS`.'
  },
  ReportsDisabled: {
    status: 403,
    title: 'Forbidden',
    meaning: 'The service runs without REPORTS=true.',
    action: 'Ask the operator to enable reports.'
  },
  ReadOnly: {
    status: 403,
    title: 'Forbidden',
    meaning: 'The service runs with READ_ONLY=true and rejects every change.',
    action: 'Ask the operator when changes are allowed.'
  },
  RouteNotFound: {
    status: 404,
    title: 'Not Found',
    meaning: 'There is no such path.',
    action: 'Check the path.'
  },
  AccountUnknown: {
    status: 404,
    title: 'Not Found',
    meaning: 'The service has no account of Tencent Cloud for the APPID of the bucket; nothing was sent to COS.',
    action: 'Check the APPID, or ask the operator to add the account.'
  },
  ReportNotFound: {
    status: 404,
    title: 'Not Found',
    meaning: 'COS has delivered no report, no report of that day, or no such data file; detail names the folder and common causes.',
    action: 'Check the causes that `detail` names.'
  },
  MethodNotAllowed: {
    status: 405,
    title: 'Method Not Allowed',
    meaning: 'The path does not support this method; Allow lists the supported ones.',
    action: 'Use a method that `Allow` lists.'
  },
  RequestTimeout: {
    status: 408,
    title: 'Request Timeout',
    meaning: 'The request did not arrive completely in time.',
    action: 'Retry.'
  },
  ReportIncomplete: {
    status: 409,
    title: 'Conflict',
    meaning: 'COS has not delivered the whole report: its checksum or a data file does not exist; Retry-After says when to retry.',
    action: 'Retry after `Retry-After` seconds.'
  },
  PreconditionFailed: {
    status: 412,
    title: 'Precondition Failed',
    meaning: 'The condition in If-Match or If-None-Match is false; nothing was changed.',
    action: 'Read the configuration, then decide whether to change it.'
  },
  PayloadTooLarge: {
    status: 413,
    title: 'Payload Too Large',
    meaning: 'The body has more than 256 KiB, or a set of configurations more than 1 MiB.',
    action: 'Send a smaller body.'
  },
  URITooLong: {
    status: 414,
    title: 'URI Too Long',
    meaning: 'A segment of the path is too long.',
    action: 'Check the bucket name and the id.'
  },
  UnsupportedMediaType: {
    status: 415,
    title: 'Unsupported Media Type',
    meaning: 'The body is not application/json in UTF-8, or it is compressed. A patch may be application/merge-patch+json.',
    action: 'Set `Content-Type`, and send the body without compression.'
  },
  InvalidRange: {
    status: 416,
    title: 'Range Not Satisfiable',
    meaning: 'The range begins behind the end of the data file.',
    action: 'Read `Size` of the file in `Files`.'
  },
  RateLimited: {
    status: 429,
    title: 'Too Many Requests',
    meaning: 'Too many requests from this caller, or too many failed attempts from this address; Retry-After says when to retry.',
    action: 'Retry after `Retry-After` seconds.'
  },
  RequestHeaderFieldsTooLarge: {
    status: 431,
    title: 'Request Header Fields Too Large',
    meaning: 'Request line and headers together are larger than 16 KiB, or there are more than 1,000 headers.',
    action: 'Send fewer or shorter headers.'
  },
  InternalError: {
    status: 500,
    title: 'Internal Server Error',
    meaning: 'The service itself failed; its log has the reason.',
    action: 'Report `requestId` to the operator.'
  },
  TransferCodingNotSupported: {
    status: 501,
    title: 'Not Implemented',
    meaning: 'The body has a transfer coding other than chunked.',
    action: 'Send the body with `Content-Length`, or chunked.'
  },
  ReportCorrupt: {
    status: 502,
    title: 'Bad Gateway',
    meaning: 'The manifest of the report cannot be read, or the report contradicts its manifest or checksum.',
    action: 'Wait for the next report, or start a one-time job.'
  },
  ReportTooLarge: {
    status: 502,
    title: 'Bad Gateway',
    meaning: 'A part of the report exceeds a limit of this service, which detail names.',
    action: 'Read the files from COS.'
  },
  ReportUnsupported: {
    status: 502,
    title: 'Bad Gateway',
    meaning: 'The report is not CSV, not gzip, or in a place that this service does not read.',
    action: 'Read the files from COS.'
  },
  UpstreamCredentialsRejected: {
    status: 502,
    title: 'Bad Gateway',
    meaning: 'COS rejects the credentials, signature or clock of this service; cosCode says which.',
    action: 'Tell the operator. The request itself may be valid.'
  },
  UpstreamInvalidResponse: {
    status: 502,
    title: 'Bad Gateway',
    meaning: 'COS, or a gateway before it, returned a malformed or unexpected response.',
    action: 'Retry. If the error persists, tell the operator.'
  },
  UpstreamUnreachable: {
    status: 502,
    title: 'Bad Gateway',
    meaning: 'COS could not be reached, or the connection was closed early.',
    action: 'Retry. If the error persists, tell the operator.'
  },
  IssuerUnreachable: {
    status: 503,
    title: 'Service Unavailable',
    meaning: 'The token cannot be verified, because the keys of its issuer could not be fetched yet; Retry-After says when to retry.',
    action: 'Retry after `Retry-After` seconds.'
  },
  UpstreamCredentialsUnavailable: {
    status: 503,
    title: 'Service Unavailable',
    meaning: 'The service has no valid credentials for COS at the moment; Retry-After says when to retry.',
    action: 'Retry after `Retry-After` seconds. If the error persists, tell the operator.'
  },
  AuditLogUnavailable: {
    status: 503,
    title: 'Service Unavailable',
    meaning: 'The audit log cannot be written, so nothing was sent to COS; Retry-After says when to retry.',
    action: 'Retry after `Retry-After` seconds.'
  },
  Overloaded: {
    status: 503,
    title: 'Service Unavailable',
    meaning: 'The service has no capacity left for this request: nothing was sent to COS; Retry-After says when to retry.',
    action: 'Retry after `Retry-After` seconds.'
  },
  ShuttingDown: {
    status: 503,
    title: 'Service Unavailable',
    meaning: 'This replica is stopping; Retry-After says when to retry.',
    action: 'Retry. The load balancer selects another replica.'
  },
  UpstreamTimeout: {
    status: 504,
    title: 'Gateway Timeout',
    meaning: 'COS did not respond in time.',
    action: 'Retry a read. After a change, see [unknown outcome](#unknown-outcome-of-a-change).'
  },
  HTTPVersionNotSupported: {
    status: 505,
    title: 'HTTP Version Not Supported',
    meaning: 'The version of the request is neither HTTP/1.1 nor HTTP/1.0. Rows and data files need HTTP/1.1.',
    action: 'Use HTTP/1.1.'
  }
} as const

/** A code of {@link problemTable}. */
export type ProblemCode = keyof typeof problemTable
