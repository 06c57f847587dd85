import { createAbortableQueue } from '../../concurrency/abortable-queue.ts'
import type { CancelSignal } from '../../concurrency/cancel-signal.ts'
import { canceled, UpstreamError } from '../upstream-error.ts'
import { createCompartments, isOpen, recordEnd } from './compartments.ts'
import type { CallEnd, Host as HostOf, Place } from './compartments.ts'

/** Why a call was rejected: the queue is full, the call waited too long, or its host is unresponsive. */
export type ShedReason = 'queue_full' | 'waited' | 'silent_host'

/** The right to make one call. */
export interface Permit {
  /** Gives the permit back. Must be called once. */
  release (end: CallEnd): void
}

/** The calls of this moment. */
export interface Occupation {
  inFlight: number
  waiting: number
  unresponsiveHosts: number
}

export interface ConcurrencyLimiter {
  /**
   * Waits for a permit, round-robin with calls to other hosts.
   *
   * @param until instant of the monotonic clock, in milliseconds
   * @param signal ends the wait when it is canceled
   * @throws {UpstreamError} Overloaded; `cancelled` when the signal ended the wait
   */
  acquire (place: Place, until: number, signal: CancelSignal | undefined): Promise<Permit>
  /** Returns the numbers of calls and of unresponsive hosts. */
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

type Host = HostOf<Permit, ShedReason>

/**
 * Limits the calls to COS in flight: in all, for each host, and those that wait. Free permits are handed out
 * round-robin across hosts. A full queue rejects the latest call of the host with most waiting calls. So a slow or busy
 * host takes nothing from the others. A host is unresponsive when a call timed out and no other call got a response
 * meanwhile. One call at a time then probes it, and the others wait for the result.
 */
export function createConcurrencyLimiter (
  { maxConcurrency, maxPerHost, queueLimit, maxWaitMs }: Limits, { now, shed }: Dependencies
): ConcurrencyLimiter {
  /** Hosts that calls wait for, in round-robin order. */
  const waitingHosts = new Set<Host>()
  let inFlight = 0
  let waiting = 0
  const { hostOf, unresponsiveHosts } = createCompartments<Permit, ShedReason>({
    maxConcurrency,
    maxPerHost,
    createQueue: host => createAbortableQueue({
      toError: reason => reason === 'canceled' ? canceled() : rejected(reason === 'timeout' ? 'waited' : reason, host()),
      onLeave () {
        waiting -= 1
        if (host().queue.size() === 0) waitingHosts.delete(host())
      }
    })
  })

  const hasCapacity = (host: Host) => inFlight < maxConcurrency && isOpen(host) && isOpen(host.region)

  function start (host: Host): Permit {
    const startedAt = now()
    inFlight += 1
    host.active += 1
    host.region.active += 1
    return {
      release (end) {
        inFlight -= 1
        recordEnd(host, end, startedAt, now)
        recordEnd(host.region, end, startedAt, now)
        if (end === 'unresponsive' && host.isUnresponsive) host.queue.rejectAll('silent_host')
        admitNext()
      }
    }
  }

  function admitNext (): void {
    for (const host of waitingHosts) {
      if (!hasCapacity(host)) continue
      // The host goes behind all others, and the loop comes to it again.
      waitingHosts.delete(host)
      waitingHosts.add(host)
      host.queue.admitFirst(start(host))
    }
  }

  function rejected (reason: ShedReason, { name }: Host): UpstreamError {
    shed(reason)
    return overloaded(reason, name)
  }

  return {
    async acquire (place, until, signal) {
      const host = hostOf(place)
      if (signal?.aborted === true) throw canceled()
      if (hasCapacity(host)) return start(host)
      if (waiting >= queueLimit) {
        const longest = longestQueue(waitingHosts, host)
        if (longest === undefined) throw rejected('queue_full', host)
        longest.rejectLast('queue_full')
      }
      waiting += 1
      waitingHosts.add(host)
      return await host.queue.wait(signal, Math.min(maxWaitMs, until - now()))
    },
    occupation: () => ({ inFlight, waiting, unresponsiveHosts: unresponsiveHosts() })
  }
}

/** Returns the longest queue; undefined when it would not be longer than that of the host with one more call. */
function longestQueue (waitingHosts: Iterable<Host>, host: Host): Host['queue'] | undefined {
  const { queue } = [...waitingHosts].reduce((a, b) => b.queue.size() > a.queue.size() ? b : a, host)
  return queue.size() > host.queue.size() + 1 ? queue : undefined
}

function overloaded (reason: ShedReason, host: string): UpstreamError {
  const detail = {
    queue_full: 'The service has as many calls to COS waiting as it takes.',
    waited: `The service has not got round to calling ${host} in time.`,
    silent_host: `COS (${host}) does not answer anybody at the moment.`
  }[reason]
  return new UpstreamError('Overloaded', `${detail} Nothing was sent. Try again in 1 s or later.`,
    { class: 'overloaded', wasSent: false, retryAfterSeconds: 1 })
}
