/**
 * Owns the state of connections: requests in flight or waiting in a pipeline, unsent bytes, and closing.
 *
 * Node parses up to 64 KiB of pipelined requests at once and emits all of them. It does not limit how many are served
 * concurrently, and does not close a connection whose client stops reading. This class does both.
 */
import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import {
  isFinished, keepPaused, newConnection, newExchange, remoteAddressOf, shouldPause, updateSending
} from './connection.ts'
import type { Connection, Exchange } from './connection.ts'
import { connectionLimits } from './connection-limits.ts'
import type { ClosingReason, ConnectionLimits } from './connection-limits.ts'
import { UnsentResponses } from './unsent-responses.ts'

interface Options {
  /** Called for each connection that is closed before its responses were sent. */
  onClosed: (reason: ClosingReason) => void
  limits?: Partial<ConnectionLimits>
}

/** The connections of a server. */
export class ConnectionRegistry {
  /** Connections and requests that have arrived so far. */
  readonly arrived = { connections: 0, requests: 0 }
  readonly #onClosed: Options['onClosed']
  readonly #limits: ConnectionLimits
  readonly #servers: Server[] = []
  /** Connections by remote address. A TLS connection has two sockets, and no public API leads from one to the other. */
  readonly #open = new Map<string, Connection>()
  readonly #bySocket = new WeakMap<Socket, Connection>()
  readonly #unsent = new UnsentResponses()
  #waiting = 0
  #inFlight = 0
  #onDrained: Array<() => void> = []

  constructor ({ onClosed, limits = {} }: Options) {
    this.#onClosed = onClosed
    this.#limits = { ...connectionLimits, ...limits }
  }

  /** Passes the requests of a server to a handler, within the limits of each connection. */
  serve (server: Server, handler: RequestListener): void {
    this.#servers.push(server)
    server.on('connection', socket => { this.#add(socket) })
    server.on('secureConnection', (socket: Socket) => { this.#secure(socket) })
    const serveMessage: RequestListener = (message, response) => { this.#receive(message, response, handler) }
    server.on('request', serveMessage)
    // Node would respond to an unknown expectation itself, and to 100-continue before the caller is known.
    server.on('checkExpectation', serveMessage)
    server.on('checkContinue', serveMessage)
    server.on('timeout', (socket: Socket) => {
      const connection = this.#bySocket.get(socket)
      if (connection?.isSending === true) this.#close(connection, 'stalled')
      else socket.destroy()
    })
    const timer = setInterval(() => {
      for (const connection of this.#open.values()) updateSending(connection, this.#limits.stalledMs)
    }, this.#limits.checkMs).unref()
    server.once('close', () => { clearInterval(timer) })
  }

  /** Returns the connection of a socket; undefined for one whose TLS handshake never finished. */
  of (socket: Socket): Connection | undefined {
    return this.#bySocket.get(socket)
  }

  /** Returns the exchange of a request. An injected request gets an exchange without a connection. */
  exchangeOf (message: IncomingMessage, response: ServerResponse): Exchange {
    // A WeakMap of messages would be slower: its entries cost more garbage collection than the rest of a GET.
    for (const exchange of this.#bySocket.get(message.socket)?.exchanges ?? []) {
      if (exchange.message === message) return exchange
    }
    const injected = newExchange(message, response, undefined)
    response.once('close', () => { this.#end(injected) })
    return injected
  }

  /** Counts a body until the client has read it. Above the limit, closes the connections of the oldest responses. */
  addUnsent (exchange: Exchange, bytes: number): void {
    if (exchange.hasEnded || exchange.connection === undefined || bytes === 0) return
    this.#unsent.add(exchange, bytes)
    for (const { connection } of this.#unsent.oldestFirst()) {
      if (this.#unsent.bytes <= this.#limits.maxUnsentBytes) break
      this.#close(connection as Connection, 'unsent_limit')
    }
  }

  /** Closes connections that wait for a request, of which no byte has arrived. */
  closeIdle (): void {
    // Only Node knows which connections have sent a part of a request. But Node considers a connection idle once its
    // response has ended, even if bytes are unsent.
    const isSending = ({ exchanges }: Connection) => [...exchanges].some(({ response }) => response.writableEnded)
    if ([...this.#open.values()].some(isSending)) {
      this.#closeUnusedWhere(({ socket, bytesReadAtEnd }) => bytesReadAtEnd === socket.bytesRead)
    } else {
      for (const server of this.#servers) server.closeIdleConnections()
    }
  }

  /** Closes connections without a request in flight, even if they have sent a part of one. */
  closeUnused (): void {
    this.#closeUnusedWhere(() => true)
  }

  /** Closes every connection after its responses, and connections without a request in flight at once. */
  closeAfterResponses (): void {
    for (const connection of this.#open.values()) connection.isClosing = true
    this.closeUnused()
  }

  /** Waits until every response has been passed to the operating system, or its client disconnected. */
  async drained (): Promise<void> {
    if (this.#inFlight + this.#waiting === 0) return
    await new Promise<void>(resolve => { this.#onDrained.push(resolve) })
  }

  /** Returns the numbers of requests in flight and of pipelined ones that wait, and of unread bytes. */
  backlog (): { inFlight: number, waiting: number, unsentBytes: number } {
    return { inFlight: this.#inFlight, waiting: this.#waiting, unsentBytes: this.#unsent.bytes }
  }

  #add (socket: Socket): void {
    const address = remoteAddressOf(socket)
    const connection = newConnection(socket)
    this.arrived.connections += 1
    this.#open.set(address, connection)
    this.#bySocket.set(socket, connection)
    socket.once('close', () => {
      // A new connection can have the same port before this one is known to be closed.
      if (this.#open.get(address) === connection) this.#open.delete(address)
      this.#forget(connection)
    })
    keepPaused(connection, socket)
  }

  #secure (socket: Socket): void {
    const connection = this.#open.get(remoteAddressOf(socket))
    /* c8 ignore next 4 -- the client would have to close the connection in the moment its handshake ends */
    if (connection === undefined) {
      socket.destroy()
      return
    }
    connection.socket = socket
    this.#bySocket.set(socket, connection)
    // The accepted socket closes later than this one, which buffers the responses.
    socket.once('close', () => { this.#forget(connection) })
    keepPaused(connection, socket)
  }

  #receive (message: IncomingMessage, response: ServerResponse, handler: RequestListener): void {
    const connection = this.#bySocket.get(message.socket)
    if (connection === undefined || connection.isClosing) return
    const exchange = newExchange(message, response, connection)
    connection.latest = exchange
    if (connection.waiting.length === 0 && this.#hasCapacity(connection)) {
      this.#start(exchange, connection, handler)
    } else if (this.#waiting === this.#limits.maxWaiting) {
      this.#close(connection, 'pipeline_limit')
    } else {
      connection.waiting.push(exchange)
      this.#waiting += 1
      if (connection.waiting.length === 1) connection.socket.pause()
    }
  }

  #hasCapacity ({ exchanges, unsentBytes }: Connection): boolean {
    return exchanges.size < this.#limits.maxInFlight && unsentBytes < this.#limits.maxUnsentBytesBeforeNext
  }

  #start (exchange: Exchange, connection: Connection, handler: RequestListener): void {
    const { message, response } = exchange
    connection.exchanges.add(exchange)
    this.#inFlight += 1
    this.arrived.requests += 1
    response.once('close', () => {
      if (this.#end(exchange)) this.#proceed(connection, handler)
    })
    handler(message, response)
  }

  #proceed (connection: Connection, handler: RequestListener): void {
    const { socket } = connection
    connection.bytesReadAtEnd = socket.bytesRead
    if (connection.isSending && connection.exchanges.size === 0) {
      // Node has restarted its keep-alive timer.
      connection.isSending = false
      if (!shouldPause(connection)) socket.resume()
    }
    if (isFinished(connection)) {
      socket.destroySoon()
    } else if (connection.waiting.length > 0 && !connection.isScheduled) {
      // One packet can contain thousands of short requests. Starting them in one iteration would block the event loop.
      connection.isScheduled = true
      setImmediate(() => { this.#startWaiting(connection, handler) })
    }
  }

  #startWaiting (connection: Connection, handler: RequestListener): void {
    const { waiting } = connection
    connection.isScheduled = false
    while (waiting.length > 0 && this.#hasCapacity(connection)) {
      this.#waiting -= 1
      this.#start(waiting.shift() as Exchange, connection, handler)
    }
    if (!shouldPause(connection)) connection.socket.resume()
  }

  /** Ends an exchange. Returns false if it had ended before. */
  #end (exchange: Exchange): boolean {
    if (exchange.hasEnded) return false
    exchange.hasEnded = true
    exchange.connection?.exchanges.delete(exchange)
    this.#unsent.remove(exchange)
    if (exchange.connection !== undefined) this.#inFlight -= 1
    for (const listener of exchange.listeners) listener()
    this.#resolveIfDrained()
    return true
  }

  #resolveIfDrained (): void {
    if (this.#inFlight + this.#waiting > 0) return
    for (const resolve of this.#onDrained) resolve()
    this.#onDrained = []
  }

  /** Ends all exchanges of a connection. Node emits no event for responses that are queued when it ends. */
  #forget (connection: Connection): void {
    this.#waiting -= connection.waiting.length
    connection.waiting.length = 0
    connection.isClosing = true
    for (const exchange of connection.exchanges) this.#end(exchange)
    this.#resolveIfDrained()
  }

  #close (connection: Connection, reason: ClosingReason): void {
    this.#onClosed(reason)
    connection.socket.destroy()
    this.#forget(connection)
  }

  #closeUnusedWhere (isWanted: (connection: Connection) => boolean): void {
    for (const connection of this.#open.values()) {
      const { exchanges, waiting, socket } = connection
      if (exchanges.size + waiting.length === 0 && isWanted(connection)) socket.destroy()
    }
  }
}
