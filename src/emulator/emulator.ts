import type { EmulatorBucket } from './buckets.ts'
import type { Fault, QueuedFault } from './faults.ts'
import type { EmulatorCredential } from './verify-signature.ts'

/** Names of the checks that can be switched off, because COS accepts what they reject. */
export const lenientSwitches = ['signature-coverage'] as const

export type LenientSwitch = typeof lenientSwitches[number]

/** Names of the checks that can be switched on: COS documents them, but accepts requests without. */
export const strictSwitches = ['content-md5'] as const

export type StrictSwitch = typeof strictSwitches[number]

export interface EmulatorOptions {
  /** 127.0.0.1 when absent. */
  host?: string
  /** 0, any free one, when absent. */
  port?: number
  credentials: EmulatorCredential[]
  buckets: EmulatorBucket[]
  /** Keeps the state over the end of the process, however it ends: written before a change is answered. */
  stateFile?: string
  /** Host names or IP addresses, without port, that admin requests may name as Host besides loopback and `host`. */
  allowedHosts?: readonly string[]
  /** Checks to switch off; none when absent. */
  lenient?: readonly LenientSwitch[]
  /** Checks to switch on; none when absent. */
  strict?: readonly StrictSwitch[]
  /** Milliseconds since 1970; the clock of the machine when absent. */
  now?: () => number
}

/** A COS request as it came. Status 0: no answer was sent, or not yet. */
export interface ReceivedRequest {
  method: string
  target: string
  host: string
  headers: Record<string, string>
  /** At most its first mebibyte. */
  body: string
  /** Such as 'PutBucketInventory', or 'Unknown'. */
  operation: string
  status: number
}

export interface Emulator {
  readonly host: string
  readonly port: number
  /** 'host:port' to connect to. */
  readonly address: string
  /**
   * COS requests, not those to the admin paths, in order of arrival: the last 10,000, or fewer when these exceed
   * 16 MiB.
   */
  readonly requests: ReceivedRequest[]
  /** Sockets accepted so far, those of admin requests included. */
  readonly connections: number
  /**
   * Gives the id of the fault.
   * @throws TypeError naming everything that is wrong with it
   * @throws RangeError when the queue is full: 1,000 faults, or 16 MiB as JSON
   */
  addFault (fault: Fault): string
  faults (): QueuedFault[]
  clearFaults (): void
  /** Moves what the emulator takes for now, its Date header included; always from the true time. */
  setClockOffset (ms: number): void
  setCredentials (credentials: EmulatorCredential[]): void
  /** The documents stored in a bucket, in the order of their creation. */
  configurations (bucket: string): string[]
  /** Forgets configurations, jobs, faults and requests. */
  reset (): void
  /** Stops, and ends every connection at once. */
  close (): Promise<void>
}
