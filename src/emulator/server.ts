import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { respondToAdmin, isAdminRequest } from './admin.ts'
import { toErrorResponse } from './response.ts'
import type { EmulatorBucket } from './buckets.ts'
import { CosError } from './cos-error.ts'
import { deliver, sendAndEnd } from './deliver.ts'
import { createEmulatedCos } from './emulated-cos.ts'
import type { Emulator, EmulatorOptions, ReceivedRequest } from './emulator.ts'
import type { Fault } from './faults.ts'
import type { PlacedObject } from './objects.ts'
import type { ReportOrder, ReportedObject } from './reports/order.ts'
import type { ReportRejection } from './reports/rejection.ts'
import type { DeliveredReport } from './reports/write-report.ts'
import { readBody, readHead } from './request.ts'
import type { EmulatorCredential } from './verify-signature.ts'

export { reportKnobs } from './reports/knobs.ts'
export type {
  DeliveredReport, Emulator, EmulatorBucket, EmulatorCredential, EmulatorOptions, Fault, PlacedObject, ReceivedRequest,
  ReportOrder, ReportRejection, ReportedObject
}

/** The most connections at the same time. The server closes further ones at once. */
const maxConnections = 4096

/** The most bytes of request bodies in memory at the same time. */
const maxHeldBytes = 64 * 1024 * 1024

/**
 * Starts the inventory part of COS on a socket.
 *
 * @throws Error when the address is in use or the state file is not one
 */
export async function startEmulator (options: EmulatorOptions): Promise<Emulator> {
  const { host = '127.0.0.1', port = 0, allowedHosts = [] } = options
  const { serve, now, controls, stop } = createEmulatedCos(options)
  let connections = 0
  let heldBytes = 0

  async function handle (incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const request = readHead(incoming)
    let held = 0
    const hold = (bytes: number): boolean => {
      if (heldBytes + bytes > maxHeldBytes) return false
      heldBytes += bytes
      held += bytes
      return true
    }
    const read = () => readBody(incoming, hold)
    try {
      if (!isAdminRequest(request)) return await serve(request, outgoing, read)
      const body = await read()
      if (body !== undefined) {
        await deliver(outgoing, undefined, await respondToAdmin(emulator, request, body, allowedHosts))
      }
    } finally {
      heldBytes -= held
    }
  }

  const server = createHttpServer(handle, now)
  server.on('connection', () => { connections += 1 })
  server.listen(port, host)
  await once(server, 'listening')
  const bound = server.address() as AddressInfo

  const emulator: Emulator = {
    ...controls,
    host,
    port: bound.port,
    address: `${host.includes(':') ? `[${host}]` : host}:${bound.port}`,
    get connections () { return connections },
    async close () {
      stop()
      const closed = new Promise<void>(resolve => server.close(() => resolve()))
      server.closeAllConnections()
      await closed
    }
  }
  return emulator
}

function createHttpServer (
  handle: (incoming: IncomingMessage, outgoing: ServerResponse) => Promise<void>, now: () => number
): Server {
  const server = createServer({
    requireHostHeader: false,
    headersTimeout: 15_000,
    requestTimeout: 60_000,
    keepAliveTimeout: 60_000
  })
  server.maxConnections = maxConnections
  // Node would drop the headers after the 2,000th; their size is limited to 16 KiB anyway.
  server.maxHeadersCount = 0
  server.on('request', (incoming, outgoing) => {
    handle(incoming, outgoing).catch(() => incoming.socket.destroy())
  })
  server.on('clientError', (_error, socket) => {
    void sendAndEnd(socket, toErrorResponse(new CosError('BadRequest'), '/', now()), Infinity)
  })
  return server
}
