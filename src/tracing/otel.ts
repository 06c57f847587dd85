/**
 * Spans sent to an OpenTelemetry collector over OTLP (HTTP with protobuf or JSON). Loaded only where an exporter is
 * configured, because loading costs start-up time and memory. The SDK reads the variables of the OpenTelemetry
 * specification by itself (`OTEL_EXPORTER_OTLP_*`, `OTEL_TRACES_SAMPLER`, `OTEL_BSP_*`, `OTEL_SERVICE_NAME`,
 * `OTEL_RESOURCE_ATTRIBUTES`), except those that say whether and in which encoding spans are sent (src/config/).
 *
 * Parents are passed explicitly: following them through asynchronous calls would slow down every promise.
 */
import {
  createTraceState, diag, DiagLogLevel, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace, TraceFlags
} from '@opentelemetry/api'
import type { Attributes, Context, Span } from '@opentelemetry/api'
import { OTLPTraceExporter as JsonExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { OTLPTraceExporter as ProtobufExporter } from '@opentelemetry/exporter-trace-otlp-proto'
import { defaultResource, detectResources, envDetector, resourceFromAttributes } from '@opentelemetry/resources'
import { BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base'
import type { SpanExporter } from '@opentelemetry/sdk-trace-base'
import type { Logger } from 'pino'
import { withTimeout } from '../concurrency/with-timeout.ts'
import type { TraceProtocol } from '../config/traces.ts'
import { readTraceContext } from './tracing.ts'
import type { AttemptFields, RequestFields, TraceContext, Tracer } from './tracing.ts'

/** What a tracer needs besides the variables that the SDK reads. */
export interface OtelOptions {
  log: Pick<Logger, 'warn'>
  protocol: TraceProtocol
  /** Monotonic clock, in milliseconds: measures the pause between warnings. */
  steadyNow: () => number
  /** What callers speak to this service. */
  scheme: 'http' | 'https'
  version: string
}

const exporters = { 'http/protobuf': ProtobufExporter, 'http/json': JsonExporter }

/** A collector that is away must not hold up the stop. */
const closeLimitMs = 2000

/** While a collector is away the SDK has something to say every few seconds, or with every batch. */
const quietMs = 60_000

/** The longest value that is right has about 220 characters; what callers send can be anything. */
const longestValue = 512

/** Methods that keep their name in spans (OpenTelemetry semantic conventions, HTTP spans). */
const knownMethods = new Set(['CONNECT', 'DELETE', 'GET', 'HEAD', 'OPTIONS', 'PATCH', 'POST', 'PUT', 'TRACE'])

/**
 * A tracer whose spans go to the collector in batches: at most 2,048 wait (`OTEL_BSP_MAX_QUEUE_SIZE`), further ones are
 * dropped. A collector that is away, slow or failing is told of in the log, at most once a minute, and changes nothing
 * for callers.
 */
export async function startOtelTracer ({ log, protocol, scheme, steadyNow, version }: OtelOptions): Promise<Tracer> {
  let quietUntil = -Infinity
  const rarely = (warn: () => void): void => {
    const at = steadyNow()
    if (at < quietUntil) return
    quietUntil = at + quietMs
    warn()
  }
  // What it says while it starts is about variables, and each line about another one.
  listenToSdk(message => { log.warn(`traces: ${message}`) })
  let lost = 0
  const exporter = reportLosses(new exporters[protocol](), (fault, spans) => {
    lost += spans
    rarely(() => {
      log.warn({ fault, spans: lost }, 'traces: the collector did not take spans')
      lost = 0
    })
  })
  const provider = new BasicTracerProvider({
    resource: defaultResource()
      .merge(resourceFromAttributes({ 'service.name': 'cos-inventory-proxy', 'service.version': version }))
      .merge(detectResources({ detectors: [envDetector] })),
    spanProcessors: [new BatchSpanProcessor(exporter)]
  })
  const tracer = provider.getTracer('cos-inventory-proxy', version)
  listenToSdk(message => { rarely(() => { log.warn(`traces: ${message}`) }) })

  return {
    startRequest (request) {
      const remote = readTraceContext(request.traceparent, request.tracestate)
      const name = `${knownMethods.has(request.method) ? request.method : 'HTTP'} ${request.route ?? ''}`.trimEnd()
      const attributes = requestAttributes(request, scheme)
      const span = tracer.startSpan(name, { kind: SpanKind.SERVER, attributes }, parentOf(remote))
      const spanContext = trace.setSpan(ROOT_CONTEXT, span)
      return {
        traceId: span.spanContext().traceId,
        startAttempt (attempt) {
          const child = tracer.startSpan(
            attempt.operation, { kind: SpanKind.CLIENT, attributes: attemptAttributes(attempt) }, spanContext
          )
          return {
            headers: headersOf(child, remote),
            end ({ status, cosRequestId, error }) {
              const isRefused = status !== undefined && status >= 400
              endSpan(child, {
                'http.response.status_code': status,
                'cos.request_id': bounded(cosRequestId)
              }, error ?? (isRefused ? String(status) : undefined))
            }
          }
        },
        end ({ status, code, caller }) {
          endSpan(span, {
            'http.response.status_code': status,
            'caller.name': bounded(caller),
            'problem.code': bounded(code),
            ...status === undefined ? { 'caller.left': true } : {}
          }, status !== undefined && status >= 500 ? code ?? String(status) : undefined)
        }
      }
    },

    async close () {
      const flushed = provider.shutdown().then(() => true, () => false)
      const inTime = await withTimeout(flushed, closeLimitMs, () => false)
      if (!inTime) log.warn('traces: the collector did not take the last spans in time')
    }
  }
}

function requestAttributes ({ method, route, path, address, requestId }: RequestFields, scheme: string): Attributes {
  return {
    ...methodAttributes(method),
    ...route === undefined ? {} : { 'http.route': route },
    'url.path': bounded(path),
    'url.scheme': scheme,
    'client.address': bounded(address),
    'request.id': bounded(requestId)
  }
}

function methodAttributes (method: string): Attributes {
  return knownMethods.has(method)
    ? { 'http.request.method': method }
    : { 'http.request.method': '_OTHER', 'http.request.method_original': bounded(method) }
}

function attemptAttributes ({ method, origin, target, number }: AttemptFields): Attributes {
  const { hostname, port, protocol } = new URL(origin)
  return {
    'http.request.method': method,
    'server.address': hostname,
    'server.port': port === '' ? (protocol === 'https:' ? 443 : 80) : Number(port),
    'url.full': bounded(origin + withoutValues(target)),
    ...number > 1 ? { 'http.request.resend_count': number - 1 } : {}
  }
}

/** Only the id is shown: a continuation token is nobody's business, and COS takes signatures here, too. */
function withoutValues (target: string): string {
  return target.replace(/([?&](?!id=)[^=&?]*=)[^&]*/g, '$1REDACTED')
}

function bounded<T extends string | undefined> (text: T): T {
  return text?.slice(0, longestValue) as T
}

function parentOf (remote: TraceContext | undefined): Context {
  if (remote === undefined) return ROOT_CONTEXT
  const { traceId, spanId, isSampled, headers: { tracestate } } = remote
  return trace.setSpanContext(ROOT_CONTEXT, {
    traceId,
    spanId,
    traceFlags: isSampled ? TraceFlags.SAMPLED : TraceFlags.NONE,
    isRemote: true,
    ...tracestate === undefined ? {} : { traceState: createTraceState(tracestate) }
  })
}

/** The tracestate goes on as it came: this service has no entry of its own to put before the others. */
function headersOf (span: Span, remote: TraceContext | undefined): Record<string, string> {
  const { traceId, spanId, traceFlags } = span.spanContext()
  return { ...remote?.headers, traceparent: `00-${traceId}-${spanId}-0${traceFlags}` }
}

/** Attributes without a value are left out by the SDK. */
function endSpan (span: Span, attributes: Attributes, error: string | undefined): void {
  // Not sampled, or ended before.
  if (!span.isRecording()) return
  span.setAttributes({ ...attributes, 'error.type': bounded(error) })
  if (error !== undefined) span.setStatus({ code: SpanStatusCode.ERROR })
  span.end()
}

/**
 * The SDK would tell of a failed export with a stack and the collector's whole answer, which may repeat the headers it
 * was sent. So failures end here, and the SDK takes every batch as done; it would not have sent it again.
 */
function reportLosses (exporter: SpanExporter, report: (fault: string, spans: number) => void): SpanExporter {
  return {
    export (spans, done) {
      exporter.export(spans, ({ code, error }) => {
        if (code !== 0) report(faultOf(error), spans.length)
        done({ code: 0 })
      })
    },
    shutdown: () => exporter.shutdown()
  }
}

/** A code of the network, an HTTP status, or a fixed text of the exporter. */
function faultOf (error: unknown): string {
  const { code, message } = error as { code?: string | number, message: string }
  return typeof code === 'number' ? `HTTP ${code}` : code ?? message
}

/** Takes what the SDK complains of, such as a variable it cannot read. Without this it says nothing at all. */
function listenToSdk (warn: (message: string) => void): void {
  const complain = (...texts: unknown[]): void => {
    const message = String(texts.find(text => String(text).includes(' ')))
    // An exception comes as JSON with its stack. In quotes are addresses, which can hold a password, and answers.
    warn(message.startsWith('{') ? 'an export failed' : message.replace(/['"].*['"]/s, '…'))
  }
  diag.setLogger(
    { error: complain, warn: complain, info: complain, debug: complain, verbose: complain },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true }
  )
}
