import type { Cores, Disturbance } from './machine.ts'
import type { Server } from './servers.ts'

/** Durations and counts of the measurements. */
export interface Lengths {
  /** Number of rounds in which each server is measured. */
  rounds: number
  /** Share of the warm-up requests, which let V8 compile the code, before the first round. */
  warmUp: number
  /** Milliseconds of unmeasured load before the first round of the other parts. */
  warmUpMs: number
  /** Milliseconds of unmeasured load at the beginning of each round. */
  leadMs: number
  /** Milliseconds of a closed-loop round. */
  roundMs: number
  /** Milliseconds of an open-loop round. */
  latencyMs: number
  /** Number of pages for the measurement of the event loop. */
  watchedPages: number
  /** Number of starts of each server. */
  starts: number
  /** Last request of each section that is measured after a start, in ascending order. */
  firstRequests: number[]
  /** Rows of the report that is streamed. */
  reportRows: number
  /** Milliseconds after the start until the memory of an idle server is measured. */
  idleMs: number
}

/** A full run takes about ten minutes on an idle machine, half of them for the parts after a start. */
export const fullLengths: Lengths = {
  rounds: 5,
  warmUp: 1,
  warmUpMs: 3_000,
  leadMs: 100,
  roundMs: 900,
  latencyMs: 1_300,
  watchedPages: 50,
  starts: 8,
  firstRequests: [1_000, 5_000],
  reportRows: 500_000,
  idleMs: 2_000
}

/** A short run checks in seconds that everything works. Its times have no meaning. */
export const shortLengths: Lengths = {
  rounds: 1,
  warmUp: 0.01,
  warmUpMs: 50,
  leadMs: 20,
  roundMs: 100,
  latencyMs: 200,
  watchedPages: 3,
  starts: 1,
  firstRequests: [20, 100],
  reportRows: 1_000,
  idleMs: 200
}

/** Inputs of the parts. */
export interface Bench {
  lengths: Lengths
  /** Undefined when processes are not pinned. */
  cores: Cores | undefined
  disturbance: Disturbance
  /** `host:port` of the upstream double. */
  upstream: { address: string, pid: number }
  /** All measured servers, the service first. */
  servers: [Server, ...Server[]]
}

/** A part of the benchmark: measures and returns markdown. */
export type Part = (bench: Bench) => Promise<string>

/**
 * Measures all servers in each round, so that disturbances of the machine affect all of them alike. Each round begins
 * with another server.
 *
 * @returns the results of each server by round, in the order of the servers
 */
export async function interleaved<S, T> (
  { lengths: { rounds }, disturbance }: Bench, subjects: S[], measure: (subject: S) => Promise<T>, times = rounds
): Promise<Array<{ subject: S, results: T[] }>> {
  const all = subjects.map(subject => ({ subject, results: [] as T[] }))
  for (let round = 0; round < times; round += 1) {
    const first = round % all.length
    for (const { subject, results } of [...all.slice(first), ...all.slice(0, first)]) {
      results.push(await disturbance.during(() => measure(subject)))
    }
  }
  return all
}
