import { createServer } from 'node:http'
import type { RequestListener, Server, ServerOptions } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { ConnectionRegistry } from './connection-registry.ts'
import type { TlsOptions } from './tls.ts'

/** Most headers of a request. Node drops further ones without an error, so its own limit is one higher. */
export const maxHeaders = 1_000

/** Time to send a whole request, such as 256 KiB at 9 KiB/s. */
const requestMs = 30_000

/** Time to send the head of a request. */
const headersMs = 10_000

/** Interval at which Node checks these two. Its default is 30 s. */
const checkMs = 5_000

/** Creates an HTTP/1.1 server, over TLS if options are given. Its requests reach the listener through `connections`. */
export function createHttpServer (
  tls: TlsOptions | undefined, connections: ConnectionRegistry, listener: RequestListener
): Server {
  const options: ServerOptions = {
    headersTimeout: headersMs,
    requestTimeout: requestMs,
    connectionsCheckingInterval: checkMs,
    // This service rejects a missing Host with a problem document. The response of Node has no body.
    requireHostHeader: false
  }
  const server = tls === undefined ? createServer(options) : createTlsServer({ ...options, ...tls })
  server.maxHeadersCount = maxHeaders + 1
  connections.serve(server, listener)
  return server
}
