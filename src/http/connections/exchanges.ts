import type { FastifyInstance } from 'fastify'
import type { Connections, Exchange } from './connection-registry.ts'
import type { Lifecycle } from './graceful-shutdown.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Set by {@link addExchanges} before anything reads it. */
    exchange: Exchange
  }
}

/** Longer strings become bytes at once. Node would keep the string beside its bytes until the client has taken them. */
const maxStringLength = 64 * 1024

/** Ties each request to its connection, ends connections after their last response, and counts unsent bytes. */
export function addExchanges (app: FastifyInstance, connections: Connections, lifecycle: Lifecycle): void {
  app.decorateRequest('exchange', null as unknown as Exchange)
  app.addHook('onRequest', (request, reply, done) => {
    request.exchange = connections.exchangeOf(request.raw, reply.raw)
    request.exchange.request = request
    done()
  })
  app.addHook('onSend', (request, reply, payload, done) => {
    const { exchange, exchange: { connection } } = request
    const isStopping = lifecycle.phase === 'finishing' || lifecycle.phase === 'closing'
    // An earlier response must not end the connection: those behind it could not be sent, whatever they have changed.
    const isLast = connection === undefined || connection.latest === exchange
    if (isLast && (isStopping || connection?.isClosing === true)) reply.header('connection', 'close')
    if (connection !== undefined && reply.getHeader('connection') === 'close') connection.isClosing = true
    const body = typeof payload === 'string' && payload.length > maxStringLength ? Buffer.from(payload) : payload
    if (typeof body === 'string' || Buffer.isBuffer(body)) connections.addUnsent(exchange, body.length)
    done(null, body)
  })
}
