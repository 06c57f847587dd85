/**
 * Sends every request to COS. No other part of this service uses a connection to COS.
 */
import { Agent, buildConnector } from 'undici'
import type { Dispatcher } from 'undici'
import type { Config } from '../../config/config.ts'
import { createProxiedAgent } from '../../outbound/proxied-agent.ts'
import type { CosClock } from './clock.ts'
import { assertAllowed } from './allowed-requests.ts'
import { createConnectionCache } from './connection-cache.ts'
import type { ConnectionCache } from './connection-cache.ts'
import { serviceAddress } from './endpoints.ts'
import { exchange } from './exchange.ts'
import type { BrokenExchange } from './exchange.ts'
import type { CosRequest, CosResponse } from './messages.ts'
import { openExchange } from './stream-exchange.ts'
import { confidentialIn, createHeaderSigner } from './signed-headers.ts'
import { codeOf, toTimeout, toTransportError } from './transport-errors.ts'

export interface Transport {
  /**
   * Sends one attempt and reads the whole response, with any status. Redirects are not followed.
   *
   * @throws {UpstreamError} UpstreamTimeout, UpstreamUnreachable, or UpstreamInvalidResponse for a response that
   *   is too large or not HTTP; `cancelled` when the signal ended the attempt
   * @throws {Error} when the request is not one that {@link assertAllowed} allows; nothing is sent then
   */
  send (request: CosRequest): Promise<CosResponse>
  /**
   * Sends one attempt and reads the head of the response. A success has its body as a stream, which fails when nothing
   * arrives for 30 s. Streams have connections of their own. The caller must read or destroy them.
   *
   * @throws as {@link Transport.send} does
   */
  open (request: CosRequest): Promise<CosResponse>
  /** Counts the connections, except those of `COS_SCHEME=http` to a proxy. */
  connections: ConnectionCache['count']
  /** Waits for requests in flight, then closes every connection. Streams are broken off. */
  close (): Promise<void>
}

interface Dependencies {
  /** Monotonic clock, in milliseconds. */
  now: () => number
  clock: Pick<CosClock, 'now'>
  userAgent: string
  /** Streams of data files at once; undefined while reports are disabled, whose requests are rejected then. */
  maxStreams: number | undefined
}

/** Time without a byte after which a stream fails, while its reader waits, in milliseconds. */
const streamIdleMs = 30_000

/** Time without a request after which a connection is closed, in milliseconds. COS can close it earlier. */
const keepAliveMs = 60_000

/**
 * Creates keep-alive pools, one for each host, with at most `COS_MAX_CONNECTIONS` sockets each. Together they keep at
 * most `COS_MAX_IDLE_CONNECTIONS` without a request.
 */
export function createTransport (config: Config['cos'], { now, clock, userAgent, maxStreams }: Dependencies): Transport {
  const { host: serviceHost } = serviceAddress(config)
  const connectTo = config.connectTo?.host
  // The deadline of a new request is already a moment closer.
  const fullTimeMs = 0.9 * Math.min(config.timeoutMs, config.deadlineMs)
  const cache = createConnectionCache(config.maxIdleConnections)
  const agent = createAgent(config, cache, { connections: config.maxConnections, bodyTimeout: 0 })
  let streamAgent: Dispatcher | undefined
  const signedHeaders = createHeaderSigner({ clock, userAgent })

  async function attempt (
    request: CosRequest,
    receive: (headers: Record<string, string>, limitMs: number) => Promise<Omit<CosResponse, 'confidential'>>
  ): Promise<CosResponse> {
    assertAllowed(request, { serviceHost, readsReports: maxStreams !== undefined })
    const { method, address: { host }, number, log } = request
    const limitMs = Math.min(config.timeoutMs, request.deadlineAt - now())
    if (limitMs <= 0) throw toTimeout(request, { wasSent: false, isUnresponsive: false })
    const headers = signedHeaders(request)
    const startedAt = now()
    try {
      const response = await receive(headers, limitMs)
      log.debug({ method, host, attempt: number, status: response.status, durationMs: Math.round(now() - startedAt) }, 'COS responded')
      return { ...response, confidential: confidentialIn(headers, request) }
    } catch (error) {
      const broken = error as BrokenExchange
      const fault = codeOf(broken.cause)
      log.debug({ method, host, attempt: number, fault, durationMs: Math.round(now() - startedAt) }, 'COS did not respond')
      throw toTransportError(broken, { request, hadFullTime: limitMs >= fullTimeMs, connectTo })
    }
  }

  return {
    send: request => attempt(request, (headers, limitMs) => exchange(agent, request, headers, limitMs)),

    open: request => attempt(request, (headers, limitMs) => {
      streamAgent ??= createAgent(config, cache, { connections: maxStreams as number, bodyTimeout: streamIdleMs })
      return openExchange(streamAgent, request, headers, limitMs)
    }),

    connections: cache.count,

    async close () {
      await Promise.all([agent.close(), streamAgent?.destroy()])
    }
  }
}

function createAgent (
  config: Config['cos'], { createPool }: ConnectionCache, limits: { connections: number, bodyTimeout: number }
): Dispatcher {
  const options = {
    ...limits,
    pipelining: 1,
    keepAliveTimeout: keepAliveMs,
    keepAliveMaxTimeout: keepAliveMs,
    factory: createPool,
    // The attempt's own timer bounds connecting and headers, and the body as well unless it is a stream.
    headersTimeout: 0,
    connect: connector(config)
  }
  const { proxies, connectTo, scheme, timeoutMs } = config
  const proxy = connectTo === undefined ? proxies[scheme] : undefined
  return proxy === undefined ? new Agent(options) : createProxiedAgent(proxy, timeoutMs, options)
}

/** Connects to COS_CONNECT_TO if it is set. Host, TLS name and certificate check stay those of the bucket host. */
function connector ({ connectTo, timeoutMs }: Config['cos']): buildConnector.connector {
  // The attempt to connect continues after an aborted request. This timeout ends it, so no later request waits for it.
  const connect = buildConnector({ timeout: timeoutMs })
  if (connectTo === undefined) return connect
  return (options, callback) => {
    connect({
      ...options,
      servername: options.servername ?? options.hostname,
      hostname: connectTo.host,
      port: String(connectTo.port)
    }, callback)
  }
}
