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

/** A service that knows `admin` and nobody else. */
async function startGuarded (t: Test, environment: Record<string, string> = {}): Promise<Running> {
  const callers = callersFile(t, [withKey('admin', everything, { rateLimitPerMinute: 0 })])
  return await start(t, { environment: { ...callers.environment, ...environment } })
}

t.test('who is slow to send a head or a body is cut, however steadily bytes come', async t => {
  const { service, url, emulator, call, audits } = await startGuarded(t)
  t.strictSame([service.app.server.requestTimeout, service.app.server.headersTimeout], [30_000, 10_000], 'the rule')
  Object.assign(service.app.server, { headersTimeout: 200, requestTimeout: 400 })
  const drip = (socket: Socket, byte: string) => {
    const timer = setInterval(() => { socket.write(byte) }, 50)
    socket.on('close', () => { clearInterval(timer) })
  }
  const put = `PUT ${at('slow')} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n${authorization}`
  const slow: Array<[string, string, string]> = [
    ['says nothing at all', '', ''],
    ['stops in the middle of a head', 'GET /livez HTTP/1.1\r\nHost', ''],
    ['never comes to the end of a head', 'GET /livez HTTP/1.1\r\nHost: x\r\nx: ', 'x'],
    ['announces a body and does not send it', `${put}Content-Length: ${body.length}\r\n\r\n`, ''],
    ['stops in the middle of a body', `${put}Content-Length: ${body.length}\r\n\r\n${body.slice(0, -1)}`, ''],
    ['sends a body byte by byte', `${put}Content-Length: 100000\r\n\r\n`, ' '],
    ['sends chunks without end', `${put}Transfer-Encoding: chunked\r\n\r\n`, '1\r\n \r\n']
  ]
  const quick = await dial(t, url)
  const answersOfQuick = text(quick)
  quick.write('GET /livez HTTP/1.1\r\nHost: x\r\n\r\n')
  await once(quick, 'readable')
  const startedAt = Date.now()
  await Promise.all(slow.map(async ([who, bytes, more]) => {
    const socket = await dial(t, url)
    const answer = text(socket)
    socket.write(bytes)
    if (more !== '') drip(socket, more)
    const { status, code, headers } = parse(await answer)
    t.strictSame([status, code, headers['connection']], [408, 'RequestTimeout', 'close'], who)
  }))
  t.ok(Date.now() - startedAt < 15_000, 'Node looks every five seconds')
  t.strictSame(emulator.requests, [])
  while (audits().length < 4) await new Promise(resolve => { setImmediate(resolve) })
  const recorded = audits().map(each => [each.caller, each.outcome, each.status, each.code, each.address])
  t.strictSame(recorded, Array(4).fill(['admin', 'failure', 408, 'RequestTimeout', '127.0.0.1']), 'changes that were not made')
  quick.end('GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
  t.strictSame((await answersOfQuick).match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 200', 'HTTP/1.1 200'], 'a pause between requests costs nobody the connection')
  t.equal((await call('GET', collection, undefined, as('admin'))).status, 200)
})

t.test('heads up to 16 KiB are read and larger ones refused, whatever they are large with', async t => {
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
  t.ok([401, 431].includes(status), 'Node 20 drops headers after the 2000th, a key among them; later ones refuse them')

  const tooLarge = { status: 431, code: 'RequestHeaderFieldsTooLarge', headers: { connection: 'close' } }
  const kib17 = 'x'.repeat(17 * 1024)
  t.match(await get(collection, `Authorization: Bearer ${kib17}\r\n`), tooLarge)
  t.match(await get(collection, `${'name: value\r\n'.repeat(2000)}${authorization}`), tooLarge, 'many small ones')
  t.match(await get(collection, `${kib17}: x\r\n${authorization}`), tooLarge)
  t.match(await get(`${collection}?region=${kib17}`, authorization), tooLarge)
  t.match(await get(`/${'x'.repeat(9000)}`, `x: ${'x'.repeat(9000)}\r\n`), tooLarge, 'request line and headers together')
  t.strictSame(emulator.requests.length, 1)
})

t.test('no answer says what it was made with, and every one carries the security headers', async t => {
  const { url, call, emulator } = await startGuarded(t, { RATE_LIMIT_PER_MINUTE: '4' })
  const key = as('admin')
  emulator.addFault({
    kind: 'raw', status: 404, times: 1, headers: { server: 'tencent-cos', 'set-cookie': 'a=b', 'x-powered-by': 'COS' }, body: ''
  })
  const passedOn = await call('GET', at('a'), undefined, key)
  emulator.addFault({ kind: 'reset', times: 1 })
  const answers: Array<[number, Answer]> = [
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
  for (const [status, { status: answered, headers }] of answers) {
    t.equal(answered, status)
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
    const answer = await exchange(t, url, bytes)
    t.match(answer, {
      status, headers: { 'x-content-type-options': 'nosniff', 'content-security-policy': /^default-src 'none'/, 'cache-control': 'no-store' }
    }, 'also where a request never became one')
    t.strictSame([answer.headers['server'], answer.headers['x-powered-by']], [undefined, undefined])
  }
})

t.test('no line break gets from a request into a header, a log line or a call to COS', async t => {
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
    const answers = [
      await call('PUT', `${collection}/a${text}`, configuration, as('admin')),
      await call('GET', `${collection}/${text}`, undefined, as('admin')),
      await call('GET', `/buckets/${text}${bucket}/inventories`, undefined, as('admin')),
      await call('DELETE', `/buckets/${bucket}${text}/inventories/a`, undefined, as('admin')),
      await call('GET', `${collection}?region=ap-guangzhou${text}`, undefined, as('admin')),
      await call('GET', `${collection}?a${text}=1`, undefined, as('admin')),
      // Here it may be text; a printable character is none of the faults.
      await call('GET', `${collection}?continuation-token=a${text}`, undefined, as('admin'))
    ]
    for (const [index, { status, headers, json }] of answers.entries()) {
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
  for (const line of lines) t.match(JSON.parse(line), { level: Number, msg: String }, 'a log line is one line')
  t.equal(audits().filter(({ outcome }) => outcome === 'success').length, 0)
  t.ok(audits().length >= 3 * broken.length, 'and so is a line of the audit log')
})

t.test('no body or query changes what objects are, and what looks like it would is refused or sent as it is', async t => {
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
    const refused = await put(wrap(member))
    t.match(refused, { status: 400, json: { errors: [{ in: 'body', pointer }] } }, member)
    const nested = body.replace('"Prefix":"myPrefix"', `${member},"Prefix":"myPrefix"`)
    t.match(await put(nested), { status: 400, json: { errors: [{ in: 'body', pointer: `/Filter${pointer}` }] } })
    t.equal(refused.json.errors.length, 1)
    t.strictSame(emulator.configurations(bucket), [])

    for (const raw of [wrap(member), nested]) {
      t.equal((await put(raw, '?allow-unknown=true')).status, 204)
      t.ok(emulator.configurations(bucket)[0]?.includes(element), 'sent as it was given')
      const [got, listed] = [await call('GET', at('a'), undefined, as('admin')), await call('GET', collection, undefined, as('admin'))]
      t.ok(got.text.includes(member), 'and answered as it is stored')
      t.ok(listed.text.includes(member))
      t.equal((await put(got.text, '?allow-unknown=true')).status, 204, 'and can be sent again')
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
  // A prototype is no way around what a body must hold, and none to a destination nobody checks.
  t.match(await put(`{"__proto__":${body}}`, '?allow-unknown=true'), { status: 400 })
  t.strictSame(prototypes.map(each => Reflect.ownKeys(each)), before)
  t.equal(({} as { polluted?: unknown }).polluted, undefined)
})

t.test('a destination hidden in a prototype is a destination', async t => {
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

t.test('of several Authorization headers the first is judged, and they are never read as one', async t => {
  const { url } = await startGuarded(t)
  const wrong = 'Authorization: Bearer wrong\r\n'
  const get = async (headers: string) =>
    (await exchange(t, url, `GET ${collection} HTTP/1.1\r\nHost: x\r\n${headers}Connection: close\r\n\r\n`)).status
  t.equal(await get(wrong + authorization), 401, 'a right key behind a wrong one')
  t.equal(await get(`Authorization: \r\n${authorization}`), 401, 'or behind an empty one')
  t.equal(await get(`Authorization: Bearer\r\n${authorization}`), 401)
  t.equal(await get(authorization + authorization), 200)
  t.equal(await get(`Authorization: Bearer wrong, Bearer ${keyOf('admin')}\r\n`), 401)
  t.equal(await get(`Proxy-Authorization: Bearer ${keyOf('admin')}\r\n`), 401, 'what is meant for a proxy is not for us')
  t.equal(await get(`Cookie: authorization=Bearer ${keyOf('admin')}\r\n`), 401)
  t.equal((await exchange(t, url, `GET ${collection}?access_token=${keyOf('admin')} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)).status, 401,
    'RFC 6750, section 2.3: a key in a URL ends up in logs')
})

t.test('NUL is not text, wherever it stands', async t => {
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

t.test('a connection that is reset while it is refused harms nobody, and none is held by a client that stays open', async t => {
  const { service, url, call } = await startGuarded(t)
  const refused = ['CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n', 'nonsense\r\n\r\n']
  for (let round = 0; round < 100; round += 1) {
    const socket = await dial(t, url)
    socket.on('error', () => {})
    socket.write(refused[round % 2] as string)
    socket.resetAndDestroy()
  }
  for (const bytes of refused) {
    const socket = connect({ port: Number(new URL(url).port), host: '127.0.0.1', allowHalfOpen: true })
    socket.write(bytes)
    t.equal(parse(await text(socket)).status, 400)
    socket.once('error', () => {}).write('still here')
  }
  t.equal((await call('GET', '/livez')).status, 200)
  service.app.server.closeIdleConnections()
  while (await connectionsOf(service.app.server) > 0) await new Promise(resolve => { setImmediate(resolve) })
  t.pass('no connection is left')
})

t.test('what follows a whole request does not spoil its answer', async t => {
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
  t.equal(await rest, '', 'where a request begins after that, nobody can tell')
})

t.test('on a connection with several requests each gets its own answer, whatever comes after', async t => {
  const { url, emulator, audits } = await startGuarded(t)
  const put = (id: string, more: string) => `PUT ${at(id)} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n` +
    `x-request-id: ${id}\r\n${authorization}${more}`
  const whole = `Content-Length: ${body.length}\r\n\r\n${body}`
  const brokenChunk = 'Transfer-Encoding: chunked\r\n\r\nnonsense\r\n'
  for (const [name, first, later] of [
    ['garbage', put('a1', whole) + put('a2', whole), 'nonsense\r\n\r\n'],
    ['a broken chunk', put('b1', whole) + put('b2', 'Transfer-Encoding: chunked\r\n\r\n'), 'nonsense\r\n'],
    ['a broken chunk at once', put('c1', whole) + put('c2', brokenChunk), ''],
    ['CONNECT', put('d1', whole), 'CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n']
  ] as const) {
    const before = emulator.connections
    emulator.addFault({ kind: 'latency', ms: 200, times: 2 })
    const socket = await dial(t, url)
    const answers = text(socket)
    socket.write(first)
    while (emulator.connections + emulator.requests.length === before) {
      await new Promise(resolve => { setImmediate(resolve) })
    }
    socket.write(later)
    const [id] = /x-request-id: (\w+)/.exec(first)?.slice(1) as [string]
    const right = new RegExp(`^HTTP/1\\.1 204 [^]*?x-request-id: ${id}\r\n`)
    t.match(await answers, right, `${name}: the first answer is that of the first`)
    emulator.clearFaults()
    t.equal(audits().find(each => each.requestId === id)?.outcome, 'success', name)
  }
})

t.test('a change that is broken off while somebody else is asked leaves one line, and nothing behind', async t => {
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

t.test('a body is asked for after all that would refuse it unread', async t => {
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
  t.strictSame([large.status, large.code], [413, 'PayloadTooLarge'], 'what is too large need not be sent')
  const old = await exchange(t, url, head(authorization).replace('HTTP/1.1', 'HTTP/1.0') + body)
  t.equal(old.status, 204, 'HTTP/1.0 knows no 100')
})

t.test('the host of a target in absolute form is neither logged nor answered, and there is one Host', async t => {
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

t.test('names thousands of characters long do not fill the logs', async t => {
  const { call, logs, audits } = await startGuarded(t)
  const before = logs().length
  t.equal((await call('DELETE', `/buckets/${'b'.repeat(7000)}/inventories/${'i'.repeat(7000)}`)).status, 401)
  t.match(audits(), [{ bucket: 'b'.repeat(128), id: 'i'.repeat(128), caller: null }])
  t.ok(logs().length - before < 2_000)
})

t.test('nobody reads the body of a request whose sender is not known', async t => {
  const { url, call, service, emulator, audits } = await startGuarded(t)
  const sockets: Socket[] = []
  service.app.server.on('connection', (socket: Socket) => { sockets.push(socket) })
  const head = (length: string) => `PUT ${at('a')} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n${length}\r\n\r\n`
  for (const length of ['Content-Length: 250000', 'Content-Length: 10000000000', 'Transfer-Encoding: chunked']) {
    // Not a byte of it is sent: whoever waits for one does not answer.
    const answer = await exchange(t, url, head(length))
    t.match(answer, { status: 401, code: 'Unauthenticated', headers: { connection: 'close' } }, length)
  }
  const known = await exchange(t, url, head(`Content-Length: 10000000000\r\n${authorization.trim()}`))
  t.match(known, { status: 413, code: 'PayloadTooLarge', headers: { connection: 'close' } }, 'nor what is too large by its own word')

  // Who sends it all the same talks to nobody: what has been read is what was in the buffers.
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
