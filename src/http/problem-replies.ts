/**
 * The only place where something thrown becomes a status and a body.
 */
import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest, RequestPayload } from 'fastify'
import { problemMediaType } from '../contract/problem.ts'
import type { Problem } from '../contract/problem.ts'
import { maxBodyBytes, maxSetBytes } from '../contract/requests.ts'
import { problemTable, ServiceError } from '../errors.ts'
import type { ProblemCode } from '../errors.ts'
import { pathOf } from './path-of.ts'
import { newRequestId } from './request-ids.ts'

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

/** For answers that the security headers' plugin never gets to see. */
const bareHeaders = { 'x-content-type-options': 'nosniff', 'content-security-policy': "default-src 'none'", 'cache-control': 'no-store' }

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

/** What a connection carries: several requests, when a client sends more before the first is answered. */
interface Traffic {
  requests: Set<FastifyRequest>
  /** Nothing that follows can be read. The connection ends with the answers that are on their way. */
  isBroken: boolean
}

/** For faults that Node tells of the connection alone. */
const traffic = new WeakMap<Socket, Traffic>()

const isWhole = ({ raw }: FastifyRequest) => raw.complete

/** What Node would answer by itself, with an empty body or not at all, becomes a problem document too. */
export function answerOddRequests (app: FastifyInstance): void {
  app.server.on('checkExpectation', (request, response) => { app.routing(request, response) })
  // Whether to go on is said by inviteBody, once it is known that the body will be read.
  app.server.on('checkContinue', (request, response) => { app.routing(request, response) })
  app.server.on('connect', (_, socket: Socket) => {
    // Node has let go of this socket: nobody else would hear of its errors.
    socket.on('error', () => { socket.destroy() })
    replyToClientError.call(app, new Error('CONNECT'), socket)
  })
  app.addHook('onRequest', (request, _, done) => {
    const { raw } = request
    const carried = traffic.get(raw.socket) ?? { requests: new Set(), isBroken: false }
    traffic.set(raw.socket, carried)
    carried.requests.add(request)
    // RFC 9112, section 3.2.
    const hosts = countHosts(raw.rawHeaders)
    if (hosts > 1 || (hosts === 0 && raw.httpVersion === '1.1')) {
      throw new ServiceError('MalformedRequest', 'The request must have one Host.')
    }
    done()
  })
  app.addHook('onResponse', (request, _, done) => {
    const { socket } = request.raw
    const { requests, isBroken } = traffic.get(socket) as Traffic
    requests.delete(request)
    if (isBroken && ![...requests].some(isWhole)) socket.destroySoon()
    done()
  })
}

/** How often a name is among names and values in turn. */
function countHosts (rawHeaders: string[]): number {
  let count = 0
  for (let index = 0; index < rawHeaders.length; index += 2) {
    if (rawHeaders[index]?.length === 4 && rawHeaders[index]?.toLowerCase() === 'host') count += 1
  }
  return count
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

/** Answers a request that Node's HTTP parser gave up on, before there is anything Fastify could work with. */
export function replyToClientError (this: FastifyInstance, error: Error & { code?: string }, socket: Socket): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy()
    return
  }
  const carried = traffic.get(socket)
  const requests = [...carried?.requests ?? []]
  // What came after a whole request is not its fault, and its answer is on its way.
  if (carried !== undefined && requests.some(isWhole)) {
    carried.isBroken = true
    return
  }
  const [request] = requests
  const code = clientErrors.get(error.code ?? '') ?? 'MalformedRequest'
  const { status, title } = problemTable[code]
  const requestId = request?.id ?? newRequestId()
  const detail = clientErrorDetails[code]
  if (request !== undefined) request.problem = new ServiceError(code, detail)
  this.log.info({ requestId, code, status, address: socket.remoteAddress }, 'answered')
  const body = JSON.stringify({ type: 'about:blank', title, status, detail, code, requestId } satisfies Problem)
  const headers = {
    'content-type': problemMediaType,
    'content-length': Buffer.byteLength(body),
    'x-request-id': requestId,
    connection: 'close',
    ...bareHeaders
  }
  const head = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join('')
  // Destroyed, because a client that leaves its side open would hold the socket for ever.
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${head}\r\n${body}`, () => { socket.destroy() })
}

type ClientErrorCode = 'RequestHeaderFieldsTooLarge' | 'RequestTimeout' | 'MalformedRequest'
const clientErrors: ReadonlyMap<string, ClientErrorCode> = new Map([
  ['HPE_HEADER_OVERFLOW', 'RequestHeaderFieldsTooLarge'],
  ['ERR_HTTP_REQUEST_TIMEOUT', 'RequestTimeout']
])
const clientErrorDetails: Record<ClientErrorCode, string> = {
  RequestHeaderFieldsTooLarge: 'Request line and headers together are larger than 16 KiB.',
  RequestTimeout: 'The request did not arrive whole in time.',
  MalformedRequest: 'This is not an HTTP/1.1 request that this service takes.'
}

// What Fastify itself refuses, by its error code.
const fastifyErrors: ReadonlyMap<string, { code: ProblemCode, detail: string }> = new Map([
  ['FST_ERR_CTP_BODY_TOO_LARGE', { code: 'PayloadTooLarge', detail: tooLarge }],
  ['FST_ERR_CTP_INVALID_MEDIA_TYPE', { code: 'UnsupportedMediaType', detail: 'Send the body as application/json, a patch as application/merge-patch+json.' }],
  ['FST_ERR_CTP_INVALID_CONTENT_LENGTH', { code: 'MalformedRequest', detail: 'Body and Content-Length differ.' }],
  ['FST_ERR_BAD_URL', { code: 'MalformedRequest', detail: 'The path is not a valid percent-encoded path.' }],
  ['FST_ERR_MAX_PARAM_LENGTH', { code: 'URITooLong', detail: 'A segment of the path is too long.' }]
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
