/**
 * The owner of all state that belongs to a connection: its requests in flight, the pipelined ones that wait, the bytes
 * of responses that the client has not taken, and whether the connection is about to end.
 *
 * Node parses up to 64 KiB of pipelined requests at once and emits all of them. It neither limits how many are served
 * at the same time nor ends a connection whose client stops reading. Both limits are here.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyRequest } from 'fastify'

/** Requests of one connection that are served at the same time. More of a pipeline wait, and reading stops. */
const maxInFlight = 8

/** Pipelined requests that wait, over all connections. Each takes about 2 KB. */
const maxWaiting = 10_000

/** Bytes of responses that clients have not taken yet, over all connections. */
const maxUnsentBytes = 64 * 1024 * 1024

/** Unsent bytes of a connection above which its next pipelined request waits. */
const maxUnsentBytesBeforeNext = 1024 * 1024

/** A connection with unsent bytes of which none has been taken for this long is closed. */
const stalledMs = 30_000

/** How often connections are checked for clients that do not read. */
const checkMs = 1_000

/** Why the service closed a connection before its responses were sent. */
export type ClosingReason = 'stalled' | 'unsent_limit' | 'pipeline_limit'

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
  /** The client has not taken all bytes that were written; {@link stalledMs} runs. */
  isSending: boolean
  unsentBytes: number
  /** Bytes that had been read when the last exchange ended; undefined before the first. */
  bytesReadAtEnd: number | undefined
}

/** Serves one request. */
type Handler = (message: IncomingMessage, response: ServerResponse) => void

/** The connections of a server. */
export interface Connections {
  /** Hands the requests of a server to a handler, within the limits of each connection. */
  serve (server: Server, handler: Handler): void
  /** Returns the connection of a socket; undefined for one that has never been secured. */
  of (socket: Socket): Connection | undefined
  /** Returns the exchange of a request. One that was injected gets an exchange without a connection. */
  exchangeOf (message: IncomingMessage, response: ServerResponse): Exchange
  /** Counts the body of a response until the client has taken it. Closes the oldest connections above the limit. */
  addUnsent (exchange: Exchange, bytes: number): void
  /** Closes connections that wait for a request of which nothing has arrived. */
  closeIdle (): void
  /** Closes connections without a request in flight, also those that have sent a part of one. */
  closeUnused (): void
  /** Lets every connection end with its responses, and closes those without a request in flight. */
  closeAfterResponses (): void
  /** Resolves when every response has been handed to the operating system, or its client disconnected. */
  drained (): Promise<void>
  /** Connections and requests that have arrived so far. */
  readonly arrived: { connections: number, requests: number }
  /** Pipelined requests that wait, and bytes of responses that clients have not taken. */
  backlog (): { waiting: number, unsentBytes: number }
}

interface Options {
  /** Is told of each connection that is closed before its responses were sent. */
  onClosed: (reason: ClosingReason) => void
  limits?: Partial<Limits>
}

interface Limits {
  maxInFlight: number
  maxWaiting: number
  maxUnsentBytes: number
  maxUnsentBytesBeforeNext: number
  stalledMs: number
  checkMs: number
}

const defaultLimits: Limits = { maxInFlight, maxWaiting, maxUnsentBytes, maxUnsentBytesBeforeNext, stalledMs, checkMs }

/** Creates a registry without connections. */
export function createConnections ({ onClosed, limits = {} }: Options): Connections {
  const limit = { ...defaultLimits, ...limits }
  const arrived = { connections: 0, requests: 0 }
  const servers: Server[] = []
  /** By remote address: a TLS connection is known by two sockets, and nothing public leads from one to the other. */
  const open = new Map<string, Connection>()
  const bySocket = new WeakMap<Socket, Connection>()
  /** Exchanges of connections whose responses have not been taken, the oldest response first. */
  const unsent = new Set<Exchange>()
  let unsentBytes = 0
  let waitingInAll = 0
  let inFlightInAll = 0
  let onDrained: Array<() => void> = []

  function add (socket: Socket): void {
    const address = remoteAddressOf(socket)
    const connection: Connection = {
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
    arrived.connections += 1
    open.set(address, connection)
    bySocket.set(socket, connection)
    socket.once('close', () => {
      // The next connection can have the same port before this one is known to be closed.
      if (open.get(address) === connection) open.delete(address)
      forget(connection)
    })
    keepPaused(connection, socket)
  }

  function secure (socket: Socket): void {
    const connection = open.get(remoteAddressOf(socket))
    /* c8 ignore next 4 -- the client would have to close the connection in the moment its handshake ends */
    if (connection === undefined) {
      socket.destroy()
      return
    }
    connection.socket = socket
    bySocket.set(socket, connection)
    // The accepted socket closes later than this one, on which responses wait.
    socket.once('close', () => { forget(connection) })
    keepPaused(connection, socket)
  }

  /** Reading the body of a request resumes the socket. */
  function keepPaused (connection: Connection, socket: Socket): void {
    socket.on('resume', () => { if (shouldPause(connection)) socket.pause() })
  }

  function receive (message: IncomingMessage, response: ServerResponse, handler: Handler): void {
    const connection = bySocket.get(message.socket)
    if (connection === undefined || connection.isClosing) return
    const exchange = newExchange(message, response, connection)
    connection.latest = exchange
    if (connection.waiting.length === 0 && hasCapacity(connection)) {
      start(exchange, connection, handler)
      return
    }
    if (waitingInAll === limit.maxWaiting) {
      close(connection, 'pipeline_limit')
      return
    }
    connection.waiting.push(exchange)
    waitingInAll += 1
    if (connection.waiting.length === 1) connection.socket.pause()
  }

  function hasCapacity ({ exchanges, unsentBytes: bytes }: Connection): boolean {
    return exchanges.size < limit.maxInFlight && bytes < limit.maxUnsentBytesBeforeNext
  }

  function start (exchange: Exchange, connection: Connection, handler: Handler): void {
    const { message, response } = exchange
    connection.exchanges.add(exchange)
    inFlightInAll += 1
    arrived.requests += 1
    response.once('close', () => {
      if (end(exchange)) proceed(connection, handler)
    })
    handler(message, response)
  }

  function proceed (connection: Connection, handler: Handler): void {
    const { socket } = connection
    connection.bytesReadAtEnd = socket.bytesRead
    if (connection.isSending && connection.exchanges.size === 0) {
      // Node has set its keep-alive timer.
      connection.isSending = false
      if (!shouldPause(connection)) socket.resume()
    }
    if (isFinished(connection)) {
      socket.destroySoon()
    } else if (connection.waiting.length > 0 && !connection.isScheduled) {
      // Once in each iteration: thousands of short requests of one packet would hold the event loop.
      connection.isScheduled = true
      setImmediate(startNext, connection, handler)
    }
  }

  function startNext (connection: Connection, handler: Handler): void {
    const { waiting } = connection
    connection.isScheduled = false
    while (waiting.length > 0 && hasCapacity(connection)) {
      waitingInAll -= 1
      start(waiting.shift() as Exchange, connection, handler)
    }
    if (!shouldPause(connection)) connection.socket.resume()
  }

  /** Returns false when it had ended before. */
  function end (exchange: Exchange): boolean {
    if (exchange.isOver) return false
    exchange.isOver = true
    exchange.connection?.exchanges.delete(exchange)
    if (unsent.delete(exchange)) count(exchange, -exchange.unsentBytes)
    if (exchange.connection !== undefined) inFlightInAll -= 1
    for (const listener of exchange.listeners) listener()
    tellWhenDrained()
    return true
  }

  function tellWhenDrained (): void {
    if (inFlightInAll + waitingInAll > 0) return
    for (const resolve of onDrained) resolve()
    onDrained = []
  }

  /** Node says nothing of responses whose turn had not come when their connection ends. */
  function forget (connection: Connection): void {
    waitingInAll -= connection.waiting.length
    connection.waiting.length = 0
    connection.isClosing = true
    for (const exchange of connection.exchanges) end(exchange)
    tellWhenDrained()
  }

  function close (connection: Connection, reason: ClosingReason): void {
    onClosed(reason)
    connection.socket.destroy()
    forget(connection)
  }

  function count ({ connection }: Exchange, bytes: number): void {
    unsentBytes += bytes
    if (connection !== undefined) connection.unsentBytes += bytes
  }

  function check (): void {
    for (const connection of open.values()) {
      const { exchanges, socket } = connection
      const isSending = socket.writableLength > 0
      if (exchanges.size === 0 || isSending === connection.isSending) continue
      connection.isSending = isSending
      // Node's timer starts again with every byte that the client takes. Reading would start it again, too.
      socket.setTimeout(isSending ? limit.stalledMs : 0)
      if (isSending) socket.pause()
      else if (!shouldPause(connection)) socket.resume()
    }
  }

  /** The oldest response belongs to the client that reads the least. */
  function closeOldest (): void {
    for (const { connection } of unsent) {
      if (unsentBytes <= limit.maxUnsentBytes) break
      close(connection as Connection, 'unsent_limit')
    }
  }

  function closeWhere (isUnused: (connection: Connection) => boolean): void {
    for (const connection of open.values()) {
      const { exchanges, waiting, socket } = connection
      if (exchanges.size + waiting.length === 0 && isUnused(connection)) socket.destroy()
    }
  }

  return {
    arrived,
    serve (server, handler) {
      servers.push(server)
      server.on('connection', add)
      server.on('secureConnection', secure)
      const serveMessage: Handler = (message, response) => { receive(message, response, handler) }
      server.on('request', serveMessage)
      // Node would respond to an unknown expectation by itself, and to 100-continue before the caller is known.
      server.on('checkExpectation', serveMessage)
      server.on('checkContinue', serveMessage)
      server.on('timeout', (socket: Socket) => {
        const connection = bySocket.get(socket)
        if (connection?.isSending === true) close(connection, 'stalled')
        else socket.destroy()
      })
      const timer = setInterval(check, limit.checkMs).unref()
      server.once('close', () => { clearInterval(timer) })
    },
    of: socket => bySocket.get(socket),
    exchangeOf (message, response) {
      // Not by a WeakMap of messages: the garbage collector takes longer for its entries than for all else of a GET.
      for (const exchange of bySocket.get(message.socket)?.exchanges ?? []) {
        if (exchange.message === message) return exchange
      }
      return injected(message, response, end)
    },
    addUnsent (exchange, bytes) {
      if (exchange.isOver || exchange.connection === undefined || bytes === 0) return
      exchange.unsentBytes = bytes
      unsent.add(exchange)
      count(exchange, bytes)
      if (unsentBytes > limit.maxUnsentBytes) closeOldest()
    },
    closeIdle () {
      // Node knows exactly which connections have sent a part of a request. But it takes a connection for idle once its
      // response has ended, though bytes of it may be unsent.
      const isSending = ({ exchanges }: Connection) => [...exchanges].some(({ response }) => response.writableEnded)
      if ([...open.values()].some(isSending)) {
        closeWhere(({ socket, bytesReadAtEnd }) => bytesReadAtEnd === socket.bytesRead)
      } else {
        for (const server of servers) server.closeIdleConnections()
      }
    },
    closeUnused () {
      closeWhere(() => true)
    },
    closeAfterResponses () {
      for (const connection of open.values()) connection.isClosing = true
      closeWhere(() => true)
    },
    async drained () {
      if (inFlightInAll + waitingInAll === 0) return
      await new Promise<void>(resolve => { onDrained.push(resolve) })
    },
    backlog: () => ({ waiting: waitingInAll, unsentBytes })
  }
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
function isFinished ({ exchanges, waiting, isBroken, isClosing }: Connection): boolean {
  if (isBroken) return ![...exchanges, ...waiting].some(isComplete)
  return isClosing && exchanges.size + waiting.length === 0
}

function shouldPause ({ waiting, isSending }: Connection): boolean {
  return waiting.length > 0 || isSending
}

function newExchange (
  message: IncomingMessage, response: ServerResponse, connection: Connection | undefined
): Exchange {
  return { message, response, connection, request: undefined, isOver: false, unsentBytes: 0, listeners: [] }
}

function injected (message: IncomingMessage, response: ServerResponse, end: (exchange: Exchange) => void): Exchange {
  const exchange = newExchange(message, response, undefined)
  response.once('close', () => { end(exchange) })
  return exchange
}

function remoteAddressOf ({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`
}
