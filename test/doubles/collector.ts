import { createServer } from 'node:http'
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { gunzipSync } from 'node:zlib'

/** The part of the tap API that a subtest needs. */
interface Test {
  teardown (handler: () => unknown): void
}

/** A received span with its attributes as an object. */
export interface CollectedSpan {
  name: string
  /** 2 is a server span, 3 a client span. */
  kind: number
  traceId: string
  spanId: string
  parentSpanId: string | undefined
  traceState: string | undefined
  attributes: Record<string, unknown>
  /** 2 is an error, 0 is unset. */
  status: number
  durationMs: number
  /** Resource attributes of the service. */
  resource: Record<string, unknown>
}

/** An OpenTelemetry collector: OTLP over HTTP. Protobuf bodies stay encoded, because no package here decodes them. */
export interface Collector {
  /** Base URL for `OTEL_EXPORTER_OTLP_ENDPOINT`. */
  readonly url: string
  /** Every accepted span of a JSON export, in order of arrival. */
  readonly spans: CollectedSpan[]
  /** Every export, accepted or not. The body is parsed JSON, or a Buffer of protobuf. */
  readonly exports: Array<{ headers: IncomingHttpHeaders, body: unknown }>
  /** Response to an export: accepted (undefined), another status, or no response until `release`. */
  answer: undefined | 'hang' | { status: number, body: string }
  /** Rejects pending exports with 400, which exporters do not retry, and accepts further exports. */
  release (): void
  /** Waits until this many spans have been accepted in all and returns them. */
  taken (spans: number): Promise<CollectedSpan[]>
  /** Waits until this many exports have arrived in all. */
  arrived (exports: number): Promise<void>
}

interface Attribute { key: string, value: Record<string, unknown> }
interface SentSpan extends Omit<CollectedSpan, 'attributes' | 'status' | 'durationMs' | 'resource'> {
  attributes: Attribute[]
  status: { code: number }
  startTimeUnixNano: string
  endTimeUnixNano: string
}
interface Export {
  resourceSpans: Array<{ resource: { attributes: Attribute[] }, scopeSpans: Array<{ spans: SentSpan[] }> }>
}

/** Starts a collector that is closed at the end of the test. */
export async function startCollector (t: Test): Promise<Collector> {
  let hanging: ServerResponse[] = []
  let waiting: Array<{ isMet: () => boolean, resolve: () => void }> = []

  async function take (request: IncomingMessage, response: ServerResponse): Promise<void> {
    const type = String(request.headers['content-type'])
    const sent = await buffer(request)
    const bytes = request.headers['content-encoding'] === 'gzip' ? gunzipSync(sent) : sent
    const isJson = type === 'application/json'
    const body: unknown = isJson ? JSON.parse(bytes.toString()) : bytes
    const { answer } = collector
    collector.exports.push({ headers: request.headers, body })
    if (answer === undefined && request.url === '/v1/traces') {
      if (isJson) collector.spans.push(...spansOf(body as Export))
      // An empty body is an empty protobuf message.
      response.writeHead(200, { 'content-type': type }).end(isJson ? '{}' : '')
    } else if (answer === 'hang') {
      hanging.push(response)
    } else {
      const { status, body } = answer ?? { status: 404, body: '' }
      response.writeHead(status).end(body)
    }
    const [met, unmet] = [true, false].map(wanted => waiting.filter(({ isMet }) => isMet() === wanted))
    waiting = unmet ?? []
    for (const { resolve } of met ?? []) resolve()
  }

  function until (isMet: () => boolean): Promise<void> {
    return isMet() ? Promise.resolve() : new Promise(resolve => { waiting.push({ isMet, resolve }) })
  }

  const server = createServer((request, response) => { void take(request, response) })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => new Promise(resolve => {
    // An exporter retries for seconds after a closed connection, and its process waits for it.
    collector.release()
    server.close(resolve)
    server.closeIdleConnections()
  }))
  const collector: Collector = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans: [],
    exports: [],
    answer: undefined,
    release () {
      collector.answer = undefined
      for (const response of hanging) response.writeHead(400, { connection: 'close' }).end()
      hanging = []
    },
    async taken (spans) {
      await until(() => collector.spans.length >= spans)
      return collector.spans
    },
    arrived: exports => until(() => collector.exports.length >= exports)
  }
  return collector
}

function spansOf ({ resourceSpans }: Export): CollectedSpan[] {
  return resourceSpans.flatMap(({ resource, scopeSpans }) =>
    scopeSpans.flatMap(({ spans }) => spans.map(span => ({
      name: span.name,
      kind: span.kind,
      traceId: span.traceId,
      spanId: span.spanId,
      parentSpanId: span.parentSpanId,
      traceState: span.traceState,
      attributes: toObject(span.attributes),
      status: span.status.code,
      durationMs: Number(BigInt(span.endTimeUnixNano) - BigInt(span.startTimeUnixNano)) / 1e6,
      resource: toObject(resource.attributes)
    }))))
}

function toObject (attributes: Attribute[]): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]))
}
