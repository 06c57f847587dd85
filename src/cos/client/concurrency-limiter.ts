import { createAbortableQueue } from '../../concurrency/abortable-queue.ts'
import type { CancelSignal } from '../../concurrency/cancel-signal.ts'
import { canceled, UpstreamError } from '../upstream-error.ts'
import { createCompartments, isOpen, recordEnd } from './compartments.ts'
import type { CallEnd, Host as HostOf, Place } from './compartments.ts'

/** The reason of a rejection, which is also the label value of a metric. */
export type RejectionReason = 'queue_full' | 'waited' | 'unresponsive_host'

/** The right to make one call. */
export interface Permit {
  /** Gives the permit back. Must be called once. */
  release (end: CallEnd): void
}

/** The present numbers of calls and unresponsive hosts. */
export interface Occupation {
  inFlight: number
  waiting: number
  unresponsiveHosts: number
}

export interface ConcurrencyLimiter {
  /**
   * Waits for a permit. Hosts get permits round-robin.
   *
   * @param until instant of the monotonic clock, in milliseconds
   * @param signal ends the wait when it is canceled
   * @throws {UpstreamError} Overloaded; `cancelled` when the signal ended the wait
   */
  acquire (place: Place, until: number, signal: CancelSignal | undefined): Promise<Permit>
  /** Returns the numbers of calls and of unresponsive hosts. */
  occupation (): Occupation
}

/** Limits are numbers of calls; times are milliseconds. */
interface Limits {
  maxConcurrency: number
  maxPerHost: number
  queueLimit: number
  /** The longest wait of a call. */
  maxWaitMs: number
}

interface Dependencies {
  /** Monotonic clock, in milliseconds. */
  now: () => number
  onRejection: (reason: RejectionReason) => void
}

type Host = HostOf<Permit, RejectionReason>

/** Counts the calls that wait, and keeps their hosts in round-robin order. */
class WaitingCalls {
  readonly hosts = new Set<Host>()
  count = 0

  addOne (host: Host): void {
    this.count += 1
    this.hosts.add(host)
  }

  removeOne (host: Host): void {
    this.count -= 1
    if (host.queue.size() === 0) this.hosts.delete(host)
  }

  /** Admits the first call of a host, which moves behind all others. */
  admitFirst (host: Host, permit: Permit): void {
    this.hosts.delete(host)
    this.hosts.add(host)
    host.queue.admitFirst(permit)
  }

  /** Returns the longest queue; undefined when it would not be longer than that of the host with one more call. */
  longestQueue (host: Host): Host['queue'] | undefined {
    const { queue } = [...this.hosts].reduce((a, b) => b.queue.size() > a.queue.size() ? b : a, host)
    return queue.size() > host.queue.size() + 1 ? queue : undefined
  }
}

/**
 * Creates the limiter of calls to COS. It limits calls in flight, in all and for each host, and calls that wait. Free
 * permits are handed out round-robin across hosts. A full queue rejects the latest call of the host with most waiting
 * calls. So a slow or busy host takes nothing from the others. A host is unresponsive when a call timed out and no
 * other call got a response meanwhile. Then one call at a time probes the host. The others wait for the result.
 */
export function createConcurrencyLimiter (
  { maxConcurrency, maxPerHost, queueLimit, maxWaitMs }: Limits, { now, onRejection }: Dependencies
): ConcurrencyLimiter {
  const waiting = new WaitingCalls()
  let inFlight = 0
  const { hostOf, unresponsiveHosts } = createCompartments<Permit, RejectionReason>({
    maxConcurrency,
    maxPerHost,
    createQueue: host => createAbortableQueue({
      toError: reason => reason === 'canceled' ? canceled() : rejected(reason === 'timeout' ? 'waited' : reason, host()),
      onLeave: () => { waiting.removeOne(host()) }
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
        if (end === 'unresponsive' && host.isUnresponsive) host.queue.rejectAll('unresponsive_host')
        // A host that got a permit moves behind all others, so the loop visits it again.
        for (const each of waiting.hosts) if (hasCapacity(each)) waiting.admitFirst(each, start(each))
      }
    }
  }

  function rejected (reason: RejectionReason, { name }: Host): UpstreamError {
    onRejection(reason)
    return overloaded(reason, name)
  }

  return {
    async acquire (place, until, signal) {
      const host = hostOf(place)
      if (signal?.aborted === true) throw canceled()
      if (hasCapacity(host)) return start(host)
      if (waiting.count >= queueLimit) {
        const longest = waiting.longestQueue(host)
        if (longest === undefined) throw rejected('queue_full', host)
        longest.rejectLast('queue_full')
      }
      waiting.addOne(host)
      return await host.queue.wait(signal, Math.min(maxWaitMs, until - now()))
    },
    occupation: () => ({ inFlight, waiting: waiting.count, unresponsiveHosts: unresponsiveHosts() })
  }
}

function overloaded (reason: RejectionReason, host: string): UpstreamError {
  const event = {
    queue_full: 'The queue of calls to COS is full.',
    waited: `The call to ${host} waited too long for a permit.`,
    unresponsive_host: `COS (${host}) is unresponsive.`
  }[reason]
  return new UpstreamError('Overloaded', `${event} Nothing was sent to COS; retry after 1 s.`,
    { class: 'overloaded', wasSent: false, retryAfterSeconds: 1 })
}
