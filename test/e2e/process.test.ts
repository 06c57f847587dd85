import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import type { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import t from 'tap'
import { as, callersFile, everything, withKey } from '../callers-file.ts'
import { freePort } from '../free-port.ts'
import { at, bucket, configuration, secrets, startTestEmulator, until } from '../start.ts'
import { fromSource, startProgram } from './program.ts'
import type { Program } from './program.ts'
import { credentials, dial, environmentFor, idleConnection, listen, put, startGate, startService } from './started-service.ts'

t.test('service logs its address, serves requests and exits with 0 on SIGINT', async t => {
  const emulator = await startTestEmulator(t)
  const files = t.testdir({ id: `${secrets.secretId}\n`, key: secrets.secretKey, token: `${secrets.token}\r\n` })
  const service = await startService(t, emulator.address, {
    COS_SECRET_ID: '',
    COS_SECRET_ID_FILE: `${files}/id`,
    COS_SECRET_KEY: '',
    COS_SECRET_KEY_FILE: `${files}/key`,
    COS_TOKEN: '',
    COS_TOKEN_FILE: `${files}/token`,
    COS_ROLE_ARN: 'qcs::cam::uin/1:roleName/r'
  })
  t.match(service.url, /^http:\/\/127\.0\.0\.1:\d+$/)

  const live = await fetch(`${service.url}/livez`)
  t.strictSame([live.status, await live.json()], [200, { status: 'ok' }])
  const ready = await fetch(`${service.url}/readyz`)
  t.strictSame([ready.status, await ready.json()], [200, { status: 'ok' }])
  t.equal((await put(service, 'daily')).status, 204)
  const got = await fetch(`${service.url}${at('daily')}`)
  t.strictSame([got.status, await got.json()], [200, { Id: 'daily', ...configuration }])
  t.strictSame(emulator.configurations(bucket).length, 1)

  service.process.kill('SIGINT')
  t.equal(await service.exit, 0)
  const lines = service.stdout().trimEnd().split('\n').map(line => JSON.parse(line) as { level: number, msg: string })
  t.match(lines[0]?.msg, /listening at http:\/\/127\.0\.0\.1:\d+$/i)
  const loud = lines.filter(({ level }) => level >= 40).map(({ msg }) => msg)
  t.match(loud, [/^AUTH=none, authentication is disabled$/, /have no effect$/])
  const ending = lines.map(({ msg }) => msg).filter(msg => msg.startsWith('stop'))
  t.strictSame([...ending, lines.at(-1)?.msg], ['stopping', 'stopped', 'stopped'])
  t.equal(service.stderr(), '')
})

t.test('service ignores SIGUSR1 instead of opening the inspector', async t => {
  const service = await startService(t, '127.0.0.1:1')
  const errorOutput = once(service.process.stderr as Readable, 'data')
  service.process.kill('SIGUSR1')
  await Promise.race([errorOutput, service.until(/"level":40,.*"msg":"SIGUSR1 ignored, the inspector stays off"/)])
  t.equal((await fetch(`${service.url}/livez`)).status, 200)
  t.equal(service.stderr(), '')
  service.process.kill('SIGINT')
  t.equal(await service.exit, 0)
})

t.test('SIGHUP reloads the callers file', async t => {
  const { environment } = callersFile(t, [])
  const service = await startService(t, '127.0.0.1:1', { ...environment, AUTH: 'required' })
  service.process.kill('SIGHUP')
  await service.until(/"what":"CALLERS_FILE","msg":"reloaded"/)
  service.process.kill('SIGINT')
  t.equal(await service.exit, 0)
})

t.test('demo ignores SIGUSR1 instead of opening the inspector', async t => {
  const demo = startProgram(t, 'demo', { PORT: '0' })
  const [, url] = await demo.until(/cos-inventory-proxy is at (http:\S+),/)
  demo.process.kill('SIGUSR1')
  t.equal((await fetch(`${url}/livez`)).status, 200)
  demo.process.kill('SIGINT')
  t.equal(await demo.exit, 0)
  t.equal(demo.stderr(), '')
})

t.test('start exits with 1 and lists every configuration error without secrets', async t => {
  const files = t.testdir({ token: 'another token' })
  const program = startProgram(t, 'server', {
    COS_SECRET_ID_FILE: `${files}/none`,
    COS_SECRET_KEY: `${secrets.secretKey} with blanks`,
    COS_TOKEN: secrets.token,
    COS_TOKEN_FILE: `${files}/token`,
    COS_REGION: 'Guangzhou',
    COS_TIMEOUT_MS: '5s',
    COS_CONNECT_TO: '127.0.0.1',
    PORT: '80000',
    LOG_LEVEL: 'loud',
    READ_ONLY: 'yes',
    JWT_ISSUER: 'https://issuer.example'
  })
  t.equal(await program.exit, 1)
  t.equal(program.stdout(), '')
  const [head, ...errors] = program.stderr().trimEnd().split('\n')
  t.equal(head, `The configuration has ${errors.length} errors:`)
  t.strictSame(errors.map(line => /^ {2}- ([A-Z_]+)/.exec(line)?.[1]).sort(), [
    'AUTH', 'COS_CONNECT_TO', 'COS_REGION', 'COS_SECRET_ID_FILE', 'COS_SECRET_KEY',
    'COS_TIMEOUT_MS', 'COS_TOKEN', 'JWT_ISSUER', 'LOG_LEVEL', 'PORT', 'READ_ONLY'
  ])
  for (const secret of [secrets.secretKey, secrets.token, 'another token']) {
    t.notOk(program.stderr().includes(secret), 'the value of a secret is not shown')
  }
})

t.test('start exits with 1 when the callers file cannot be read', async t => {
  const program = startProgram(t, 'server', { ...credentials, PORT: '0', CALLERS_FILE: '/nowhere/callers.json' })
  t.strictSame([await program.exit, program.stdout(), program.stderr()],
    [1, '', 'The configuration has 1 error:\n  - CALLERS_FILE cannot be read: ENOENT\n'])
})

t.test('start exits with 1 when authentication would be missing', async t => {
  const [unset, everywhere] = [{}, { AUTH: 'none', HOST: '0.0.0.0' }].map(environment =>
    startProgram(t, 'server', { ...credentials, PORT: '0', ...environment })) as [Program, Program]
  t.strictSame([await unset.exit, unset.stdout()], [1, ''])
  t.match(unset.stderr(), /^The configuration has 1 error:\n.*AUTH=required needs CALLERS_FILE.* set AUTH=none .*\n$/)
  t.strictSame([await everywhere.exit, everywhere.stdout()], [1, ''])
  t.match(everywhere.stderr(), /^The configuration has 1 error:\n.*HOST is an address .* set HOST=127\.0\.0\.1.*\n$/)
})

t.test('start exits with 1 and a fatal line when the port is taken', async t => {
  const { port } = await listen(t, createServer())
  const program = startProgram(t, 'server', { ...credentials, AUTH: 'none', PORT: String(port) })
  t.equal(await program.exit, 1)
  const lines = program.stdout().trimEnd().split('\n').map(line => JSON.parse(line) as object)
  t.match(lines, [{ level: 60, code: 'EADDRINUSE', cause: `listen EADDRINUSE: address already in use 127.0.0.1:${port}`, msg: 'cannot start' }])
  t.strictSame([lines.length, program.stderr()], [1, ''])
})

t.test('request on an open connection gets 503 with Connection: close while stopping', async t => {
  const service = await startService(t, '127.0.0.1:1')
  const idle = await idleConnection(service)
  const socket = await dial(service)
  const responses = text(socket)
  // A partial head keeps the connection from being idle.
  socket.write(`GET /livez HTTP/1.1\r\nhost: x\r\n\r\nDELETE ${at('daily')} HTTP/1.1\r\nhost: x\r\n`)
  await once(socket, 'readable')
  service.process.kill('SIGTERM')
  await idle.ended
  socket.write('\r\n')

  const [first = '', second = '', ...others] = (await responses).split(/(?=HTTP\/1\.1 )/)
  t.match(first, /^HTTP\/1\.1 200 /)
  t.match(second, /^HTTP\/1\.1 503 /)
  t.match(second, /\r\nconnection: close\r\n/i)
  t.match(second, /\r\nretry-after: 1\r\n/)
  t.match(second, /\r\ncontent-type: application\/problem\+json\r\n/)
  t.match(JSON.parse(second.split('\r\n\r\n')[1] ?? ''), { status: 503, code: 'ShuttingDown', instance: at('daily') })
  t.strictSame(others, [])
  t.equal(await service.exit, 0)
})

t.test('request is aborted after SHUTDOWN_GRACE_MS, and the process exits with 0', async t => {
  const gate = await startGate(t, await startTestEmulator(t))
  const service = await startService(t, gate.address, { SHUTDOWN_GRACE_MS: '100' })
  const aborted = t.rejects(put(service, 'daily'))
  await gate.reached
  service.process.kill('SIGTERM')
  t.equal(await service.exit, 0)
  t.match(service.stdout(), /"graceMs":100,"msg":"grace period ended, requests were aborted"/)
  await aborted
})

t.test('second signal ends the process at once with 1', async t => {
  const gate = await startGate(t, await startTestEmulator(t))
  const service = await startService(t, gate.address)
  const aborted = t.rejects(put(service, 'daily'))
  await gate.reached
  service.process.kill('SIGTERM')
  await service.until(/"msg":"stopping"/)
  service.process.kill('SIGINT')
  t.equal(await service.exit, 1)
  await aborted
})

t.test('stderr gets the audit lines that stdout did not accept', async t => {
  const emulator = await startTestEmulator(t)
  const full = openSync('/dev/full', 'w')
  t.teardown(() => { closeSync(full) })
  const port = await freePort()
  const { environment } = callersFile(t, [withKey('admin', everything)])
  const program = startProgram(t, 'server', {
    ...environmentFor(emulator.address), ...environment, AUTH: 'required', ALLOWED_HOSTS: '', PORT: String(port), LOG_LEVEL: 'silent'
  }, full)
  const url = `http://127.0.0.1:${port}`
  await until(() => fetch(`${url}/livez`).then(() => true, () => false))
  const remove = async (id: string) => (await fetch(url + at(id), { method: 'DELETE', headers: as('admin') })).status
  t.equal(await remove('first'), 204)
  t.equal(await remove('second'), 503)
  program.process.kill('SIGTERM')
  t.equal(await program.exit, 0)
  t.match(JSON.parse(program.stderr()), { type: 'audit', id: 'first', status: 204 })
})

t.test('demo starts without configuration, and its printed curl commands work', async t => {
  const demo = startProgram(t, 'demo', { PORT: '0' })
  await demo.until(/\?limit=3'\n/)
  const [, url, docs] = /is at (\S+), its documentation at (\S+)\n/.exec(demo.stdout()) ?? []
  t.match(url, /^http:\/\/127\.0\.0\.1:\d+$/)
  t.equal((await fetch(`${docs}`)).status, 200)

  const commands = demo.stdout().match(/^curl .*$/gm) ?? []
  t.equal(commands.length, 5)
  const [created, read, listed, report, rows] = await inOrder(commands, runCurl)
  t.equal(created?.status, 204)
  t.strictSame([read?.status, (read?.json as { Id: string }).Id], [200, 'daily-report'])
  t.strictSame([listed?.status, listed?.json], [200, { InventoryConfigurations: [read?.json], IsTruncated: false }])

  t.match(report?.json, { Id: 'all-objects', IsVerified: true, FilterObjectCount: 5000 })
  t.strictSame([rows?.status, rows?.text.split('\n').length], [200, 4], 'three rows')

  const malformed = await fetch(`${url}${at('a')}`, { method: 'PUT', headers: { 'content-type': 'application/json' }, body: '{"a": 1' })
  t.match(await malformed.json(), { status: 400, code: 'MalformedJSON', detail: /line 1, column 8/ })

  demo.process.kill('SIGINT')
  t.strictSame([await demo.exit, demo.stderr()], [0, ''])
})

t.test('demo exits with 1 and one message when PORT is taken or invalid', async t => {
  const { port } = await listen(t, createServer())
  const taken = startProgram(t, 'demo', { PORT: String(port) })
  const wrong = startProgram(t, 'demo', { PORT: 'http' })
  t.equal(await taken.exit, 1)
  t.strictSame([taken.stdout(), taken.stderr()], ['', `Port ${port} is in use. Set PORT to another one.\n`])
  t.equal(await wrong.exit, 1)
  t.match(wrong.stderr(), /^The configuration has 1 error:\n {2}- PORT must be .*\n$/)
})

for (const [program, files] of [
  ['openapi', ['openapi/openapi.json', 'openapi/openapi.yaml']],
  ['docs', ['docs/configuration.md', 'docs/errors.md']]
] as const) {
  t.test(`npm run ${program} writes the committed files`, async t => {
    const copy = pathToFileURL(`${t.testdir({ openapi: {}, docs: {} })}/`)
    const source = fileURLToPath(new URL(`../../src/${program}.ts`, import.meta.url))
    t.equal(execFileSync(process.execPath, [...fromSource, source], { cwd: copy, encoding: 'utf8' }), '')
    for (const file of files) {
      const [written, committed] = [copy, new URL('../../', import.meta.url)].map(base => readFileSync(new URL(file, base), 'utf8'))
      t.ok(written === committed, `${file} is current; if not, run \`npm run ${program}\``)
    }
  })
}

/** Sends the request of a curl command. A shell parses the command, because curl may not be installed. */
async function runCurl (command: string): Promise<{ status: number, text: string, json: unknown }> {
  const script = `curl () { printf '%s\\0' "$@"; }\n${command}`
  const words = execFileSync('sh', ['-c', script], { encoding: 'utf8' }).split('\0').slice(0, -1)
  const { values: { request = 'GET', header = [], data = null }, positionals: [url = ''] } = parseArgs({
    args: words,
    options: {
      include: { type: 'boolean', short: 'i' },
      request: { type: 'string', short: 'X' },
      header: { type: 'string', short: 'H', multiple: true },
      data: { type: 'string', short: 'd' }
    },
    allowPositionals: true
  })
  const headers = header.map(line => line.split(/: (.*)/).slice(0, 2) as [string, string])
  const response = await fetch(url, { method: request, headers, body: data })
  const text = await response.text()
  const isJson = response.headers.get('content-type')?.startsWith('application/json') === true
  return { status: response.status, text, json: isJson ? JSON.parse(text) as unknown : undefined }
}

async function inOrder<T, R> (values: T[], act: (value: T) => Promise<R>): Promise<R[]> {
  const results: R[] = []
  for (const value of values) results.push(await act(value))
  return results
}
