import { once } from 'node:events'
import { createServer } from 'node:net'

/**
 * A port of loopback that nobody listens on, also between two starts of a program: it is below those that the system
 * gives to outgoing connections, one of which might otherwise take it.
 */
export async function freePort (): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000)
    const server = createServer().listen(port, '127.0.0.1')
    const isFree = await Promise.race([
      once(server, 'listening').then(() => true),
      new Promise<boolean>(resolve => server.once('error', () => { resolve(false) }))
    ]).catch(() => false)
    if (!isFree) continue
    server.close()
    await once(server, 'close')
    return port
  }
}
