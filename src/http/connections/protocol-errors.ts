/**
 * Rejects requests that are not HTTP/1.1 as this service supports it, including those that the parser of Node rejects.
 */
import { STATUS_CODES } from 'node:http'
import type { IncomingMessage, Server } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyBaseLogger, FastifyInstance } from 'fastify'
import { problemMediaType } from '../../contract/problem.ts'
import type { Problem } from '../../contract/problem.ts'
import { problemTable, ServiceError } from '../../errors.ts'
import { bareHeaders, proxyStatusOf } from '../errors/problem-replies.ts'
import { countParameters, maxQueryParameters } from '../query.ts'
import { newRequestId } from '../context/request-ids.ts'
import type { ConnectionRegistry } from './connection-registry.ts'
import { isComplete } from './connection.ts'
import type { Exchange } from './connection.ts'
import { maxHeaders } from './server.ts'

/** Returns the error of a malformed request that the parser of Node accepts; undefined for a valid one. */
export function malformation (message: IncomingMessage): ServiceError | undefined {
  const { httpVersion, rawHeaders, headers, url = '' } = message
  if (httpVersion !== '1.1' && httpVersion !== '1.0') {
    return new ServiceError(httpVersion === '0.9' ? 'MalformedRequest' : 'HTTPVersionNotSupported',
      'The request line must end with HTTP/1.1.')
  }
  // Node drops the headers above its limit, among them possibly If-Match or X-Forwarded-For.
  if (rawHeaders.length / 2 > maxHeaders) {
    return new ServiceError('RequestHeaderFieldsTooLarge', details.RequestHeaderFieldsTooLarge)
  }
  // RFC 9112, section 3.2.
  const hosts = countHosts(rawHeaders)
  if (hosts > 1 || (hosts === 0 && httpVersion === '1.1')) {
    return new ServiceError('MalformedRequest', 'The request has no Host header, or several. Send one.')
  }
  // RFC 9112, section 6.1.
  const { 'transfer-encoding': coding } = headers
  if (coding !== undefined && coding.trim().toLowerCase() !== 'chunked') {
    return new ServiceError('TransferCodingNotSupported', 'The only supported transfer coding is chunked. Send the body without another one.')
  }
  // RFC 9112, section 3.2: a request target has no fragment. The router would read one as a query.
  if (url.includes('#')) {
    return new ServiceError('MalformedRequest', 'The request target contains a #. Percent-encode it as %23.')
  }
  const query = url.indexOf('?')
  if (query !== -1 && countParameters(url.slice(query + 1)) > maxQueryParameters) {
    const detail = `The query has more than ${maxQueryParameters} parameters. Send fewer.`
    return new ServiceError('ValidationFailed', detail, { errors: [{ in: 'query', pointer: '', detail }] })
  }
  return undefined
}

/** Counts the Host headers in a list of alternating names and values. */
function countHosts (rawHeaders: string[]): number {
  let count = 0
  for (let index = 0; index < rawHeaders.length; index += 2) {
    if (rawHeaders[index]?.length === 4 && rawHeaders[index]?.toLowerCase() === 'host') count += 1
  }
  return count
}

/** Rejects CONNECT, for which Node emits a bare socket. */
export function rejectConnect (app: FastifyInstance, connections: ConnectionRegistry): void {
  const server: Server = app.server
  server.on('connect', (_, socket: Socket) => {
    // Node has removed its listeners from this socket, including the one for errors.
    socket.on('error', () => { socket.destroy() })
    replyToClientError(app.log, connections, new Error('CONNECT'), socket)
  })
}

/** Responds to an error of the parser of Node, unless another response of the connection is still to be sent. */
export function replyToClientError (
  log: FastifyBaseLogger, connections: ConnectionRegistry, error: Error & { code?: string }, socket: Socket
): void {
  const connection = connections.of(socket)
  if (connection === undefined || !socket.writable || error.code === 'ECONNRESET') {
    socket.destroy()
    return
  }
  const exchanges = [...connection.exchanges, ...connection.waiting]
  // Bytes after a complete request do not change its response, which may confirm a change.
  if (exchanges.some(each => isComplete(each) || each.response.headersSent)) {
    connection.isBroken = true
    return
  }
  respond(log, error, socket, exchanges[0])
}

/** Writes the response to the socket, because there is no complete request to respond to. */
function respond (
  log: FastifyBaseLogger, error: Error & { code?: string }, socket: Socket, exchange: Exchange | undefined
): void {
  const request = exchange?.request
  const code = clientErrors.get(error.code ?? '') ?? 'MalformedRequest'
  const { status, title } = problemTable[code]
  const requestId = request?.id ?? newRequestId()
  const detail = details[code]
  if (request !== undefined) request.context.problem = new ServiceError(code, detail)
  log.info({ requestId, code, status, address: socket.remoteAddress }, 'request completed')
  const body = JSON.stringify({ type: 'about:blank', title, status, detail, code, requestId } satisfies Problem)
  const headers = {
    'content-type': problemMediaType,
    'content-length': Buffer.byteLength(body),
    'x-request-id': requestId,
    'proxy-status': proxyStatusOf(code),
    connection: 'close',
    ...bareHeaders
  }
  const head = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join('')
  // A client that keeps its side open would occupy the socket forever.
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${head}\r\n${body}`, () => { socket.destroy() })
}

type ClientErrorCode = 'RequestHeaderFieldsTooLarge' | 'RequestTimeout' | 'HTTPVersionNotSupported' | 'MalformedRequest'

const clientErrors: ReadonlyMap<string, ClientErrorCode> = new Map([
  ['HPE_HEADER_OVERFLOW', 'RequestHeaderFieldsTooLarge'],
  ['ERR_HTTP_REQUEST_TIMEOUT', 'RequestTimeout'],
  ['HPE_INVALID_VERSION', 'HTTPVersionNotSupported'],
  // The preface of HTTP/2.
  ['HPE_PAUSED_H2_UPGRADE', 'HTTPVersionNotSupported']
])

const details: Record<ClientErrorCode, string> = {
  RequestHeaderFieldsTooLarge: `The request line and headers are too large. Send at most 16 KiB and ${maxHeaders} headers.`,
  RequestTimeout: 'The request was not complete in time. Send it again.',
  HTTPVersionNotSupported: 'The service supports HTTP/1.1 and HTTP/1.0. Send the request in one of these versions.',
  MalformedRequest: 'The request is not valid HTTP/1.1. Correct it and send it again.'
}
