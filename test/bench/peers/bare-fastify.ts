/** A minimal service with an upstream, for the start time: one route, one call. */
import Fastify from 'fastify'
import { request } from 'undici'

const app = Fastify({ logger: false })
app.get<{ Params: { id: string } }>('/buckets/:bucket/inventories/:id', async ({ params: { id } }) => {
  const { body } = await request(`http://${process.env['COS_CONNECT_TO']}/?inventory&id=${id}`)
  return await body.text()
})

console.log(`listening at ${await app.listen({ host: '127.0.0.1', port: 0 })}`)
