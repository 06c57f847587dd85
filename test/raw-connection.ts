/** Requests in raw bytes, for tests of requests that HTTP clients do not send. */
import { once } from 'node:events'
import { connect } from 'node:net'
import type { Server, Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { promisify } from 'node:util'
import type { Test } from './start.ts'

/** A parsed response from a socket. */
export interface RawResponse {
  status: number
  /** Header values by lower-case name. */
  headers: Record<string, string>
  body: string
  /** Code of a problem document. */
  code: string | undefined
}

/** Opens a connection that is closed at the end of the test. */
export async function dial (t: Test, url: string): Promise<Socket> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1').on('error', () => {})
  t.teardown(() => socket.destroy())
  await once(socket, 'connect')
  return socket
}

/** Sends bytes over a new connection and reads until the service closes it. */
export async function exchange (t: Test, url: string, bytes: string): Promise<RawResponse> {
  const socket = await dial(t, url)
  const response = text(socket)
  socket.write(bytes, 'latin1')
  return parseResponse(await response)
}

/** Parses the only response of a connection. */
export function parseResponse (response: string): RawResponse {
  const end = response.indexOf('\r\n\r\n')
  const [statusLine = '', ...lines] = response.slice(0, end).split('\r\n')
  const body = response.slice(end + 4)
  const headers = Object.fromEntries(lines.map(line => {
    const colon = line.indexOf(':')
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]
  }))
  const isProblem = headers['content-type'] === 'application/problem+json'
  const code = isProblem ? (JSON.parse(body) as { code: string }).code : undefined
  return { status: Number(/^HTTP\/1\.1 (\d{3}) /.exec(statusLine)?.[1]), headers, body, code }
}

/** Counts the connections that a server has open. */
export async function connectionsOf (server: Server): Promise<number> {
  return await promisify(server.getConnections.bind(server))()
}
