import type { ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { deliver, replaceResponse } from './deliver.ts'
import type { Operation } from './detect.ts'
import type { Emulator, EmulatorOptions } from './emulator.ts'
import { createEndpoint, identify } from './endpoint.ts'
import { type FaultQueue, createFaultQueue, parseFault } from './faults.ts'
import type { EmulatorBucket } from './buckets.ts'
import { type Inventories, createInventories } from './inventories.ts'
import { createJournal } from './journal.ts'
import { createObjectStore, toStoredObject } from './objects.ts'
import type { Body, CosRequest } from './request.ts'
import { type Reply, toHeadResponse } from './response.ts'
import { createReports } from './reports/reports.ts'
import { createStateFile, volatileState } from './state-file.ts'

/** The operations that see reports. They wait for those that are due. */
const objectOperations: Operation[] = ['GetBucket', 'GetObject', 'HeadObject']

/** Reads the body of a request; undefined when the client disconnected. */
export type BodyReader = () => Promise<Body | undefined>

/** COS without its socket. */
export interface EmulatedCos {
  /** Responds to a request, or does what an injected fault states. */
  serve (request: CosRequest, outgoing: ServerResponse, read: BodyReader): Promise<void>
  /** Returns the time of COS, in milliseconds since 1970. */
  now (): number
  controls: Omit<Emulator, 'host' | 'port' | 'address' | 'connections' | 'close'>
  /** Ends the deliveries of reports. */
  stop (): void
}

/**
 * Creates COS with its state, clock, credentials, journal and injected faults.
 *
 * @throws Error when the state file cannot be read or written, or is not one
 */
export function createEmulatedCos (options: EmulatorOptions): EmulatedCos {
  const { buckets, stateFile, now: trueNow = Date.now, lenient = [], strict = [] } = options
  let { credentials } = options
  let clockOffsetMs = 0
  const now = () => trueNow() + clockOffsetMs
  const [journal, faults] = [createJournal(), createFaultQueue()]
  const inventories = createInventories(stateFile === undefined ? volatileState : createStateFile(stateFile))
  const objects = createObjectStore()
  const reports = createReports({ buckets, inventories, objects, now })
  const endpoint = createEndpoint({
    buckets, inventories, objects, credentials: () => credentials, now, lenient, strict
  })

  return {
    now,

    async serve (request, outgoing, read) {
      reports.startDue()
      const { method, target, host, headers, rawPath } = request
      const { operation, bucket } = identify(request)
      const received = { method, target, host, headers, body: '', operation, status: 0 }
      journal.add(received)
      const body = await read()
      if (body === undefined) return
      journal.setBody(received, body.bytes.toString())

      const { latencyMs, fault } = faults.take({ operation, bucket, method })
      if (latencyMs > 0) await sleep(latencyMs, undefined, { ref: false })
      // A slow response arrives, so its change is made. A lost one has a fault that states whether the change is made.
      const withEffect = fault === undefined || fault.kind === 'drip' || fault.after === 'effect'
      if (objectOperations.includes(operation)) await reports.settled()
      const replaced = replaceResponse(fault, endpoint.respond(request, body, withEffect), host + rawPath, now())
      received.status = replaced?.status ?? 0
      await deliver(outgoing, fault, method === 'HEAD' && replaced !== undefined ? toHeadResponse(replaced) : replaced)
    },

    controls: {
      requests: journal.requests,
      ...faultControls(faults),
      setClockOffset (ms) {
        clockOffsetMs = ms
        reports.startDue()
      },
      setCredentials (next) { credentials = next },
      configurations: inventories.documents,
      putConfiguration: createPut(buckets, inventories, now),
      deliverReport: reports.deliver,
      putObject: object => { objects.put(toStoredObject(object, now())) },
      reset () {
        inventories.reset()
        reports.reset()
        objects.clear()
        faults.clear()
        journal.requests.length = 0
      }
    },

    stop: reports.reset
  }
}

function createPut (
  buckets: EmulatorBucket[], inventories: Inventories, now: () => number
): Emulator['putConfiguration'] {
  return (bucket, id, xml) => {
    const { region } = buckets.find(({ name }) => name === bucket) as EmulatorBucket
    const { effect } = inventories.put({ bucket, region, id }, Buffer.from(xml), now()) as Required<Reply>
    effect()
  }
}

function faultControls (faults: FaultQueue): Pick<Emulator, 'addFault' | 'faults' | 'clearFaults'> {
  return {
    addFault (fault) {
      const parsed = parseFault(fault)
      if ('errors' in parsed) throw new TypeError(`not a fault: ${parsed.errors.join('; ')}`)
      return faults.add(parsed.fault)
    },
    faults: faults.list,
    clearFaults: faults.clear
  }
}
