import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { answerAdmin, isAdminRequest } from './admin.ts'
import { toClosingHead, toErrorAnswer } from './answer.ts'
import type { EmulatorBucket } from './buckets.ts'
import { CosError } from './cos-error.ts'
import { deliver, end, replaceAnswer } from './deliver.ts'
import type { Emulator, EmulatorOptions, ReceivedRequest } from './emulator.ts'
import { createEndpoint, identify } from './endpoint.ts'
import { type Fault, createFaultQueue, parseFault } from './faults.ts'
import { createInventories } from './inventories.ts'
import { createJournal } from './journal.ts'
import { type Body, type CosRequest, readBody, readHead } from './request.ts'
import { createStateFile, volatileState } from './state-file.ts'
import type { EmulatorCredential } from './verify-signature.ts'

export type { Emulator, EmulatorBucket, EmulatorCredential, EmulatorOptions, Fault, ReceivedRequest }

type BodyReader = () => Promise<Body | undefined>

/** Connections at the same time; further ones are closed at once. */
const maxConnections = 4096

/** Bytes of request bodies in memory at the same time. */
const maxHeldBytes = 64 * 1024 * 1024

/**
 * Starts the inventory part of COS on a socket.
 * @throws Error when the address is taken or the state file is not one
 */
export async function startEmulator (options: EmulatorOptions): Promise<Emulator> {
  const { buckets, host = '127.0.0.1', port = 0, stateFile, now: trueNow = Date.now } = options
  const { allowedHosts = [], lenient = [], strict = [] } = options
  let { credentials } = options
  let clockOffsetMs = 0
  let connections = 0
  const now = () => trueNow() + clockOffsetMs
  let heldBytes = 0
  const journal = createJournal()
  const faults = createFaultQueue()
  const inventories = createInventories(stateFile === undefined ? volatileState : createStateFile(stateFile))
  const endpoint = createEndpoint({ buckets, inventories, credentials: () => credentials, now, lenient, strict })

  async function serve (incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const request = readHead(incoming)
    let held = 0
    const hold = (bytes: number): boolean => {
      if (heldBytes + bytes > maxHeldBytes) return false
      heldBytes += bytes
      held += bytes
      return true
    }
    try {
      await (isAdminRequest(request) ? serveAdmin : serveCos)(request, response, () => readBody(incoming, hold))
    } finally {
      heldBytes -= held
    }
  }

  async function serveAdmin (request: CosRequest, response: ServerResponse, read: BodyReader): Promise<void> {
    const body = await read()
    if (body !== undefined) await deliver(response, undefined, answerAdmin(emulator, request, body, allowedHosts))
  }

  async function serveCos (request: CosRequest, response: ServerResponse, read: BodyReader): Promise<void> {
    const { method, target, headers, rawPath } = request
    const { operation, bucket } = identify(request)
    const received = { method, target, host: request.host, headers, body: '', operation, status: 0 }
    journal.add(received)
    const body = await read()
    if (body === undefined) return
    journal.setBody(received, body.bytes.toString())

    const { latencyMs, fault } = faults.take({ operation, bucket, method })
    if (latencyMs > 0) await sleep(latencyMs, undefined, { ref: false })
    // A slow answer is still an answer; of a lost one the fault says whether the change was made.
    const withEffect = fault === undefined || fault.kind === 'drip' || fault.after === 'effect'
    const answer = endpoint.answer(request, body, withEffect)
    const sent = replaceAnswer(fault, answer, request.host + rawPath, now())
    received.status = sent?.status ?? 0
    await deliver(response, fault, sent)
  }

  const server = createServer({
    requireHostHeader: false,
    headersTimeout: 15_000,
    requestTimeout: 60_000,
    keepAliveTimeout: 60_000
  })
  server.on('request', (incoming, response) => {
    serve(incoming, response).catch(() => incoming.socket.destroy())
  })
  server.on('connection', () => { connections += 1 })
  server.on('clientError', (_error, socket) => {
    const answer = toErrorAnswer(new CosError('BadRequest'), '/', now())
    end(socket, Buffer.concat([toClosingHead(answer), answer.body]))
  })
  server.maxConnections = maxConnections
  // Node would drop the headers after the 2,000th; their size is limited to 16 KiB anyway.
  server.maxHeadersCount = 0
  server.listen(port, host)
  await once(server, 'listening')
  const bound = server.address() as AddressInfo

  const emulator: Emulator = {
    host,
    port: bound.port,
    address: `${host.includes(':') ? `[${host}]` : host}:${bound.port}`,
    requests: journal.requests,
    get connections () { return connections },
    addFault (fault) {
      const parsed = parseFault(fault)
      if ('errors' in parsed) throw new TypeError(`not a fault: ${parsed.errors.join('; ')}`)
      return faults.add(parsed.fault)
    },
    faults: faults.list,
    clearFaults: faults.clear,
    setClockOffset (ms) { clockOffsetMs = ms },
    setCredentials (next) { credentials = next },
    configurations: inventories.documents,
    reset () {
      inventories.reset()
      faults.clear()
      journal.requests.length = 0
    },
    async close () {
      const closed = new Promise<void>(resolve => server.close(() => resolve()))
      server.closeAllConnections()
      await closed
    }
  }
  return emulator
}
