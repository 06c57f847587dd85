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
  app.addHook('onRequest', (request, _, done) => {
    request.clientAddress = addressIn(request.ip) ?? addressIn(request.raw.socket.remoteAddress) ?? 'unknown'
    done()
  })
}

/** Without the zone, which is the caller's own to make up. */
function addressIn (text: string | undefined): string | undefined {
  if (text === undefined || isIP(text) === 0) return undefined
  return text.includes('%') ? text.replace(/%.*/, '') : text
}
