/** A COS that stores and returns any XML, also XML that the strict emulator rejects. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from '../start.ts'

export interface LenientCos {
  address: string
  /** Documents by id, in the order of LIST. */
  stored: Map<string, string>
}

export async function startLenientCos (t: Test): Promise<LenientCos> {
  const stored = new Map<string, string>()
  const server = createServer((request, response) => {
    respond(request).then(({ status, body = '' }) => {
      response.writeHead(status, { 'Content-Type': 'application/xml', 'x-cos-request-id': 'lenient' }).end(body)
    }, () => { response.destroy() })
  })

  async function respond (request: IncomingMessage): Promise<{ status: number, body?: string }> {
    const id = new URL(String(request.url), 'http://cos').searchParams.get('id')
    let body = ''
    for await (const chunk of request.setEncoding('utf8')) body += String(chunk)
    if (id === null) {
      const items = [...stored.values()].join('')
      return { status: 200, body: `<ListInventoryConfigurationResult>${items}<IsTruncated>false</IsTruncated></ListInventoryConfigurationResult>` }
    }
    if (request.method === 'PUT') {
      stored.set(id, body)
      return { status: 200 }
    }
    if (request.method === 'DELETE') {
      stored.delete(id)
      return { status: 204 }
    }
    const found = stored.get(id)
    if (found !== undefined) return { status: 200, body: found }
    return { status: 404, body: '<Error><Code>InventoryConfigurationNotFoundError</Code></Error>' }
  }

  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, stored }
}
