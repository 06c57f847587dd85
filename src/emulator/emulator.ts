import type { EmulatorBucket } from './buckets.ts'
import type { Fault, QueuedFault } from './faults.ts'
import type { PlacedObject } from './objects.ts'
import type { ReportOrder } from './reports/order.ts'
import type { DeliveredReport } from './reports/write-report.ts'
import type { EmulatorCredential } from './verify-signature.ts'

/** Names of checks that can be switched off, because COS accepts such requests. */
export const lenientSwitches = ['signature-coverage'] as const

export type LenientSwitch = typeof lenientSwitches[number]

/** Names of checks that can be switched on. COS documents them, but accepts such requests. */
export const strictSwitches = ['content-md5'] as const

export type StrictSwitch = typeof strictSwitches[number]

export interface EmulatorOptions {
  /** 127.0.0.1 when absent. */
  host?: string
  /** 0, which selects a free port, when absent. */
  port?: number
  credentials: EmulatorCredential[]
  buckets: EmulatorBucket[]
  /** The file that keeps the state when the process ends. It is written before the response to a change. */
  stateFile?: string
  /** Host names or IP addresses, without port, that admin requests may use besides loopback and `host`. */
  allowedHosts?: readonly string[]
  /** Checks to switch off; none when absent. */
  lenient?: readonly LenientSwitch[]
  /** Checks to switch on; none when absent. */
  strict?: readonly StrictSwitch[]
  /** Milliseconds since 1970; the clock of the machine when absent. */
  now?: () => number
}

/** A COS request as it arrived. Status 0 says that no response was sent yet. */
export interface ReceivedRequest {
  method: string
  target: string
  host: string
  headers: Record<string, string>
  /** At most the first mebibyte. */
  body: string
  /** For example 'PutBucketInventory', or 'Unknown'. */
  operation: string
  status: number
}

export interface Emulator {
  readonly host: string
  readonly port: number
  /** 'host:port' to connect to. */
  readonly address: string
  /**
   * COS requests in order of arrival, without those to the admin paths: the last 10,000, or fewer when these exceed
   * 16 MiB.
   */
  readonly requests: ReceivedRequest[]
  /** The number of accepted sockets, including those of admin requests. */
  readonly connections: number
  /**
   * Adds an injected fault and returns its id.
   *
   * @throws TypeError for a malformed fault, with all issues
   * @throws RangeError when the queue is full: 10,000 faults, or 16 MiB as JSON
   */
  addFault (fault: Fault): string
  faults (): QueuedFault[]
  clearFaults (): void
  /** Sets the difference of the emulator's clock, also in its Date header, to the true time. */
  setClockOffset (ms: number): void
  setCredentials (credentials: EmulatorCredential[]): void
  /** Returns the stored documents of a bucket in the order of their creation. */
  configurations (bucket: string): string[]
  /**
   * Stores a configuration, as a PUT with this body does.
   *
   * @throws CosError as PUT does
   */
  putConfiguration (bucket: string, id: string, xml: string): void
  /** Puts an object into a bucket, in place of one with the same key. */
  putObject (object: PlacedObject): void
  /**
   * Makes the report of a configuration or a one-time job, and puts it into the destination bucket. Resolves when all
   * is written; the emulator goes on serving meanwhile.
   *
   * @throws ReportRejection with status 400 for a malformed order and all its issues; 404 when there is no such job;
   *   409 when the job is disabled or not CSV, the destination bucket does not exist, or the emulator is reset
   */
  deliverReport (order: ReportOrder): Promise<DeliveredReport>
  /** Removes configurations, jobs, objects, faults and requests. */
  reset (): void
  /** Stops the emulator and closes every connection immediately. */
  close (): Promise<void>
}
