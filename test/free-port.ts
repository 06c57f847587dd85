import { once } from 'node:events'
import { createServer } from 'node:net'

/**
 * Returns a free loopback port below the range of outgoing connections. Otherwise such a connection could take the port
 * between two starts of a program.
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
