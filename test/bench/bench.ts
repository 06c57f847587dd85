import type { Cores, Disturbance } from './machine.ts'
import type { Server } from './servers.ts'

/** How long and how often everything is measured. */
export interface Lengths {
  /** How often each server has its turn. */
  rounds: number
  /** The share of the requests that make V8 done with its code, before the first round of a kind. */
  warmUp: number
  /** Milliseconds of load that nobody looks at, before the first round of other kinds. */
  warmUpMs: number
  /** The same at the beginning of each round. */
  leadMs: number
  /** Milliseconds of a round of a closed loop. */
  roundMs: number
  /** Milliseconds of a round of an open loop. */
  latencyMs: number
  /** How many pages the event loop is watched over. */
  holds: number
  /** How often each server is started. */
  starts: number
  /** The last request of each stretch that is measured after a start, in ascending order. */
  firstRequests: number[]
  /** Milliseconds after the start until memory counts as that of an idle server. */
  idleMs: number
}

/** A full run takes about ten minutes on an idle machine. The parts after a start take half of them. */
export const fullLengths: Lengths = {
  rounds: 5,
  warmUp: 1,
  warmUpMs: 3_000,
  leadMs: 100,
  roundMs: 900,
  latencyMs: 1_300,
  holds: 50,
  starts: 8,
  firstRequests: [1_000, 5_000],
  idleMs: 2_000
}

/** Says whether everything works, in some seconds, and nothing about time. */
export const shortLengths: Lengths = {
  rounds: 1,
  warmUp: 0.01,
  warmUpMs: 50,
  leadMs: 20,
  roundMs: 100,
  latencyMs: 200,
  holds: 3,
  starts: 1,
  firstRequests: [20, 100],
  idleMs: 200
}

/** What the parts measure, and how. */
export interface Bench {
  lengths: Lengths
  /** Undefined where nothing is pinned. */
  cores: Cores | undefined
  disturbance: Disturbance
  /** `host:port` of the upstream double. */
  upstream: { address: string, pid: number }
  /** All that are measured, the service first. */
  servers: [Server, ...Server[]]
}

/** A part of the benchmark: measures, and gives what it found as markdown. */
export type Part = (bench: Bench) => Promise<string>

/**
 * Gives each server its turn in each round, so that whatever the machine does meanwhile meets all of them alike. Each
 * round begins with another one.
 *
 * @returns the results of each server, in the order of the servers; those of a server in the order of the rounds
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
