import { Console } from 'node:console'
import { once } from 'node:events'
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Writable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { mock } from 'node:test'
import { setImmediate as settled } from 'node:timers/promises'
import { format, inspect } from 'node:util'
import t from 'tap'
import { readConfig } from '../../src/config/config.ts'
import { directFetcher, FetchError } from '../../src/outbound/fetch-json.ts'
import { watchFiles } from '../../src/files/file-watch.ts'
import { malformation } from '../../src/http/connections/protocol-errors.ts'
import { toJsonInParts } from '../../src/http/json-responses.ts'
import { countParameters, parseQuery } from '../../src/http/query.ts'
import { createReloader } from '../../src/files/reload.ts'
import { Secret } from '../../src/secret.ts'
import { logWarnings } from '../../src/logging/warnings.ts'
import { refuseSecrets, secret } from '../secrets.ts'
import { recordingLogger } from '../start.ts'

const { fetchJson, fetchText } = directFetcher

interface Test {
  teardown (handler: () => unknown): void
}

const hourMs = 3_600_000

t.test('reloads of a watch run one after another, and not after its end', async t => {
  const reloader = createReloader(recordingLogger(t).logger, () => 0)
  const events: string[] = []
  const endSecond = { call: () => {} }
  reloader.watch('FIRST', [], async () => {
    events.push('begin')
    endSecond.call()
    await settled()
    events.push('end')
  })
  endSecond.call = reloader.watch('SECOND', [], () => { events.push('second') })
  await Promise.all([reloader.reloadAll(), reloader.reloadAll()])
  t.strictSame(events, ['begin', 'end', 'begin', 'end'])
  reloader.close()
})

t.test('Secret is not printed by any means except reveal', async t => {
  const hidden = 'hHiIdDdDeEnN0123456789'
  const wrapped = new Secret(hidden)
  const deep = { a: [{ b: { c: { d: { e: wrapped } } } }], map: new Map([[wrapped, wrapped]]), set: new Set([wrapped]) }
  const cause = Object.assign(new Error(`with ${String(wrapped)}`), { wrapped, config: { key: wrapped } })
  const error = Object.assign(new TypeError('outer', { cause }), { deep })
  const everything = { depth: null, showHidden: true, showProxy: true, getters: true } as const
  const printed = [
    `${wrapped}`, '' + String(wrapped), [wrapped, wrapped].join(), JSON.stringify(deep), JSON.stringify(wrapped),
    inspect(wrapped), inspect(deep, everything), inspect(error, everything), String(error.stack), String(cause.stack),
    // Without custom inspection, a Secret prints as an object without content.
    inspect(deep, { ...everything, customInspect: false }), inspect(error, { ...everything, customInspect: false }),
    JSON.stringify(Object.entries(Object.getOwnPropertyDescriptors(wrapped))), JSON.stringify({ ...wrapped }),
    inspect(structuredClone(wrapped), everything), inspect(new Proxy(wrapped, {}), everything),
    ...['%s', '%o', '%O', '%j', '%d', '%i', '%c', ''].map(directive => format(directive, wrapped, deep, error))
  ]
  for (const [index, each] of printed.entries()) t.notMatch(each, hidden, `way ${index}`)
  t.strictSame([`${wrapped}`, JSON.stringify({ wrapped }), inspect({ wrapped })],
    ['[secret]', '{"wrapped":"[secret]"}', '{ wrapped: [secret] }'], 'the output shows that a secret is present')
  t.equal(wrapped.reveal(), hidden)
})

t.test('console and logger print no secret', async t => {
  const hidden = 'lLoOgGgGeErR0123456789'
  const wrapped = new Secret(hidden)
  const error = Object.assign(new Error('failed', { cause: Object.assign(new Error('inner'), { wrapped }) }), { wrapped })
  let printed = ''
  const stdout = new Writable({
    write (chunk: Buffer, _, done) {
      printed += chunk.toString()
      done()
    }
  })
  const console = new Console({ stdout, stderr: stdout, inspectOptions: { depth: null, showHidden: true } })
  console.log('%s %o %O %j', wrapped, { wrapped }, { wrapped }, { wrapped })
  console.log(wrapped, [wrapped], { deep: { wrapped } })
  console.error(error)
  console.dir({ wrapped }, { depth: null })
  console.table([{ wrapped }])
  const { logger, logs } = recordingLogger(t)
  logger.info({ wrapped, deep: { list: [wrapped] } }, 'with %s and %j and %o', wrapped, { wrapped }, { wrapped })
  logger.error(error)
  logger.error({ err: error, cause: error.cause }, 'failed')
  logger.child({ wrapped }).warn('from a child')
  for (const written of [printed, logs()]) {
    t.notMatch(written, hidden)
    t.match(written, /\[secret\]/)
  }
  t.equal(logs().trimEnd().split('\n').length, 4)
})

t.test('toJsonInParts returns the same text as JSON.stringify', async t => {
  const items = [{ Id: 'a', '"': '\n' }, { Id: 'b' }]
  for (const page of [
    { InventoryConfigurations: [], IsTruncated: false },
    { InventoryConfigurations: items, IsTruncated: true, NextContinuationToken: 't', Unknown: ['x'] },
    { InventoryConfigurations: Array(2_000).fill({ Id: 'x'.repeat(5_000) }), IsTruncated: false }
  ]) t.ok(await toJsonInParts(page) === JSON.stringify(page))
})

t.test('parseQuery returns one value or all values of each name', t => {
  for (const [query, expected] of [
    ['', {}],
    ['a', { a: '' }],
    ['a=1&b=2', { a: '1', b: '2' }],
    ['a=1&a=2&b=&a=3', { a: ['1', '2', '3'], b: '' }],
    ['token=a+b%2Bc%20d', { token: 'a+b+c d' }],
    ['a=%zz&b=%', { a: '%zz', b: '%' }],
    ['__proto__=1', { ['__proto__']: '1' }],
    [`${'a=1&'.repeat(49)}b`, { a: Array(49).fill('1'), b: '' }],
    [`${'a=1&'.repeat(50)}b`, {}]
  ] as const) t.strictSame(parseQuery(query), expected, query)
  t.strictSame(['', 'a', 'a&b', '&', 'a&'.repeat(5_000)].map(countParameters), [0, 1, 2, 2, 51])
  t.end()
})

t.test('malformation names too many headers, before Node of any version does', async t => {
  const request = (count: number) => ({
    httpVersion: '1.1', rawHeaders: ['Host', 'x', ...Array.from({ length: 2 * (count - 1) }, () => 'a')], headers: {}, url: '/'
  }) as unknown as IncomingMessage
  t.equal(malformation(request(1000)), undefined)
  t.match(malformation(request(1001)), { status: 431, code: 'RequestHeaderFieldsTooLarge' })
})

t.test('watchFiles reports every kind of change to a file once, within a second', async t => {
  mock.timers.enable({ apis: ['setInterval'] })
  t.teardown(() => { mock.timers.reset() })
  const dir = t.testdir({ 'in-place': 'one', renamed: 'one', removed: 'one', looping: 'one', v1: { key: 'one' }, v2: { key: 'two' } })
  // Kubernetes mounts a secret behind a link that it swaps.
  symlinkSync('v1', `${dir}/..data`)
  symlinkSync('..data/key', `${dir}/linked`)
  const files = ['in-place', 'renamed', 'removed', 'looping', 'linked', 'later', 'folder/later'].map(name => `${dir}/${name}`)
  let changes = 0
  const end = watchFiles(files, () => { changes += 1 })
  t.teardown(end)
  const noticed = (ms = 1000) => {
    const before = changes
    mock.timers.tick(ms)
    return changes - before
  }

  t.equal(noticed(10_000), 0, 'no change, for absent files too')
  const steps: Array<[string, () => void]> = [
    ['written in place', () => { writeFileSync(`${dir}/in-place`, 'another') }],
    ['replaced by one of the same size', () => {
      writeFileSync(`${dir}/new`, 'two')
      renameSync(`${dir}/new`, `${dir}/renamed`)
    }],
    ['the target of a link swapped', () => {
      symlinkSync('v2', `${dir}/..data_tmp`)
      renameSync(`${dir}/..data_tmp`, `${dir}/..data`)
    }],
    ['deleted', () => { rmSync(`${dir}/removed`) }],
    ['created again', () => { writeFileSync(`${dir}/removed`, 'one') }],
    ['created', () => { writeFileSync(`${dir}/later`, 'one') }],
    ['created with its folder', () => {
      mkdirSync(`${dir}/folder`)
      writeFileSync(`${dir}/folder/later`, 'one')
    }],
    ['replaced by an unreadable link', () => {
      rmSync(`${dir}/looping`)
      symlinkSync('looping', `${dir}/looping`)
    }],
    ['its folder replaced by a file', () => {
      rmSync(`${dir}/folder`, { recursive: true })
      writeFileSync(`${dir}/folder`, '')
    }]
  ]
  for (const [how, change] of steps) {
    change()
    t.equal(noticed(999), 0, 'files are checked once a second')
    t.equal(noticed(1), 1, how)
    t.equal(noticed(3000), 0, 'reported once')
  }
  for (const name of ['in-place', 'renamed', 'later']) writeFileSync(`${dir}/${name}`, 'several at a time')
  t.equal(noticed(), 1, 'several files are one change')
  end()
  writeFileSync(`${dir}/in-place`, 'after the end')
  t.equal(noticed(10_000), 0)
})

t.test('reloader logs each reload, and a failed reload keeps the previous value', async t => {
  mock.timers.enable({ apis: ['setInterval'] })
  t.teardown(() => { mock.timers.reset() })
  const dir = t.testdir({ one: '1', two: '1' })
  const { logger, logs } = recordingLogger(t)
  const lines = () => logs().split('\n').filter(line => line !== '').map(line => {
    const { level, what, cause, msg } = JSON.parse(line) as { level: number, what: string, cause?: string, msg: string }
    return [level, what, cause ?? msg]
  })
  let clock = 1
  const reloader = createReloader(logger, () => clock)
  const states = () => reloader.states().map(({ file, isCurrent, readAt }) => [file, isCurrent, readAt])
  const counts = { one: 0, two: 0 }
  let failure: string | undefined
  reloader.watch('ONE', [`${dir}/one`], () => {
    counts.one += 1
    if (failure !== undefined) throw new Error(failure)
  })
  reloader.watch('TWO', [`${dir}/two`, `${dir}/absent`], async () => {
    await settled()
    counts.two += 1
    if (failure !== undefined) throw new Error(`later: ${failure}`)
  })
  reloader.watch('NOTHING', [], () => {})
  const pass = async () => {
    mock.timers.tick(1000)
    await settled()
    await settled()
  }

  clock = 2
  await pass()
  t.strictSame(lines(), [], 'no reload without a change')
  t.strictSame(states(), [['ONE', true, 1], ['TWO', true, 1], ['NOTHING', true, 1]])
  writeFileSync(`${dir}/one`, '22')
  await pass()
  t.strictSame([counts, lines()], [{ one: 1, two: 0 }, [[30, 'ONE', 'reloaded']]], 'only the changed file is reloaded')
  writeFileSync(`${dir}/absent`, '1')
  await pass()
  t.strictSame(lines().at(-1), [30, 'TWO', 'reloaded'])
  t.strictSame(states(), [['ONE', true, 2], ['TWO', true, 2], ['NOTHING', true, 1]])
  clock = 3

  failure = 'not what it must be'
  for (const name of ['one', 'two']) writeFileSync(`${dir}/${name}`, '333')
  await pass()
  t.strictSame(lines().slice(2), [[50, 'ONE', failure], [50, 'TWO', `later: ${failure}`]], 'failures are logged at level error')
  t.match(logs(), /"msg":"reload failed, keeping previous value"/)
  t.strictSame(states(), [['ONE', false, 2], ['TWO', false, 2], ['NOTHING', true, 1]], 'the time is that of the content in effect')
  await reloader.reloadAll()
  t.strictSame(lines().slice(4).sort(byName), [[30, 'NOTHING', 'reloaded'], [50, 'ONE', failure], [50, 'TWO', `later: ${failure}`]])
  failure = undefined
  await reloader.reloadAll()
  t.strictSame(lines().slice(7).map(([level]) => level), [30, 30, 30], 'reloadAll also reloads unchanged files after a failure')
  t.strictSame(states(), [['ONE', true, 3], ['TWO', true, 3], ['NOTHING', true, 3]])

  const freshness = () => ({ isCurrent: false, readAt: undefined })
  const end = reloader.watch('FOUR', [], () => {}, { account: '1250000000', freshness })
  t.strictSame(reloader.states().at(-1), { file: 'FOUR', account: '1250000000', isCurrent: false, readAt: undefined })
  end()
  t.strictSame(states().map(([file]) => file), ['ONE', 'TWO', 'NOTHING'], 'the watch has ended')
  reloader.close()
  const before = lines().length
  for (const name of ['one', 'two']) writeFileSync(`${dir}/${name}`, '4444')
  await pass()
  t.equal(lines().length, before, 'no reload after close')
})

t.test('AUTH=none is warned about at start and every hour until end is called', async t => {
  mock.timers.enable({ apis: ['setInterval'] })
  t.teardown(() => { mock.timers.reset() })
  const { warnings, end } = warn({ AUTH: 'none' })
  t.match(warnings, [/^AUTH=none, authentication is disabled$/])
  mock.timers.tick(hourMs - 1)
  t.equal(warnings.length, 1)
  mock.timers.tick(1)
  t.match(warnings, [/^AUTH=none/, /^AUTH=none, authentication is disabled$/])
  mock.timers.tick(5 * hourMs)
  t.equal(warnings.length, 7)
  end()
  mock.timers.tick(5 * hourMs)
  t.equal(warnings.length, 7)
})

t.test('warnings are logged once for plain HTTP key URLs, unused variables and callers', async t => {
  mock.timers.enable({ apis: ['setInterval'] })
  t.teardown(() => { mock.timers.reset() })
  const required = { AUTH: 'required', CALLERS_FILE: '/callers.json' }
  const withKeysAt = (url: string) =>
    ({ ...required, JWT_JWKS_URL: url, JWT_ISSUER: 'https://issuer.example', JWT_AUDIENCE: 'inventories' })
  for (const url of [
    'https://issuer.example/jwks', 'http://localhost/jwks', 'http://LOCALHOST:8080/jwks', 'http://127.0.0.1:80/jwks',
    'http://127.8.9.10/jwks', 'http://2130706433/jwks', 'http://[::1]:3000/jwks'
  ]) t.strictSame(warn(withKeysAt(url)).warnings, [], url)
  for (const url of [
    'http://issuer.example/jwks', 'http://10.0.0.1/jwks', 'http://127.evil.example/jwks', 'http://localhost.evil.example/jwks',
    'http://[::2]/jwks', 'http://128.0.0.1/jwks', 'http://0.0.0.0/jwks'
  ]) t.match(warn(withKeysAt(url)).warnings, [/^JWT_JWKS_URL is plain HTTP, keys can be forged/], url)

  const quiet = warn(required)
  const loud = warn({ ...required, COS_ROLE_ARN: 'qcs::cam::uin/1:roleName/r', COS_SECRETKEY: 'AKIDvalue' }, ['by-token', 'by-certificate'])
  mock.timers.tick(24 * hourMs)
  t.strictSame(quiet.warnings, [])
  t.match(loud.warnings, [
    /^callers cannot authenticate, a variable is not set$/, /^variables are set but have no effect$/,
    /^variables are unknown and have no effect$/
  ], 'once each')
  t.match(loud.fields, [{ callers: ['by-token', 'by-certificate'] }, { variables: ['COS_ROLE_ARN'] }, { variables: ['COS_SECRETKEY'] }])
})

t.test('fetchJson and fetchText send method, path, headers and body', async t => {
  const received: unknown[] = []
  const { url } = await startServer(t, async (request, response) => {
    const { method, url, headers } = request
    received.push([method, url, headers['x-colour'], await text(request)])
    response.end('{"a":[1]}')
  })
  t.strictSame(await fetchJson(`${url}/some/path?query=1`), { a: [1] })
  t.equal(await fetchText(url, { method: 'POST', headers: { 'x-colour': 'red' }, body: 'sent' }), '{"a":[1]}')
  t.strictSame(received, [['GET', '/some/path?query=1', undefined, ''], ['POST', '/', 'red', 'sent']])
})

t.test('fetchJson rejects with host and cause only when a document is incomplete', async t => {
  const whole = JSON.stringify('x'.repeat(256 * 1024 - 2))
  let afterRedirect = 0
  const { url, host } = await startServer(t, (request, response) => {
    const [, how = ''] = (request.url ?? '').split('/')
    const responses: Record<string, () => unknown> = {
      status: () => response.writeHead(Number(request.url?.split('/')[2])).end('{"answered":"aNsWeReD"}'),
      redirect: () => response.writeHead(302, { location: '/target' }).end('aNsWeReD'),
      target: () => {
        afterRedirect += 1
        response.end('{}')
      },
      whole: () => response.end(whole),
      large: () => response.end(`${whole} `),
      'large-in-pieces': () => {
        response.write(whole)
        response.end(' ')
      },
      cut: () => {
        response.writeHead(200, { 'content-length': '100' }).write('{"answered":"aNsWeReD"}')
        setImmediate(() => response.destroy())
      },
      'cut-in-pieces': () => {
        response.write('{"answered":"aNsWeReD"}')
        setImmediate(() => response.destroy())
      },
      reset: () => request.socket.resetAndDestroy(),
      'no-http': () => request.socket.end('aNsWeReD\r\n\r\n'),
      'no-json': () => response.end('{"answered":"aNsWeReD"'),
      empty: () => response.end()
    }
    responses[how]?.()
  })
  const rejects = async (path: string, pattern: RegExp, origin = url) => {
    const failure = await fetchJson(`${origin}/${path}?query=qQuUeErRyY`, {
      method: 'POST', headers: { authorization: 'hHeEaAdD' }, body: 'bBoOdDyY'
    }).then(() => undefined, (error: unknown) => error as Error)
    t.ok(failure instanceof FetchError, path)
    t.match(failure?.message, pattern, path)
    t.ok(failure?.message.startsWith(`${new URL(origin).host} `), 'the host')
    t.notMatch(inspect(failure, { depth: null, showHidden: true }), /pPaAtThH|qQuUeErRyY|hHeEaAdD|bBoOdDyY|aNsWeReD/)
  }
  for (const status of [201, 204, 401, 404, 500, 503]) await rejects(`status/${status}/pPaAtThH`, new RegExp(` returned ${status}$`))
  await rejects('redirect/pPaAtThH', / returned 302$/)
  t.equal(afterRedirect, 0, 'a redirect is not followed')
  for (const path of ['large', 'large-in-pieces', 'cut', 'cut-in-pieces', 'reset', 'no-http']) {
    await rejects(`${path}/pPaAtThH`, / did not respond \([A-Za-z_]+\)$/)
  }
  for (const path of ['no-json', 'empty']) await rejects(`${path}/pPaAtThH`, / did not return JSON$/)
  const { url: closed, close } = await startServer(t, () => {})
  await close()
  await rejects('pPaAtThH', / did not respond \(ECONNREFUSED\)$/, closed)
  t.equal((await fetchText(`${url}/whole`)).length, 256 * 1024, '256 KiB are accepted')
  await t.rejects(fetchText(`${url}/status/403`), { name: 'FetchError', message: `${host} returned 403` }, 'fetchText rejects too')
})

t.test('fetchText rejects after five seconds when the response does not end', async t => {
  const { url } = await startServer(t, (request, response) => {
    if (request.url === '/slow') setInterval(() => response.write(' '), 5).unref()
  })
  // The real signal is used with a hundredth of its time.
  const timeout = AbortSignal.timeout.bind(AbortSignal)
  const created = mock.method(AbortSignal, 'timeout', (ms: number) => timeout(ms / 100))
  t.teardown(() => { created.mock.restore() })
  await t.rejects(fetchText(`${url}/never`), { name: 'FetchError', message: / did not respond \(TimeoutError\)$/ })
  await t.rejects(fetchText(`${url}/slow`), { name: 'FetchError', message: / did not respond \(TimeoutError\)$/ }, 'a slow body is limited too')
  t.strictSame(created.mock.calls.map(call => call.arguments), [[5000], [5000]])
})

t.test('SHUTDOWN_GRACE_MS below COS_DEADLINE_MS is warned about with both times', t => {
  const below = { AUTH: 'none', SHUTDOWN_GRACE_MS: '14999' }
  const { warnings, fields, end } = warn(below)
  end()
  t.match(warnings.at(-1), /^SHUTDOWN_GRACE_MS is below COS_DEADLINE_MS/)
  t.strictSame(fields.at(-1), { graceMs: 14_999, deadlineMs: 15_000 })
  for (const enough of [{ ...below, COS_DEADLINE_MS: '14999' }, { AUTH: 'none' }]) {
    const quiet = warn(enough)
    quiet.end()
    t.equal(quiet.warnings.length, 1, 'only AUTH=none')
  }
  t.end()
})

t.test('refuseSecrets throws when a text contains a test secret or a secret format', async t => {
  const made = [secret('mMaAdDeE-of-a-test'), secret('also.one+with(odd)*[characters]$')]
  const looksLike = [
    'q-signature=0123', 'q-sign-algorithm=sha1', 'q-sign-time=1;2', 'q-ak=AKIDx', 'TC3-HMAC-SHA256 Credential', 'Bearer abc',
    'bearer   a-_', 'BEARER xyz', 'eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.c2ln', 'eyJhbGciOiJub25lIn0.e30.',
    `cip_${'a'.repeat(20)}`, '-----BEGIN PRIVATE KEY-----', '-----BEGIN EC PRIVATE KEY-----', 'redis://:password@host', 'rediss://user:password@host:1/0'
  ]
  for (const text of [...made, ...looksLike]) {
    for (const written of [text, `{"msg":"${text}"}`, `first line\nthe beginning ${text} and more\nlast line`, `${'x'.repeat(500)}${text}`]) {
      t.throws(() => { refuseSecrets(written) }, { message: /^a secret was logged, in the line that begins with / }, text)
      t.notOk(messageOf(() => { refuseSecrets(written) })?.includes(text), 'the message does not contain the secret')
    }
  }
  t.notMatch(messageOf(() => { refuseSecrets('authorization: q-ak=AKIDvisible&q-signature=0123') }), 'AKIDvisible', 'nor the first of two secrets')
  t.match(messageOf(() => { refuseSecrets(`first\n{"msg":"second ${made[0]}\nthird`) }), /begins with \{"msg":"second $/)
  for (const harmless of [
    '', 'sha256:0123456789abcdef', 'Bearer', 'Bearer [secret]', 'Authorization: Bearer.', '"bearer":', 'redis://host:6379', 'eyJhbGci',
    'PUBLIC KEY', 'cip_short', 'the signature is wrong', 'mMaAdDeE-of-another'
  ]) t.doesNotThrow(() => { refuseSecrets(harmless) }, harmless)
})

/** Records the warnings for this environment; `end` stops them. */
function warn (environment: Record<string, string>, unreachable: string[] = []) {
  const [warnings, fields]: [string[], unknown[]] = [[], []]
  const log = {
    warn (...args: unknown[]) {
      warnings.push(args.at(-1) as string)
      fields.push(args[0])
    }
  }
  const config = readConfig({ COS_SECRET_ID: 'AKIDx', COS_SECRET_KEY: 'x', ...environment })
  return { warnings, fields, end: logWarnings(config, unreachable, log) }
}

async function startServer (
  t: Test, serve: (request: IncomingMessage, response: ServerResponse) => unknown
): Promise<{ url: string, host: string, close: () => Promise<void> }> {
  const server = createServer((request, response) => { void serve(request, response) }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const close = () => new Promise<void>(resolve => {
    server.close(() => { resolve() })
    server.closeAllConnections()
  })
  t.teardown(close)
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`
  return { url: `http://${host}`, host, close }
}

function messageOf (act: () => void): string | undefined {
  try {
    act()
    return undefined
  } catch (error) {
    return (error as Error).message
  }
}

function byName ([, a]: unknown[], [, b]: unknown[]): number {
  return String(a) < String(b) ? -1 : 1
}
