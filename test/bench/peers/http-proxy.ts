/** The proxy plugin of Fastify, which forwards requests unchanged: the cost of Fastify and undici alone. */
import Fastify from 'fastify'
import httpProxy from '@fastify/http-proxy'

const app = Fastify({ logger: false })
await app.register(httpProxy, { upstream: `http://${process.env['COS_CONNECT_TO']}` })

console.log(`listening at ${await app.listen({ host: '127.0.0.1', port: 0 })}`)
