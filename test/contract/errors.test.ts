import { once } from 'node:events'
import { METHODS } from 'node:http'
import { connect } from 'node:net'
import { text as textOf } from 'node:stream/consumers'
import t from 'tap'
import { buildApp } from '../../src/app.ts'
import { createAnyone } from '../../src/callers/anyone.ts'
import { ConnectionRegistry } from '../../src/http/connections/connection-registry.ts'
import { createLifecycle } from '../../src/http/connections/graceful-shutdown.ts'
import { createMetrics } from '../../src/metrics.ts'
import { createPassingTracer } from '../../src/tracing/tracing.ts'
import { at, bucket, configuration, recordingLogger, secrets, start, startTestService } from '../start.ts'

const xmlError = (code: string, message = '', more = '') => "<?xml version='1.0' encoding='utf-8' ?>\n<Error>\n\t" +
  `<Code>${code}</Code>\n\t<Message>${message}</Message>\n\t<Resource>host/</Resource>\n\t<RequestId>r</RequestId>\n\t` +
  `<TraceId>t</TraceId>${more}\n</Error>`
const fromCos = { 'x-cos-request-id': 'cos-request', 'x-cos-trace-id': 'cos-trace', 'content-type': 'application/xml' }

t.test('GET returns status, code and ids of COS when COS rejects the request', async t => {
  const { call, emulator } = await start(t)
  const cases: Array<[number, string]> = [
    [400, 'InvalidArgument'], [400, 'MalformedXML'], [403, 'AccessDenied'], [404, 'NoSuchBucket'], [409, 'InvalidBucketState'],
    [412, 'PreconditionFailed'], [400, 'InventoryFull'], [400, 'TooManyConfigurations'], [409, 'DuplicateInventoryId']
  ]
  for (const [status, code] of cases) {
    emulator.addFault({ kind: 'raw', status, headers: fromCos, body: xmlError(code, 'Why &amp; how.'), times: 1 })
    const response = await call('GET', at('a'))
    t.strictSame({ ...response.json, requestId: 'r' }, {
      type: 'about:blank',
      title: response.json.title,
      status,
      detail: response.json.detail,
      instance: at('a'),
      code,
      requestId: 'r',
      cosRequestId: 'cos-request',
      cosTraceId: 'cos-trace'
    })
    t.equal(response.status, status)
    t.match(response.json.detail, 'Why & how.')
    t.match(response.headers, {
      'content-type': 'application/problem+json', 'x-cos-request-id': 'cos-request', 'x-cos-trace-id': 'cos-trace'
    })
  }
  for (const [status, code] of [[402, 'PaymentRequired'], [405, 'MethodNotAllowed'], [411, 'MissingContentLength'],
    [451, 'UnavailableForLegalReasons'], [301, 'PermanentRedirect'], [500, 'InternalError'], [501, 'NotImplemented'], [504, 'Gone']] as const) {
    emulator.addFault({ kind: 'raw', status, headers: { ...fromCos, location: 'http://127.0.0.1:1/' }, body: xmlError(code), times: 1 })
    t.match(await call('PUT', at('a'), configuration), { status: 502, json: { status: 502, title: 'Bad Gateway', code } }, code)
  }
})

t.test('DELETE returns 503 with Retry-After when COS throttles', async t => {
  const { call, emulator } = await start(t)
  const cases: Array<[number, string, string | undefined, string]> = [
    [503, 'SlowDown', undefined, '1'], [429, 'TooManyRequests', '7', '7'], [503, 'ServiceUnavailable', '0', '1'], [400, 'SlowDown', 'soon', '1']
  ]
  for (const [status, code, given, retryAfter] of cases) {
    const headers = given === undefined ? fromCos : { ...fromCos, 'retry-after': given }
    emulator.addFault({ kind: 'raw', status, headers, body: xmlError(code, 'Reduce your request rate.'), times: 1 })
    const response = await call('DELETE', at('a'))
    t.match(response, { status: 503, headers: { 'retry-after': retryAfter }, json: { code, title: 'Service Unavailable' } })
  }
})

t.test('GET returns 502 when COS rejects the credentials of the service', async t => {
  const { call, emulator, logs } = await start(t)
  const cases: Array<[number, string, string]> = [
    [403, 'InvalidAccessKeyId', 'no such key'], [403, 'SignatureDoesNotMatch', 'The Signature you specified is invalid.'],
    [400, 'ExpiredToken', ''], [403, 'RequestTimeTooSkewed', ''], [403, 'AccessDenied', 'Request has expired'],
    [403, 'Request has expired', ''], [403, 'AccessDenied', 'RequestTimeTooSkewed'], [403, 'AccessDenied', 'SignatureDoesNotMatch'],
    [403, 'AccessDenied', 'InvalidAccessKeyId'], [403, 'AccessDenied', 'Strict signature missing host']
  ]
  for (const [status, code, message] of cases) {
    const echo = '<StringToSign>sha1 ECHO</StringToSign><FormatString>put ECHO</FormatString>'
    emulator.addFault({ kind: 'raw', status, headers: fromCos, body: xmlError(code, message, echo), times: 1 })
    const response = await call('GET', at('a'))
    t.match(response, { status: 502, json: { code: 'UpstreamCredentialsRejected', cosCode: code, cosRequestId: 'cos-request' } }, `${code} ${message}`)
    t.notMatch(response.text, 'ECHO')
  }
  t.notMatch(logs(), 'ECHO')
  t.match(logs(), '"cosCode":"InvalidAccessKeyId"', 'the log contains the code of COS')
})

t.test('GET returns 502 when the emulator rejects the key, token or clock', async t => {
  const { call, emulator } = await start(t)
  emulator.setCredentials([{ ...secrets, secretKey: 'anotherKey' }])
  t.match((await call('GET', at('a'))).json, { status: 502, code: 'UpstreamCredentialsRejected', cosCode: 'SignatureDoesNotMatch' })
  emulator.setCredentials([{ ...secrets, secretId: 'AKIDanother' }])
  t.match((await call('GET', at('a'))).json, { status: 502, code: 'UpstreamCredentialsRejected', cosCode: 'InvalidAccessKeyId' })
  emulator.setCredentials([{ ...secrets, token: 'anotherToken' }])
  t.match((await call('GET', at('a'))).json, { status: 502, code: 'UpstreamCredentialsRejected' })
  emulator.setCredentials([{ ...secrets, actions: ['cos:GetBucketInventory'] }])
  t.match((await call('DELETE', at('a'))).json, { status: 403, code: 'AccessDenied' })
  emulator.setCredentials([secrets])
  for (const hours of [-9, 9]) {
    emulator.setClockOffset(hours * 3_600_000)
    t.match((await call('GET', at('a'))).json, { status: 502, code: 'UpstreamCredentialsRejected' }, `${hours} h`)
  }
})

t.test('GET returns a problem when COS sends JSON, HTML, headers only or no body', async t => {
  const { call, emulator } = await start(t)
  const ids = { 'x-cos-request-id': 'cos-request' }
  const json = { ...ids, 'content-type': 'application/json' }
  const html = { 'content-type': 'text/html' }
  const cases: Array<[string, number, Record<string, string>, string, number, string]> = [
    ['JSON with a number', 403, json, '{"code":4031,"message":"no","request_id":"r"}', 403, '4031'],
    ['JSON with a name', 404, json, '{"Code":"NoSuchBucket","Message":"none"}', 404, 'NoSuchBucket'],
    ['JSON with a malformed code', 404, json, '{"code":{}}', 404, 'NotFound'],
    ['JSON null', 409, json, 'null', 409, 'Conflict'],
    ['malformed JSON', 403, json, '{"code"', 403, 'AccessDenied'],
    ['headers only', 404, { ...ids, 'x-cos-error-code': 'NoSuchBucket', 'x-cos-error-message': 'none' }, '', 404, 'NoSuchBucket'],
    ['no body, from COS', 412, ids, '', 412, 'PreconditionFailed'],
    ['no body, from COS, throttled', 429, ids, '', 503, 'SlowDown'],
    ['no body, from COS, status 500', 500, ids, '', 502, 'UpstreamInvalidResponse'],
    ['no body, not from COS', 404, {}, '', 502, 'UpstreamInvalidResponse'],
    ['HTML', 403, html, '<html><body><h1>403 Forbidden</h1></body></html>', 502, 'UpstreamInvalidResponse'],
    ['HTML that is not XML', 503, html, '<!DOCTYPE html><p>down<br>', 502, 'UpstreamInvalidResponse'],
    ['XML without a code', 400, fromCos, '<Error><Message>m</Message></Error>', 400, 'BadRequest'],
    ['XML with another root element', 400, fromCos, '<Other><Code>x</Code></Other>', 400, 'BadRequest'],
    ['a status without a standard meaning', 299, html, '<html/>', 502, 'UpstreamInvalidResponse'],
    ['a redirect without a body', 307, { location: 'http://127.0.0.1:1/' }, '', 502, 'UpstreamInvalidResponse']
  ]
  for (const [name, status, headers, body, expected, code] of cases) {
    emulator.addFault({ kind: 'raw', status, headers, body, times: 1 })
    const response = await call('GET', at('a'))
    t.match(response, { status: expected, headers: { 'content-type': 'application/problem+json' }, json: { status: expected, code } }, name)
  }
  emulator.addFault({ kind: 'raw', status: 404, headers: fromCos, body: xmlError('x'.repeat(300), 'm'.repeat(9000)), times: 1 })
  const long = await call('GET', at('a'))
  t.match(long.json, { status: 404, code: 'NotFound' }, 'a malformed code is ignored')
  emulator.addFault({ kind: 'raw', status: 404, headers: fromCos, body: xmlError('NoSuchBucket', 'm'.repeat(9000)), times: 1 })
  t.ok((await call('GET', at('a'))).json.detail.length < 1000)
})

t.test('requests return 502 when a 200 is malformed or does not come from COS', async t => {
  const { call, emulator } = await start(t)
  const page = '<html><body>Sign in</body></html>'
  const { IsEnabled: _, Schedule: __, ...job } = configuration
  const calls = [['PUT', configuration], ['POST', job], ['DELETE', undefined], ['GET', undefined]] as const
  for (const [method, body] of calls) {
    for (const [headers, content] of [
      [{}, ''], [{ 'content-type': 'text/html' }, page], [fromCos, page], [fromCos, '<InventoryConfiguration><Id>a'],
      [fromCos, '<Error></Error>']
    ] as const) {
      emulator.addFault({ kind: 'raw', status: 200, headers, body: content, times: 1 })
      t.match((await call(method, at('a'), body)).json, { status: 502, code: 'UpstreamInvalidResponse' }, `${method} ${content}`)
    }
  }
  emulator.addFault({ kind: 'garbage', times: 1 })
  t.match((await call('GET', `/buckets/${bucket}/inventories`)).json, { status: 502, code: 'UpstreamInvalidResponse' })
})

t.test('requests return an error when COS sends an error document with status 200', async t => {
  const { call, emulator } = await start(t)
  const { IsEnabled: _, Schedule: __, ...job } = configuration
  const calls = [['PUT', configuration], ['POST', job], ['DELETE', undefined], ['GET', undefined]] as const
  for (const [code, status, more] of [
    ['InternalError', 502, {}], ['NewError', 502, {}], ['AccessDenied', 403, {}], ['SlowDown', 503, {}], ['NoSuchBucket', 404, {}],
    ['InventoryConfigurationNotFoundError', 404, {}], ['SignatureDoesNotMatch', 502, { code: 'UpstreamCredentialsRejected', cosCode: 'SignatureDoesNotMatch' }]
  ] as const) {
    for (const [method, body] of calls) {
      for (const given of [200, 204] as const) {
        emulator.addFault({ kind: 'raw', status: given, headers: fromCos, body: given === 204 ? '' : xmlError(code), times: 1 })
        const { json, status: responded } = await call(method, at('a'), body)
        if (given === 200) t.match(json, { code, status, ...more }, `${method} ${code}`)
        else if (method === 'DELETE') t.equal(responded, 204)
        else t.match(json, { code: 'UpstreamInvalidResponse' }, '204 is not the documented status')
      }
    }
  }
  const { call: retried, emulator: again } = await start(t, { environment: { COS_MAX_ATTEMPTS: '2' } })
  again.addFault({ kind: 'raw', status: 200, headers: fromCos, body: xmlError('InternalError'), times: 1 })
  t.equal((await retried('PUT', at('a'), configuration)).status, 204, 'a failure of COS is retried')
})

t.test('PUT returns 204 and POST 202 when the body of COS is only white space', async t => {
  const { call, emulator } = await start(t)
  const { IsEnabled: _, Schedule: __, ...job } = configuration
  for (const [method, body, status] of [['PUT', configuration, 204], ['POST', job, 202]] as const) {
    emulator.addFault({ kind: 'raw', status: 200, headers: fromCos, body: ' \r\n\t', times: 1 })
    t.equal((await call(method, at('a'), body)).status, status, method)
    emulator.addFault({ kind: 'raw', status: 200, headers: {}, body: ' \r\n\t', times: 1 })
    t.match((await call(method, at('b'), body)).json, { code: 'UpstreamInvalidResponse' }, 'a response without a request id is invalid')
  }
})

t.test('requests return 502 when COS returns another configuration or page', async t => {
  const { call, emulator } = await start(t)
  const mergePatch = { 'content-type': 'application/merge-patch+json' }
  t.equal((await call('PUT', at('mine'), configuration)).status, 204)
  const [before] = emulator.configurations(bucket)
  const other = String(before).replace('<Id>mine</Id>', '<Id>other</Id>')
  const page = (xml: string) => `<ListInventoryConfigurationResult>${xml}</ListInventoryConfigurationResult>`
  const next = (token: string) => `<IsTruncated>true</IsTruncated><NextContinuationToken>${token}</NextContinuationToken>`
  const list = `/buckets/${bucket}/inventories`
  type Headers = Record<string, string>
  type Case = [content: string, method: string, path: string, body?: object | undefined, headers?: Headers]
  const cases: Case[] = [
    [other, 'GET', at('mine')], [other, 'HEAD', at('mine')], [other, 'PATCH', at('mine'), { IsEnabled: false }, mergePatch],
    [other, 'PUT', at('mine'), configuration, { 'if-match': '*' }], [other, 'DELETE', at('mine'), undefined, { 'if-match': '*' }],
    [page('<ContinuationToken>b</ContinuationToken><IsTruncated>false</IsTruncated>'), 'GET', `${list}?continuation-token=a`],
    [page('<ContinuationToken>b</ContinuationToken><IsTruncated>false</IsTruncated>'), 'GET', list],
    [page(`<ContinuationToken>a</ContinuationToken>${next('a')}`), 'GET', `${list}?continuation-token=a`],
    [page(`<ContinuationToken>b</ContinuationToken>${next('a')}`), 'PUT', `${list}?prune=true`, { InventoryConfigurations: [] }]
  ]
  for (const [content, method, path, body, headers] of cases) {
    emulator.addFault({ kind: 'raw', status: 200, headers: fromCos, body: content, times: 1 })
    const { status, json } = await call(method, path, body, headers)
    t.equal(status, 502, `${method} ${path}`)
    if (method !== 'HEAD') t.equal(json.code, 'UpstreamInvalidResponse')
  }
  t.strictSame(emulator.configurations(bucket), [before], 'the configuration is unchanged')
  for (const echoed of ['', '<ContinuationToken/>', '<ContinuationToken>a</ContinuationToken>']) {
    emulator.addFault({ kind: 'raw', status: 200, headers: fromCos, body: page(`${echoed}<IsTruncated>false</IsTruncated>`), times: 1 })
    t.equal((await call('GET', `${list}?continuation-token=a`)).status, 200, echoed)
  }
})

t.test('responses and logs omit text of COS that looks like credentials', async t => {
  const { call, emulator, logs } = await start(t)
  const ours = 'q-sign-algorithm=sha1&amp;q-ak=AKIDsomebody&amp;q-signature=0123'
  for (const [code, message] of [['InvalidRequest', `bad ${ours}`], ['AKIDsomebody', 'x'], ['InvalidRequest', 'x-cos-security-token: abc']] as const) {
    emulator.addFault({ kind: 'raw', status: 400, headers: fromCos, body: xmlError(code, message), times: 1 })
    const response = await call('GET', at('a'))
    t.equal(response.status, 400)
    t.notMatch(response.text, /q-ak|AKID|security-token/)
  }
  emulator.addFault({ kind: 'raw', status: 404, headers: { 'x-cos-request-id': 'q-ak=AKIDsomebody', 'x-cos-trace-id': 'a b' }, body: xmlError('x'), times: 1 })
  t.notMatch(JSON.stringify(await call('GET', at('a'))), /AKID|a b/)
  t.notMatch(logs(), /AKIDsomebody/)
})

t.test('responses and logs omit key and token when COS quotes them in any place', async t => {
  const { call, emulator, logs } = await start(t)
  const { token, secretId } = secrets
  const quoting: Array<[number, Record<string, string>, string]> = [
    [403, fromCos, xmlError('AccessDenied', `bad token ${token}`)], [403, fromCos, xmlError('AccessDenied', `${'x'.repeat(499)} ${token}`)],
    [400, fromCos, xmlError(secretId, '')], [404, { ...fromCos, 'x-cos-request-id': token, 'x-cos-trace-id': secretId }, xmlError('NoSuchBucket', '')],
    [200, fromCos, `<${token}></x>`], [200, fromCos, `<a><${secretId}></b></a>`], [200, fromCos, `<InventoryConfiguration><${secretId}>x<b/></${secretId}></InventoryConfiguration>`]
  ]
  for (const [status, headers, body] of quoting) {
    emulator.addFault({ kind: 'raw', status, headers, body, times: 1 })
    const response = await call('GET', at('a'))
    t.ok(response.status >= 400)
    const whole = response.text + JSON.stringify(response.headers)
    t.notOk([token, secretId].some(each => whole.includes(each)), body)
  }
  t.notOk(logs().includes(secretId))
})

t.test('GET of a collection does not return 200 when LIST fails', async t => {
  const { call, emulator } = await start(t)
  for (const status of [500, 400, 403]) {
    emulator.addFault({ kind: 'raw', status, headers: fromCos, body: xmlError('NoSuchConfiguration'), times: 1 })
    t.not((await call('GET', `/buckets/${bucket}/inventories`)).status, 200, String(status))
  }
})

t.test('GET returns 500 without the cause, which is logged, when a handler throws', async t => {
  const { logger, logs } = recordingLogger(t)
  const fail = async () => { throw new Error('inner detail') }
  const app = await buildApp({
    inventories: {
      get: fail,
      list: fail,
      listAll: fail,
      put: fail,
      delete: fail,
      patch: fail,
      post: fail,
      previewPut: fail,
      previewPatch: fail,
      preview: () => '',
      preflight: fail
    },
    desiredSets: { plan: fail, apply: fail },
    regions: { known: () => undefined, resolve: fail, moved: fail, find: undefined, hasOwnAccount: () => false },
    reports: { isEnabled: false, objects: {} as never, reports: {} as never, slots: {} as never, now: Date.now },
    deadlineMs: 1000,
    documents: { json: '{}', yaml: '' },
    now: Date.now,
    allowedHosts: undefined,
    callers: createAnyone(),
    components: () => [],
    connections: new ConnectionRegistry({ onClosed: () => {} }),
    audit: { record: () => {}, isWritable: () => true, flush: () => {}, failedWrites: () => 0 },
    lifecycle: createLifecycle(),
    logger,
    metrics: createMetrics('0'),
    servesMetrics: true,
    rateLimits: { perMinute: 0, byAddress: true, redis: undefined },
    readOnly: false,
    credentialsError: () => undefined,
    tls: undefined,
    tracer: createPassingTracer(),
    trustedProxies: [],
    version: '0'
  })
  t.teardown(() => app.close())
  const response = await app.inject({ url: at('a'), headers: { 'x-request-id': 'one' } })
  t.match(response.json(), { status: 500, code: 'InternalError', requestId: 'one' })
  t.notMatch(response.body, 'inner detail')
  t.match(logs(), 'inner detail')
})

t.test('requests return a 4xx problem when path, method, type or body is invalid', async t => {
  const { call, emulator } = await start(t)
  const problem = { headers: { 'content-type': 'application/problem+json', 'x-request-id': /.+/, 'x-content-type-options': 'nosniff' } }
  for (const path of ['/', '/buckets', `/buckets/${bucket}`, `${at('a')}/b`, '/metric', '/Livez', '/%']) {
    const response = await call('GET', path)
    t.match(response, { ...problem, status: path === '/%' ? 400 : 404 }, path)
  }
  const unknown = await call('GET', '/nope?x=1')
  t.match(unknown.json, { code: 'RouteNotFound', instance: '/nope' })
  t.equal(unknown.headers['connection'], 'keep-alive', 'a rejection keeps the connection open')
  const allow: Array<[string, string, string]> = [
    ['OPTIONS', at('a'), 'DELETE, GET, HEAD, PATCH, POST, PUT'], ['PROPFIND', at('a'), 'DELETE, GET, HEAD, PATCH, POST, PUT'],
    ['DELETE', `/buckets/${bucket}/inventories`, 'GET, HEAD, PUT'], ['PATCH', `/buckets/${bucket}/inventories`, 'GET, HEAD, PUT'], ['POST', '/livez', 'GET, HEAD'], ['PUT', '/openapi.json', 'GET, HEAD'], ['TRACE', '/readyz', 'GET, HEAD']
  ]
  for (const [method, path, methods] of allow) {
    const response = await call(method, path)
    t.match(response, { ...problem, status: 405, json: { code: 'MethodNotAllowed' } }, `${method} ${path}`)
    t.equal(response.headers['allow'], methods)
  }
  const types: Array<[string | undefined, Record<string, string>]> = [
    ['text/plain', {}], ['application/xml', {}], ['application/json; charset=latin1', {}], ['application/merge-patch+json', {}],
    ['application/json', { 'content-encoding': 'gzip' }], ['nonsense', {}], ['application/jsonx', {}]
  ]
  for (const [type = '', headers] of types) {
    const response = await call('PUT', at('a'), JSON.stringify(configuration), { 'content-type': type, ...headers })
    t.match(response, { ...problem, status: 415, json: { code: 'UnsupportedMediaType' } }, type)
  }
  for (const type of ['application/json;charset=UTF-8', 'APPLICATION/JSON', 'application/json; charset="utf-8"']) {
    t.equal((await call('PUT', at('a'), JSON.stringify(configuration), { 'content-type': type })).status, 204, type)
  }
  for (const body of ['{', '{"a":1,}', "{'a':1}", '\u0000', 'undefined', Buffer.from([0x22, 0xFF, 0x22]), '{"IsEnabled":true}x']) {
    t.match(await call('PUT', at('a'), body), { ...problem, status: 400, json: { code: 'MalformedJSON' } }, JSON.stringify(body))
  }
  const sent = emulator.requests.length
  t.match(await call('PUT', at('a'), ' '.repeat(256 * 1024 + 1)), { ...problem, status: 413, json: { code: 'PayloadTooLarge' } })
  t.match(await call('PUT', at('a'), `${JSON.stringify(configuration)}${' '.repeat(200_000)}`), { status: 204 })
  t.match(await call('POST', '/nope', '{bad'), { ...problem, status: 404, json: { code: 'RouteNotFound' } }, 'the route is checked before the body')
  t.match(await call('OPTIONS', at('a'), ' '.repeat(300_000)), { ...problem, status: 405 })
  for (const headers of [{ range: 'bytes=9999999-' }, { 'if-match': '"x"' }]) {
    const response = await call('GET', '/docs/static/swagger-ui.css', undefined, headers as Record<string, string>)
    t.match(response, { ...problem, status: 400, json: { code: 'MalformedRequest' } }, JSON.stringify(headers))
  }
  for (const method of ['GET', 'HEAD', 'DELETE']) {
    t.equal((await call(method, at('a'), '{"a":1}')).status, 400, `${method} takes no body`)
  }
  t.match((await call('DELETE', at('a'), '{"a":1}')).json, { code: 'ValidationFailed', errors: [{ in: 'body', pointer: '', detail: /accepts no body/ }] })
  t.equal(emulator.requests.length, sent + 1)
  t.equal((await call('DELETE', at('a'), '')).status, 204, 'an empty body is no body')
  t.equal((await call('DELETE', at('a'), '', { 'content-type': 'text/plain' })).status, 204, 'the type of an empty body does not matter')
  t.match((await call('PUT', at('a'), '')).json, { code: 'ValidationFailed', errors: [{ in: 'body', pointer: '' }] })
  t.match(await call('GET', at('a'.repeat(9000))), { ...problem, status: 414, json: { code: 'URITooLong' } })
})

t.test('malformed or unsupported HTTP returns a problem with a request id', async t => {
  const { service, call } = await start(t)
  const { port } = new URL(service.url)
  const raw = async (bytes: string) => {
    const socket = connect(Number(port), '127.0.0.1')
    socket.write(bytes)
    return await textOf(socket)
  }
  const cases: Array<[string, number, string]> = [
    ['nonsense\r\n\r\n', 400, 'MalformedRequest'],
    [`GET /livez HTTP/1.1\r\nHost: x\r\nBig: ${'x'.repeat(20_000)}\r\n\r\n`, 431, 'RequestHeaderFieldsTooLarge'],
    [`GET /${'x'.repeat(20_000)} HTTP/1.1\r\nHost: x\r\n\r\n`, 431, 'RequestHeaderFieldsTooLarge'],
    ['GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n', 400, 'MalformedRequest'],
    ['CONNECT cos:443 HTTP/1.1\r\nHost: x\r\n\r\n', 400, 'MalformedRequest'],
    ['GET /nope HTTP/1.1\r\nHost: x\r\nExpect: 200-ok\r\nConnection: close\r\n\r\n', 404, 'RouteNotFound'],
    // Older parsers do not know the method.
    [`QUERY ${at('a')} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`,
      ...(METHODS.includes('QUERY') ? [405, 'MethodNotAllowed'] as const : [400, 'MalformedRequest'] as const)],
    [`PUT ${at('a')} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: zz\r\n\r\n`, 400, 'MalformedRequest'],
    ['DELETE /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nonly', 405, 'MethodNotAllowed'],
    ['PUT /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n', 400, 'MalformedRequest']
  ]
  for (const [bytes, status, code] of cases) {
    const response = await raw(bytes)
    t.match(response, new RegExp(`^HTTP/1.1 ${status} `), bytes.slice(0, 30))
    const [head = '', body = ''] = response.split('\r\n\r\n')
    t.match(head, /x-request-id: [0-9a-f-]{36}\r\n/)
    t.match(JSON.parse(body), { status, code })
  }
  t.match(await raw('GET /livez HTTP/1.0\r\n\r\n'), /^HTTP\/1\.1 200 /, 'HTTP/1.0 needs no Host')
  const socket = connect(Number(port), '127.0.0.1')
  await once(socket, 'connect')
  socket.write('PUT /x HTTP/1.1\r\nHost: x\r\ncontent-length: 5\r\ncontent-type: application/json\r\n\r\n{')
  socket.resetAndDestroy()
  t.equal((await call('GET', '/livez')).status, 200, 'the service responds after a connection was reset')
})

t.test('GET returns 502 when COS is unreachable, and probes return 200', async t => {
  const { call, emulator, service } = await start(t)
  await emulator.close()
  const response = await call('GET', at('a'))
  t.match(response.json, { status: 502, code: 'UpstreamUnreachable', detail: /ECONNREFUSED/ })
  t.equal((await call('GET', '/livez')).status, 200)
  t.equal((await call('GET', '/readyz')).status, 200)
  t.ok(service.url)
  const unknownHost = await startTestService(t, 'no-such-host.invalid:80')
  t.match((await unknownHost.call('GET', at('a'))).json, { status: 502, code: 'UpstreamUnreachable', detail: /COS_CONNECT_TO/ })
  const direct = await startTestService(t, '', { COS_ENDPOINT: '{bucket}.{region}.invalid' })
  t.match((await direct.call('GET', at('a'))).json, { status: 502, code: 'UpstreamUnreachable', detail: /Check the region/ })
})
