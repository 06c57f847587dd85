import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { CallObserver } from './cos/client/call-observer.ts'
import type { Occupation, ShedReason } from './cos/client/concurrency-limiter.ts'
import type { Connections as CosConnections } from './cos/client/transport.ts'
import { problemTable } from './errors.ts'
import type { ClosingReason } from './http/connections/connection-limits.ts'
import type { ConnectionRegistry } from './http/connections/connection-registry.ts'

/** A request that has been answered, or that its caller has left. */
export interface AnsweredRequest {
  method: string
  /** Template of the path; undefined when no route has it. */
  route: string | undefined
  status: number
  /** Of the problem document, when it was one. */
  code: string | undefined
  /** Name of the caller, once it is known. */
  caller: string | undefined
  seconds: number
}

/** What is asked for whenever somebody looks. */
export interface Readings {
  occupation: () => Occupation
  connections: () => CosConnections
  /** Of clients of this service. */
  backlog: ConnectionRegistry['backlog']
  /** Milliseconds; undefined when the credentials do not expire or there are none. */
  credentialsExpireAt: () => number | undefined
  credentialsFault: () => string | undefined
  skewMs: () => number
  /** Undefined when Redis is not configured. */
  redisUp: (() => boolean) | undefined
  droppedLogLines: () => number
}

/** Counts and times; every label has a bounded number of values. */
export interface Metrics extends CallObserver {
  started (): void
  answered (request: AnsweredRequest): void
  shed (reason: ShedReason): void
  /** A connection of a client was closed before its responses were sent. */
  connectionClosed (reason: ClosingReason): void
  /** Adds what is read at each scrape. */
  addReadings (readings: Readings): void
  /** The Prometheus text format and its media type. */
  contentType: string
  scrape (): Promise<string>
}

/** COS's codes (COS document 7730) besides ours; whatever else something upstream says is `other`. */
const cosCodes = [
  'InvalidArgument', 'InvalidRequest', 'InvalidURI', 'BadRequest', 'UnexpectedContent', 'MalformedXML',
  'MissingRequestBodyError', 'XMLSizeLimit', 'InvalidDigest', 'BadDigest', 'EntitySizeNotMatch', 'IncompleteBody',
  'RequestTimeout', 'UserNetworkTooSlow', 'InventoryFull', 'TooManyConfigurations', 'TargetBucketNameInvalid',
  'InvalidBucketName', 'InvalidRegionName', 'ExpiredToken', 'InvalidToken', 'PaymentRequired', 'InvalidAccessKeyId',
  'SignatureDoesNotMatch', 'RequestTimeTooSkewed', 'RequestExpired', 'AccessDenied', 'InventoryConfigurationNotFoundError',
  'NoSuchBucket', 'NotFound', 'MethodNotAllowed', 'InvalidBucketState', 'PathConflict', 'QuotaConflict', 'Conflict',
  'DuplicateInventoryId', 'MissingContentLength', 'PreconditionFailed', 'UnavailableForLegalReasons', 'InternalError',
  'NotImplemented', 'ServiceUnavailable', 'SlowDown', 'CallerLeft'
]
const knownCodes = new Set([...Object.keys(problemTable), ...cosCodes])
const known = (code: string) => code === '' || knownCodes.has(code) ? code : 'other'

const methods = new Set(['GET', 'HEAD', 'PUT', 'POST', 'DELETE', 'PATCH', 'OPTIONS'])

/** Seconds, up to the deadline of a request. */
const buckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30]

/** Nothing is counted yet; what is measured of the process begins with the first of these. */
export function createMetrics (version: string): Metrics {
  const registry = new Registry()
  const registers = [registry]
  processMetrics()
  const counter = <T extends string>(name: string, help: string, labelNames: T[]) =>
    new Counter({ name, help, labelNames, registers })
  const histogram = <T extends string>(name: string, help: string, labelNames: T[]) =>
    new Histogram({ name, help, labelNames, buckets, registers })
  const gauge = <T extends string>(
    name: string, help: string, labelNames: T[] = [], read?: (gauge: Gauge<T>) => void
  ) =>
      new Gauge({ name, help, labelNames, registers, ...read && { collect () { read(this) } } })

  const requests = counter('http_requests_total', 'Requests that got as far as a route, by method and status; 499 is a caller that left.', ['method', 'route', 'status'])
  const requestSeconds = histogram('http_request_duration_seconds', 'From the head of a request to the end of its answer.', ['method', 'route'])
  const inFlight = gauge('http_requests_in_flight', 'Requests that have no answer yet.')
  const problems = counter('http_problems_total', 'Problem documents by code.', ['code'])
  const callerRequests = counter('caller_requests_total', 'Requests of known callers by status.', ['caller', 'status'])
  const calls = counter('cos_calls_total', 'Calls to COS, repeats included in one, by how they ended.', ['operation', 'class'])
  const callSeconds = histogram('cos_call_duration_seconds', 'Calls to COS with waiting and repeats.', ['operation'])
  const attempts = counter('cos_attempts_total', 'Single attempts by how they ended.', ['operation', 'class', 'code'])
  const attemptSeconds = histogram('cos_attempt_duration_seconds', 'Single attempts.', ['operation'])
  const retries = counter('cos_retries_total', 'Repeats by the class of the failure before them.', ['operation', 'class'])
  const retriesDenied = counter('cos_retries_denied_total', 'Repeats that could have helped and were not made.', ['reason'])
  const queueSeconds = histogram('cos_queue_wait_seconds', 'Waiting for a slot, without which nothing is sent.', [])
  const shed = counter('cos_calls_shed_total', 'Calls that got no slot.', ['reason'])
  const connectionsClosed = counter('http_connections_closed_total',
    'Connections of clients that were closed before their responses were sent.', ['reason'])
  gauge('cos_inventory_proxy_build_info', 'Always 1.', ['version', 'node']).set({ version, node: process.version }, 1)
  // So that a rate over them is there before the first of them is.
  for (const reason of ['queue_full', 'waited', 'silent_host']) shed.inc({ reason }, 0)
  for (const reason of ['budget', 'deadline']) retriesDenied.inc({ reason }, 0)
  for (const reason of ['stalled', 'unsent_limit', 'pipeline_limit']) connectionsClosed.inc({ reason }, 0)

  const write = async () => `${await registry.metrics()}\n${await processMetrics().metrics()}`
  /** Requests that arrive together share one text. Pipelined ones would hold the event loop otherwise. */
  let pending: Promise<string> | undefined

  return {
    started () { inFlight.inc() },
    answered ({ method: name, route = 'none', status, code, caller, seconds }) {
      const method = methods.has(name) ? name : 'other'
      inFlight.dec()
      requests.inc({ method, route, status })
      requestSeconds.observe({ method, route }, seconds)
      if (code !== undefined) problems.inc({ code: known(code) })
      if (caller !== undefined) callerRequests.inc({ caller, status })
    },
    attempted (operation, { class: ending, code }, seconds) {
      attempts.inc({ operation, class: ending, code: known(code) })
      attemptSeconds.observe({ operation }, seconds)
    },
    called (operation, ending, seconds) {
      calls.inc({ operation, class: ending })
      callSeconds.observe({ operation }, seconds)
    },
    retried (operation, after) { retries.inc({ operation, class: after }) },
    retryDenied (reason) { retriesDenied.inc({ reason }) },
    waited (seconds) { queueSeconds.observe(seconds) },
    shed (reason) { shed.inc({ reason }) },
    connectionClosed (reason) { connectionsClosed.inc({ reason }) },
    addReadings ({
      occupation, connections, backlog, credentialsExpireAt, credentialsFault, skewMs, redisUp, droppedLogLines
    }) {
      gauge('http_requests_waiting', 'Pipelined requests that wait for earlier ones of their connection.', [],
        each => { each.set(backlog().waiting) })
      gauge('http_response_unsent_bytes', 'Bytes of response bodies that clients have not taken yet.', [],
        each => { each.set(backlog().unsentBytes) })
      gauge('cos_calls_in_flight', 'Calls that hold a slot.', [], each => { each.set(occupation().inFlight) })
      gauge('cos_calls_waiting', 'Calls that wait for a slot.', [], each => { each.set(occupation().waiting) })
      gauge('cos_silent_hosts', 'Hosts of COS that answer nobody.', [], each => { each.set(occupation().unresponsiveHosts) })
      gauge('cos_connections', 'Connections to COS.', ['state'], each => {
        const { open, busy } = connections()
        each.set({ state: 'open' }, open)
        each.set({ state: 'busy' }, busy)
      })
      gauge('cos_credentials_available', '1 while there are valid credentials.', [], each => {
        each.set(credentialsFault() === undefined ? 1 : 0)
      })
      gauge('cos_credentials_expiry_timestamp_seconds', 'When the present credentials expire, if they do.', [], each => {
        const expiresAt = credentialsExpireAt()
        if (expiresAt === undefined) each.remove()
        else each.set(expiresAt / 1000)
      })
      gauge('cos_clock_skew_seconds', 'What the clock of COS is ahead of this machine\'s, as far as COS has objected.', [],
        each => { each.set(skewMs() / 1000) })
      registry.registerMetric(new Counter({
        name: 'log_lines_dropped_total',
        help: 'Log lines dropped because the reader of stdout or stderr was too slow.',
        registers: [],
        collect () {
          this.reset()
          this.inc(droppedLogLines())
        }
      }))
      if (redisUp === undefined) return
      gauge('redis_up', '1 while Redis counts requests for the rate limit, 0 while the limit is off.', [],
        each => { each.set(redisUp() ? 1 : 0) })
    },
    contentType: registry.contentType,
    scrape () {
      pending ??= write().finally(() => { pending = undefined })
      return pending
    }
  }
}

/** Memory, event loop and garbage collection: a process has them once, however many services are in it. */
function processMetrics (): Registry {
  if (ofProcess === undefined) {
    ofProcess = new Registry()
    collectDefaultMetrics({ register: ofProcess })
  }
  return ofProcess
}

let ofProcess: Registry | undefined
