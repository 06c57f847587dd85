import { isIP } from 'node:net'
import type { FastifyRequest } from 'fastify'

/**
 * Returns the IP address of the client, or `unknown`: Node forgets the address with the connection. Must be called
 * before `request.ip` is read. Gateways write entries of X-Forwarded-For that Fastify cannot parse, and this function
 * normalizes them.
 */
export function clientAddressOf (request: Pick<FastifyRequest, 'raw' | 'ip'>): string {
  const { headers, socket } = request.raw
  const forwarded = headers['x-forwarded-for']
  // For an entry with a port, Fastify would return the last proxy.
  if (typeof forwarded === 'string') headers['x-forwarded-for'] = forwarded.split(',').map(hopAddress).join(', ')
  return addressIn(request.ip) ?? addressIn(socket.remoteAddress) ?? 'unknown'
}

/** Returns the address in an entry of X-Forwarded-For. Some gateways add brackets and a port. */
function hopAddress (entry: string): string {
  const text = entry.trim()
  const [, bracketed, dotted] = /^"?(?:\[([^\]]*)\]|([0-9.]+))(?::[0-9]+)?"?$/.exec(text) ?? []
  return bracketed ?? dotted ?? text
}

/**
 * Returns a normalized address; undefined if the text is not one. Removes the zone, which a client can forge. An
 * IPv4-mapped address (RFC 4291, section 2.5.5.2) becomes IPv4.
 */
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
