/**
 * The only place where something thrown becomes a status and a body.
 */
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest, RequestPayload } from 'fastify'
import { problemMediaType } from '../contract/problem.ts'
import type { Problem } from '../contract/problem.ts'
import { maxBodyBytes, maxSetBytes } from '../contract/requests.ts'
import { ServiceError } from '../errors.ts'
import type { ProblemCode } from '../errors.ts'
import { pathOf } from './path-of.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** What the caller is told instead of what was asked for; null while nothing went wrong. */
    problem: ServiceError | null
  }
}

/** Makes whatever is thrown while a request is served a problem document. */
export function addProblems (app: FastifyInstance): void {
  app.decorateRequest('problem', null)
  app.setErrorHandler(replyWithProblem)
}

function replyWithProblem (thrown: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const error = toServiceError(thrown)
  request.problem ??= error
  logProblem(request.log, error)
  if (error.retryAfterSeconds !== undefined) reply.header('retry-after', error.retryAfterSeconds)
  if (error.challenge !== undefined) reply.header('www-authenticate', error.challenge)
  // A body that was refused unread may still be on its way: nobody waits for it.
  if (!request.raw.complete) reply.header('connection', 'close')
  cosHeaders(reply, error.cos)
  const problem = problemOf(error, request.id, pathOf(request))
  // Bytes, so that neither a serializer nor a charset parameter gets to them.
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

/** Answers what the router refuses before any hook has run: the headers of every answer are set here. */
export function replyToRouterError (error: FastifyError, request: FastifyRequest, reply: FastifyReply): void {
  reply.headers({ 'x-request-id': request.id, ...bareHeaders })
  replyWithProblem(error, request, reply)
}

/** Security headers of responses that do not pass the hooks. */
export const bareHeaders = { 'x-content-type-options': 'nosniff', 'content-security-policy': "default-src 'none'", 'cache-control': 'no-store' }

/** Sets COS's ids of the exchange, where COS answered. */
export function cosHeaders (reply: FastifyReply, cos: ServiceError['cos']): void {
  if (cos?.requestId !== undefined) reply.header('x-cos-request-id', cos.requestId)
  if (cos?.traceId !== undefined) reply.header('x-cos-trace-id', cos.traceId)
}

/**
 * 404 for a path no route has, 405 with Allow for a method the path does not take; both before a body is read.
 * Routes registered later count.
 */
export function addNotFound (app: FastifyInstance): void {
  const routes = new Map<string, { pattern: RegExp, methods: Set<string> }>()
  app.addHook('onRoute', ({ url, method }) => {
    const route = routes.get(url) ?? { pattern: toPattern(url), methods: new Set() }
    for (const each of [method].flat()) route.methods.add(each)
    routes.set(url, route)
  })
  const refuse = (request: FastifyRequest, reply: FastifyReply) => {
    const path = pathOf(request)
    const methods = [...routes.values()].filter(route => route.pattern.test(path)).flatMap(route => [...route.methods])
    // A route that takes the method can still say that there is nothing, as that of static files does.
    if (methods.length === 0 || methods.includes(request.method)) throw noSuchPath()
    const allow = [...new Set(methods)].sort().join(', ')
    reply.header('allow', allow)
    throw new ServiceError('MethodNotAllowed', `${request.method} is not possible here; ${allow} are.`)
  }
  app.addHook('onRequest', (request, reply, done) => {
    if (request.is404) refuse(request, reply)
    done()
  })
  // Reached by routes that find nothing themselves.
  app.setNotFoundHandler(refuse)
}

function noSuchPath (cause?: unknown): ServiceError {
  return new ServiceError('RouteNotFound', 'There is no such path. /docs shows the ones there are.', { cause })
}

function toPattern (url: string): RegExp {
  const source = url.split('/').map(segment => segment.startsWith(':')
    ? '[^/]+'
    : segment === '*' ? '.*' : segment.replace(/[.+?^${}()|[\]\\]/g, '\\$&')).join('/')
  return new RegExp(`^${source}$`)
}

/**
 * Tells a client that waits for it to send its body (RFC 9110, section 10.1.1), after all that refuses it unread
 * (preParsing hook).
 *
 * @throws {ServiceError} PayloadTooLarge for a body that need not be sent to be too large; MalformedRequest when the
 *   caller has left while somebody else was asked who it is: of what it sent nothing more can be read
 */
export function inviteBody (
  request: FastifyRequest, reply: FastifyReply, _: RequestPayload, done: () => void
): void {
  const { raw, headers } = request
  if (raw.destroyed && !raw.readableEnded) throw new ServiceError('MalformedRequest', 'The request was broken off.')
  if (/\b100-continue\b/i.test(headers.expect ?? '') && raw.httpVersion !== '1.0') {
    const { bodyLimit } = request.routeOptions
    if (Number(headers['content-length']) > bodyLimit) throw new ServiceError('PayloadTooLarge', tooLarge)
    reply.raw.writeContinue()
  }
  done()
}

const tooLarge = `A body may have ${maxBodyBytes} bytes at most, a set of configurations ${maxSetBytes}.`

// What Fastify itself refuses, by its error code.
const fastifyErrors: ReadonlyMap<string, { code: ProblemCode, detail: string }> = new Map([
  ['FST_ERR_CTP_BODY_TOO_LARGE', { code: 'PayloadTooLarge', detail: tooLarge }],
  ['FST_ERR_CTP_INVALID_MEDIA_TYPE', { code: 'UnsupportedMediaType', detail: 'Send the body as application/json, a patch as application/merge-patch+json.' }],
  ['FST_ERR_CTP_INVALID_CONTENT_LENGTH', { code: 'MalformedRequest', detail: 'Body and Content-Length differ.' }],
  ['FST_ERR_BAD_URL', { code: 'MalformedRequest', detail: 'The path is not a valid percent-encoded path.' }]
])

/** Logs what is not the caller's doing. */
export function logProblem (log: FastifyRequest['log'], error: ServiceError): void {
  // COS has an InternalError too, which is a 502 here.
  if (error.status >= 500) log[error.status === 500 ? 'error' : 'warn'](toLogFields(error), error.detail)
}

/** Longer segments than the contract allows reach validation, which says what is wrong with them, up to this length. */
const maxSegmentLength = 8192

/** Rejects requests with a far too long parameter in the path (onRequest). @throws {ServiceError} URITooLong */
export function rejectLongSegments (app: FastifyInstance): void {
  app.addHook('onRequest', ({ params }, _, done) => {
    for (const value of Object.values(params as Record<string, string>)) {
      if (value.length > maxSegmentLength) throw new ServiceError('URITooLong', 'A segment of the path is too long.')
    }
    done()
  })
}

/** What callers are told of anything that was thrown. */
export function toServiceError (thrown: unknown): ServiceError {
  if (thrown instanceof ServiceError) return thrown
  const { code = '', statusCode } = thrown as Partial<FastifyError>
  const known = fastifyErrors.get(code)
  if (known !== undefined) return new ServiceError(known.code, known.detail, { cause: thrown })
  // Paths that lead out of the static files.
  if (statusCode === 403) return noSuchPath(thrown)
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
