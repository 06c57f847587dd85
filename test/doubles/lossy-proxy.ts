import { once } from 'node:events'
import { createServer, request as open } from 'node:http'
import type { IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from '../start.ts'

/** A response of the proxy itself. */
export interface GatewayReply {
  status: number
  headers?: Record<string, string>
  body?: string
}

/** A proxy in front of the service that loses responses or replaces them. */
export interface LossyProxy {
  url: string
  /** Method and path of all requests that arrived. */
  seen: string[]
  /**
   * Decides for each request. `lose` forwards it and resets the connection instead of sending the response. `cut`
   * resets the connection after half of the body. A reply is sent instead of forwarding the request.
   */
  decide: (request: IncomingMessage) => 'pass' | 'lose' | 'cut' | GatewayReply
}

/** Starts a proxy in front of a service. */
export async function startLossyProxy (t: Test, target: string): Promise<LossyProxy> {
  const proxy: LossyProxy = { url: '', seen: [], decide: () => 'pass' }
  const server = createServer((incoming, response) => {
    const { method, headers } = incoming
    const path = String(incoming.url)
    proxy.seen.push(`${method} ${path}`)
    const decision = proxy.decide(incoming)
    if (typeof decision === 'object') {
      incoming.resume()
      response.writeHead(decision.status, decision.headers).end(decision.body)
      return
    }
    const onward = open(target, { method, path, headers }, async reply => {
      const body = Buffer.concat(await reply.toArray() as Buffer[])
      const reset = () => { incoming.socket.resetAndDestroy() }
      if (decision === 'lose') {
        reset()
        return
      }
      response.writeHead(reply.statusCode as number, reply.headers)
      if (decision === 'pass') response.end(body)
      else response.write(body.subarray(0, body.length / 2), reset)
    })
    incoming.pipe(onward)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  proxy.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return proxy
}
