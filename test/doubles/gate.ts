import { once } from 'node:events'
import { createServer, request as open } from 'node:http'
import type { IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { startTestEmulator, startTestService } from '../start.ts'
import type { Running, Test } from '../start.ts'

/** A proxy in front of COS that can delay requests. */
export interface Gate {
  holds: (request: IncomingMessage) => boolean
  /** Functions that forward the delayed requests, in order of arrival. */
  held: Array<() => void>
  /** Forwards all delayed and further requests. */
  open (): void
  /** Targets of requests that arrived while a request to the same target was in flight. */
  overlaps: string[]
}

/** Starts service and emulator with a gate between them. */
export async function startGated (
  t: Test, environment: Record<string, string> = {}
): Promise<Running & { gate: Gate }> {
  const emulator = await startTestEmulator(t)
  const inFlight = new Set<string>()
  const gate: Gate = {
    holds: () => false,
    held: [],
    open () {
      gate.holds = () => false
      for (const pass of gate.held.splice(0)) pass()
    },
    overlaps: []
  }
  const server = createServer((incoming, response) => {
    const { method, headers } = incoming
    const path = String(incoming.url)
    if (inFlight.has(path)) gate.overlaps.push(path)
    inFlight.add(path)
    const pass = () => {
      const onward = open({ host: emulator.host, port: emulator.port, method, path, headers }, reply => {
        inFlight.delete(path)
        response.writeHead(reply.statusCode as number, reply.headers)
        reply.pipe(response)
      })
      incoming.pipe(onward.on('error', () => { response.destroy() }))
    }
    if (gate.holds(incoming)) gate.held.push(pass)
    else pass()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  const connectTo = `127.0.0.1:${(server.address() as AddressInfo).port}`
  // The timeout must be longer than any delay of the gate.
  return { emulator, gate, ...await startTestService(t, connectTo, { COS_TIMEOUT_MS: '60000', ...environment }) }
}
