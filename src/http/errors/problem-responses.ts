import { problemTable } from '../../errors.ts'
import type { ProblemCode } from '../../errors.ts'
import { problemMediaType, ProblemSchema } from '../../contract/problem.ts'
import type { Problem } from '../../contract/problem.ts'
import { refTo } from '../../contract/schema.ts'

/** A code of COS, with the status under which callers get it. */
interface CosProblem {
  status: number
  title: string
  code: string
  meaning: string
  /** The next step of the caller, in Markdown. */
  action: string
}

const cosProblem = (status: number, title: string, code: string, meaning: string, action: string): CosProblem =>
  ({ status, title, code, meaning, action })

/** The codes of COS that callers meet most (COS document 7730). Any other code is passed on the same way. */
export const cosProblems = {
  InvalidArgument: cosProblem(400, 'Bad Request', 'InvalidArgument', 'COS rejects a value of the request.',
    'Fix the value that `detail` names.'),
  InventoryFull: cosProblem(400, 'Bad Request', 'InventoryFull', 'The bucket has 1,000 configurations already.',
    'Delete a configuration first.'),
  TargetBucketNameInvalid: cosProblem(400, 'Bad Request', 'TargetBucketNameInvalid',
    'The destination bucket is not valid, or in another region.', 'Name a bucket in the region of the source.'),
  AccessDenied: cosProblem(403, 'Forbidden', 'AccessDenied',
    'The credentials of this service may not do this to this bucket.', 'Tell the operator.'),
  NoSuchBucket: cosProblem(404, 'Not Found', 'NoSuchBucket', 'The bucket does not exist, or is in another region.',
    'Check the name and the query parameter `region`.'),
  InventoryConfigurationNotFoundError: cosProblem(404, 'Not Found', 'InventoryConfigurationNotFoundError',
    'The bucket has no configuration of this id.', 'Check the id, or create the configuration.'),
  InvalidBucketState: cosProblem(409, 'Conflict', 'InvalidBucketState',
    'Another change of the bucket is in progress.', 'Retry.'),
  DuplicateInventoryId: cosProblem(409, 'Conflict', 'DuplicateInventoryId',
    'The id of a one-time job was used within a day, or a configuration has it.',
    'Use another id. After a retry, the first request may have started the job.'),
  SlowDown: cosProblem(503, 'Service Unavailable', 'SlowDown', 'COS throttles; Retry-After says when to retry.',
    'Retry after `Retry-After` seconds.')
}

/** Codes of COS that every bucket operation can return. */
export const commonCosProblems = [cosProblems.AccessDenied, cosProblems.NoSuchBucket, cosProblems.SlowDown]

/** Headers of counted requests (draft-ietf-httpapi-ratelimit-headers). */
export const rateLimitHeaders = {
  'ratelimit-limit': { type: 'integer', description: 'Requests that this caller may send per minute.' },
  'ratelimit-remaining': { type: 'integer', description: 'Requests that remain in this window.' },
  'ratelimit-reset': { type: 'integer', description: 'Seconds until the window ends.' }
}

/** Codes that any request can get before it reaches its route. */
const everywhere: ProblemCode[] = [
  'MalformedRequest', 'RequestTimeout', 'RequestHeaderFieldsTooLarge', 'TransferCodingNotSupported',
  'HTTPVersionNotSupported', 'HostNotAllowed', 'Overloaded', 'ShuttingDown'
]

/** Returns the error responses of a route by status, for its schema. Each code has its meaning and an example. */
export function problemResponses (codes: ProblemCode[], fromCos: CosProblem[] = []): Record<number, object> {
  const byStatus = new Map<number, CosProblem[]>()
  for (const problem of [...[...codes, ...everywhere].map(code => ({ code, ...problemTable[code] })), ...fromCos]) {
    byStatus.set(problem.status, [...byStatus.get(problem.status) ?? [], problem])
  }
  return Object.fromEntries([...byStatus].map(([status, problems]) => [status, {
    description: problems.map(({ code, meaning }) => `\`${code}\`: ${meaning}`).join('\n\n'),
    headers: {
      'x-request-id': { type: 'string', description: 'Id of the request.' },
      ...(status === 401 ? { 'www-authenticate': { type: 'string', description: 'The challenge (RFC 6750).' } } : {}),
      ...(status === 429 ? rateLimitHeaders : {}),
      ...(status === 429 || status === 503 ? { 'retry-after': { type: 'integer', description: 'Seconds to wait.' } } : {})
    },
    content: {
      [problemMediaType]: {
        schema: refTo(ProblemSchema),
        examples: Object.fromEntries(problems.map(problem => [problem.code, { value: exampleOf(problem) }]))
      }
    }
  }]))
}

function exampleOf ({ status, title, code, meaning }: CosProblem): Problem {
  return {
    type: 'about:blank',
    title,
    status,
    detail: meaning,
    code,
    requestId: '4f6c3a52-6f0e-4b53-8f0a-2d3c1d0d9b7e',
    ...(code === 'ValidationFailed'
      ? { errors: [{ in: 'body' as const, pointer: '/Schedule/Frequency', detail: 'must be one of Daily, Weekly, Monthly' }] }
      : {}),
    ...(code === 'UpstreamCredentialsRejected' ? { cosCode: 'InvalidAccessKeyId' } : {})
  }
}
