/** The response headers of the OpenAPI document, as shared components. */

interface Header {
  description: string
  example: unknown
  schema: object
}

const text = { type: 'string' }
const integer = { type: 'integer' }
const requestId = '4f6c3a52-6f0e-4b53-8f0a-2d3c1d0d9b7e'

const header = (description: string, schema: object, example: unknown): Header => ({ description, schema, example })

/** Headers by their names, as the RFCs spell them. */
const headers = {
  ETag: header('The version of what the response describes. Send it in If-Match or If-None-Match.', text,
    '"BCZ8be92XkxzBoS9TQO4KpT7kEQPw6gzNdvZvXxYPKM"'),
  'x-request-id': header('Id of the request, also in the log of the service.', text, requestId),
  'x-cos-request-id': header('The request id that COS returned.', text, 'NjU2N2E2MWZfZTQ5OTJhMGJfMmRiZA=='),
  'x-cos-trace-id': header('The trace id that COS returned with an error.', text, 'OGVmYzZiMmQzYjA2OWNhODk0NTRkMTBi'),
  'ratelimit-limit': header('Requests per minute. Absent without a limit.', integer, 600),
  'ratelimit-remaining': header('Requests that remain.', integer, 599),
  'ratelimit-reset': header('Seconds until the minute ends.', integer, 42),
  'Retry-After': header('Seconds to wait.', integer, 1),
  'WWW-Authenticate': header('The challenge (RFC 6750).', text, 'Bearer realm="cos-inventory-proxy"'),
  'Proxy-Status': header('The code of the problem (RFC 9209).', text, 'cos-inventory-proxy; details="NoSuchBucket"'),
  'Accept-Patch': header('The media types of patches (RFC 5789).', text, 'application/json, application/merge-patch+json'),
  Link: header('The next page (rel="next") or the report of the job (rel="related", with REPORTS=true), as RFC 8288 has it.',
    text, '<?continuation-token=bmV4dA%3D%3D>; rel="next"'),
  'Content-Range': header('The range and the length of the file.', text, 'bytes 0-1023/4096'),
  Vary: header('Request headers on which the response depends.', text, 'accept-encoding')
} as const satisfies Record<string, Header>

/** A header that the document describes. */
export type HeaderName = keyof typeof headers | 'preflight-warnings'

const warnings = {
  description: 'Warnings of preflight=warn. Absent without warnings.',
  content: {
    'application/json': { schema: { type: 'array', items: { $ref: '#/components/schemas/PreflightWarning' } } }
  }
}

/** Headers of every response of an operation on a bucket. */
export const bucketHeaders: readonly HeaderName[] = [
  'x-request-id', 'x-cos-request-id', 'ratelimit-limit', 'ratelimit-remaining', 'ratelimit-reset'
]

/** Returns references to headers, in alphabetical order. */
export function headerRefs (names: readonly HeaderName[]): object {
  return Object.fromEntries(names.map(name => [name, { $ref: `#/components/headers/${componentNameOf(name)}` }]))
}

/** Returns the components of all headers. */
export function headerComponents (): object {
  return Object.fromEntries(Object.entries({ ...headers, 'preflight-warnings': warnings })
    .map(([name, value]) => [componentNameOf(name), value]))
}

/** Returns a name of a header or parameter in the form of a component: `if-match` becomes `IfMatch`. */
export function componentNameOf (name: string): string {
  return name.split('-').map(word => `${word.charAt(0).toUpperCase()}${word.slice(1)}`).join('')
}
