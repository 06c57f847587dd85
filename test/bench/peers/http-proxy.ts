/** The usual plugin that passes everything through: what Fastify and undici cost where nothing is understood. */
import Fastify from 'fastify'
import httpProxy from '@fastify/http-proxy'

const app = Fastify({ logger: false })
await app.register(httpProxy, { upstream: `http://${process.env['COS_CONNECT_TO']}` })

console.log(`listening at ${await app.listen({ host: '127.0.0.1', port: 0 })}`)
