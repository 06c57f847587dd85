import type { ReceivedRequest } from './emulator.ts'

const maxRequests = 10_000
const maxBytes = 16 * 1024 * 1024

// The memory of an object and of a property without their texts, in bytes. It counts for requests with many headers.
const requestOverhead = 256
const headerOverhead = 64

/** The requests received, oldest first, in bounded memory. */
export interface Journal {
  /** Users of the emulator may change this array. */
  readonly requests: ReceivedRequest[]
  add (received: ReceivedRequest): void
  /** Adds the body once it has arrived. The request may have been dropped by then. */
  setBody (received: ReceivedRequest, body: string): void
}

/** Creates a journal of the last 10,000 requests and 16 MiB, whichever is less. Drops the oldest request first. */
export function createJournal (): Journal {
  const requests: ReceivedRequest[] = []
  const dropped = new WeakSet<ReceivedRequest>()
  let bytes = 0
  let counted = 0

  function count (difference: number): void {
    // A different length means that a user of the emulator has changed the array.
    bytes = requests.length === counted
      ? bytes + difference
      : requests.reduce((sum, each) => sum + sizeOf(each), 0)
    while (requests.length > maxRequests || bytes > maxBytes) {
      const oldest = requests.shift() as ReceivedRequest
      dropped.add(oldest)
      bytes -= sizeOf(oldest)
    }
    counted = requests.length
  }

  return {
    requests,
    add (received) {
      requests.push(received)
      counted += 1
      count(sizeOf(received))
    },
    setBody (received, body) {
      if (dropped.has(received)) return
      received.body = body
      count(Buffer.byteLength(body))
    }
  }
}

function sizeOf ({ target, host, headers, body }: ReceivedRequest): number {
  const ofHeaders = Object.entries(headers)
    .reduce((sum, [name, value]) => sum + headerOverhead + Buffer.byteLength(name + value), 0)
  return requestOverhead + Buffer.byteLength(target) + Buffer.byteLength(host) + ofHeaders + Buffer.byteLength(body)
}
