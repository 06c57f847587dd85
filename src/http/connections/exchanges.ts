import fp from 'fastify-plugin'
import type { ConnectionRegistry } from './connection-registry.ts'
import type { Lifecycle } from './graceful-shutdown.ts'

/**
 * Length above which a string is converted to bytes at once. Node would keep both the string and its bytes until the
 * client has read them.
 */
const maxStringLength = 64 * 1024

interface Options {
  connections: ConnectionRegistry
  lifecycle: Pick<Lifecycle, 'phase'>
}

/** Closes connections after their last response. Counts the bytes of responses until clients have read them. */
export const exchanges = fp<Options>(async (app, { connections, lifecycle }) => {
  app.addHook('onSend', (request, reply, payload, done) => {
    const { exchange, exchange: { connection } } = request.context
    const isStopping = lifecycle.phase === 'finishing' || lifecycle.phase === 'closing'
    // An earlier response must not close the connection. Later responses, which may confirm changes, could not be sent.
    const isLast = connection === undefined || connection.latest === exchange
    if (isLast && (isStopping || connection?.isClosing === true)) reply.header('connection', 'close')
    if (connection !== undefined && reply.getHeader('connection') === 'close') connection.isClosing = true
    const body = typeof payload === 'string' && payload.length > maxStringLength ? Buffer.from(payload) : payload
    if (typeof body === 'string' || Buffer.isBuffer(body)) connections.addUnsent(exchange, body.length)
    done(null, body)
  })
}, { name: 'exchanges', dependencies: ['problem-replies'], fastify: '5.x' })
