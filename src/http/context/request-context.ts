/** State of a request. No other file extends the request of Fastify. Each field names its writer and its readers. */
import fp from 'fastify-plugin'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Caller } from '../../callers/callers.ts'
import type { Action } from '../../contract/callers.ts'
import type { Call } from '../../cos/inventories.ts'
import type { ServiceError } from '../../errors.ts'
import { untraced } from '../../tracing/tracing.ts'
import type { RequestTrace } from '../../tracing/tracing.ts'
import type { ConnectionRegistry } from '../connections/connection-registry.ts'
import type { Exchange } from '../connections/connection.ts'
import { clientAddressOf } from './client-address.ts'
import { securityHeaders } from './security-headers.ts'

declare module 'fastify' {
  interface FastifyRequest {
    context: RequestContext
  }
}

/** The operation of an authenticated route on a bucket. */
export interface BucketOperation {
  action: Action
  /** An action that is as good, while the body of a preview is unknown. Set by: access, preview. */
  alternative: Action | undefined
  /** Further actions that the caller needs, such as those of `prune=true`. */
  readonly furtherActions: readonly Action[]
  /** The bucket in the path. It is not validated yet. */
  readonly bucket: string
  /** The id in the path; undefined for operations on all configurations. */
  readonly id: string | undefined
  /** Whether the request can change something at COS. A dry run cannot. */
  readonly isChange: boolean
  /** The region that the caller named. */
  readonly requestedRegion: string | undefined
  /** The region of the request, as far as it is known. Set by: access, bucket-call. */
  region: string | undefined
}

/** The state of a request. */
export interface RequestContext {
  /** The exchange. Set by: this plugin. Read by: everything that acts when it ends. */
  readonly exchange: Exchange
  /** An IP address or `unknown`. Set by: this plugin. Read by: trace, log, audit, rate limits. */
  readonly clientAddress: string
  /** Attempts at COS so far. Set by: cos/client. Read by: log. */
  readonly tally: { attempts: number }
  /** Set by: instrumentation. Read by: bucket-call. */
  trace: RequestTrace
  /**
   * The error, if the response is a problem document. Set by: problem-replies, protocol-errors. Read by: log, metrics,
   * audit.
   */
  problem: ServiceError | undefined
  /** Set by: access, on routes that need authorization. Read by: authorization, audit, read-only, bucket-call. */
  operation: BucketOperation | undefined
  /** Set by: access. Read by: authorization, rate limits, log, metrics, audit. */
  caller: Caller | undefined
  /** The whole body of a set while its configurations are set aside. Set by: set-validation. Read by: validation. */
  wholeBody: object | undefined
  /** The call to COS. Set by: bucket-call, after validation and once the region is known. Read by: routes. */
  call: Call | undefined
  /** Whether the region was looked up, so that it can change. Set and read by: bucket-call. */
  canMove: boolean
  /** The destinations that the configuration names. Set by: authorization. Read by: authorization, audit. */
  destinations: readonly string[] | undefined
}

interface Options {
  connections: ConnectionRegistry
  /** Whether the server speaks TLS. */
  isTls: boolean
}

/** Gives each request its context, and each response its request id and security headers. Runs first. */
export const requestContext = fp<Options>(async (app, { connections, isTls }) => {
  const headers = securityHeaders(isTls)
  // Each request gets its context before any code reads it.
  app.decorateRequest('context', null as unknown as RequestContext)
  app.addHook('onRequest', (request: FastifyRequest, reply: FastifyReply, done: () => void) => {
    const exchange = connections.exchangeOf(request.raw, reply.raw)
    exchange.request = request
    request.context = {
      exchange,
      clientAddress: clientAddressOf(request),
      tally: { attempts: 0 },
      trace: untraced,
      problem: undefined,
      operation: undefined,
      caller: undefined,
      wholeBody: undefined,
      call: undefined,
      canMove: false,
      destinations: undefined
    }
    reply.header('x-request-id', request.id).headers(headers)
    // Node is still parsing the packet. Afterwards, `raw.complete` says whether a rejection has to close the
    // connection.
    queueMicrotask(done)
  })
}, { name: 'request-context', fastify: '5.x' })
