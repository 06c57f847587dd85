import { EventEmitter, once } from 'node:events'
import fc from 'fast-check'
import { pino } from 'pino'
import t from 'tap'
import type { TraceProtocol } from '../../src/config/traces.ts'
import { startOtelTracer } from '../../src/tracing/otel.ts'
import { createPassingTracer, withoutPropagation } from '../../src/tracing/tracing.ts'
import type { AttemptFields, RequestFields, RequestTrace, Tracer } from '../../src/tracing/tracing.ts'
import { startCollector } from '../doubles/collector.ts'
import type { Collector } from '../doubles/collector.ts'
import { controlTime } from '../doubles/time.ts'
import { growsLinearly } from '../growth.ts'
import { runsOf } from '../runs.ts'
import { refuseSecrets, secret } from '../secrets.ts'

interface Test {
  teardown (handler: () => unknown): void
}

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736'
const spanId = '00f067aa0ba902b7'
const traceparent = `00-${traceId}-${spanId}-01`
const tracestate = 'congo=t61rcWkgMzE, rojo=00f067aa0ba902b7'
const host = 'examplebucket-1250000000.cos.ap-guangzhou.myqcloud.com'

function request (fields: Partial<RequestFields> = {}): RequestFields {
  return {
    method: 'GET',
    route: '/buckets/:bucket/inventories/:id',
    path: '/buckets/examplebucket-1250000000/inventories/daily',
    address: '127.0.0.1',
    requestId: 'request-1',
    traceparent: undefined,
    tracestate: undefined,
    ...fields
  }
}

function attempt (fields: Partial<AttemptFields> = {}): AttemptFields {
  return {
    operation: 'GetBucketInventory',
    method: 'GET',
    origin: `https://${host}`,
    target: '/?inventory&id=daily',
    number: 1,
    ...fields
  }
}

const responded = { status: 200, code: undefined, caller: 'billing' }
const success = { status: 200, cosRequestId: 'cos-1', error: undefined }

/** Returns the headers that are sent to COS for a request with these headers. */
function passedOn (fields: Pick<Partial<RequestFields>, 'traceparent' | 'tracestate'>) {
  const trace = createPassingTracer().startRequest(request(fields))
  const { headers } = trace.startAttempt(attempt())
  return { traceId: trace.traceId, headers }
}

const nothing = { traceId: undefined, headers: {} }

t.test('tracer without an exporter', async t => {
  t.test('trace context of the caller is sent to COS with every attempt', async t => {
    const tracer = createPassingTracer()
    const trace = tracer.startRequest(request({ traceparent, tracestate }))
    t.equal(trace.traceId, traceId)
    for (const number of [1, 2]) {
      const { headers, end } = trace.startAttempt(attempt({ number }))
      t.strictSame(headers, { traceparent, tracestate })
      end(success)
    }
    trace.end(responded)
    t.strictSame(passedOn({ traceparent }), { traceId, headers: { traceparent } })
    await tracer.close()
  })

  t.test('requests without a trace share one object and send no trace context', async t => {
    const tracer = createPassingTracer()
    const [first, second] = [tracer.startRequest(request()), tracer.startRequest(request({ tracestate }))]
    t.equal(first, second)
    t.equal(first.startAttempt(attempt()), first.startAttempt(attempt()))
    t.strictSame(passedOn({ tracestate }), nothing)
    first.startAttempt(attempt()).end(success)
    first.end(responded)
    t.ok(Object.isFrozen(first))
  })

  t.test('traceparent and tracestate are ignored when traceparent is malformed', async t => {
    for (const malformed of [
      '', '00', `${traceparent} `, ` ${traceparent}`, `${traceparent}\n`, `${traceparent}-`, `${traceparent}-00`,
      traceparent.slice(0, -1), traceparent.toUpperCase(), traceparent.replaceAll('-', '_'), `${traceparent}, ${traceparent}`,
      `ff${traceparent.slice(2)}`, traceparent.slice(1), `0-${traceparent}`,
      `00-${'0'.repeat(32)}-${spanId}-01`, `00-${traceId}-${'0'.repeat(16)}-01`, `00-${traceId}-${spanId}-0x`,
      `01-${traceId}-${spanId}-01more`, `01-${traceId}-${spanId}-01-mo re`, `01-${traceId}-${spanId}-01-é`,
      `01-${traceId}-${spanId}-01-${'x'.repeat(512)}`
    ]) t.strictSame(passedOn({ traceparent: malformed, tracestate }), nothing, JSON.stringify(malformed))
  })

  t.test('traceparent of a later version is accepted when its common part is valid', async t => {
    for (const version of ['01', '7f', 'fe']) {
      for (const rest of ['', '-', '-what-the-future-brings', `-${'x'.repeat(456)}`]) {
        const later = `${version}-${traceId}-${spanId}-09${rest}`
        t.strictSame(passedOn({ traceparent: later }), { traceId, headers: { traceparent: later } })
      }
    }
  })

  t.test('tracestate is ignored when it is malformed or too long', async t => {
    const members = (count: number) => Array.from({ length: count }, (_, index) => `k${index}=v`).join(',')
    for (const wellFormed of [
      'a=b', 'a=b,c=d', 'a=b \t,\t c=d', 'a=b,,c=d', ',a=b', 'tenant@system=1', '0a/b_c*d-e= with blanks!', 'a=b,a=c', members(32),
      `a=${'v'.repeat(256)}`, `a=${'v'.repeat(254)},b=${'v'.repeat(253)}`, `${'k'.repeat(256)}=v`
    ]) {
      const headers = { traceparent, tracestate: wellFormed }
      t.strictSame(passedOn(headers).headers, headers, wellFormed)
    }
    for (const malformed of [
      '', ' ', ',', 'a', 'a=', '=b', 'A=b', 'a=b=c', 'a =b', 'a=b\r\nx: y', 'a=b\nc=d', 'a=é', 'a=\x7F', members(33),
      `a=${'v'.repeat(257)}`, `${'k'.repeat(257)}=v`, `a=${'v'.repeat(254)},b=${'v'.repeat(254)}`
    ]) {
      t.strictSame(passedOn({ traceparent, tracestate: malformed }).headers, { traceparent }, JSON.stringify(malformed))
    }
  })

  const hex = (length: number) => fc.string({
    unit: fc.constantFrom(...'0123456789abcdef'), minLength: length, maxLength: length
  })
  const parts = fc.tuple(hex(2), hex(32), hex(16), hex(2))

  t.test('accepted trace context is well-formed and sent on unchanged', async t => {
    const change = fc.string({ unit: 'binary-ascii', maxLength: 2 })
    const nearly = fc.tuple(parts, fc.nat(55), change).map(([[, ...rest], at, text]) => {
      const whole = ['00', ...rest].join('-')
      return whole.slice(0, at) + text + whole.slice(at + text.length)
    })
    t.doesNotThrow(() => {
      fc.assert(fc.property(fc.oneof(nearly, fc.string({ unit: 'binary' })), fc.string({ unit: 'binary' }), (sent, state) => {
        const { traceId: taken, headers } = passedOn({ traceparent: sent, tracestate: state })
        if (taken === undefined) return Object.keys(headers).length === 0
        const [version = '', trace = '', span = '', flags = '', ...more] = sent.split('-')
        const isHex = (text: string, length: number) => text.length === length && !/[^0-9a-f]/.test(text)
        return isHex(version, 2) && version !== 'ff' && (more.length === 0 || version !== '00') &&
          isHex(trace, 32) && BigInt(`0x${trace}`) !== 0n && isHex(span, 16) && BigInt(`0x${span}`) !== 0n && isHex(flags, 2) &&
          taken === trace && headers['traceparent'] === sent &&
          (headers['tracestate'] === undefined || (headers['tracestate'] === state && /^[\t\x20-\x7E]{1,512}$/.test(state)))
      }), { numRuns: runsOf(2000) })
    })
  })

  t.test('traceparent is accepted when it is well-formed', async t => {
    t.doesNotThrow(() => {
      fc.assert(fc.property(parts, ([version, trace, span, flags]) => {
        fc.pre(version !== 'ff' && !/^0+$/.test(trace) && !/^0+$/.test(span))
        const whole = `${version}-${trace}-${span}-${flags}`
        const { traceId: taken, headers } = passedOn({ traceparent: whole })
        return taken === trace && headers['traceparent'] === whole
      }))
    })
  })
})

t.test('tracer with an exporter', async t => {
  t.test('request becomes a server span, each attempt a client span below it', async t => {
    const { tracer, collector } = await startTracing(t)
    const trace = tracer.startRequest(request({ traceparent, tracestate }))
    t.equal(trace.traceId, traceId)
    const first = trace.startAttempt(attempt())
    first.end({ status: 503, cosRequestId: 'cos-1', error: 'SlowDown' })
    const second = trace.startAttempt(attempt({ number: 2 }))
    second.end({ status: 200, cosRequestId: 'cos-2', error: undefined })
    trace.end(responded)
    await tracer.close()

    const [one, two, server] = collector.spans
    t.equal(collector.spans.length, 3)
    t.match(server, {
      name: 'GET /buckets/:bucket/inventories/:id',
      kind: 2,
      traceId,
      parentSpanId: spanId,
      traceState: 'congo=t61rcWkgMzE,rojo=00f067aa0ba902b7',
      status: 0
    })
    t.strictSame(server?.attributes, {
      'http.request.method': 'GET',
      'http.route': '/buckets/:bucket/inventories/:id',
      'url.path': '/buckets/examplebucket-1250000000/inventories/daily',
      'url.scheme': 'https',
      'client.address': '127.0.0.1',
      'request.id': 'request-1',
      'http.response.status_code': 200,
      'caller.name': 'billing'
    })
    const common = {
      'http.request.method': 'GET',
      'server.address': host,
      'server.port': 443,
      'url.full': `https://${host}/?inventory&id=daily`
    }
    t.match(one, { name: 'GetBucketInventory', kind: 3, traceId, parentSpanId: server?.spanId, status: 2 })
    t.strictSame(one?.attributes, {
      ...common, 'http.response.status_code': 503, 'cos.request_id': 'cos-1', 'error.type': 'SlowDown'
    })
    t.match(two, { name: 'GetBucketInventory', kind: 3, traceId, parentSpanId: server?.spanId, status: 0 })
    t.strictSame(two?.attributes, {
      ...common, 'http.request.resend_count': 1, 'http.response.status_code': 200, 'cos.request_id': 'cos-2'
    })
    t.strictSame([first.headers, second.headers], [one, two].map(span => ({
      traceparent: `00-${traceId}-${span?.spanId}-01`, tracestate
    })), 'COS receives the span of the attempt and the tracestate of the caller')
    t.ok(collector.spans.every(({ durationMs }) => durationMs >= 0))
    t.match(server?.resource, { 'service.name': 'cos-inventory-proxy', 'service.version': '1.2.3', 'telemetry.sdk.name': 'opentelemetry' })
  })

  t.test('request starts a new trace when traceparent is absent or malformed', async t => {
    const { tracer, collector } = await startTracing(t)
    const traces = [{}, { traceparent: `${traceparent}0`, tracestate }].map(fields => tracer.startRequest(request(fields)))
    for (const trace of traces) {
      t.match(trace.traceId, /^[0-9a-f]{32}$/)
      t.not(trace.traceId, traceId)
      const { headers } = trace.startAttempt(attempt())
      t.match(headers, { traceparent: new RegExp(`^00-${trace.traceId}-[0-9a-f]{16}-01$`) })
      t.strictSame(Object.keys(headers), ['traceparent'])
      trace.end(responded)
    }
    await tracer.close()
    t.strictSame(collector.spans.map(span => [span.traceId, span.parentSpanId, span.traceState]),
      traces.map(trace => [trace.traceId, undefined, undefined]))
  })

  t.test('request is not recorded when its traceparent is not sampled', async t => {
    const { tracer, collector } = await startTracing(t)
    for (const flags of ['00', '02']) {
      const trace = tracer.startRequest(request({ traceparent: `00-${traceId}-${spanId}-${flags}`, tracestate }))
      t.equal(trace.traceId, traceId)
      const { headers, end } = trace.startAttempt(attempt())
      t.match(headers, { traceparent: new RegExp(`^00-${traceId}-[0-9a-f]{16}-00$`), tracestate })
      end({ status: 500, cosRequestId: undefined, error: undefined })
      trace.end({ status: 502, code: 'UpstreamInvalidResponse', caller: undefined })
    }
    await tracer.close()
    t.strictSame(collector.exports, [])
  })

  t.test('request span has status error only for 5xx responses', async t => {
    const { tracer, collector } = await startTracing(t)
    const end = (fields: Partial<Parameters<RequestTrace['end']>[0]>) => {
      tracer.startRequest(request()).end({ status: undefined, code: undefined, caller: undefined, ...fields })
    }
    end({ status: 404, code: 'NoSuchBucket' })
    end({ status: 504, code: 'UpstreamTimeout' })
    end({ status: 500 })
    end({ caller: 'billing' })
    await tracer.close()
    const shown = ['http.response.status_code', 'problem.code', 'error.type', 'caller.left', 'caller.name']
    t.strictSame(collector.spans.map(({ status, attributes }) => [status, ...shown.map(name => attributes[name])]), [
      [0, 404, 'NoSuchBucket', undefined, undefined, undefined],
      [2, 504, 'UpstreamTimeout', 'UpstreamTimeout', undefined, undefined],
      [2, 500, undefined, '500', undefined, undefined],
      [0, undefined, undefined, undefined, true, 'billing']
    ])
  })

  t.test('attempt span has status error for 4xx, 5xx and failures without a response', async t => {
    const { tracer, collector } = await startTracing(t)
    const trace = tracer.startRequest(request())
    for (const [status, error] of [[399], [400], [404, 'caller'], [200, 'invalid'], [undefined, 'timeout']] as Array<[number?, string?]>) {
      trace.startAttempt(attempt()).end({ status, cosRequestId: undefined, error })
    }
    await tracer.close()
    t.strictSame(collector.spans.map(({ status, attributes }) => [status, attributes['error.type']]), [
      [0, undefined], [2, '400'], [2, 'caller'], [2, 'invalid'], [2, 'timeout']
    ])
    t.notOk(collector.spans.some(({ attributes }) => 'cos.request_id' in attributes))
  })

  t.test('span names have few values for any method of a caller', async t => {
    const { tracer, collector } = await startTracing(t)
    tracer.startRequest(request({ method: 'PUT', route: undefined })).end(responded)
    tracer.startRequest(request({ method: 'PROPFIND', route: undefined })).end(responded)
    tracer.startRequest(request({ method: 'PROPFIND' })).end(responded)
    await tracer.close()
    t.strictSame(collector.spans.map(({ name, attributes }) => [name, attributes['http.request.method'], attributes['http.request.method_original'], attributes['http.route']]), [
      ['PUT', 'PUT', undefined, undefined],
      ['HTTP', '_OTHER', 'PROPFIND', undefined],
      ['HTTP /buckets/:bucket/inventories/:id', '_OTHER', 'PROPFIND', '/buckets/:bucket/inventories/:id']
    ])
  })

  t.test('server.port is the port of the address or the default of its scheme', async t => {
    const { tracer, collector } = await startTracing(t)
    const trace = tracer.startRequest(request())
    for (const origin of [`https://${host}`, `http://${host}`, `http://${host}:9000`]) {
      trace.startAttempt(attempt({ origin })).end(success)
    }
    await tracer.close()
    t.strictSame(collector.spans.map(({ attributes }) => [attributes['server.address'], attributes['server.port']]),
      [[host, 443], [host, 80], [host, 9000]])
  })

  t.test('span records only the first end', async t => {
    const { tracer, collector, lines } = await startTracing(t)
    const trace = tracer.startRequest(request())
    const { end } = trace.startAttempt(attempt())
    for (const status of [200, 500]) {
      end({ status, cosRequestId: undefined, error: undefined })
      trace.end({ status, code: undefined, caller: undefined })
    }
    await tracer.close()
    t.strictSame(collector.spans.map(({ attributes }) => attributes['http.response.status_code']), [200, 200])
    t.strictSame(lines, [])
  })

  t.test('redaction takes linear time when the target consists of question marks', async t => {
    const { tracer } = await startTracing(t)
    const trace = tracer.startRequest(request())
    t.ok(growsLinearly(size => trace.startAttempt(attempt({ target: '?'.repeat(size) })), 16_384))
  })

  t.test('attribute values are truncated and show only the id of a target', async t => {
    const { tracer, collector } = await startTracing(t)
    const hidden = `hidden${'0'.repeat(20)}`
    const names = fc.stringMatching(/^[a-z-]{1,20}$/).filter(name => name !== 'id')
    const parameters = fc.array(names, { minLength: 1, maxLength: 4 })
    t.doesNotThrow(() => {
      fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 2000, size: 'max' }), parameters, (text, names) => {
        const trace = tracer.startRequest(request({ method: text, path: text, address: text, requestId: text }))
        const target = `/?inventory&id=${encodeURIComponent('daily')}&${names.map(name => `${name}=${hidden}`).join('&')}`
        trace.startAttempt(attempt({ target })).end({ status: 500, cosRequestId: text, error: text })
        trace.end({ status: 500, code: text, caller: text })
      }))
    })
    const page = attempt({ target: `/?continuation-token=${hidden}&inventory` })
    tracer.startRequest(request()).startAttempt(page).end(success)
    const object = attempt({ target: `/reports/${hidden}.csv.gz` })
    tracer.startRequest(request()).startAttempt(object).end(success)
    await tracer.close()
    t.equal(collector.spans.length, 202)
    const values = collector.spans.flatMap(({ attributes }) => Object.values(attributes)).filter(value => typeof value === 'string')
    t.ok(values.every(value => value.length <= 512))
    t.notOk(JSON.stringify(collector.exports).includes(hidden))
    const urls = collector.spans.flatMap(({ attributes }) => attributes['url.full'] ?? [])
    t.ok(urls.slice(0, -2).every(url => String(url).startsWith(`https://${host}/?inventory&id=daily&`)))
    t.equal(urls.at(-2), `https://${host}/?continuation-token=REDACTED&inventory`)
    t.equal(urls.at(-1), `https://${host}/REDACTED`)
  })

  t.test('resource, sampling and endpoint follow the OpenTelemetry variables', async t => {
    const { tracer, collector } = await startTracing(t, {
      OTEL_SERVICE_NAME: 'inventories',
      OTEL_RESOURCE_ATTRIBUTES: 'service.version=9,deployment.environment.name=test',
      OTEL_TRACES_SAMPLER: 'parentbased_always_off'
    })
    const unsampled = tracer.startRequest(request())
    t.match(unsampled.startAttempt(attempt()).headers['traceparent'], new RegExp(`^00-${unsampled.traceId}-[0-9a-f]{16}-00$`))
    unsampled.end(responded)
    tracer.startRequest(request({ traceparent })).end(responded)
    await tracer.close()
    t.strictSame(collector.spans.map(span => span.traceId), [traceId])
    t.match(collector.spans[0]?.resource, {
      'service.name': 'inventories', 'service.version': '9', 'deployment.environment.name': 'test'
    })
  })

  t.test('spans are sent as protobuf when the protocol is http/protobuf', async t => {
    const key = secret('pRoToBuFkEy0123456789')
    const { tracer, collector, lines } = await startTracing(t, {
      OTEL_EXPORTER_OTLP_HEADERS: `authorization=Bearer%20${key},x-tenant=general`,
      OTEL_EXPORTER_OTLP_TRACES_HEADERS: 'x-tenant=specific'
    }, 'http/protobuf')
    const trace = tracer.startRequest(request({ traceparent, tracestate }))
    trace.startAttempt(attempt()).end(success)
    trace.end(responded)
    await tracer.close()
    t.match(collector.exports, [{
      headers: { 'content-type': 'application/x-protobuf', authorization: `Bearer ${key}`, 'x-tenant': 'specific' }
    }])
    const body = collector.exports[0]?.body as Buffer
    for (const text of ['GET /buckets/:bucket/inventories/:id', 'GetBucketInventory', 'billing', 'cos-inventory-proxy']) {
      t.ok(body.includes(text), text)
    }
    t.ok(body.includes(Buffer.from(traceId, 'hex')), 'ids are bytes')
    t.strictSame(lines, [])
  })

  t.test('lost spans are logged when the collector rejects protobuf', async t => {
    const { tracer, collector, lines } = await startTracing(t, {}, 'http/protobuf')
    collector.answer = { status: 415, body: 'unsupported media type' }
    tracer.startRequest(request()).end(responded)
    await tracer.close()
    t.match(lines, [{ level: 40, fault: 'HTTP 415', spans: 1 }])
  })

  t.test('exports are compressed when OTEL_EXPORTER_OTLP_COMPRESSION is gzip', async t => {
    for (const protocol of ['http/protobuf', 'http/json'] as const) {
      const { tracer, collector } = await startTracing(t, { OTEL_EXPORTER_OTLP_COMPRESSION: 'gzip' }, protocol)
      tracer.startRequest(request()).end(responded)
      await tracer.close()
      t.match(collector.exports, [{ headers: { 'content-encoding': 'gzip' } }], protocol)
    }
  })

  t.test('values are truncated when OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT is set', async t => {
    const { tracer, collector } = await startTracing(t, { OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT: '10' })
    tracer.startRequest(request({ requestId: 'x'.repeat(20) })).end(responded)
    await tracer.close()
    t.equal(collector.spans[0]?.attributes['request.id'], 'x'.repeat(10))
  })

  t.test('no request is recorded when OTEL_TRACES_SAMPLER_ARG is 0', async t => {
    const { tracer, collector } = await startTracing(t, {
      OTEL_TRACES_SAMPLER: 'traceidratio', OTEL_TRACES_SAMPLER_ARG: '0'
    })
    tracer.startRequest(request({ traceparent })).end(responded)
    await tracer.close()
    t.strictSame(collector.exports, [])
  })

  t.test('trace context is neither read nor sent when propagation is off', async t => {
    const { tracer, collector } = await startTracing(t)
    const isolated = withoutPropagation(tracer)
    const trace = isolated.startRequest(request({ traceparent, tracestate }))
    t.match(trace.traceId, /^[0-9a-f]{32}$/)
    t.not(trace.traceId, traceId)
    const { headers, end } = trace.startAttempt(attempt())
    t.strictSame(headers, {})
    end(success)
    trace.end(responded)
    await isolated.close()
    const [client, server] = collector.spans
    t.strictSame([server?.traceId, server?.parentSpanId], [trace.traceId, undefined])
    t.equal(client?.parentSpanId, server?.spanId)

    const untraced = withoutPropagation(createPassingTracer()).startRequest(request({ traceparent, tracestate }))
    t.strictSame([untraced.traceId, untraced.startAttempt(attempt()).headers], [undefined, {}])
  })

  t.test('spans are exported on a schedule while the service runs', async t => {
    const { tracer, collector } = await startTracing(t, { OTEL_BSP_SCHEDULE_DELAY: '1' })
    tracer.startRequest(request()).end(responded)
    t.equal((await collector.taken(1)).length, 1)
    tracer.startRequest(request()).end(responded)
    t.equal((await collector.taken(2)).length, 2)
  })
})

t.test('tracer with a failing collector', async t => {
  t.test('lost spans are logged when the collector is unavailable', async t => {
    const { tracer, lines } = await startTracing(t, {
      OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1', OTEL_EXPORTER_OTLP_TIMEOUT: '200'
    })
    const trace = tracer.startRequest(request())
    trace.startAttempt(attempt()).end(success)
    trace.end(responded)
    await tracer.close()
    t.match(lines, [{ level: 40, msg: 'span export failed, dropping the spans', fault: 'ECONNREFUSED', spans: 2 }])
    t.equal(lines.length, 1)
  })

  t.test('lost spans are logged once a minute until the collector works again', async t => {
    const tracing = await startTracing(t, { OTEL_BSP_SCHEDULE_DELAY: '1' })
    const { tracer, collector, lines } = tracing
    collector.answer = { status: 500, body: 'out of order' }
    for (const failures of [1, 2, 3]) {
      tracer.startRequest(request()).end(responded)
      await tracing.clockRead(failures)
    }
    tracing.at += 60_000
    tracer.startRequest(request()).end(responded)
    await tracing.logged(2)
    t.match(lines, [{ fault: 'HTTP 500', spans: 1 }, { fault: 'HTTP 500', spans: 3 }])
    collector.answer = undefined
    tracer.startRequest(request()).end(responded)
    await collector.taken(1)
    await tracer.close()
    t.equal(lines.length, 2)
    t.equal(collector.exports.length, 5, 'rejected spans are not sent again')
  })

  t.test('lost spans are logged when a retry would exceed the timeout', async t => {
    const { tracer, collector, lines } = await startTracing(t, { OTEL_EXPORTER_OTLP_TIMEOUT: '200' })
    collector.answer = { status: 503, body: 'later' }
    tracer.startRequest(request()).end(responded)
    await tracer.close()
    t.match(lines, [{ fault: 'Export failed with retryable status', spans: 1 }])
    t.strictSame([lines.length, collector.exports.length], [1, 1])
  })

  t.test('close ends after two seconds when the collector never responds', async t => {
    const time = controlTime(t)
    const tracing = await startTracing(t, {
      OTEL_BSP_MAX_QUEUE_SIZE: '10', OTEL_BSP_MAX_EXPORT_BATCH_SIZE: '5', OTEL_EXPORTER_OTLP_TIMEOUT: '60000'
    })
    const { tracer, collector, lines } = tracing
    collector.answer = 'hang'
    for (let count = 0; count < 1000; count++) tracer.startRequest(request()).end(responded)
    await collector.arrived(1)
    const closed = tracer.close()
    await collector.arrived(3)
    t.equal(time.waiting(2_000), 1)
    time.expire(2_000)
    await closed
    const batches = collector.exports.map(({ body }) => JSON.stringify(body).split('"spanId"').length - 1)
    t.strictSame(batches, [5, 5, 5], 'spans in flight and in the queue; other spans were dropped')
    t.match(lines.at(-1), { level: 40, msg: 'span export at shutdown timed out' })
    tracer.startRequest(request()).end(responded)
    t.equal(lines.length, 1, 'no log line for spans after close')
  })

  t.test('dropped spans are logged', async t => {
    const { tracer, collector, lines } = await startTracing(t, {
      OTEL_BSP_MAX_QUEUE_SIZE: '2', OTEL_BSP_MAX_EXPORT_BATCH_SIZE: '2'
    })
    for (let count = 0; count < 10; count++) tracer.startRequest(request()).end(responded)
    await collector.taken(4)
    tracer.startRequest(request()).end(responded)
    await tracer.close()
    t.match(lines, [{ level: 40, msg: 'OpenTelemetry SDK warning', warning: 'Dropped 6 spans because maxQueueSize reached' }])
    t.strictSame([lines.length, collector.spans.length], [1, 5])
  })

  t.test('export timeout is logged and the next export succeeds', async t => {
    const tracing = await startTracing(t, {
      OTEL_BSP_MAX_EXPORT_BATCH_SIZE: '1', OTEL_BSP_EXPORT_TIMEOUT: '20'
    })
    const { tracer, collector, lines } = tracing
    collector.answer = 'hang'
    tracer.startRequest(request()).end(responded)
    await tracing.logged(1)
    t.match(lines, [{ level: 40, msg: 'OpenTelemetry SDK warning', warning: 'an export failed' }])
    collector.answer = undefined
    tracer.startRequest(request()).end(responded)
    await collector.taken(1)
    collector.release()
    await tracer.close()
    t.equal(lines.length, 1)
  })

  t.test('invalid collector response is logged', async t => {
    const { tracer, collector, lines } = await startTracing(t)
    collector.answer = { status: 200, body: '<html>' }
    tracer.startRequest(request()).end(responded)
    await tracer.close()
    t.match(lines, [{ level: 40, msg: 'OpenTelemetry SDK warning', warning: /^Failed to parse trace export response/ }])
    t.equal(lines.length, 1)
  })

  t.test('each invalid OpenTelemetry variable is logged', async t => {
    const { tracer, lines } = await startTracing(t, {
      OTEL_EXPORTER_OTLP_TIMEOUT: 'soon', OTEL_TRACES_SAMPLER: 'sometimes', OTEL_BSP_SCHEDULE_DELAY: 'later'
    })
    await tracer.close()
    const messages = lines.map(({ warning }) => String(warning))
    for (const name of ['OTEL_EXPORTER_OTLP_TIMEOUT', 'OTEL_TRACES_SAMPLER', 'OTEL_BSP_SCHEDULE_DELAY']) {
      t.ok(messages.some(line => line.includes(name)), name)
    }
  })

  t.test('log contains no secret of the exporter when the collector echoes it', async t => {
    const key = secret('cOlLeCtOrKeY0123456789')
    const password = secret('pAsSwOrD0123456789')
    const headers = { OTEL_EXPORTER_OTLP_HEADERS: `authorization=Bearer%20${key}` }
    const rejected = await startTracing(t, headers)
    rejected.collector.answer = { status: 401, body: `who is Bearer ${key}?` }
    rejected.tracer.startRequest(request()).end(responded)
    await rejected.tracer.close()
    t.strictSame(rejected.collector.exports.map(({ headers }) => headers.authorization), [`Bearer ${key}`])
    t.match(rejected.lines, [{ fault: 'HTTP 401', spans: 1 }])
    t.notOk(JSON.stringify(rejected.collector.exports.map(({ body }) => body)).includes(key))

    const echoing = await startTracing(t, headers)
    echoing.collector.answer = { status: 200, body: key }
    echoing.tracer.startRequest(request()).end(responded)
    await echoing.tracer.close()
    t.match(echoing.lines, [{ warning: /^Failed to parse/ }])
    t.notOk(JSON.stringify(echoing.lines).includes(key.slice(0, 6)), 'no beginning of the key either')

    const unusable = await startTracing(t, { OTEL_EXPORTER_OTLP_HEADERS: `authorization=Bearer%20${key}%0A` })
    unusable.tracer.startRequest(request()).end(responded)
    await unusable.tracer.close()
    t.match(unusable.lines, [{ fault: 'ERR_INVALID_CHAR', spans: 1 }])

    const nowhere = await startTracing(t, { ...headers, OTEL_EXPORTER_OTLP_ENDPOINT: `http://it's:${password}@ho st:1` })
    await nowhere.tracer.close()
    t.ok(nowhere.lines.length > 0)
    t.ok(nowhere.lines.every(({ warning }) => /^Configuration: .*…/.test(String(warning))))
  })
})

interface Tracing {
  tracer: Tracer
  collector: Collector
  /** Log lines; they must contain no secret. */
  lines: Array<Record<string, unknown>>
  /** Waits until this number of lines was logged. */
  logged (count: number): Promise<void>
  /** Waits until the clock was read this often: once for each failure after the start. */
  clockRead (count: number): Promise<void>
  /** Current time of the clock, in milliseconds. */
  at: number
}

async function startTracing (
  t: Test, environment: Record<string, string> = {}, protocol: TraceProtocol = 'http/json'
): Promise<Tracing> {
  const collector = await startCollector(t)
  const variables = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, ...environment }
  const lines: Tracing['lines'] = []
  const news = new EventEmitter()
  let clockReads = 0
  const log = pino({ level: 'trace' }, {
    write (line) {
      lines.push(JSON.parse(line) as Record<string, unknown>)
      news.emit('news')
    }
  })
  const until = async (isMet: () => boolean) => {
    while (!isMet()) await once(news, 'news')
  }
  const tracing = {
    collector,
    lines,
    logged: (count: number) => until(() => lines.length >= count),
    clockRead: (count: number) => until(() => clockReads >= count),
    at: 0
  }
  const steadyNow = () => {
    clockReads += 1
    news.emit('news')
    return tracing.at
  }
  // The SDK reads its variables from the process, only during start.
  Object.assign(process.env, variables)
  const options = { log, protocol, steadyNow, scheme: 'https', version: '1.2.3' } as const
  const tracer = await startOtelTracer(options).finally(() => {
    for (const name of Object.keys(variables)) delete process.env[name]
  })
  t.teardown(() => { refuseSecrets(JSON.stringify(lines)) })
  return Object.assign(tracing, { tracer })
}
