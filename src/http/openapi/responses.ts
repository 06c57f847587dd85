/** The responses of the OpenAPI document that operations share. */
import { problemMediaType, ProblemSchema } from '../../contract/problem.ts'
import { problemTable } from '../../errors.ts'
import { cosProblems } from '../../problem-table-of-cos.ts'
import { bucketHeaders, headerRefs } from './headers.ts'
import type { HeaderName } from './headers.ts'

/** Statuses on which a caller acts, with the names of their components. All other problems are the default response. */
const names: Readonly<Record<number, string>> = {
  304: 'NotModified',
  400: 'BadRequest',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
  409: 'Conflict',
  412: 'PreconditionFailed',
  415: 'UnsupportedMediaType',
  429: 'TooManyRequests',
  503: 'ServiceUnavailable'
}

/** Statuses of every operation on a bucket. */
export const statusesOfAll = [400, 401, 403, 404, 429, 503]
/** Statuses of operations with a body. */
export const statusesOfBodies = [...statusesOfAll, 415]

const furtherHeaders: Readonly<Record<number, HeaderName[]>> = {
  401: ['WWW-Authenticate'], 409: ['Retry-After'], 429: ['Retry-After'], 503: ['Retry-After']
}

const problemHeaders: HeaderName[] = ['Proxy-Status', ...bucketHeaders, 'x-cos-trace-id']

const refTo = (name: string) => ({ $ref: `#/components/responses/${name}` })

/**
 * Returns references to shared responses: those of the statuses, and the default response.
 *
 * @param isHead whether the operation is a HEAD, whose problems have no body
 */
export function sharedResponses (statuses: readonly number[], isHead: boolean): object {
  const nameOf = (status: number) => isHead && status >= 400 ? 'HeadProblem' : names[status] as string
  return {
    ...Object.fromEntries(statuses.map(status => [status, refTo(nameOf(status))])),
    default: refTo(isHead ? 'HeadProblem' : 'OtherProblem')
  }
}

/** Returns the components of all shared responses. */
export function responseComponents (): object {
  const content = { [problemMediaType]: { schema: { $ref: `#/components/schemas/${ProblemSchema.$id}` } } }
  const problems = Object.entries(names).filter(([status]) => Number(status) >= 400).map(([status, name]) => [name, {
    description: codesOf(Number(status)),
    headers: headerRefs([...furtherHeaders[Number(status)] ?? [], ...problemHeaders]),
    content
  }])
  return {
    NotModified: {
      description: 'If-None-Match names the present version.',
      headers: headerRefs(['ETag', ...bucketHeaders])
    },
    ...Object.fromEntries(problems) as object,
    OtherProblem: {
      description: 'Any other problem, such as `InternalError`, `UpstreamUnreachable` or `UpstreamTimeout`.',
      headers: headerRefs(problemHeaders),
      content
    },
    HeadProblem: {
      description: 'A problem without a body. Proxy-Status has its code.',
      headers: headerRefs(['WWW-Authenticate', 'Retry-After', ...problemHeaders])
    }
  }
}

/** Returns the codes of a status as a text. */
function codesOf (status: number): string {
  const codes = (table: Record<string, { status: number }>) => Object.keys(table)
    .filter(code => table[code]?.status === status).map(code => `\`${code}\``).join(', ')
  const ofCos = codes(cosProblems)
  return `${codes(problemTable)}${ofCos === '' ? '' : `, or a code of COS, such as ${ofCos}`}.`
}
