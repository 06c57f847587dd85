import { createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'

/** The part of the tap API that a subtest needs. */
interface Test {
  teardown (handler: () => unknown): void
}

/** A server of the Redis protocol whose responses are set by the test. */
export interface RespServer {
  /** Value for `REDIS_URL`. */
  readonly url: string
  /** Number of connections so far. */
  readonly connections: number
  /** Returns the bytes of the response to a command; `close` closes the connection. */
  reply: (command: string) => string | 'close'
}

/** Starts a server that returns OK for every command. It is closed at the end of the test. */
export async function startRespServer (t: Test): Promise<RespServer> {
  const sockets = new Set<Socket>()
  const server = createServer(socket => {
    sockets.add(socket)
    double.connections += 1
    socket.on('error', () => {})
    socket.on('close', () => { sockets.delete(socket) })
    socket.on('data', chunk => {
      // Commands of these tests are small, so each arrives within one chunk.
      for (const [, name = ''] of chunk.toString().matchAll(/\*\d+\r\n\$\d+\r\n(\w+)\r\n/g)) {
        const reply = double.reply(name.toUpperCase())
        if (reply === 'close') socket.destroy()
        else socket.write(reply)
      }
    })
  })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => new Promise(resolve => {
    server.close(resolve)
    for (const socket of sockets) socket.destroy()
  }))
  const double = {
    url: `redis://127.0.0.1:${(server.address() as AddressInfo).port}`,
    connections: 0,
    reply: (_: string): string => '+OK\r\n'
  }
  return double
}
