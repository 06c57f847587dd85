/**
 * Sends spans to an OpenTelemetry collector over OTLP (HTTP with protobuf or JSON). The module is loaded only if an
 * exporter is configured, because loading costs start-up time and memory. The SDK itself reads the variables of the
 * OpenTelemetry specification (`OTEL_EXPORTER_OTLP_*`, `OTEL_TRACES_SAMPLER`, `OTEL_BSP_*`, `OTEL_SERVICE_NAME`,
 * `OTEL_RESOURCE_ATTRIBUTES`). src/config reads the variables that enable the export and select its encoding.
 *
 * Parents are passed explicitly, because tracking them through asynchronous calls would slow down every promise.
 */
import {
  createTraceState, diag, DiagLogLevel, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace, TraceFlags
} from '@opentelemetry/api'
import type { Attributes, Context, Span, Tracer as SpanTracer } from '@opentelemetry/api'
import { OTLPTraceExporter as JsonExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { OTLPTraceExporter as ProtobufExporter } from '@opentelemetry/exporter-trace-otlp-proto'
import { defaultResource, detectResources, envDetector, resourceFromAttributes } from '@opentelemetry/resources'
import { BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base'
import type { SpanExporter } from '@opentelemetry/sdk-trace-base'
import type { Logger } from 'pino'
import { withTimeout } from '../concurrency/with-timeout.ts'
import type { TraceProtocol } from '../config/traces.ts'
import { readTraceContext } from './tracing.ts'
import type { AttemptFields, AttemptTrace, RequestFields, RequestTrace, TraceContext, Tracer } from './tracing.ts'

/** Options of a tracer besides the variables that the SDK reads. */
export interface OtelOptions {
  log: Pick<Logger, 'warn'>
  protocol: TraceProtocol
  /** Monotonic clock, in milliseconds, for the interval between warnings. */
  steadyNow: () => number
  /** The scheme of URLs of this service. */
  scheme: 'http' | 'https'
  version: string
}

const exporters = { 'http/protobuf': ProtobufExporter, 'http/json': JsonExporter }

/** The longest wait for an unavailable collector when the service stops. */
const closeLimitMs = 2000

/** The interval between warnings. The SDK reports an unavailable collector every few seconds, or with every batch. */
const warningIntervalMs = 60_000

/** The most characters of an attribute. The longest valid value has about 220. */
const longestValue = 512

/** Methods that keep their name in spans (OpenTelemetry semantic conventions, HTTP spans). */
const knownMethods = new Set(['CONNECT', 'DELETE', 'GET', 'HEAD', 'OPTIONS', 'PATCH', 'POST', 'PUT', 'TRACE'])

/**
 * Starts a tracer that sends spans to the collector in batches. At most 2,048 spans wait (`OTEL_BSP_MAX_QUEUE_SIZE`).
 * Further spans are dropped. A collector that is unavailable, slow or failing does not affect callers. The log warns of
 * it at most once a minute.
 */
export async function startOtelTracer ({ log, protocol, scheme, steadyNow, version }: OtelOptions): Promise<Tracer> {
  let nextWarningAt = -Infinity
  const throttle = (warn: () => void): void => {
    const at = steadyNow()
    if (at < nextWarningAt) return
    nextWarningAt = at + warningIntervalMs
    warn()
  }
  // During its start the SDK warns of variables. Each of these warnings is logged.
  listenToSdk(warning => { log.warn({ warning }, 'OpenTelemetry SDK warning') })
  let lost = 0
  const exporter = reportLosses(new exporters[protocol](), (fault, spans) => {
    lost += spans
    throttle(() => {
      log.warn({ fault, spans: lost }, 'span export failed, dropping the spans')
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
  listenToSdk(warning => { throttle(() => { log.warn({ warning }, 'OpenTelemetry SDK warning') }) })

  return {
    startRequest: request => startRequestSpan(tracer, request, scheme),
    async close () {
      const flushed = provider.shutdown().then(() => true, () => false)
      const inTime = await withTimeout(flushed, closeLimitMs, () => false)
      if (!inTime) log.warn('span export at shutdown timed out')
    }
  }
}

function startRequestSpan (tracer: SpanTracer, request: RequestFields, scheme: string): RequestTrace {
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
      return { headers: headersOf(child, remote), end: result => { endAttemptSpan(child, result) } }
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
}

function endAttemptSpan (span: Span, { status, cosRequestId, error }: Parameters<AttemptTrace['end']>[0]): void {
  const attributes = { 'http.response.status_code': status, 'cos.request_id': bounded(cosRequestId) }
  const isRejected = status !== undefined && status >= 400
  endSpan(span, attributes, error ?? (isRejected ? String(status) : undefined))
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

/**
 * Redacts all values except the id, and the keys of objects. Continuation tokens are secret, COS accepts signatures in
 * the query, and the key of a report contains the prefix and the bucket that the report is about.
 */
function withoutValues (target: string): string {
  return target.replace(/^\/[^?]+/, '/REDACTED').replace(/([?&](?!id=)[^=&?]*=)[^&]*/g, '$1REDACTED')
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

/** Returns the headers of an attempt. The tracestate is unchanged: this service has no entry of its own. */
function headersOf (span: Span, remote: TraceContext | undefined): Record<string, string> {
  const { traceId, spanId, traceFlags } = span.spanContext()
  return { ...remote?.headers, traceparent: `00-${traceId}-${spanId}-0${traceFlags}` }
}

/** Ends a span. The SDK omits attributes without a value. */
function endSpan (span: Span, attributes: Attributes, error: string | undefined): void {
  // A span that is not sampled or has ended does not record.
  if (!span.isRecording()) return
  span.setAttributes({ ...attributes, 'error.type': bounded(error) })
  if (error !== undefined) span.setStatus({ code: SpanStatusCode.ERROR })
  span.end()
}

/**
 * Reports failed exports and hides them from the SDK. The SDK would not retry the batch. It would log a stack and the
 * collector's whole response, which may contain secret headers of the request.
 */
function reportLosses (exporter: SpanExporter, report: (fault: string, spans: number) => void): SpanExporter {
  return {
    export (spans, done) {
      exporter.export(spans, ({ code, error }) => {
        if (code !== 0) report(causeOf(error), spans.length)
        done({ code: 0 })
      })
    },
    shutdown: () => exporter.shutdown()
  }
}

/** Returns a network error code, an HTTP status, or a fixed text of the exporter. */
function causeOf (error: unknown): string {
  const { code, message } = error as { code?: string | number, message: string }
  return typeof code === 'number' ? `HTTP ${code}` : code ?? message
}

/** Forwards warnings of the SDK, such as a malformed variable. Without a listener the SDK logs nothing. */
function listenToSdk (warn: (message: string) => void): void {
  const forward = (...texts: unknown[]): void => {
    const message = String(texts.find(text => String(text).includes(' ')))
    // The SDK prints an exception as JSON with its stack. Quoted texts are responses, or addresses with a password.
    warn(message.startsWith('{') ? 'an export failed' : message.replace(/['"].*['"]/s, '…'))
  }
  diag.setLogger(
    { error: forward, warn: forward, info: forward, debug: forward, verbose: forward },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true }
  )
}
