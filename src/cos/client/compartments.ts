import type { AbortableQueue } from '../../concurrency/abortable-queue.ts'

/** The destination of a call: one of many hosts in a region. */
export interface Place {
  host: string
  /** The part of the host name that all hosts of a region share. */
  region: string
}

/**
 * The end of a call. `responded` is any response. `unresponsive` says that no response began in the time of an attempt.
 * `other` says nothing about the host, for example when the call was canceled.
 */
export type CallEnd = 'responded' | 'unresponsive' | 'other'

/** A host or a region. An unresponsive one gets few permits until it responds. */
interface Compartment {
  active: number
  limit: number
  unresponsiveLimit: number
  isUnresponsive: boolean
  /** Instant of the monotonic clock, in milliseconds. */
  respondedAt: number
}

/** A host, and the calls that wait for it. */
export interface Host<Permit, Reason extends string> extends Compartment {
  name: string
  region: Compartment
  queue: AbortableQueue<Permit, Reason>
}

interface Compartments<Permit, Reason extends string> {
  /** Returns the state of a host, which is created for the first call. */
  hostOf (place: Place): Host<Permit, Reason>
  /** Counts the hosts that are unresponsive now. */
  unresponsiveHosts (): number
}

interface Options<Permit, Reason extends string> {
  maxConcurrency: number
  maxPerHost: number
  /** Creates the queue of a host. */
  createQueue: (host: () => Host<Permit, Reason>) => AbortableQueue<Permit, Reason>
}

/** The number of hosts above which those without calls are forgotten. */
const mostIdleHosts = 1_000

/** Creates the state of hosts and regions. An unresponsive host gets one permit, a region an eighth of all permits. */
export function createCompartments<Permit, Reason extends string> (
  { maxConcurrency, maxPerHost, createQueue }: Options<Permit, Reason>
): Compartments<Permit, Reason> {
  const hosts = new Map<string, Host<Permit, Reason>>()
  const regions = new Map<string, Compartment>()

  function forgetIdleHosts (): void {
    for (const { name, active, queue } of hosts.values()) if (active + queue.size() === 0) hosts.delete(name)
    const inUse = new Set([...hosts.values()].map(({ region }) => region))
    for (const [name, region] of regions) if (!inUse.has(region)) regions.delete(name)
  }

  return {
    hostOf (place) {
      const known = hosts.get(place.host)
      if (known !== undefined) return known
      if (hosts.size >= mostIdleHosts) forgetIdleHosts()
      const region = regions.get(place.region) ?? compartment(maxConcurrency, Math.max(1, maxConcurrency >> 3))
      regions.set(place.region, region)
      const host: Host<Permit, Reason> =
        { ...compartment(maxPerHost, 1), name: place.host, region, queue: createQueue(() => host) }
      hosts.set(place.host, host)
      return host
    },

    unresponsiveHosts: () => [...hosts.values()].filter(({ isUnresponsive }) => isUnresponsive).length
  }
}

function compartment (limit: number, unresponsiveLimit: number): Compartment {
  return { active: 0, limit, unresponsiveLimit, isUnresponsive: false, respondedAt: 0 }
}

/** Tells whether a host or a region can take one more call. */
export function isOpen ({ active, limit, unresponsiveLimit, isUnresponsive }: Compartment): boolean {
  return active < (isUnresponsive ? unresponsiveLimit : limit)
}

/**
 * Records the end of a call. A timeout is ignored when another call got a response after this call started.
 *
 * @param startedAt instant of the monotonic clock, in milliseconds
 * @param now monotonic clock, in milliseconds
 */
export function recordEnd (compartment: Compartment, end: CallEnd, startedAt: number, now: () => number): void {
  compartment.active -= 1
  if (end === 'responded') {
    compartment.isUnresponsive = false
    compartment.respondedAt = now()
  } else if (end === 'unresponsive' && compartment.respondedAt < startedAt) {
    compartment.isUnresponsive = true
  }
}
