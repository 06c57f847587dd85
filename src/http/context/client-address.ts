import { isIP } from 'node:net'
import type { FastifyRequest } from 'fastify'

/**
 * Returns the address of the client: an IP address, or `unknown`. Node forgets it with the connection. Comes before
 * everything that reads `request.ip`, because gateways write entries of X-Forwarded-For that Fastify cannot read.
 */
export function clientAddressOf (request: Pick<FastifyRequest, 'raw' | 'ip'>): string {
  const { headers, socket } = request.raw
  const forwarded = headers['x-forwarded-for']
  // Fastify takes an entry with a port for no address, and so for the last proxy.
  if (typeof forwarded === 'string') headers['x-forwarded-for'] = forwarded.split(',').map(hopAddress).join(', ')
  return addressIn(request.ip) ?? addressIn(socket.remoteAddress) ?? 'unknown'
}

/** Returns the address of an entry of X-Forwarded-For, which some gateways write with brackets and port. */
function hopAddress (entry: string): string {
  const text = entry.trim()
  const [, bracketed, dotted] = /^"?(?:\[([^\]]*)\]|([0-9.]+))(?::[0-9]+)?"?$/.exec(text) ?? []
  return bracketed ?? dotted ?? text
}

/** Without the zone, which the client can make up. An IPv4-mapped address (RFC 4291, section 2.5.5.2) is IPv4. */
function addressIn (text: string | undefined): string | undefined {
  if (text === undefined || isIP(text) === 0) return undefined
  const [address = ''] = text.split('%')
  const [, dotted, high, low] = /^::ffff:(?:([0-9.]+)|([0-9a-f]{1,4}):([0-9a-f]{1,4}))$/i.exec(address) ?? []
  if (high === undefined || low === undefined) return dotted ?? address
  return [high, low].flatMap(each => {
    const group = parseInt(each, 16)
    return [group >> 8, group & 0xFF]
  }).join('.')
}
