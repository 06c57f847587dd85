import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import type { Emulator } from '../../src/emulator/server.ts'
import { at, configuration, secrets } from '../start.ts'
import { startProgram } from './program.ts'
import type { Program } from './program.ts'

interface Test {
  teardown (handler: () => unknown): void
}

/** The service as a process. */
export interface StartedService extends Program {
  url: string
  port: number
}

/** The key pair of the service. */
export const credentials = {
  COS_SECRET_ID: secrets.secretId, COS_SECRET_KEY: secrets.secretKey, COS_TOKEN: secrets.token
}

/** Returns the environment of a service that calls COS at an address. */
export function environmentFor (connectTo: string): Record<string, string> {
  return {
    ...credentials,
    AUTH: 'none',
    ALLOWED_HOSTS: 'x',
    PORT: '0',
    COS_SCHEME: 'http',
    COS_REGION: 'ap-guangzhou',
    COS_CONNECT_TO: connectTo
  }
}

/** Starts the service as a process and waits until it listens. */
export async function startService (
  t: Test, connectTo: string, environment: Record<string, string> = {}
): Promise<StartedService> {
  const program = startProgram(t, 'server', { ...environmentFor(connectTo), ...environment })
  const [, url = ''] = await program.until(/listening at (http:[^"]+)"/)
  return { ...program, url, port: Number(new URL(url).port) }
}

/** Writes a configuration. */
export async function put ({ url }: Pick<StartedService, 'url'>, id: string): Promise<Response> {
  const headers = { 'content-type': 'application/json' }
  return await fetch(`${url}${at(id)}`, { method: 'PUT', headers, body: JSON.stringify(configuration) })
}

/** Starts a proxy in front of the emulator that delays all connections until `open` is called. */
export async function startGate (
  t: Test, emulator: Emulator
): Promise<{ address: string, reached: Promise<unknown>, open: () => void }> {
  let open = () => {}
  const opened = new Promise<void>(resolve => { open = resolve })
  const sockets = new Set<Socket>()
  const server = createServer(socket => {
    sockets.add(socket.on('error', () => {}))
    void opened.then(() => {
      const onward = connect(emulator.port, emulator.host).on('error', () => {})
      sockets.add(onward)
      socket.pipe(onward).pipe(socket)
    })
  })
  const { port } = await listen(t, server)
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
  })
  return { address: `127.0.0.1:${port}`, reached: once(server, 'connection'), open }
}

/** Listens on a port that is free. */
export async function listen (t: Test, server: Server): Promise<AddressInfo> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return server.address() as AddressInfo
}

/** Opens a connection. */
export async function dial ({ port }: StartedService): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'connect')
  return socket
}

/** Waits until a connection fails with ECONNREFUSED, so the service is closing. */
export async function untilClosing ({ port }: StartedService): Promise<void> {
  for (let isRejected = false; !isRejected;) {
    const socket = connect(port, '127.0.0.1')
    isRejected = await new Promise(resolve => socket
      .once('connect', () => { resolve(false) })
      // A connection in the accept queue is reset instead.
      .on('error', (error: NodeJS.ErrnoException) => { resolve(error.code === 'ECONNREFUSED') }))
    socket.destroy()
  }
}

/** Opens a connection that had a response. When it closes, the service has read all bytes from before the stop. */
export async function idleConnection (service: StartedService): Promise<{ ended: Promise<unknown> }> {
  const socket = await dial(service)
  socket.write('GET /livez HTTP/1.1\r\nhost: x\r\n\r\n')
  await once(socket, 'data')
  return { ended: once(socket, 'close') }
}
