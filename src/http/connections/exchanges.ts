import fp from 'fastify-plugin'
import type { ConnectionRegistry } from './connection-registry.ts'
import type { Lifecycle } from './graceful-shutdown.ts'

/** Longer strings become bytes at once. Node would keep the string beside its bytes until the client has taken them. */
const maxStringLength = 64 * 1024

interface Options {
  connections: ConnectionRegistry
  lifecycle: Pick<Lifecycle, 'phase'>
}

/** Ends connections with their last response, and counts the bytes of responses until clients have taken them. */
export const exchanges = fp<Options>(async (app, { connections, lifecycle }) => {
  app.addHook('onSend', (request, reply, payload, done) => {
    const { exchange, exchange: { connection } } = request.context
    const isStopping = lifecycle.phase === 'finishing' || lifecycle.phase === 'closing'
    // An earlier response must not end the connection: those behind it could not be sent, whatever they have changed.
    const isLast = connection === undefined || connection.latest === exchange
    if (isLast && (isStopping || connection?.isClosing === true)) reply.header('connection', 'close')
    if (connection !== undefined && reply.getHeader('connection') === 'close') connection.isClosing = true
    const body = typeof payload === 'string' && payload.length > maxStringLength ? Buffer.from(payload) : payload
    if (typeof body === 'string' || Buffer.isBuffer(body)) connections.addUnsent(exchange, body.length)
    done(null, body)
  })
}, { name: 'exchanges', dependencies: ['request-context'], fastify: '5.x' })
