/** Limits of what connections of clients can occupy. */

/** Requests of one connection that are served concurrently. Further pipelined requests wait, and reading stops. */
const maxInFlight = 8

/** Pipelined requests that may wait, over all connections. Each needs about 2 KB. */
const maxWaiting = 10_000

/** Bytes of responses that clients have not read yet, over all connections. */
const maxUnsentBytes = 64 * 1024 * 1024

/** Unsent bytes of a connection above which its next pipelined request waits. */
const maxUnsentBytesBeforeNext = 1024 * 1024

/** Time after which a connection is closed if the client has read none of its unsent bytes. */
const stalledMs = 30_000

/** Interval of the check for clients that do not read. */
const checkMs = 1_000

/** Limits of connections, in the units of {@link connectionLimits}. */
export interface ConnectionLimits {
  maxInFlight: number
  maxWaiting: number
  maxUnsentBytes: number
  maxUnsentBytesBeforeNext: number
  stalledMs: number
  checkMs: number
}

/** The limits of the service. */
export const connectionLimits: ConnectionLimits = {
  maxInFlight, maxWaiting, maxUnsentBytes, maxUnsentBytesBeforeNext, stalledMs, checkMs
}

/** Reason for which the service closed a connection before its responses were sent. */
export type ClosingReason = 'stalled' | 'unsent_limit' | 'pipeline_limit'
