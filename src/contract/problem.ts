import { Type } from '@sinclair/typebox'
import type { Static } from '@sinclair/typebox'
import { ComponentSchema } from './readiness.ts'
import { problemTable } from '../problem-table.ts'
import { cosProblems } from '../problem-table-of-cos.ts'
import { component, documentedAs, refTo, StringEnum } from './schema.ts'

/** The media type of every error response (RFC 9457). */
export const problemMediaType = 'application/problem+json'

const codes = [...new Set([...Object.keys(problemTable), ...Object.keys(cosProblems)])]

const ofCode = {
  description: 'Stable, machine-readable code. An error of COS has the code of COS, which may be one that is not listed.'
}

const ProblemCode = component('ProblemCode', documentedAs(Type.String(),
  Type.Union([StringEnum(codes), Type.String({ description: 'Another code of COS.' })], { ...ofCode, examples: ['ValidationFailed'] })))

/** The body of every error response: RFC 9457 problem details with a machine-readable code. */
export const ProblemSchema = Type.Object({
  type: Type.String({ examples: ['about:blank'] }),
  title: Type.String(),
  status: Type.Integer({ minimum: 400, maximum: 599 }),
  detail: Type.String({ description: 'Text for people: the error and what to do. The wording may change.' }),
  instance: Type.Optional(Type.String({ description: 'Path of the request.' })),
  code: ProblemCode,
  requestId: Type.String({ description: "This service's id of the request, also in x-request-id." }),
  outcome: Type.Optional(StringEnum(['unknown'], {
    description: 'Present if the change may have been made. Without it, nothing was changed.'
  })),
  cosCode: Type.Optional(Type.String({ description: 'The code that COS returned, if code is a broader class.' })),
  cosRequestId: Type.Optional(Type.String({ description: 'The request id that COS returned, for Tencent Cloud support.' })),
  cosTraceId: Type.Optional(Type.String()),
  errors: Type.Optional(Type.Array(Type.Object({
    in: StringEnum(['path', 'query', 'header', 'body']),
    pointer: Type.String({ description: 'RFC 6901 pointer into that part of the request.' }),
    detail: Type.String()
  }), { description: 'All validation errors of the request, not only the first.' })),
  components: Type.Optional(Type.Array(refTo(ComponentSchema), { description: 'Only of `/readyz?verbose`: the components of the service.' }))
}, {
  $id: 'Problem',
  description: 'RFC 9457 problem details.',
  examples: [{
    type: 'about:blank',
    title: 'Bad Request',
    status: 400,
    detail: 'body /Schedule/Frequency must be one of Daily, Weekly, Monthly. Correct the request and send it again.',
    instance: '/buckets/examplebucket-1250000000/inventories/daily-report',
    code: 'ValidationFailed',
    requestId: '4f6c3a52-6f0e-4b53-8f0a-2d3c1d0d9b7e',
    errors: [{ in: 'body', pointer: '/Schedule/Frequency', detail: 'must be one of Daily, Weekly, Monthly' }]
  }]
})

export type Problem = Static<typeof ProblemSchema>
