/** Connections of clients, and the requests on them. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyRequest } from 'fastify'

/** One request and its response. */
export interface Exchange {
  readonly message: IncomingMessage
  readonly response: ServerResponse
  /** Undefined for an injected request. */
  readonly connection: Connection | undefined
  /** Set by the first hook of the application; undefined before it. */
  request: FastifyRequest | undefined
  hasEnded: boolean
  unsentBytes: number
  /** Milliseconds for which the client may read nothing, if longer than the limit of all connections. */
  stalledMs: number
  readonly listeners: Array<() => void>
}

/** One connection of a client. */
export interface Connection {
  /** The socket of the requests. With TLS it differs from the accepted socket. */
  socket: Socket
  /** Requests in flight, in order of arrival. */
  readonly exchanges: Set<Exchange>
  /** Pipelined requests that are not served yet. */
  readonly waiting: Exchange[]
  /** The latest request. */
  latest: Exchange | undefined
  /**
   * The parser rejected the bytes after the last request. The connection ends with the last response to a complete
   * request.
   */
  isBroken: boolean
  /** No further request is served (RFC 9112, section 9.6). */
  isClosing: boolean
  /** Waiting requests are started in the next iteration of the event loop. */
  isScheduled: boolean
  /** The client has not read all written bytes; the time limit of a stalled client runs. */
  isSending: boolean
  unsentBytes: number
  /** Bytes that had been read when the last exchange ended; undefined before that. */
  bytesReadAtEnd: number | undefined
}

/** Returns the connection of a socket that was accepted. */
export function newConnection (socket: Socket): Connection {
  return {
    socket,
    exchanges: new Set(),
    waiting: [],
    latest: undefined,
    isBroken: false,
    isClosing: false,
    isScheduled: false,
    isSending: false,
    unsentBytes: 0,
    bytesReadAtEnd: undefined
  }
}

/** Returns the exchange of a request that has arrived. */
export function newExchange (
  message: IncomingMessage, response: ServerResponse, connection: Connection | undefined
): Exchange {
  return {
    message, response, connection, request: undefined, hasEnded: false, unsentBytes: 0, stalledMs: 0, listeners: []
  }
}

/**
 * Calls back once, when the response has been passed to the operating system or its client disconnected.
 *
 * @param callback must not throw, because later callbacks would not be called
 */
export function onExchangeEnd ({ hasEnded, listeners }: Exchange, callback: () => void): void {
  if (hasEnded) callback()
  else listeners.push(callback)
}

/** Returns whether a request has arrived completely. */
export function isComplete ({ message }: Exchange): boolean {
  return message.complete
}

/** Returns whether a connection that accepts no further request has no work left. */
export function isFinished ({ exchanges, waiting, isBroken, isClosing }: Connection): boolean {
  if (isBroken) return ![...exchanges, ...waiting].some(isComplete)
  return isClosing && exchanges.size + waiting.length === 0
}

/** Returns whether reading from a connection must pause. */
export function shouldPause ({ waiting, isSending }: Connection): boolean {
  return waiting.length > 0 || isSending
}

/**
 * Updates whether the client still has to read bytes. Starts or ends the time limit of a stalled client.
 *
 * @param limitMs the limit of all connections, in milliseconds
 */
export function updateSending (connection: Connection, limitMs: number): void {
  const { exchanges, socket } = connection
  const isSending = socket.writableLength > 0
  if (exchanges.size === 0 || isSending === connection.isSending) return
  connection.isSending = isSending
  // The timer of Node restarts with every byte that the client reads. Data from the client would restart it, too.
  const stalledMs = Math.max(limitMs, ...[...exchanges].map(each => each.stalledMs))
  socket.setTimeout(isSending ? stalledMs : 0)
  if (isSending) socket.pause()
  else if (!shouldPause(connection)) socket.resume()
}

/** Keeps a connection paused, because reading the body of a request resumes its socket. */
export function keepPaused (connection: Connection, socket: Socket): void {
  socket.on('resume', () => { if (shouldPause(connection)) socket.pause() })
}

/** Returns the address and port of a client. */
export function remoteAddressOf ({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`
}
