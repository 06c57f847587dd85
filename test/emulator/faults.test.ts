import { createHash } from 'node:crypto'
import { once } from 'node:events'
import t from 'tap'
import { isAdminHost } from '../../src/emulator/admin-host.ts'
import type { Emulator, Fault } from '../../src/emulator/server.ts'
import {
  type ReceivedResponse, type Sent, bucketHost, bucketName, element, ended, open, readResponse, errorOf, send, sendHead,
  startForTest, toDocument, toHead, toPut
} from './client.ts'

const list: Sent = { target: '/?inventory' }
const get: Sent = { target: '/?inventory&id=a' }
const put = toPut('a')
const health: Sent = { target: '/_emulator/health', host: 'localhost', credential: null }

/** Returns the received text until the connection ends, and the error code of its end. */
async function listen (emulator: Emulator, sent: Sent): Promise<{ text: string, code: string | undefined }> {
  const socket = await open(emulator)
  let text = ''
  let code: string | undefined
  socket.on('data', (bytes: Buffer) => { text += bytes.toString() })
  socket.on('error', (error: NodeJS.ErrnoException) => { code = error.code })
  socket.write(toHead(sent) + String(sent.body ?? ''))
  await new Promise(resolve => socket.on('close', resolve))
  return { text, code }
}

t.test('injected fault applies to matching requests until its count is reached', async t => {
  const emulator = await startForTest(t)
  const fault = { kind: 'error', status: 503, code: 'SlowDown' } as const
  emulator.addFault({ ...fault, match: { operation: 'PutBucketInventory', bucket: bucketName }, times: 2 })
  emulator.addFault({ ...fault, code: 'InternalError', match: { method: 'GET' }, times: 1 })
  t.strictSame(errorOf(await send(emulator, list)), [503, 'InternalError'])
  t.equal((await send(emulator, list)).status, 200)
  t.strictSame(errorOf(await send(emulator, put)), [503, 'SlowDown'])
  const elsewhere = { ...put, host: bucketHost.replace('examplebucket', 'reports') }
  t.equal((await send(emulator, elsewhere)).status, 200, 'another bucket')
  t.strictSame(errorOf(await send(emulator, put)), [503, 'SlowDown'])
  t.strictSame(emulator.configurations(bucketName), [])
  t.equal((await send(emulator, put)).status, 200)

  t.equal(emulator.addFault(fault), 'fault-3')
  for (let times = 0; times < 3; times++) t.equal((await send(emulator, get)).status, 503, 'until cleared')
  emulator.clearFaults()
  t.equal((await send(emulator, get)).status, 200)
})

t.test('change is kept when an injected error comes after the effect', async t => {
  const emulator = await startForTest(t)
  emulator.addFault({ kind: 'error', status: 500, code: 'InternalError', after: 'effect' })
  t.equal((await send(emulator, put)).status, 500)
  t.strictSame(emulator.configurations(bucketName), [toDocument('a')])
})

t.test('error response has the configured form', async t => {
  const emulator = await startForTest(t)
  const errorIn = async (form: 'xml' | 'json' | 'html' | 'empty' | 'header-only'): Promise<ReceivedResponse> => {
    const headers = { 'Retry-After': '1' }
    emulator.addFault({ kind: 'error', status: 503, code: 'SlowDown', message: 'Slow.', form, headers, times: 1 })
    return await send(emulator, list)
  }
  const xml = await errorIn('xml')
  t.strictSame([element(xml.body, 'Code'), element(xml.body, 'Message')], ['SlowDown', 'Slow.'])
  t.equal(xml.headers['retry-after'], '1')

  const json = await errorIn('json')
  const requestId = json.headers['x-cos-request-id']
  t.equal(json.headers['content-type'], 'application/json')
  t.strictSame(JSON.parse(json.body), { code: 'SlowDown', message: 'Slow.', request_id: requestId })

  const headerOnly = await errorIn('header-only')
  t.strictSame([headerOnly.status, headerOnly.body, headerOnly.headers['x-cos-error-code']], [503, '', 'SlowDown'])
  t.notOk('content-type' in headerOnly.headers)

  const html = await errorIn('html')
  t.match(html.body, /^<html>[^]*Slow\./)
  t.notOk('x-cos-request-id' in html.headers, 'an HTML page does not come from COS')
  const empty = await errorIn('empty')
  t.strictSame([empty.status, empty.body, empty.headers['retry-after']], [503, '', '1'])
  t.notOk('x-cos-request-id' in empty.headers)
})

t.test('latency delays the request, and the next fault applies too', async t => {
  const emulator = await startForTest(t)
  emulator.addFault({ kind: 'latency', ms: 30 })
  emulator.addFault({ kind: 'error', status: 500, code: 'InternalError', times: 1 })
  const before = performance.now()
  t.equal((await send(emulator, put)).status, 500)
  t.ok(performance.now() - before >= 29)
  t.equal((await send(emulator, put)).status, 200)
})

t.test('change is made when the client disconnects during the latency', async t => {
  const emulator = await startForTest(t)
  emulator.addFault({ kind: 'latency', ms: 100 })
  const socket = await open(emulator)
  socket.write(toHead(put) + String(put.body))
  while (emulator.requests[0]?.body !== put.body) await send(emulator, health)
  socket.resetAndDestroy()
  await send(emulator, list)
  t.strictSame(emulator.configurations(bucketName), [toDocument('a')])
})

for (const [after, when] of [['before', 'before'], ['effect', 'after']] as const) {
  t.test(`reset closes the connection without a response, ${when} the change`, async t => {
    const emulator = await startForTest(t)
    emulator.addFault({ kind: 'reset', after, times: 1 })
    const reset = await listen(emulator, put)
    t.strictSame(reset, { text: '', code: 'ECONNRESET' })
    t.equal(emulator.requests[0]?.status, 0)
    t.equal(emulator.configurations(bucketName).length, after === 'effect' ? 1 : 0)
  })
}

t.test('truncated response ends in its body, or in its head when it has no body', async t => {
  const emulator = await startForTest(t)
  await send(emulator, put)
  const whole = (await send(emulator, get)).body

  emulator.addFault({ kind: 'cut', times: 1 })
  const partial = await listen(emulator, get)
  t.match(partial.text, new RegExp(`\r\nContent-Length: ${whole.length}\r\n`))
  t.equal(partial.text.split('\r\n\r\n')[1], whole.slice(0, whole.length / 2))
  emulator.addFault({ kind: 'cut', bytes: 10, times: 1 })
  t.equal((await listen(emulator, get)).text.split('\r\n\r\n')[1], whole.slice(0, 10))
  await t.rejects(async () => {
    emulator.addFault({ kind: 'cut', times: 1 })
    await send(emulator, get)
  }, { code: 'ECONNRESET' }, 'the client gets an error')

  emulator.addFault({ kind: 'cut', times: 1, after: 'effect' })
  const noHead = await listen(emulator, { method: 'DELETE', target: '/?inventory&id=a' })
  t.match(noHead.text, /^HTTP\/1\.1 204 No Content\r\n/)
  t.notMatch(noHead.text, /\r\n\r\n/)
  t.strictSame(emulator.configurations(bucketName), [])

  emulator.addFault({ kind: 'reset-mid-answer', times: 1 })
  await t.rejects(send(emulator, list), { code: 'ECONNRESET' })
})

t.test('slow body is complete and the change is made', async t => {
  const emulator = await startForTest(t)
  emulator.addFault({ kind: 'drip', ms: 0, match: { operation: 'PutBucketInventory' } })
  emulator.addFault({ kind: 'drip', ms: 1, match: { operation: 'GetBucketInventory' } })
  t.equal((await send(emulator, put)).status, 200)
  t.strictSame(emulator.configurations(bucketName), [toDocument('a')])
  const response = await readResponse(await sendHead(emulator, { target: '/?inventory&id=b' }))
  t.strictSame(errorOf(response), [404, 'InventoryConfigurationNotFoundError'])
  t.match(response.body, /<\/Error>\n$/)
})

t.test('emulator keeps serving when a client disconnects from a slow body', async t => {
  const emulator = await startForTest(t)
  emulator.addFault({ kind: 'drip', ms: 1 })
  const incoming = await sendHead(emulator, list)
  await once(incoming, 'data')
  incoming.socket.resetAndDestroy()
  await once(incoming, 'close').catch(() => {})
  emulator.clearFaults()
  t.equal((await send(emulator, list)).status, 200)
})

t.test('garbage response has the headers of XML', async t => {
  const emulator = await startForTest(t)
  emulator.addFault({ kind: 'garbage' })
  const { status, headers } = await send(emulator, put)
  t.strictSame([status, headers['content-type'], headers['content-length']], [200, 'application/xml', '256'])
  t.ok('x-cos-request-id' in headers)
  t.strictSame(emulator.configurations(bucketName), [])
})

t.test('hanging request ends when the emulator closes', async t => {
  const emulator = await startForTest(t)
  emulator.addFault({ kind: 'hang' })
  const socket = await open(emulator)
  const end = ended(socket)
  socket.write(toHead(put) + String(put.body))
  while (emulator.requests[0]?.body !== put.body) await send(emulator, health)
  t.equal(emulator.requests[0]?.status, 0)
  await emulator.close()
  t.equal(await end, undefined)
})

t.test('raw response is sent unchanged', async t => {
  const emulator = await startForTest(t)
  const page = { Location: '/x', 'Content-Type': 'text/html' }
  emulator.addFault({ kind: 'raw', status: 302, headers: page, body: 'gone', times: 1 })
  const { status, headers, body } = await send(emulator, list)
  t.strictSame([status, body], [302, 'gone'])
  t.strictSame(Object.keys(headers).sort(), ['connection', 'content-length', 'content-type', 'location'])
  emulator.addFault({ kind: 'raw', status: 204, times: 1 })
  t.equal((await send(emulator, list)).status, 204)
  emulator.addFault({ kind: 'raw', status: 200, headers: { 'content-length': '9' }, body: 'too short', times: 1 })
  t.equal((await send(emulator, list)).body, 'too short')
})

t.test('long raw response is streamed at the speed of the client', async t => {
  const emulator = await startForTest(t)
  const chunk = 'x'.repeat(64 * 1024)
  emulator.addFault({ kind: 'raw', status: 200, body: chunk, repeat: 160 })
  const incoming = await sendHead(emulator, list)
  t.equal(incoming.headers['transfer-encoding'], 'chunked')
  const hash = createHash('sha1')
  let length = 0
  for await (const part of incoming) {
    hash.update(part)
    length += part.length
  }
  t.equal(length, 10 * 1024 * 1024)
  t.equal(hash.digest('hex'), createHash('sha1').update(chunk.repeat(160)).digest('hex'))

  emulator.clearFaults()
  emulator.addFault({ kind: 'raw', status: 200, body: chunk, repeat: 1_000_000_000, times: 1 })
  const endless = await sendHead(emulator, list)
  await once(endless, 'data')
  endless.destroy()
  t.equal((await send(emulator, list)).status, 200, 'a client may end the response')
})

t.test('invalid raw response ends only its own connection', async t => {
  const emulator = await startForTest(t)
  emulator.addFault({ kind: 'raw', status: 200, headers: { Trailer: 'Date' }, body: 'x', times: 1 })
  await t.rejects(send(emulator, list))
  t.equal((await send(emulator, list)).status, 200)
})

t.test('addFault throws with all validation errors when a fault is invalid', async t => {
  const emulator = await startForTest(t)
  const invalid: Array<[unknown, string]> = [
    ['hang', 'the body must be an object'],
    [null, 'the body must be an object'],
    [{ kind: 'explode' }, 'kind must be one of latency, drip, reset, reset-mid-answer, garbage, hang, cut, error, raw'],
    [{ kind: 'latency' }, 'ms must be a whole number from 0 to 3600000'],
    [{ kind: 'latency', ms: 1, after: 'effect' }, 'after is not known'],
    [{ kind: 'hang', times: 0, match: [] }, 'match must be an object; times must be a whole number from 1'],
    [{ kind: 'hang', match: { operation: 'Put', path: '/' } },
      'match.path is not known; match.operation must be one of PutBucketInventory, GetBucketInventory, ' +
      'ListBucketInventory, DeleteBucketInventory, PostBucketInventory, GetService, HeadBucket, GetBucket, ' +
      'GetObject, HeadObject, Unknown'],
    [{ kind: 'error', status: 99, code: 'a b', headers: { 'a b': 'c' } },
      'status must be a whole number from 200 to 599; code must be a code of letters and digits; ' +
      'headers must be an object of header names and values'],
    [{ kind: 'raw', status: 200, headers: { a: 'b\nc' } }, 'headers must be an object of header names and values']
  ]
  for (const [fault, message] of invalid) {
    t.throws(() => emulator.addFault(fault as Fault), new TypeError(`not a fault: ${message}`))
  }
  t.strictSame(emulator.faults(), [])
})

const admin = (target: string, sent: Partial<Sent> = {}): Sent =>
  ({ target, host: 'localhost', credential: null, ...sent })
const json = (target: string, method: string, value: unknown): Sent =>
  admin(target, { method, headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(value) })

t.test('admin paths have the same effect as the functions', async t => {
  const emulator = await startForTest(t, { now: () => 1_700_000_000_000 })
  const ask = async (sent: Sent) => {
    const { status, body } = await send(emulator, sent)
    return [status, body === '' ? undefined : JSON.parse(body)]
  }
  t.strictSame(await ask(admin('/_emulator/health')), [200, { status: 'ok' }])

  const fault = { kind: 'error', status: 503, code: 'SlowDown', times: 3 }
  t.strictSame(await ask(json('/_emulator/faults', 'POST', fault)), [201, { id: 'fault-1' }])
  t.strictSame(await ask(json('/_emulator/faults', 'POST', { kind: 'hang' })), [201, { id: 'fault-2' }])
  t.strictSame(errorOf(await send(emulator, list)), [503, 'SlowDown'])
  t.strictSame(await ask(admin('/_emulator/faults')), [200, [
    { id: 'fault-1', ...fault, remaining: 2 }, { id: 'fault-2', kind: 'hang', remaining: null }
  ]])
  t.strictSame(await ask(admin('/_emulator/faults', { method: 'DELETE' })), [204, undefined])

  t.strictSame(await ask(json('/_emulator/clock', 'PUT', { offsetMs: 1000 })), [200, { offsetMs: 1000 }])
  const late = await send(emulator, { ...put, keyTime: '1;1700000000' })
  t.equal(element(late.body, 'Message'), 'Request has expired')
  t.equal((await send(emulator, { ...put, keyTime: '1;1700000001' })).status, 200)

  t.strictSame(
    await ask(admin(`/_emulator/configurations?bucket=${bucketName}`)), [200, [toDocument('a')]])
  const [, requests] = await ask(admin('/_emulator/requests'))
  t.strictSame(requests, emulator.requests)
  t.equal(requests.length, 3, 'admin requests are not recorded')
  t.strictSame(await ask(json('/_emulator/reset', 'POST', {})), [204, undefined])
  t.strictSame(await ask(admin('/_emulator/requests')), [200, []])
})

t.test('admin paths return 4xx with all validation errors when a request is invalid', async t => {
  const emulator = await startForTest(t)
  const invalid: Array<[Sent, number, string[]]> = [
    [admin('/_emulator/nothing'), 404, ['there is no such admin path']],
    [admin('/_emulator/faults', { method: 'PATCH' }), 405, ['only GET, POST, DELETE']],
    [admin('/_emulator/faults', { method: 'POST', body: '1' }), 400, ['the body must be an object']],
    [json('/_emulator/faults', 'POST', 1), 400, ['the body must be an object']],
    [{ ...json('/_emulator/faults', 'POST', 1), body: '{' }, 400, ['the body must be an object']],
    [json('/_emulator/faults', 'POST', { kind: 'raw', x: 1 }), 400,
      ['x is not known', 'status must be a whole number from 200 to 599']],
    [json('/_emulator/clock', 'PUT', { offset: 1 }), 400,
      ['offsetMs must be a whole number', 'offset is not known']],
    [json('/_emulator/clock', 'PUT', null), 400, ['offsetMs must be a whole number']],
    [admin('/_emulator/configurations?bucket=constructor'), 400,
      ['the parameter bucket must be a bucket with its APPID']],
    [admin('/_emulator/configurations'), 400, ['the parameter bucket must be a bucket with its APPID']]
  ]
  for (const [sent, status, errors] of invalid) {
    const response = await send(emulator, sent)
    t.strictSame([response.status, JSON.parse(response.body)], [status, { errors }])
  }
})

t.test('admin paths return 403 to pages in browsers, and COS errors to COS requests', async t => {
  const emulator = await startForTest(t)
  for (const headers of [{ Origin: 'http://localhost:3000' }, { 'Sec-Fetch-Site': 'cross-site' }]) {
    t.equal((await send(emulator, admin('/_emulator/requests', { headers }))).status, 403)
  }
  const asCos = await send(emulator, { target: '/_emulator/requests' })
  t.strictSame(errorOf(asCos), [404, 'NoSuchKey'])
  t.equal(emulator.requests.length, 1)
  const unsigned = await send(emulator, { target: '/_emulator/health', credential: null })
  t.strictSame(errorOf(unsigned), [403, 'AccessDenied'])
})

t.test('admin paths return 403 when the Host is neither local nor allowed', async t => {
  const emulator = await startForTest(t, { allowedHosts: ['emulator'] })
  const rebound = { ...json('/_emulator/reset', 'POST', {}), host: `attacker.example:${emulator.port}` }
  await send(emulator, list)
  const response = await send(emulator, rebound)
  t.strictSame([response.status, JSON.parse(response.body)], [403, {
    errors: [
      'the Host must be loopback, such as localhost, or the address in EMULATOR_HOST; ' +
    'set EMULATOR_ALLOWED_HOSTS to allow other names'
    ]
  }])
  t.equal(emulator.requests.length, 1, 'nothing was reset')
  t.equal((await send(emulator, { ...health, host: `emulator:${emulator.port}` })).status, 200)
  t.equal((await send(emulator, { ...health, host: emulator.address })).status, 200)
})

t.test('isAdminHost checks only the name of the Host', async t => {
  const table: Array<[string, string, string[], boolean]> = [
    ['localhost', '0.0.0.0', [], true],
    ['LOCALHOST:9000', '0.0.0.0', [], true],
    ['cos.localhost:1', '0.0.0.0', [], true],
    ['127.0.0.1:9000', '0.0.0.0', [], true],
    ['127.255.0.9', '0.0.0.0', [], true],
    ['[::1]:9000', '0.0.0.0', [], true],
    ['192.168.1.5:9000', '192.168.1.5', [], true],
    ['[2001:db8::1]', '2001:DB8:0::1', [], true],
    ['emulator.test:9000', 'Emulator.test', [], true],
    ['emulator:9000', '0.0.0.0', ['other', 'emulator'], true],
    ['[::2]:9000', '::', ['::2'], true],
    ['', '127.0.0.1', [], false],
    ['attacker.example', '127.0.0.1', [], false],
    ['attacker.example:9000', '127.0.0.1', ['emulator'], false],
    ['localhost.attacker.example', '127.0.0.1', [], false],
    ['notlocalhost', '127.0.0.1', [], false],
    ['127.attacker.example', '127.0.0.1', [], false],
    ['emulator.attacker.example', '127.0.0.1', ['emulator'], false],
    ['localhost@attacker.example', '127.0.0.1', [], false],
    ['attacker.example@localhost', '127.0.0.1', [], false],
    ['localhost/attacker.example', '127.0.0.1', [], false],
    ['localhost:port', '127.0.0.1', [], false],
    ['192.168.1.5', '0.0.0.0', [], false],
    ['0.0.0.0:9000', '0.0.0.0', [], false],
    ['[::]:9000', '::', [], false],
    ['[::2]', '::1', [], false]
  ]
  for (const [host, listening, allowed, isAllowed] of table) {
    t.equal(isAdminHost(host, listening, allowed), isAllowed, `${host} on ${listening}`)
  }
})

t.test('truncated admin request changes nothing', async t => {
  const emulator = await startForTest(t)
  const socket = await open(emulator)
  socket.write('POST /_emulator/faults HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{"kind":"hang"}')
  socket.resetAndDestroy()
  t.equal((await send(emulator, list)).status, 200)
})
