import { once } from 'node:events'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { as, callersFile, everything, keyOf, withKey } from '../callers-file.ts'
import { connectionsOf, dial, exchange, parseResponse as parse } from '../raw-connection.ts'
import { startRedis } from '../redis-server.ts'
import { at, bucket, configuration, otherBucket, start } from '../start.ts'
import type { Answer, Running, Test } from '../start.ts'

const collection = `/buckets/${bucket}/inventories`
const body = JSON.stringify(configuration)
const authorization = `Authorization: Bearer ${keyOf('admin')}\r\n`

/** Starts a service whose only caller is `admin`. */
async function startGuarded (t: Test, environment: Record<string, string> = {}): Promise<Running> {
  const callers = callersFile(t, [withKey('admin', everything, { rateLimitPerMinute: 0 })])
  return await start(t, { environment: { ...callers.environment, ...environment } })
}

t.test('requests return 408 when the head or body takes too long to arrive', async t => {
  const { service, url, emulator, call, audits } = await startGuarded(t)
  t.strictSame([service.app.server.requestTimeout, service.app.server.headersTimeout], [30_000, 10_000], 'default time limits')
  Object.assign(service.app.server, { headersTimeout: 200, requestTimeout: 400 })
  const sendRepeatedly = (socket: Socket, byte: string) => {
    const timer = setInterval(() => { socket.write(byte) }, 50)
    socket.on('close', () => { clearInterval(timer) })
  }
  const put = `PUT ${at('slow')} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n${authorization}`
  const slow: Array<[string, string, string]> = [
    ['no bytes', '', ''],
    ['half a head', 'GET /livez HTTP/1.1\r\nHost', ''],
    ['a head without an end', 'GET /livez HTTP/1.1\r\nHost: x\r\nx: ', 'x'],
    ['an announced body that is not sent', `${put}Content-Length: ${body.length}\r\n\r\n`, ''],
    ['a body without its last byte', `${put}Content-Length: ${body.length}\r\n\r\n${body.slice(0, -1)}`, ''],
    ['a body sent byte by byte', `${put}Content-Length: 100000\r\n\r\n`, ' '],
    ['chunks without an end', `${put}Transfer-Encoding: chunked\r\n\r\n`, '1\r\n \r\n']
  ]
  const quick = await dial(t, url)
  const responsesToQuick = text(quick)
  quick.write('GET /livez HTTP/1.1\r\nHost: x\r\n\r\n')
  await once(quick, 'readable')
  const startedAt = Date.now()
  await Promise.all(slow.map(async ([name, bytes, more]) => {
    const socket = await dial(t, url)
    const response = text(socket)
    socket.write(bytes)
    if (more !== '') sendRepeatedly(socket, more)
    const { status, code, headers } = parse(await response)
    t.strictSame([status, code, headers['connection']], [408, 'RequestTimeout', 'close'], name)
  }))
  t.ok(Date.now() - startedAt < 15_000, 'Node checks every five seconds')
  t.strictSame(emulator.requests, [])
  while (audits().length < 4) await new Promise(resolve => { setImmediate(resolve) })
  const recorded = audits().map(each => [each.caller, each.outcome, each.status, each.code, each.address])
  t.strictSame(recorded, Array(4).fill(['admin', 'failure', 408, 'RequestTimeout', '127.0.0.1']), 'rejected changes are recorded')
  quick.end('GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
  t.strictSame((await responsesToQuick).match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 200', 'HTTP/1.1 200'], 'a pause between requests keeps the connection open')
  t.equal((await call('GET', collection, undefined, as('admin'))).status, 200)
})

t.test('GET returns 431 when the request head is larger than 16 KiB', async t => {
  const { url, emulator } = await startGuarded(t)
  const get = async (target: string, headers: string) =>
    await exchange(t, url, `GET ${target} HTTP/1.1\r\nHost: x\r\n${headers}Connection: close\r\n\r\n`)
  const kib15 = 'x'.repeat(15 * 1024)
  t.match(await get(collection, `x: ${kib15}\r\n${authorization}`), { status: 200 })
  t.match(await get(collection, `Authorization: Bearer ${kib15}\r\n`), { status: 401, code: 'Unauthenticated' })
  t.match(await get(`${collection}?continuation-token=${kib15}`, authorization), { status: 400, code: 'ValidationFailed' })
  t.match(await get(`${collection}?${'region=a&'.repeat(1600)}`, authorization), { status: 400, code: 'ValidationFailed' })
  t.match(await get(at('x'.repeat(8192)), authorization), { status: 400, code: 'ValidationFailed' })
  t.match(await get(at(kib15), authorization), { status: 414, code: 'URITooLong' })
  t.match(await get(`/${kib15}`, authorization), { status: 404, code: 'RouteNotFound' })
  const { status } = await get(collection, 'a:\r\n'.repeat(2500) + authorization)
  t.ok([401, 431].includes(status), 'Node 20 drops headers after the 2000th, later versions reject the request')

  const tooLarge = { status: 431, code: 'RequestHeaderFieldsTooLarge', headers: { connection: 'close' } }
  const kib17 = 'x'.repeat(17 * 1024)
  t.match(await get(collection, `Authorization: Bearer ${kib17}\r\n`), tooLarge)
  t.match(await get(collection, `${'name: value\r\n'.repeat(2000)}${authorization}`), tooLarge, 'many small headers')
  t.match(await get(collection, `${kib17}: x\r\n${authorization}`), tooLarge)
  t.match(await get(`${collection}?region=${kib17}`, authorization), tooLarge)
  t.match(await get(`/${'x'.repeat(9000)}`, `x: ${'x'.repeat(9000)}\r\n`), tooLarge, 'request line and headers together')
  t.strictSame(emulator.requests.length, 1)
})

t.test('every response has the security headers and names no software', async t => {
  const { url, call, emulator } = await startGuarded(t, { RATE_LIMIT_PER_MINUTE: '4' })
  const key = as('admin')
  emulator.addFault({
    kind: 'raw', status: 404, times: 1, headers: { server: 'tencent-cos', 'set-cookie': 'a=b', 'x-powered-by': 'COS' }, body: ''
  })
  const passedOn = await call('GET', at('a'), undefined, key)
  emulator.addFault({ kind: 'reset', times: 1 })
  const responses: Array<[number, Answer]> = [
    [502, passedOn], [502, await call('GET', at('a'), undefined, key)],
    [200, await call('GET', collection, undefined, key)], [204, await call('PUT', at('a'), configuration, key)],
    [202, await call('POST', at('b'), { ...configuration, IsEnabled: undefined, Schedule: undefined }, key)],
    [200, await call('HEAD', at('a'), undefined, key)], [200, await call('PUT', at('a', '?dry-run=true'), configuration, key)],
    [400, await call('PUT', at('a'), '{', key)], [400, await call('GET', `${collection}?a=b`, undefined, key)],
    [404, await call('GET', at('absent'), undefined, key)], [404, await call('GET', '/nope')], [405, await call('OPTIONS', at('a'))],
    [413, await call('PUT', at('a'), ' '.repeat(300_000), key)], [415, await call('PUT', at('a'), body, { ...key, 'content-type': 'text/xml' })],
    [200, await call('GET', '/livez')], [200, await call('GET', '/readyz')], [200, await call('GET', '/openapi.json')],
    [401, await call('GET', collection)], [401, await call('PUT', at('a'), configuration, { authorization: 'Bearer wrong' })],
    [429, await call('GET', collection)]
  ]
  for (const [status, { status: actual, headers }] of responses) {
    t.equal(actual, status)
    for (const name of ['server', 'x-powered-by', 'via', 'set-cookie', 'x-xss-protection-report', 'access-control-allow-origin', 'strict-transport-security']) {
      t.equal(headers[name], undefined, `${status} has no ${name}`)
    }
    t.match(headers, {
      'content-security-policy': /^default-src 'none';frame-ancestors 'none'$/,
      'cross-origin-opener-policy': 'same-origin',
      'cross-origin-resource-policy': 'same-origin',
      'referrer-policy': 'no-referrer',
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'cache-control': 'no-store',
      'x-request-id': /^[\w.-]+$/
    }, `${status} has the security headers`)
  }
  for (const [status, bytes] of [
    [400, 'nonsense\r\n\r\n'], [431, `GET / HTTP/1.1\r\nx: ${'x'.repeat(17_000)}\r\n\r\n`], [414, `GET ${at('x'.repeat(9000))} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`]
  ] as const) {
    const response = await exchange(t, url, bytes)
    t.match(response, {
      status, headers: { 'x-content-type-options': 'nosniff', 'content-security-policy': /^default-src 'none'/, 'cache-control': 'no-store' }
    }, 'responses to malformed requests too')
    t.strictSame([response.headers['server'], response.headers['x-powered-by']], [undefined, undefined])
  }
})

t.test('line breaks in a request reach no header, log line or call to COS', async t => {
  const { url, call, emulator, logs, audits } = await startGuarded(t)
  const withId = async (id: string) =>
    await exchange(t, url, `GET /livez HTTP/1.1\r\nHost: x\r\nx-request-id: ${id}\r\nConnection: close\r\n\r\n`)
  for (const id of ['a\nx-injected: 1', 'a\rx-injected: 1', 'a\r\n x-injected: 1', 'a\u0000b']) {
    t.match(await withId(id), { status: 400, code: 'MalformedRequest', headers: { 'x-request-id': /^[0-9a-f-]{36}$/ } }, JSON.stringify(id))
  }
  for (const id of [
    'a\tb', 'a b', 'a"b', 'a\\nb', '%0d%0ax-injected:%201', '{"level":60}', '\u00e9', '\u0085', '<script>', '../a', 'x'.repeat(129), '',
    'a\r\nx-request-id: b'
  ]) {
    const { status, headers } = await withId(id)
    t.match([status, headers['x-request-id']], [200, /^[0-9a-f-]{36}$/], JSON.stringify(id))
    t.equal(headers['x-injected'], undefined)
  }

  const broken = ['%0d%0ax-injected:%201', '%0Ax-injected:1', '%0d', '%00', '%E2%80%A8', '%C2%85', '%7f', '%09']
  for (const text of broken) {
    const responses = [
      await call('PUT', `${collection}/a${text}`, configuration, as('admin')),
      await call('GET', `${collection}/${text}`, undefined, as('admin')),
      await call('GET', `/buckets/${text}${bucket}/inventories`, undefined, as('admin')),
      await call('DELETE', `/buckets/${bucket}${text}/inventories/a`, undefined, as('admin')),
      await call('GET', `${collection}?region=ap-guangzhou${text}`, undefined, as('admin')),
      await call('GET', `${collection}?a${text}=1`, undefined, as('admin')),
      // A continuation token may contain any printable text.
      await call('GET', `${collection}?continuation-token=a${text}`, undefined, as('admin'))
    ]
    for (const [index, { status, headers, json }] of responses.entries()) {
      t.match([status, json.code], [400, 'ValidationFailed'], `${text} in place ${index}`)
      t.notMatch(JSON.stringify(headers), /injected|[\r\n]/)
    }
    t.match(await call('PUT', `${collection}/a${text}`, configuration), { status: 401 })
    t.equal((await call('GET', `/nope${text}`)).status, 404)
  }
  for (const name of [{ authorization: `Bearer wrong${'\u00e9'}` }, { 'x-forwarded-prefix': '/a%0d%0ax-injected:%201' }]) {
    t.notMatch(JSON.stringify((await call('GET', collection, undefined, name as Record<string, string>)).headers), /injected/)
  }
  t.strictSame(emulator.requests, [])
  const lines = logs().trimEnd().split('\n')
  for (const line of lines) t.match(JSON.parse(line), { level: Number, msg: String }, 'each log line is one JSON object')
  t.equal(audits().filter(({ outcome }) => outcome === 'success').length, 0)
  t.ok(audits().length >= 3 * broken.length, 'each rejected change has an audit record')
})

t.test('prototypes stay unchanged when a body or query contains __proto__', async t => {
  const { call, emulator } = await startGuarded(t)
  const prototypes = [Object.prototype, Array.prototype, Function.prototype, String.prototype]
  const before = prototypes.map(each => Reflect.ownKeys(each))
  const put = async (raw: string, query = '') => await call('PUT', at('a', query), raw, as('admin'))
  const wrap = (member: string) => `{${member},${body.slice(1)}`
  const members: Array<[string, string, string]> = [
    ['"__proto__":{"polluted":"yes"}', '/__proto__', '<__proto__><polluted>yes</polluted></__proto__>'],
    ['"__proto__":"polluted"', '/__proto__', '<__proto__>polluted</__proto__>'],
    ['"constructor":{"prototype":{"polluted":"yes"}}', '/constructor', '<constructor><prototype><polluted>yes</polluted></prototype></constructor>'],
    ['"prototype":{"polluted":"yes"}', '/prototype', '<prototype><polluted>yes</polluted></prototype>'],
    ['"toString":"polluted"', '/toString', '<toString>polluted</toString>'],
    ['"hasOwnProperty":{"polluted":"yes"}', '/hasOwnProperty', '<hasOwnProperty><polluted>yes</polluted></hasOwnProperty>']
  ]
  for (const [member, pointer, element] of members) {
    const rejected = await put(wrap(member))
    t.match(rejected, { status: 400, json: { errors: [{ in: 'body', pointer }] } }, member)
    const nested = body.replace('"Prefix":"myPrefix"', `${member},"Prefix":"myPrefix"`)
    t.match(await put(nested), { status: 400, json: { errors: [{ in: 'body', pointer: `/Filter${pointer}` }] } })
    t.equal(rejected.json.errors.length, 1)
    t.strictSame(emulator.configurations(bucket), [])

    for (const raw of [wrap(member), nested]) {
      t.equal((await put(raw, '?allow-unknown=true')).status, 204)
      t.ok(emulator.configurations(bucket)[0]?.includes(element), 'the member is sent unchanged')
      const [got, listed] = [await call('GET', at('a'), undefined, as('admin')), await call('GET', collection, undefined, as('admin'))]
      t.ok(got.text.includes(member), 'GET returns the member as it is stored')
      t.ok(listed.text.includes(member))
      t.equal((await put(got.text, '?allow-unknown=true')).status, 204, 'PUT accepts the response of GET')
      await call('DELETE', at('a'), undefined, as('admin'))
    }
  }
  for (const query of [
    '__proto__=1', '__proto__[polluted]=1', '__proto__.polluted=1', 'constructor[prototype][polluted]=1', 'constructor.prototype.polluted=1', '__proto__=1&__proto__=2'
  ]) t.match(await call('GET', `${collection}?${query}`, undefined, as('admin')), { status: 400, json: { code: 'ValidationFailed' } }, query)
  for (const raw of ['{"__proto__":null}', '{"__proto__":[]}', '{"__proto__":{"IsEnabled":true}}', '[{"__proto__":{}}]', '"__proto__"']) {
    t.equal((await put(raw)).status, 400, raw)
    t.equal((await put(raw, '?allow-unknown=true')).status, 400, raw)
  }
  // Members of a prototype must not count as members of the body.
  t.match(await put(`{"__proto__":${body}}`, '?allow-unknown=true'), { status: 400 })
  t.strictSame(prototypes.map(each => Reflect.ownKeys(each)), before)
  t.equal(({} as { polluted?: unknown }).polluted, undefined)
})

t.test('PUT returns 403 when a prototype contains a forbidden destination', async t => {
  const { environment } = callersFile(t, [withKey('own', [{ actions: ['cos:*'], buckets: ['*'] }])])
  const { call, emulator } = await start(t, { environment })
  const stranger = '"qcs::cos:ap-guangzhou::stranger-1999999999"'
  for (const raw of [
    `{"__proto__":{"Bucket":${stranger}},${body.slice(1)}`,
    body.replace('"COSBucketDestination":{', `"COSBucketDestination":{"__proto__":{"Bucket":${stranger}},`),
    body.replace('"Destination":{', `"Destination":{"constructor":{"prototype":[${stranger}]},`)
  ]) {
    t.match(await call('PUT', at('a', '?allow-unknown=true'), raw, as('own')),
      { status: 403, json: { code: 'CallerNotAllowed', detail: /stranger-1999999999/ } }, raw.slice(0, 40))
  }
  t.strictSame(emulator.requests, [])
})

t.test('GET is authenticated by the first Authorization header only', async t => {
  const { url } = await startGuarded(t)
  const wrong = 'Authorization: Bearer wrong\r\n'
  const get = async (headers: string) =>
    (await exchange(t, url, `GET ${collection} HTTP/1.1\r\nHost: x\r\n${headers}Connection: close\r\n\r\n`)).status
  t.equal(await get(wrong + authorization), 401, 'a valid key after a wrong one')
  t.equal(await get(`Authorization: \r\n${authorization}`), 401, 'a valid key after an empty one')
  t.equal(await get(`Authorization: Bearer\r\n${authorization}`), 401)
  t.equal(await get(authorization + authorization), 200)
  t.equal(await get(`Authorization: Bearer wrong, Bearer ${keyOf('admin')}\r\n`), 401)
  t.equal(await get(`Proxy-Authorization: Bearer ${keyOf('admin')}\r\n`), 401, 'Proxy-Authorization is ignored')
  t.equal(await get(`Cookie: authorization=Bearer ${keyOf('admin')}\r\n`), 401)
  t.equal((await exchange(t, url, `GET ${collection}?access_token=${keyOf('admin')} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)).status, 401,
    'RFC 6750, section 2.3: a key in a URL ends up in logs')
})

t.test('requests return 400 when they contain NUL', async t => {
  const { url, call, emulator } = await startGuarded(t)
  const malformed = { status: 400, code: 'MalformedRequest' }
  for (const bytes of [
    'GET /livez\u0000 HTTP/1.1\r\nHost: x\r\n\r\n', 'GET /livez HTTP/1.1\r\nHost: x\u0000\r\n\r\n', `GET ${collection} HTTP/1.1\r\nHost: x\r\n${authorization.trim()}\u0000\r\n\r\n`,
    'GET /livez HTTP/1.1\r\nHo\u0000st: x\r\n\r\n', '\u0000', 'GE\u0000T / HTTP/1.1\r\n\r\n'
  ]) t.match(await exchange(t, url, bytes), malformed, JSON.stringify(bytes))
  for (const query of ['', '?allow-unknown=true']) {
    const inText = await call('PUT', at('a', query), { ...configuration, Filter: { Prefix: 'a\u0000b' } }, as('admin'))
    t.match(inText, { status: 400, json: { errors: [{ pointer: '/Filter/Prefix' }] } })
    const inName = await call('PUT', at('a', query), { ...configuration, 'a\u0000b': 'c' }, as('admin'))
    t.match(inName, { status: 400, json: { errors: [{ pointer: '/a\u0000b' }] } })
    t.match(await call('PUT', at('a', query), `${body.slice(0, -1)}\u0000}`, as('admin')), { status: 400, json: { code: 'MalformedJSON' } })
  }
  t.strictSame(emulator.requests, [])
})

t.test('no connection stays open when rejected clients reset it or do not close it', async t => {
  const { service, url, call } = await startGuarded(t)
  const rejected = ['CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n', 'nonsense\r\n\r\n']
  for (let round = 0; round < 100; round += 1) {
    const socket = await dial(t, url)
    socket.on('error', () => {})
    socket.write(rejected[round % 2] as string)
    socket.resetAndDestroy()
  }
  for (const bytes of rejected) {
    const socket = connect({ port: Number(new URL(url).port), host: '127.0.0.1', allowHalfOpen: true })
    socket.write(bytes)
    t.equal(parse(await text(socket)).status, 400)
    socket.once('error', () => {}).write('still here')
  }
  t.equal((await call('GET', '/livez')).status, 200)
  service.app.server.closeIdleConnections()
  while (await connectionsOf(service.app.server) > 0) await new Promise(resolve => { setImmediate(resolve) })
  t.pass('no connection is open')
})

t.test('PUT returns 204 when malformed bytes follow the request', async t => {
  const { url, emulator, audits } = await startGuarded(t)
  emulator.addFault({ kind: 'latency', ms: 200, times: 1 })
  const socket = await dial(t, url)
  socket.write(`PUT ${at('a')} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n${authorization}` +
    `Content-Length: ${body.length}\r\n\r\n${body}`)
  while (emulator.connections === 0) await new Promise(resolve => { setImmediate(resolve) })
  socket.write('nonsense\r\n\r\n')
  t.match(String((await once(socket, 'data'))[0]), /^HTTP\/1\.1 204 /)
  t.match(audits(), [{ id: 'a', outcome: 'success', address: '127.0.0.1' }])
  const rest = text(socket)
  socket.write('GET /livez HTTP/1.1\r\nHost: x\r\n\r\n')
  t.equal(await rest, '', 'a later request gets no response')
})

t.test('the first pipelined PUT returns 204 when a later request is malformed', async t => {
  const { url, emulator, audits } = await startGuarded(t)
  const put = (id: string, more: string) => `PUT ${at(id)} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n` +
    `x-request-id: ${id}\r\n${authorization}${more}`
  const whole = `Content-Length: ${body.length}\r\n\r\n${body}`
  const brokenChunk = 'Transfer-Encoding: chunked\r\n\r\nnonsense\r\n'
  for (const [name, first, later] of [
    ['malformed bytes', put('a1', whole) + put('a2', whole), 'nonsense\r\n\r\n'],
    ['a malformed chunk', put('b1', whole) + put('b2', 'Transfer-Encoding: chunked\r\n\r\n'), 'nonsense\r\n'],
    ['a malformed chunk in the first packet', put('c1', whole) + put('c2', brokenChunk), ''],
    ['CONNECT', put('d1', whole), 'CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n']
  ] as const) {
    const before = emulator.connections
    emulator.addFault({ kind: 'latency', ms: 200, times: 2 })
    const socket = await dial(t, url)
    const responses = text(socket)
    socket.write(first)
    while (emulator.connections + emulator.requests.length === before) {
      await new Promise(resolve => { setImmediate(resolve) })
    }
    socket.write(later)
    const [id] = /x-request-id: (\w+)/.exec(first)?.slice(1) as [string]
    const right = new RegExp(`^HTTP/1\\.1 204 [^]*?x-request-id: ${id}\r\n`)
    t.match(await responses, right, `${name}: the first response belongs to the first request`)
    emulator.clearFaults()
    t.equal(audits().find(each => each.requestId === id)?.outcome, 'success', name)
  }
})

t.test('PUT is audited once and not sent when its caller disconnects during a Redis call', async t => {
  const redis = await startRedis(t)
  const { environment } = callersFile(t, [withKey('admin', everything)])
  const { url, audits, emulator, service } = await start(t, {
    environment: { ...environment, RATE_LIMIT_REDIS_URL: redis.url }
  })
  const callers = 20
  redis.signal('SIGSTOP')
  for (let index = 0; index < callers; index += 1) {
    const socket = await dial(t, url)
    socket.write(`PUT ${at(`left-${index}`)} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n` +
      `${authorization}Content-Length: ${body.length}\r\n\r\n${index % 2 === 0 ? body : ''}`)
    await once(service.app.server, 'request')
    socket.destroy()
  }
  redis.signal('SIGCONT')
  while (audits().length < callers) await new Promise(resolve => { setImmediate(resolve) })
  t.equal(new Set(audits().map(({ id }) => id)).size, callers)
  t.equal(emulator.requests.length, 0)
})

t.test('PUT returns 100 only when the request is not rejected without its body', async t => {
  const { url } = await startGuarded(t)
  const head = (more: string) => `PUT ${at('a')} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n${more}` +
    `Content-Length: ${body.length}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n`
  const unknown = await dial(t, url)
  unknown.write(head(''))
  t.equal(parse(await text(unknown)).status, 401)
  const known = await dial(t, url)
  known.write(head(authorization))
  t.match(String((await once(known, 'data'))[0]), /^HTTP\/1\.1 100 /)
  known.write(body)
  t.equal(parse(await text(known)).status, 204)
  const large = await exchange(t, url, head(authorization).replace(/Content-Length: \d+/, 'Content-Length: 300000'))
  t.strictSame([large.status, large.code], [413, 'PayloadTooLarge'], 'a body that is too large is not requested')
  const old = await exchange(t, url, head(authorization).replace('HTTP/1.1', 'HTTP/1.0') + body)
  t.equal(old.status, 204, 'HTTP/1.0 has no status 100')
})

t.test('requests neither log nor return the host when the target is absolute', async t => {
  const { url, logs } = await startGuarded(t)
  const { port } = new URL(url)
  const ask = async (target: string, method = 'GET', more = '') =>
    await exchange(t, url, `${method} ${target} HTTP/1.1\r\nHost: x\r\n${more}Connection: close\r\n\r\n`)
  const absent = await ask(`http://user:passwordInTarget@127.0.0.1:${port}/nope`)
  t.strictSame([absent.status, JSON.parse(absent.body).instance], [404, '/nope'])
  t.equal((await ask(`http://user:passwordInTarget@127.0.0.1:${port}${at('a')}`, 'OPTIONS')).status, 405)
  t.equal((await ask(`HTTP://user:passwordInTarget@127.0.0.1:${port}${collection}`)).status, 401)
  t.notMatch(logs(), 'passwordInTarget')
  t.match(await ask('/livez', 'GET', 'Host: y\r\n'), { status: 400, code: 'MalformedRequest' })
})

t.test('bucket and id are truncated in records when they have thousands of characters', async t => {
  const { call, logs, audits } = await startGuarded(t)
  const before = logs().length
  t.equal((await call('DELETE', `/buckets/${'b'.repeat(7000)}/inventories/${'i'.repeat(7000)}`)).status, 401)
  t.match(audits(), [{ bucket: 'b'.repeat(128), id: 'i'.repeat(128), caller: null }])
  t.ok(logs().length - before < 2_000)
})

t.test('PUT returns 401 without reading the body when the caller is unknown', async t => {
  const { url, call, service, emulator, audits } = await startGuarded(t)
  const sockets: Socket[] = []
  service.app.server.on('connection', (socket: Socket) => { sockets.push(socket) })
  const head = (length: string) => `PUT ${at('a')} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n${length}\r\n\r\n`
  for (const length of ['Content-Length: 250000', 'Content-Length: 10000000000', 'Transfer-Encoding: chunked']) {
    // The test sends no byte of the body, so a service that waits for one never responds.
    const response = await exchange(t, url, head(length))
    t.match(response, { status: 401, code: 'Unauthenticated', headers: { connection: 'close' } }, length)
  }
  const known = await exchange(t, url, head(`Content-Length: 10000000000\r\n${authorization.trim()}`))
  t.match(known, { status: 413, code: 'PayloadTooLarge', headers: { connection: 'close' } }, 'a body announced as too large is not read')

  // When a client sends the body anyway, the service reads no more than its buffers.
  const flood = await dial(t, url)
  const closed = new Promise(resolve => { flood.on('close', resolve) })
  flood.resume().write(head('Content-Length: 10000000000'))
  const piece = Buffer.alloc(64 * 1024, ' ')
  let pushed = 0
  const push = () => {
    while (!flood.destroyed && pushed < 64 * 1024 * 1024) {
      pushed += piece.length
      if (!flood.write(piece)) {
        flood.once('drain', push)
        return
      }
    }
  }
  push()
  await closed
  const read = sockets.at(-1)?.bytesRead ?? Infinity
  t.ok(read < 4 * 1024 * 1024, `${read} bytes were read`)
  t.equal((await call('GET', collection, undefined, as('admin'))).status, 200)
  t.strictSame(emulator.requests.map(({ method }) => method), ['GET'])
  t.match(audits().map(({ outcome, status }) => [outcome, status]), [['denied', 401], ['denied', 401], ['denied', 401], ['failure', 413], ['denied', 401]])
  t.strictSame(emulator.configurations(otherBucket), [])
})
