import { EnvHttpProxyAgent, Pool } from 'undici'
import type { buildConnector, Dispatcher } from 'undici'

type Options = NonNullable<ConstructorParameters<typeof EnvHttpProxyAgent>[0]>

/**
 * Creates an agent that uses HTTP proxies by the rules of `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`.
 *
 * @param options those three as undici names them; the environment where they are left out
 */
export function createProxiedAgent (options: Options): Dispatcher {
  return new EnvHttpProxyAgent({ ...options, factory: createPool })
}

/**
 * A pool whose requests fail when the proxy closes the connection. undici takes that for an idle connection that the
 * other side has closed, and connects again without end.
 */
function createPool (origin: string | URL, options: object): Dispatcher {
  const { connect } = options as { connect?: unknown }
  if (typeof connect !== 'function') return new Pool(origin, options)
  const connectOnce: buildConnector.connector = (target, callback) => {
    (connect as buildConnector.connector)(target, (...result) => {
      const [error, socket] = result
      if (error === null) callback(null, socket)
      else callback((error as NodeJS.ErrnoException).code === 'UND_ERR_SOCKET' ? closedByProxy(error) : error, null)
    })
  }
  return new Pool(origin, { ...options, connect: connectOnce })
}

function closedByProxy (cause: Error): Error {
  return Object.assign(new Error('the proxy closed the connection', { cause }), { code: 'ECONNRESET' })
}
