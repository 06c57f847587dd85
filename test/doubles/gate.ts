import { once } from 'node:events'
import { createServer, request as open } from 'node:http'
import type { IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { startTestEmulator, startTestService } from '../start.ts'
import type { Running, Test } from '../start.ts'

/** Something in front of COS that keeps requests back. */
export interface Gate {
  holds: (request: IncomingMessage) => boolean
  /** What lets those through that are kept back, in the order they came. */
  held: Array<() => void>
  /** Lets everything through. */
  open (): void
  /** Targets of requests that came while one of the same target was under way. */
  overlaps: string[]
}

/** Service and emulator with a gate between them. */
export async function startGated (
  t: Test, environment: Record<string, string> = {}
): Promise<Running & { gate: Gate }> {
  const emulator = await startTestEmulator(t)
  const underWay = new Set<string>()
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
    if (underWay.has(path)) gate.overlaps.push(path)
    underWay.add(path)
    const pass = () => {
      const onward = open({ host: emulator.host, port: emulator.port, method, path, headers }, answer => {
        underWay.delete(path)
        response.writeHead(answer.statusCode as number, answer.headers)
        answer.pipe(response)
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
  // What is held must not run into a time limit of its own.
  return { emulator, gate, ...await startTestService(t, connectTo, { COS_TIMEOUT_MS: '60000', ...environment }) }
}
