/** Converts errors to responses. For requests that Fastify never sees, `protocol-errors.ts` does so. */
import fp from 'fastify-plugin'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { problemMediaType } from '../../contract/problem.ts'
import type { Problem } from '../../contract/problem.ts'
import { ServiceError } from '../../errors.ts'
import type { ProblemCode } from '../../errors.ts'
import { tooLargeDetail } from '../body/expect-continue.ts'
import { pathOf } from '../context/path-of.ts'
import { routeNotFound } from './not-found.ts'

/** Converts every error of hooks and routes to a problem document. */
export const problemReplies = fp(async app => {
  app.setErrorHandler((thrown: unknown, request, reply) => {
    const { operation, tally } = request.context
    const error = toServiceError(thrown, operation?.isChange === true && tally.attempts > 0)
    request.context.problem ??= error
    sendProblem(error, request, reply)
  })
}, { name: 'problem-replies', dependencies: ['request-context'], fastify: '5.x' })

function sendProblem (error: ServiceError, request: FastifyRequest, reply: FastifyReply): void {
  logProblem(request.log, error)
  if (error.retryAfterSeconds !== undefined) reply.header('retry-after', error.retryAfterSeconds)
  if (error.challenge !== undefined) reply.header('www-authenticate', error.challenge)
  // A body that was rejected without reading it may still be arriving.
  if (!request.raw.complete) reply.header('connection', 'close')
  reply.header('proxy-status', proxyStatusOf(error.code))
  cosHeaders(reply, error.cos)
  const problem = problemOf(error, request.id, pathOf(request))
  // Bytes instead of text: neither a serializer nor a charset parameter changes them.
  reply.code(error.status).header('content-type', problemMediaType).send(Buffer.from(JSON.stringify(problem)))
}

/**
 * Returns the problem document of an error.
 *
 * @param instance path of the request
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
    ...(error.mayHaveTakenEffect ? { outcome: 'unknown' as const } : {}),
    ...(error.cosCode === undefined ? {} : { cosCode: error.cosCode }),
    ...(error.cos?.requestId === undefined ? {} : { cosRequestId: error.cos.requestId }),
    ...(error.cos?.traceId === undefined ? {} : { cosTraceId: error.cos.traceId }),
    ...(error.errors === undefined ? {} : { errors: error.errors }),
    ...(error.components === undefined ? {} : { components: [...error.components] })
  }
}

/**
 * Returns the value of Proxy-Status with a code (RFC 9209). A response to HEAD has no other place for it. Codes of COS
 * are validated, so that they need no escaping.
 */
export function proxyStatusOf (code: string): string {
  return `cos-inventory-proxy; details="${code}"`
}

/** Responds to an error of the router, which occurs before all hooks. Sets the headers of every response. */
export function replyToRouterError (error: FastifyError, request: FastifyRequest, reply: FastifyReply): void {
  reply.headers({ 'x-request-id': request.id, ...bareHeaders })
  sendProblem(toServiceError(error), request, reply)
}

/** Security headers of responses that do not pass the hooks. */
export const bareHeaders = { 'x-content-type-options': 'nosniff', 'content-security-policy': "default-src 'none'", 'cache-control': 'no-store' }

/** Sets the ids of the exchange with COS, if there was one. */
export function cosHeaders (reply: FastifyReply, cos: ServiceError['cos']): void {
  if (cos?.requestId !== undefined) reply.header('x-cos-request-id', cos.requestId)
  if (cos?.traceId !== undefined) reply.header('x-cos-trace-id', cos.traceId)
}

// Errors of Fastify, by their code.
const fastifyErrors: ReadonlyMap<string, { code: ProblemCode, detail: string }> = new Map([
  ['FST_ERR_CTP_BODY_TOO_LARGE', { code: 'PayloadTooLarge', detail: tooLargeDetail }],
  ['FST_ERR_CTP_INVALID_MEDIA_TYPE', { code: 'UnsupportedMediaType', detail: 'The media type of the body is not supported. Send application/json; a patch may be application/merge-patch+json.' }],
  ['FST_ERR_CTP_INVALID_CONTENT_LENGTH', { code: 'MalformedRequest', detail: 'Content-Length does not match the body. Correct it and send the request again.' }],
  ['FST_ERR_BAD_URL', { code: 'MalformedRequest', detail: 'The percent-encoding of the path is not valid. Correct it and send the request again.' }]
])

/** Logs errors that the caller did not cause. */
export function logProblem (log: FastifyRequest['log'], error: ServiceError): void {
  // The InternalError of COS has status 502 here.
  if (error.status >= 500) log[error.status === 500 ? 'error' : 'warn'](toLogFields(error), error.detail)
}

/**
 * Returns the error that is reported to the caller for anything that was thrown.
 *
 * @param mayHaveTakenEffect whether a change was already sent to COS if the service itself failed
 */
export function toServiceError (thrown: unknown, mayHaveTakenEffect = false): ServiceError {
  if (thrown instanceof ServiceError) return thrown
  const { code = '', statusCode } = thrown as Partial<FastifyError>
  const known = fastifyErrors.get(code)
  if (known !== undefined) return new ServiceError(known.code, known.detail, { cause: thrown })
  // The plugin of static files returns 403 for paths outside of its folder.
  if (statusCode === 403) return routeNotFound(thrown)
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    return new ServiceError('MalformedRequest', 'The request is malformed. Correct it and send it again.', { cause: thrown })
  }
  return new ServiceError('InternalError', 'The service failed. Report the requestId to the operator.',
    { cause: thrown, mayHaveTakenEffect })
}

/**
 * Returns the loggable part of an error. Other properties of a cause can contain bytes of a response, and so a
 * signature.
 */
function toLogFields ({ code, cosCode, cos, cause }: ServiceError): object {
  if (!(cause instanceof Error)) return { code, cosCode, cos }
  const { name, message, stack } = cause
  const causeCode = (cause as { code?: unknown }).code
  return { code, cosCode, cos, cause: { name, code: causeCode, message, ...(code === 'InternalError' ? { stack } : {}) } }
}
