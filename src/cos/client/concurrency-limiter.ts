import type { Departure } from '../../concurrency/cancel-signal.ts'
import { canceled, UpstreamError } from '../upstream-error.ts'

/** Where a call goes: one host of many in a region. */
export interface Place {
  host: string
  /** What the hosts of a region have in common. */
  region: string
}

/** Why a call was refused: too many wait, it waited too long, or its host does not answer anybody. */
export type ShedReason = 'queue_full' | 'waited' | 'silent_host'

/** The right to make one call. */
export interface Slot {
  /**
   * Gives it back.
   *
   * @param ending `answered`, whatever the answer; `silent` when an answer did not come in the time an attempt has;
   *   `other` when the call says nothing about the host, such as one that was cancelled
   */
  release (ending: 'answered' | 'silent' | 'other'): void
}

/** What is under way at the moment. */
export interface Occupation {
  inFlight: number
  waiting: number
  silentHosts: number
}

export interface Bulkheads {
  /**
   * Waits for a slot, in turn with calls to other hosts.
   *
   * @param until instant of the monotonic clock, in milliseconds
   * @param signal ends the waiting
   * @throws {UpstreamError} Overloaded; `cancelled` when the signal ended it
   */
  enter (place: Place, until: number, signal: Departure | undefined): Promise<Slot>
  occupation (): Occupation
}

/** All bounds are numbers of calls, times milliseconds. */
interface Limits {
  maxConcurrency: number
  maxPerHost: number
  queueLimit: number
  /** The longest a call waits. */
  maxWaitMs: number
}

interface Dependencies {
  /** Monotonic clock, in milliseconds. */
  now: () => number
  shed: (reason: ShedReason) => void
}

/** A host or a region: one that stays silent holds few slots, until it answers. */
interface Compartment {
  active: number
  limit: number
  silentLimit: number
  isSilent: boolean
  answeredAt: number
}

interface Host extends Compartment {
  name: string
  region: Compartment
  waiting: Set<Waiter>
}

interface Waiter {
  admit (slot: Slot): void
  refuse (reason: ShedReason | 'cancelled'): void
}

/** Hosts that are remembered although nothing is under way with them. */
const mostIdleHosts = 1_000

/**
 * Bounds the calls to COS: in all, for each host, and those that wait. Slots that become free go round the hosts, and a
 * full queue gives up the latest of the host with most waiting, so that one that is slow or much in demand takes
 * nothing from the others. Of a host that timed out and answered nobody meanwhile, one call at a time finds out whether
 * it is back; the others wait for what comes of it. For a region of which no host answers, an eighth of all slots do.
 */
export function createBulkheads (
  { maxConcurrency, maxPerHost, queueLimit, maxWaitMs }: Limits, { now, shed }: Dependencies
): Bulkheads {
  const hosts = new Map<string, Host>()
  const regions = new Map<string, Compartment>()
  /** Hosts that calls wait for, in the order of their turn. */
  const inTurn = new Set<Host>()
  let inFlight = 0
  let waiting = 0

  function compartment (limit: number, silentLimit: number): Compartment {
    return { active: 0, limit, silentLimit, isSilent: false, answeredAt: 0 }
  }

  function hostOf (place: Place): Host {
    const known = hosts.get(place.host)
    if (known !== undefined) return known
    if (hosts.size >= mostIdleHosts) forgetIdleHosts()
    const region = regions.get(place.region) ?? compartment(maxConcurrency, Math.max(1, maxConcurrency >> 3))
    regions.set(place.region, region)
    const host = { ...compartment(maxPerHost, 1), name: place.host, region, waiting: new Set<Waiter>() }
    hosts.set(place.host, host)
    return host
  }

  function forgetIdleHosts (): void {
    for (const { name, active, waiting: { size } } of hosts.values()) if (active + size === 0) hosts.delete(name)
    const inUse = new Set([...hosts.values()].map(({ region }) => region))
    for (const [name, region] of regions) if (!inUse.has(region)) regions.delete(name)
  }

  const isOpen = ({ active, limit, silentLimit, isSilent }: Compartment) => active < (isSilent ? silentLimit : limit)
  const hasRoom = (host: Host) => inFlight < maxConcurrency && isOpen(host) && isOpen(host.region)

  function start (host: Host): Slot {
    const startedAt = now()
    inFlight += 1
    host.active += 1
    host.region.active += 1
    return {
      release (ending) {
        inFlight -= 1
        for (const each of [host, host.region]) {
          each.active -= 1
          if (ending === 'answered') {
            each.isSilent = false
            each.answeredAt = now()
          } else if (ending === 'silent' && each.answeredAt < startedAt) {
            each.isSilent = true
          }
        }
        if (ending === 'silent' && host.isSilent) for (const waiter of host.waiting) waiter.refuse('silent_host')
        admitNext()
      }
    }
  }

  function admitNext (): void {
    for (const host of inTurn) {
      if (!hasRoom(host)) continue
      const [first] = host.waiting
      // Behind all others for the next slot, which the loop then comes to.
      inTurn.delete(host)
      inTurn.add(host)
      first?.admit(start(host))
    }
  }

  function makeRoomToWait (host: Host): boolean {
    if (waiting < queueLimit) return true
    const longest = [...inTurn].reduce((a, b) => b.waiting.size > a.waiting.size ? b : a, host)
    if (longest.waiting.size <= host.waiting.size + 1) return false
    const latest = [...longest.waiting].at(-1)
    latest?.refuse('queue_full')
    return true
  }

  function refusal (reason: ShedReason | 'cancelled', host: Host): UpstreamError {
    if (reason === 'cancelled') return canceled()
    shed(reason)
    const detail = {
      queue_full: 'The service has as many calls to COS waiting as it takes.',
      waited: `The service has not got round to calling ${host.name} in time.`,
      silent_host: `COS (${host.name}) does not answer anybody at the moment.`
    }[reason]
    return new UpstreamError('Overloaded', `${detail} Nothing was sent. Try again in 1 s or later.`,
      { class: 'overloaded', wasSent: false, retryAfterSeconds: 1 })
  }

  return {
    async enter (place, until, signal) {
      const host = hostOf(place)
      if (signal?.aborted === true) throw canceled()
      if (hasRoom(host)) return start(host)
      if (!makeRoomToWait(host)) throw refusal('queue_full', host)
      return await new Promise<Slot>((resolve, reject) => {
        const leave = () => {
          waiting -= 1
          host.waiting.delete(waiter)
          if (host.waiting.size === 0) inTurn.delete(host)
          clearTimeout(timer)
          signal?.removeEventListener('abort', cancel)
        }
        const waiter: Waiter = {
          admit (slot) {
            leave()
            resolve(slot)
          },
          refuse (reason) {
            leave()
            reject(refusal(reason, host))
          }
        }
        const cancel = () => { waiter.refuse('cancelled') }
        const timer = setTimeout(() => { waiter.refuse('waited') }, Math.max(0, Math.min(maxWaitMs, until - now()))).unref()
        signal?.addEventListener('abort', cancel)
        waiting += 1
        host.waiting.add(waiter)
        inTurn.add(host)
      })
    },
    occupation: () => ({
      inFlight,
      waiting,
      silentHosts: [...hosts.values()].filter(({ isSilent }) => isSilent).length
    })
  }
}
