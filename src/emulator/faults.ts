import { operations } from './detect.ts'
import {
  type Member, findErrors, isObject, matching, object, oneOf, required, text, wholeNumber
} from './members.ts'

/** The requests that a fault affects. An absent member matches all. */
export interface FaultMatch { operation?: string, bucket?: string, method?: string }

interface AnyFault {
  match?: FaultMatch
  /** The number of requests that the fault affects; all until it is cleared when absent. */
  times?: number
}

interface LosingFault extends AnyFault {
  /** With 'before', the default, the change is not made. With 'effect' the change is made and the response is lost. */
  after?: 'before' | 'effect'
}

interface LatencyFault extends AnyFault { kind: 'latency', ms: number }
interface DripFault extends AnyFault { kind: 'drip', ms: number }
interface PlainFault extends LosingFault { kind: 'reset' | 'reset-mid-answer' | 'garbage' | 'hang' }
interface CutFault extends LosingFault { kind: 'cut', bytes?: number }

/** An error response. SDKs accept 'json' and 'header-only' from COS; gateways send 'html' and 'empty'. */
export interface ErrorFault extends LosingFault {
  kind: 'error'
  status: number
  code: string
  message?: string
  headers?: Record<string, string>
  form?: 'xml' | 'json' | 'html' | 'empty' | 'header-only'
}

/** Exactly this response. The last member streams the body several times, for bodies too large for the memory. */
export interface RawFault extends LosingFault {
  kind: 'raw'
  status: number
  headers?: Record<string, string>
  body?: string
  repeat?: number
}

/** An injected fault. `README.md` states its effect for a client. */
export type Fault = LatencyFault | DripFault | PlainFault | CutFault | ErrorFault | RawFault

/** The parts of a request that decide which faults match. */
export interface FaultyRequest { operation: string, bucket: string | undefined, method: string }

/** A fault in the queue. */
export interface QueuedFault { id: string, fault: Fault, remaining: number }

/** A fault that changes the response or its delivery. */
export type ResponseFault = Exclude<Fault, LatencyFault>

/** The faults of a request: the sum of its delays in milliseconds, and the fault of its response. */
export interface MetFaults { latencyMs: number, fault?: ResponseFault }

export interface FaultQueue {
  /**
   * Adds a fault and returns its id.
   *
   * @throws RangeError when the queue is full: 10,000 faults, or 16 MiB as JSON
   */
  add (fault: Fault): string
  list (): QueuedFault[]
  clear (): void
  /** Returns the faults of a request, and counts them. These are all latencies up to the first other fault. */
  take (request: FaultyRequest): MetFaults
}

const maxFaults = 10_000
const maxFaultBytes = 16 * 1024 * 1024

/** Creates a queue of faults, in the order of their addition. */
export function createFaultQueue (): FaultQueue {
  let queued: Array<QueuedFault & { bytes: number }> = []
  let added = 0
  return {
    add (fault) {
      const bytes = Buffer.byteLength(JSON.stringify(fault))
      const total = queued.reduce((sum, each) => sum + each.bytes, bytes)
      if (queued.length >= maxFaults || total > maxFaultBytes) {
        throw new RangeError('the queue of faults is full; clear it first')
      }
      const id = `fault-${++added}`
      queued.push({ id, fault, remaining: fault.times ?? Infinity, bytes })
      return id
    },
    list: () => queued.map(({ id, fault, remaining }) => ({ id, fault, remaining })),
    clear () {
      queued = []
    },
    take (request) {
      const met: MetFaults = { latencyMs: 0 }
      for (const each of queued) {
        const { fault } = each
        if (!matches(fault.match ?? {}, request)) continue
        each.remaining -= 1
        if (fault.kind !== 'latency') {
          met.fault = fault
          break
        }
        met.latencyMs += fault.ms
      }
      queued = queued.filter(({ remaining }) => remaining > 0)
      return met
    }
  }
}

function matches (match: FaultMatch, request: FaultyRequest): boolean {
  return (match.operation ?? request.operation) === request.operation &&
    (match.bucket ?? request.bucket) === request.bucket &&
    (match.method ?? request.method) === request.method
}

const token = matching(/^[\w.-]+$/, 'a code of letters and digits')
const headers: Member = {
  expected: 'an object of header names and values',
  accepts: value => isObject(value) && Object.entries(value).every(([name, content]) =>
    /^[\w!#$%&'*+.^`|~-]+$/.test(name) && typeof content === 'string' && /^[\t\x20-\x7e]*$/.test(content))
}

const matchMembers: Record<string, Member> = {
  operation: oneOf(...operations), bucket: text, method: text
}
const anyMembers: Record<string, Member> = {
  kind: text,
  match: object,
  times: wholeNumber(1)
}
const after = oneOf('before', 'effect')
const ms = required(wholeNumber(0, 3_600_000))
const status = required(wholeNumber(200, 599))
const membersByKind: Record<Fault['kind'], Record<string, Member>> = {
  latency: { ms },
  drip: { ms },
  reset: { after },
  'reset-mid-answer': { after },
  garbage: { after },
  hang: { after },
  cut: { bytes: wholeNumber(0), after },
  error: {
    status,
    code: required(token),
    message: text,
    headers,
    form: oneOf('xml', 'json', 'html', 'empty', 'header-only'),
    after
  },
  raw: { status, headers, body: text, repeat: wholeNumber(1), after }
}

/** Returns a valid fault, or the list of its issues. */
export function parseFault (value: unknown): { fault: Fault } | { errors: string[] } {
  if (!isObject(value)) return { errors: ['the body must be an object'] }
  const kinds = Object.keys(membersByKind)
  if (!kinds.includes(value['kind'] as string)) return { errors: [`kind must be one of ${kinds.join(', ')}`] }
  const members = { ...anyMembers, ...membersByKind[value['kind'] as Fault['kind']] }
  const errors = findErrors('', value, members)
  if (isObject(value['match'])) errors.push(...findErrors('match.', value['match'], matchMembers))
  return errors.length > 0 ? { errors } : { fault: value as unknown as Fault }
}
