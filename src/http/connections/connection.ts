/** Connections of clients, and the requests on them. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyRequest } from 'fastify'

/** One request and its response. */
export interface Exchange {
  readonly message: IncomingMessage
  readonly response: ServerResponse
  /** Undefined for a request that was injected without a socket. */
  readonly connection: Connection | undefined
  /** Set by the first hook of the application; undefined before it. */
  request: FastifyRequest | undefined
  isOver: boolean
  unsentBytes: number
  readonly listeners: Array<() => void>
}

/** One connection of a client. */
export interface Connection {
  /** The socket that requests know: with TLS not the one that was accepted. */
  socket: Socket
  /** Requests in flight, in the order they came. */
  readonly exchanges: Set<Exchange>
  /** Pipelined requests that are not served yet. */
  readonly waiting: Exchange[]
  /** The request that came last. */
  latest: Exchange | undefined
  /** The parser rejected what followed. The connection ends with the last response to a complete request. */
  isBroken: boolean
  /** No further request is served (RFC 9112, section 9.6). */
  isClosing: boolean
  /** Waiting requests are started in the next iteration of the event loop. */
  isScheduled: boolean
  /** The client has not taken all bytes that were written; the time limit of a stalled client runs. */
  isSending: boolean
  unsentBytes: number
  /** Bytes that had been read when the last exchange ended; undefined before the first. */
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
  return { message, response, connection, request: undefined, isOver: false, unsentBytes: 0, listeners: [] }
}

/**
 * Calls back once: when the response has been handed to the operating system, or its client disconnected.
 *
 * @param callback must not throw: those after it would not be called
 */
export function onExchangeEnd ({ isOver, listeners }: Exchange, callback: () => void): void {
  if (isOver) callback()
  else listeners.push(callback)
}

/** Tells whether a request has arrived to its end. */
export function isComplete ({ message }: Exchange): boolean {
  return message.complete
}

/** Tells whether nothing is left to be done on a connection that takes no further request. */
export function isFinished ({ exchanges, waiting, isBroken, isClosing }: Connection): boolean {
  if (isBroken) return ![...exchanges, ...waiting].some(isComplete)
  return isClosing && exchanges.size + waiting.length === 0
}

/** Tells whether nothing more is read from a connection for now. */
export function shouldPause ({ waiting, isSending }: Connection): boolean {
  return waiting.length > 0 || isSending
}

/**
 * Notes whether the client still has to take bytes, and starts or ends the time limit of a stalled client.
 *
 * @param stalledMs the limit, in milliseconds
 */
export function updateSending (connection: Connection, stalledMs: number): void {
  const { exchanges, socket } = connection
  const isSending = socket.writableLength > 0
  if (exchanges.size === 0 || isSending === connection.isSending) return
  connection.isSending = isSending
  // Node's timer starts again with every byte that the client takes. Reading would start it again, too.
  socket.setTimeout(isSending ? stalledMs : 0)
  if (isSending) socket.pause()
  else if (!shouldPause(connection)) socket.resume()
}

/** Keeps a connection paused: reading the body of a request resumes its socket. */
export function keepPaused (connection: Connection, socket: Socket): void {
  socket.on('resume', () => { if (shouldPause(connection)) socket.pause() })
}

/** Returns the address and port of a client. */
export function remoteAddressOf ({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`
}
