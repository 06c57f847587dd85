/**
 * The only place where something thrown becomes a status and a body.
 */
import fp from 'fastify-plugin'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { problemMediaType } from '../../contract/problem.ts'
import type { Problem } from '../../contract/problem.ts'
import { ServiceError } from '../../errors.ts'
import type { ProblemCode } from '../../errors.ts'
import { tooLargeDetail } from '../body/expect-continue.ts'
import { pathOf } from '../context/path-of.ts'
import { routeNotFound } from './not-found.ts'

/** Turns every error of the hooks and routes into a problem document. */
export const problemReplies = fp(async app => {
  app.setErrorHandler((thrown: unknown, request, reply) => {
    const error = toServiceError(thrown)
    request.context.problem ??= error
    sendProblem(error, request, reply)
  })
}, { name: 'problem-replies', dependencies: ['request-context'], fastify: '5.x' })

function sendProblem (error: ServiceError, request: FastifyRequest, reply: FastifyReply): void {
  logProblem(request.log, error)
  if (error.retryAfterSeconds !== undefined) reply.header('retry-after', error.retryAfterSeconds)
  if (error.challenge !== undefined) reply.header('www-authenticate', error.challenge)
  // A body that was rejected unread may still be arriving.
  if (!request.raw.complete) reply.header('connection', 'close')
  cosHeaders(reply, error.cos)
  const problem = problemOf(error, request.id, pathOf(request))
  // Bytes, so that neither a serializer nor a charset parameter changes them.
  reply.code(error.status).header('content-type', problemMediaType).send(Buffer.from(JSON.stringify(problem)))
}

/**
 * An error as callers see it.
 *
 * @param instance the path it is about
 */
export function problemOf (error: ServiceError, requestId: string, instance: string): Problem {
  return {
    type: 'about:blank',
    title: error.title,
    status: error.status,
    detail: error.detail,
    instance,
    code: error.code,
    requestId,
    ...(error.cosCode === undefined ? {} : { cosCode: error.cosCode }),
    ...(error.cos?.requestId === undefined ? {} : { cosRequestId: error.cos.requestId }),
    ...(error.cos?.traceId === undefined ? {} : { cosTraceId: error.cos.traceId }),
    ...(error.errors === undefined ? {} : { errors: error.errors })
  }
}

/** Responds to what the router rejects before any hook has run, with the headers of every response. */
export function replyToRouterError (error: FastifyError, request: FastifyRequest, reply: FastifyReply): void {
  reply.headers({ 'x-request-id': request.id, ...bareHeaders })
  sendProblem(toServiceError(error), request, reply)
}

/** Security headers of responses that do not pass the hooks. */
export const bareHeaders = { 'x-content-type-options': 'nosniff', 'content-security-policy': "default-src 'none'", 'cache-control': 'no-store' }

/** Sets COS's ids of the exchange, where COS answered. */
export function cosHeaders (reply: FastifyReply, cos: ServiceError['cos']): void {
  if (cos?.requestId !== undefined) reply.header('x-cos-request-id', cos.requestId)
  if (cos?.traceId !== undefined) reply.header('x-cos-trace-id', cos.traceId)
}

// What Fastify itself refuses, by its error code.
const fastifyErrors: ReadonlyMap<string, { code: ProblemCode, detail: string }> = new Map([
  ['FST_ERR_CTP_BODY_TOO_LARGE', { code: 'PayloadTooLarge', detail: tooLargeDetail }],
  ['FST_ERR_CTP_INVALID_MEDIA_TYPE', { code: 'UnsupportedMediaType', detail: 'Send the body as application/json, a patch as application/merge-patch+json.' }],
  ['FST_ERR_CTP_INVALID_CONTENT_LENGTH', { code: 'MalformedRequest', detail: 'Body and Content-Length differ.' }],
  ['FST_ERR_BAD_URL', { code: 'MalformedRequest', detail: 'The path is not a valid percent-encoded path.' }]
])

/** Logs what is not the caller's doing. */
export function logProblem (log: FastifyRequest['log'], error: ServiceError): void {
  // COS has an InternalError too, which is a 502 here.
  if (error.status >= 500) log[error.status === 500 ? 'error' : 'warn'](toLogFields(error), error.detail)
}

/** What callers are told of anything that was thrown. */
export function toServiceError (thrown: unknown): ServiceError {
  if (thrown instanceof ServiceError) return thrown
  const { code = '', statusCode } = thrown as Partial<FastifyError>
  const known = fastifyErrors.get(code)
  if (known !== undefined) return new ServiceError(known.code, known.detail, { cause: thrown })
  // Paths that lead out of the static files.
  if (statusCode === 403) return routeNotFound(thrown)
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    return new ServiceError('MalformedRequest', 'The request cannot be served as it was sent.', { cause: thrown })
  }
  return new ServiceError('InternalError', 'The service failed. Tell its operator the requestId.', { cause: thrown })
}

/** What may be logged of an error. Other properties of a cause can hold bytes of an answer, and so a signature. */
function toLogFields ({ code, cosCode, cos, cause }: ServiceError): object {
  if (!(cause instanceof Error)) return { code, cosCode, cos }
  const { name, message, stack } = cause
  const causeCode = (cause as { code?: unknown }).code
  return { code, cosCode, cos, cause: { name, code: causeCode, message, ...(code === 'InternalError' ? { stack } : {}) } }
}
