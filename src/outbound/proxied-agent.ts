import { EnvHttpProxyAgent, Pool } from 'undici'
import type { Agent, buildConnector, Dispatcher } from 'undici'
import type { Secret } from '../secret.ts'

/** An HTTP proxy, and the hosts that are reached without it. */
export interface Proxy {
  /** The URL can contain a password. */
  url: Secret
  /** Hosts that are reached directly, in the form of NO_PROXY. */
  except: string
}

/** A connection attempt that the proxy rejected, closed or did not finish. */
export class ProxyError extends Error {
  override readonly name = 'ProxyError'
  /** Status of the proxy's response, or the code of the error. */
  readonly code: string

  constructor (code: string, cause?: Error) {
    super('the proxy did not connect', { cause })
    this.code = code
  }
}

/**
 * Creates an agent that reaches its targets through a proxy. Failed connection attempts are {@link ProxyError}s.
 *
 * @param timeoutMs limit of a connection attempt through the proxy, in milliseconds
 */
export function createProxiedAgent ({ url, except }: Proxy, timeoutMs: number, options: Agent.Options): Dispatcher {
  const href = url.reveal()
  const { factory: createPool = (origin, poolOptions) => new Pool(origin, poolOptions) } = options
  return new EnvHttpProxyAgent({
    ...options,
    httpProxy: href,
    httpsProxy: href,
    noProxy: except,
    // undici waits 300 s for the response to CONNECT. This limit is later than that of the attempt, whose error is
    // clearer.
    clientFactory: (origin, poolOptions) => new Pool(origin, { ...poolOptions, headersTimeout: timeoutMs + 1_000 }),
    factory (origin, poolOptions) {
      const { connect } = poolOptions as { connect?: unknown }
      const isDirect = connect === options.connect || typeof connect !== 'function'
      return createPool(origin, isDirect
        ? poolOptions
        : { ...poolOptions, connect: bounded(connect as buildConnector.connector, timeoutMs) })
    }
  })
}

/**
 * Limits the time of each connection attempt. undici queues requests behind an attempt that never ends. It also retries
 * forever if the error has the code of a socket that the other side closed.
 */
function bounded (connect: buildConnector.connector, timeoutMs: number): buildConnector.connector {
  return (target, callback) => {
    let hasEnded = false
    const end = (...[error, socket]: buildConnector.CallbackArgs) => {
      if (hasEnded) {
        socket?.destroy()
        return
      }
      hasEnded = true
      clearTimeout(timer)
      if (error === null) callback(null, socket)
      else callback(error instanceof ProxyError ? error : new ProxyError(codeOf(error), error), null)
    }
    const timer = setTimeout(() => { end(new ProxyError('TIMEOUT'), null) }, timeoutMs)
    connect(target, end)
  }
}

function codeOf ({ message, code }: Error & { code?: string }): string {
  const [, status] = /^Proxy response \((\d{3})\)/.exec(message) ?? []
  return status ?? (code === 'UND_ERR_SOCKET' ? 'ECONNRESET' : String(code))
}
