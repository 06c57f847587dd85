import { collectDefaultMetrics, Registry } from 'prom-client'
import type { CallObserver } from './cos/client/call-observer.ts'
import type { Occupation, RejectionReason } from './cos/client/concurrency-limiter.ts'
import type { Connections as CosConnections } from './cos/client/connection-cache.ts'
import { problemTable } from './errors.ts'
import type { ClosingReason } from './http/connections/connection-limits.ts'
import type { ConnectionRegistry } from './http/connections/connection-registry.ts'
import type { ReloadState } from './files/reload.ts'
import { addCredentialReadings } from './metrics/credential-metrics.ts'
import type { AccountReading } from './metrics/credential-metrics.ts'
import { createInstruments } from './metrics/instruments.ts'
import type { Instruments } from './metrics/instruments.ts'
import { reportMetrics } from './metrics/report-metrics.ts'
import type { ReportMetrics } from './metrics/report-metrics.ts'

/** A request that ended with a response, or because its client disconnected. */
export interface FinishedRequest {
  method: string
  /** Template of the path; undefined if no route matched. */
  route: string | undefined
  status: number
  /** Code of the problem document, if the response was one. */
  code: string | undefined
  /** Name of the caller, if it was authenticated. */
  caller: string | undefined
  seconds: number
}

/** Values that are read at each scrape. */
export interface Readings {
  occupation: () => Occupation
  connections: () => CosConnections
  /** Pipelined requests and unsent bytes of clients. */
  backlog: ConnectionRegistry['backlog']
  credentials: () => readonly AccountReading[]
  /** COS's clock minus the clock of this machine, in milliseconds. */
  skewMs: () => number
  /** Responses with rows or a data file that are being sent. */
  reportStreams: () => number
  /** Whether Redis counts requests; undefined if Redis is not configured. */
  redisUp: (() => boolean) | undefined
  droppedLogLines: () => number
  /** The result of the last reload of each file. */
  reloads: () => readonly Readonly<ReloadState>[]
  /** Whether a change could be recorded now. */
  isAuditLogWritable: () => boolean
  /** Audit lines that the file rejected. */
  failedAuditWrites: () => number
  /** When the first certificate of the service expires, in milliseconds since 1970; undefined without TLS. */
  certificateExpiresAt: (() => number) | undefined
}

/** Counts and measures requests and calls. Every label has a bounded number of values. */
export interface Metrics extends CallObserver, ReportMetrics {
  /** Counts a request as in flight, until `finished` is called for it. */
  started (): void
  finished (request: FinishedRequest): void
  /** Counts a call that was rejected without a permit. */
  shed (reason: RejectionReason): void
  /** Counts a client connection that was closed before its responses were sent. */
  connectionClosed (reason: ClosingReason): void
  /** Adds values that are read at each scrape. */
  addReadings (readings: Readings): void
  /** The Prometheus text format and its media type. */
  contentType: string
  scrape (): Promise<string>
}

/** Codes of COS (COS document 7730). Codes that are neither here nor in {@link problemTable} are counted as `other`. */
const cosCodes = [
  'InvalidArgument', 'InvalidRequest', 'InvalidURI', 'BadRequest', 'UnexpectedContent', 'MalformedXML',
  'MissingRequestBodyError', 'XMLSizeLimit', 'InvalidDigest', 'BadDigest', 'EntitySizeNotMatch', 'IncompleteBody',
  'RequestTimeout', 'UserNetworkTooSlow', 'InventoryFull', 'TooManyConfigurations', 'TargetBucketNameInvalid',
  'InvalidBucketName', 'InvalidRegionName', 'ExpiredToken', 'InvalidToken', 'PaymentRequired', 'InvalidAccessKeyId',
  'SignatureDoesNotMatch', 'RequestTimeTooSkewed', 'RequestExpired', 'AccessDenied', 'InventoryConfigurationNotFoundError',
  'NoSuchBucket', 'NoSuchKey', 'NotFound', 'MethodNotAllowed', 'InvalidObjectState', 'InvalidBucketState', 'PathConflict', 'QuotaConflict', 'Conflict',
  'DuplicateInventoryId', 'MissingContentLength', 'PreconditionFailed', 'UnavailableForLegalReasons', 'InternalError',
  'NotImplemented', 'ServiceUnavailable', 'SlowDown', 'CallerLeft', 'ResponseTimeLimit'
]
const knownCodes = new Set([...Object.keys(problemTable), ...cosCodes])
const known = (code: string) => code === '' || knownCodes.has(code) ? code : 'other'

const methods = new Set(['GET', 'HEAD', 'PUT', 'POST', 'DELETE', 'PATCH', 'OPTIONS'])

/** Creates the metrics. The first call also starts the metrics of the process. */
export function createMetrics (version: string): Metrics {
  const registry = new Registry()
  const instruments = createInstruments(registry)
  instruments.gauge('cos_inventory_proxy_build_info', 'Always 1.', ['version', 'node'])
    .set({ version, node: process.version }, 1)
  processMetrics()
  const write = async () => `${await registry.metrics()}\n${await processMetrics().metrics()}`
  /** Concurrent requests share one text. A text for each pipelined request would block the event loop. */
  let pending: Promise<string> | undefined

  return {
    ...requestMetrics(instruments),
    ...callMetrics(instruments),
    ...reportMetrics(instruments),
    addReadings (readings) { addReadings(instruments, readings) },
    contentType: registry.contentType,
    scrape () {
      pending ??= write().finally(() => { pending = undefined })
      return pending
    }
  }
}

/** Creates the metrics of clients: their requests and connections. */
function requestMetrics (
  { counter, histogram, gauge }: Instruments
): Pick<Metrics, 'started' | 'finished' | 'connectionClosed'> {
  const requests = counter('http_requests_total', 'Requests that reached a route, by method and status. 499: the client disconnected.',
    ['method', 'route', 'status'])
  const requestSeconds = histogram('http_request_duration_seconds', 'Time from the head of a request to the end of its response.', ['method', 'route'])
  const inFlight = gauge('http_requests_in_flight', 'Requests without a complete response.', [])
  const problems = counter('http_problems_total', 'Problem documents by code.', ['code'])
  const callerRequests = counter('caller_requests_total', 'Requests of authenticated callers by status.', ['caller', 'status'])
  const connectionsClosed = counter('http_connections_closed_total', 'Client connections closed before their responses were sent.',
    ['reason'])
  // A rate needs the series before its first increase.
  for (const reason of ['stalled', 'unsent_limit', 'pipeline_limit']) connectionsClosed.inc({ reason }, 0)

  return {
    started () { inFlight.inc() },
    finished ({ method: name, route = 'none', status, code, caller, seconds }) {
      const method = methods.has(name) ? name : 'other'
      inFlight.dec()
      requests.inc({ method, route, status })
      requestSeconds.observe({ method, route }, seconds)
      if (code !== undefined) problems.inc({ code: known(code) })
      if (caller !== undefined) callerRequests.inc({ caller, status })
    },
    connectionClosed (reason) { connectionsClosed.inc({ reason }) }
  }
}

/** Creates the metrics of calls to COS and their attempts. */
function callMetrics ({ counter, histogram }: Instruments): CallObserver & Pick<Metrics, 'shed'> {
  const calls = counter('cos_calls_total', 'Calls to COS by result. Retries count as one call.', ['operation', 'class'])
  const callSeconds = histogram('cos_call_duration_seconds', 'Time of a call to COS with queue and retries.', ['operation'])
  const attempts = counter('cos_attempts_total', 'Single attempts by result.', ['operation', 'class', 'code'])
  const attemptSeconds = histogram('cos_attempt_duration_seconds', 'Time of one attempt.', ['operation'])
  const retries = counter('cos_retries_total', 'Retries by the class of the failure before them.', ['operation', 'class'])
  const retriesDenied = counter('cos_retries_denied_total', 'Retries that were not made, by reason.', ['reason'])
  const queueSeconds = histogram('cos_queue_wait_seconds', 'Time that a call waited for a permit.', [])
  const shed = counter('cos_calls_shed_total', 'Calls rejected without a permit, by reason.', ['reason'])
  // A rate needs the series before its first increase.
  for (const reason of ['budget', 'deadline']) retriesDenied.inc({ reason }, 0)
  for (const reason of ['queue_full', 'waited', 'unresponsive_host']) shed.inc({ reason }, 0)

  return {
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
    shed (reason) { shed.inc({ reason }) }
  }
}

function addReadings (instruments: Instruments, readings: Readings): void {
  addFileReadings(instruments, readings)
  addCredentialReadings(instruments, readings.credentials)
  addTrafficReadings(instruments, readings)
}

/** Adds the metrics of files: reloads, audit log and certificate. */
function addFileReadings (
  { counter, gauge, reading }: Instruments,
  { reloads, isAuditLogWritable, failedAuditWrites, certificateExpiresAt }: Readings
): void {
  const labels = ['file', 'account']
  gauge('config_last_reload_successful', '1 while the last reload of a file, or refresh of credentials, succeeded, else 0.', labels, each => {
    each.reset()
    for (const { isCurrent, ...of } of reloads()) each.set(labelsOf(of), Number(isCurrent))
  })
  gauge('config_last_reload_success_timestamp_seconds', 'When the content in effect was read.', labels, each => {
    each.reset()
    for (const { readAt, ...of } of reloads()) if (readAt !== undefined) each.set(labelsOf(of), readAt / 1000)
  })
  reading('audit_log_writable', '1 while the audit log accepts lines, else 0.', () => Number(isAuditLogWritable()))
  counter('audit_write_failures_total', 'Audit lines that the file of AUDIT_LOG rejected at first.', [], each => {
    each.reset()
    each.inc(failedAuditWrites())
  })
  if (certificateExpiresAt !== undefined) {
    reading('tls_certificate_expiry_timestamp_seconds', 'When the first certificate of the chain expires.',
      () => certificateExpiresAt() / 1000)
  }
}

function labelsOf ({ file, account }: Pick<ReloadState, 'file' | 'account'>) {
  return account === undefined ? { file } : { file, account }
}

function addTrafficReadings ({ counter, gauge, reading }: Instruments, {
  occupation, connections, backlog, skewMs, reportStreams, redisUp, droppedLogLines
}: Readings): void {
  reading('http_requests_waiting', 'Pipelined requests that wait for earlier ones of their connection.', () => backlog().waiting)
  reading('http_response_unsent_bytes', 'Bytes of response bodies that clients have not read yet.', () => backlog().unsentBytes)
  reading('cos_calls_in_flight', 'Calls that have a permit.', () => occupation().inFlight)
  reading('cos_calls_waiting', 'Calls that wait for a permit.', () => occupation().waiting)
  reading('cos_unresponsive_hosts', 'Unresponsive hosts of COS.', () => occupation().unresponsiveHosts)
  reading('cos_clock_skew_seconds', "COS's clock minus the clock of this machine; 0 until COS rejects a time.", () => skewMs() / 1000)
  reading('report_streams', 'Requests for rows or a data file of a report in progress.', reportStreams)
  if (redisUp !== undefined) {
    reading('redis_up', '1 while Redis counts requests for the rate limit, else 0.', () => redisUp() ? 1 : 0)
  }
  gauge('cos_connections', 'Connections to COS.', ['state'], each => {
    const { open, busy } = connections()
    each.set({ state: 'open' }, open)
    each.set({ state: 'busy' }, busy)
  })
  counter('log_lines_dropped_total', 'Log lines dropped because the reader of stdout or stderr was too slow.', [], each => {
    each.reset()
    each.inc(droppedLogLines())
  })
}

/** Returns the metrics of memory, event loop and garbage collection. All services of a process share them. */
function processMetrics (): Registry {
  if (ofProcess === undefined) {
    ofProcess = new Registry()
    collectDefaultMetrics({ register: ofProcess })
  }
  return ofProcess
}

let ofProcess: Registry | undefined
