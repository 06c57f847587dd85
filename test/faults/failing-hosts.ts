import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { Worker } from 'node:worker_threads'

interface Test {
  teardown (handler: () => unknown): void
}

/**
 * Starts a host whose connections never complete: its accept queue is full and is not read. Linux then drops further
 * connection attempts (listen(2)), as a firewall would.
 *
 * @returns `host:port`
 */
export async function startFullHost (t: Test): Promise<string> {
  // The thread sleeps, because Node accepts connections in each event-loop iteration.
  const thread = new Worker(`
    const { createServer } = require('node:net')
    const { parentPort } = require('node:worker_threads')
    const server = createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
      parentPort.postMessage(server.address().port)
      setImmediate(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0))
    })`, { eval: true })
  t.teardown(() => thread.terminate())
  const [port] = await once(thread, 'message') as [number]
  // The queue accepts one connection more than its limit.
  for (let held = 0; held < 2; held++) {
    const socket = connect(port, '127.0.0.1').on('error', () => {})
    t.teardown(() => socket.destroy())
    await once(socket, 'connect')
  }
  return `127.0.0.1:${port}`
}

/** Starts a host that accepts connections and requests and never responds. */
export async function startUnresponsiveHost (t: Test): Promise<{
  address: string
  requestsTo: (bucket: string) => number
}> {
  let received = ''
  const address = await listen(t, socket => socket.on('data', chunk => { received += chunk.toString('latin1') }))
  return { address, requestsTo: bucket => received.split(`\r\nhost: ${bucket}.`).length - 1 }
}

/** Returns the `host:port` of a closed port. */
export async function startClosedPort (): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return `127.0.0.1:${port}`
}

/** Starts a proxy in front of a host. It counts the connections that have ended. */
export async function startRelay (t: Test, onward: { host: string, port: number }): Promise<{
  address: string
  ended: () => number
}> {
  let ended = 0
  const address = await listen(t, socket => {
    const other = connect(onward.port, onward.host).on('error', () => socket.destroy())
    socket.on('close', () => {
      ended += 1
      other.destroy()
    })
    other.on('close', () => socket.destroy())
    socket.pipe(other).pipe(socket)
  })
  return { address, ended: () => ended }
}

async function listen (t: Test, onSocket: (socket: Socket) => void): Promise<string> {
  const sockets = new Set<Socket>()
  const server = createServer(socket => {
    sockets.add(socket)
    socket.on('error', () => {}).on('close', () => sockets.delete(socket))
    onSocket(socket)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy()
    server.close()
    await once(server, 'close')
  })
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}
