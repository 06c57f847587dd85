import { isIP } from 'node:net'
import type { FastifyInstance } from 'fastify'

declare module 'fastify' {
  interface FastifyRequest {
    /** Where a request comes from, also after its connection has gone: an IP address, or `unknown`. */
    clientAddress: string
  }
}

/** Remembers the address: Node forgets it with the connection, and forwarded ones may be anything. */
export function addClientAddress (app: FastifyInstance): void {
  app.decorateRequest('clientAddress', 'unknown')
  app.addHook('onRequest', async request => {
    const found = [request.ip, request.raw.socket.remoteAddress].find(address => isIP(String(address)))
    // Without the zone, which is the caller's own to make up.
    request.clientAddress = (found ?? 'unknown').replace(/%.*/, '')
  })
}
