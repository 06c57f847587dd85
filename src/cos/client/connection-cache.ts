/** Keeps connections to COS open for later requests. */
import { Client, Pool } from 'undici'
import type { buildConnector, Dispatcher } from 'undici'

/** The number of open connections to COS, and of those with a request. */
export interface Connections {
  open: number
  busy: number
}

export interface ConnectionCache {
  /** Creates the connections of one host, for `factory` of an agent of undici. */
  createPool (origin: string | URL, options: object): Pool
  /** Counts the connections to all hosts. */
  count (): Connections
}

type Options = Client.Options & { connect: buildConnector.connector }

/** A connection that reports its use. Without a request, it may be closed. */
class Connection extends Client {
  readonly #onUse: (connection: Connection) => void
  #socket: { destroy (): void } | undefined

  constructor (origin: string | URL, options: Options, onUse: (connection: Connection) => void) {
    super(origin, {
      ...options,
      connect: (target, callback) => {
        options.connect(target, (...result) => {
          this.#socket = result[1] ?? undefined
          callback(...result)
        })
      }
    })
    this.#onUse = onUse
  }

  override dispatch (options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    this.#onUse(this)
    return super.dispatch(options, handler)
  }

  /** Closes the socket. undici opens another one for the next request. */
  disconnect (): void {
    this.#socket?.destroy()
  }
}

/**
 * Creates a cache that keeps at most `maxIdle` connections without a request, to all hosts together. Beyond that, the
 * connection whose last request ended first is closed. undici only limits the time and the connections of one host, and
 * a service uses a host for each bucket.
 */
export function createConnectionCache (maxIdle: number): ConnectionCache {
  /** In the order in which their last requests ended. */
  const idle = new Set<Connection>()
  let open = 0

  function createConnection (origin: string | URL, options: Options): Connection {
    const connection = new Connection(origin, options, used => { idle.delete(used) })
    connection.on('connect', () => { open += 1 })
    connection.on('disconnect', () => {
      open -= 1
      idle.delete(connection)
    })
    // undici emits this when the last request of a connection has ended.
    connection.on('drain', () => {
      if (connection.stats.connected) idle.add(connection)
      const [oldest] = idle
      if (oldest === undefined || idle.size <= maxIdle) return
      idle.delete(oldest)
      oldest.disconnect()
    })
    return connection
  }

  return {
    createPool: (origin, options) => new Pool(origin, {
      ...options,
      factory: (each, poolOptions) => createConnection(each, poolOptions as Options)
    }),
    count: () => ({ open, busy: open - idle.size })
  }
}
