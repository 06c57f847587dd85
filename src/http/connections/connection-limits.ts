/** Limits of what connections of clients can occupy. */

/** Requests of one connection that are served at the same time. More of a pipeline wait, and reading stops. */
const maxInFlight = 8

/** Pipelined requests that wait, over all connections. Each takes about 2 KB. */
const maxWaiting = 10_000

/** Bytes of responses that clients have not taken yet, over all connections. */
const maxUnsentBytes = 64 * 1024 * 1024

/** Unsent bytes of a connection above which its next pipelined request waits. */
const maxUnsentBytesBeforeNext = 1024 * 1024

/** A connection with unsent bytes of which none has been taken for this long is closed. */
const stalledMs = 30_000

/** How often connections are checked for clients that do not read. */
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

/** Why the service closed a connection before its responses were sent. */
export type ClosingReason = 'stalled' | 'unsent_limit' | 'pipeline_limit'
