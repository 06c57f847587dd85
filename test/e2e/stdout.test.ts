import { execFileSync } from 'node:child_process'
import { closeSync, constants, openSync, readFileSync, readSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { freePort } from '../free-port.ts'
import { refuseSecrets } from '../secrets.ts'

import { at, configuration, secrets, startTestEmulator, until } from '../start.ts'
import { startProgram } from './program.ts'
import type { Program } from './program.ts'

interface Test {
  testdir (): string
  teardown (handler: () => unknown): void
}
interface Line { level: number, msg: string, type?: string, id?: string, status?: number, path?: string }

const graceMs = 1_000
const longPath = `/nowhere/${'x'.repeat(500)}`

t.test('service serves requests and exits with 0 on SIGTERM when stdout is not read', async t => {
  const emulator = await startTestEmulator(t)
  const { writer, read } = openPipe(t)
  const { program, url } = await startService(t, emulator.address, writer)

  const statuses = await inBatches(500, async index => (await put(url, `c${index}`)).status)
  t.strictSame([...new Set(statuses)].sort(), [204, 503])
  const accepted = statuses.filter(status => status === 204).length
  t.equal(emulator.requests.length, accepted, 'a rejected change is not sent to COS')
  const rejected = await put(url, 'rejected')
  t.equal(rejected.headers.get('retry-after'), '1')
  t.match(await rejected.json(), { status: 503, code: 'AuditLogUnavailable' })

  const reads = await inBatches(2_000, async () => (await fetch(url + longPath)).status)
  t.strictSame([...new Set(reads)], [404])
  t.equal((await fetch(`${url}${at('c0')}`)).status, 200)
  t.equal((await fetch(`${url}/livez`)).status, 200)
  t.match(await (await fetch(`${url}/metrics`)).text(), /^log_lines_dropped_total [1-9]/m)

  // From here on, stdout is read.
  const lines = readUntil(read, text => text.includes('"id":"later"'))
  await until(async () => (await put(url, 'later')).status === 204)
  const ids = auditsOf(await lines).map(({ id }) => id)
  const all = statuses.flatMap((status, index) => status === 204 ? [`c${index}`] : [])
  t.strictSame(ids.filter(id => id !== 'later').sort(), all.sort(), 'every change that was made has its audit line')

  // From here on, stdout is not read.
  await inBatches(200, async () => (await fetch(url + longPath)).status)
  const signaledAt = performance.now()
  program.process.kill('SIGTERM')
  t.equal(await program.exit, 0)
  t.ok(performance.now() - signaledAt < graceMs + 10_000)
})

t.test('PUT returns 503 when stdout has no reader', async t => {
  const emulator = await startTestEmulator(t)
  const { writer, closeReader } = openPipe(t)
  const { program, url } = await startService(t, emulator.address, writer)
  closeReader()
  t.equal((await fetch(`${url}/nowhere`)).status, 404)
  const rejected = await put(url, 'rejected')
  t.equal(rejected.status, 503)
  t.match(await rejected.json(), { code: 'AuditLogUnavailable' })
  t.equal(emulator.requests.length, 0)
  t.equal((await fetch(`${url}/livez`)).status, 200)
  program.process.kill('SIGTERM')
  t.equal(await program.exit, 0)
})

for (const [name, open] of [['a file', openFile], ['a slow pipe', openPipe]] as const) {
  t.test(`${name} contains every line in order at exit`, async t => {
    const emulator = await startTestEmulator(t)
    const { writer, read } = open(t)
    const { program, url } = await startService(t, emulator.address, writer)
    await inBatches(100, async index => (await put(url, `c${index}`)).status)
    await inBatches(300, async index => (await fetch(`${url}/nowhere/${index}`)).status)
    program.process.kill('SIGTERM')
    const text = readUntil(read, () => program.process.exitCode !== null)
    t.equal(await program.exit, 0)
    const lines = linesOf(await text)
    t.match(lines[0]?.msg, /listening at/)
    t.strictSame(lines.slice(-2).map(({ msg }) => msg), ['stopping', 'stopped'])
    t.equal(auditsOf(await text).length, 100)
    t.equal(lines.filter(({ path }) => path?.startsWith('/nowhere/')).length, 300)
    const times = lines.map(line => (line as unknown as { time: number }).time)
    t.strictSame(times, [...times].sort((a, b) => a - b))
  })
}

t.test('file contains every line when AUDIT_LOG is /dev/stdout', async t => {
  const emulator = await startTestEmulator(t)
  const { writer, read } = openFile(t)
  const { program, url } = await startService(t, emulator.address, writer, { AUDIT_LOG: '/dev/stdout' })
  await inBatches(20, async index => (await put(url, `c${index}`)).status)
  program.process.kill('SIGTERM')
  t.equal(await program.exit, 0)
  const lines = linesOf(read())
  t.equal(lines.filter(({ type }) => type === 'audit').length, 20)
  t.equal(lines.filter(({ msg }) => msg === 'request completed').length, 20)
  t.match(lines.at(-1), { msg: 'stopped' })
})

t.test('stderr contains the audit lines when AUDIT_LOG=stderr', async t => {
  const emulator = await startTestEmulator(t)
  const { writer, read } = openFile(t)
  const { program, url } = await startService(t, emulator.address, writer, { AUDIT_LOG: 'stderr' })
  t.equal((await put(url, 'a')).status, 204)
  program.process.kill('SIGTERM')
  t.equal(await program.exit, 0)
  t.match(linesOf(program.stderr()), [{ type: 'audit', id: 'a', status: 204 }])
  t.strictSame(auditsOf(read()), [])
})

t.test('pipe contains the fatal line when the service cannot start', async t => {
  const server = createServer()
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => new Promise(resolve => { server.close(resolve) }))
  const { port } = server.address() as AddressInfo
  const { writer, read } = openPipe(t)
  const program = startProgram(t, 'server', environmentFor('127.0.0.1:1', { PORT: String(port) }), writer)
  t.equal(await program.exit, 1)
  t.match(linesOf(read()).at(-1), { level: 60, cause: /^listen EADDRINUSE/, msg: 'cannot start' })
})

function environmentFor (connectTo: string, more: Record<string, string> = {}): Record<string, string> {
  return {
    AUTH: 'none',
    PORT: '0',
    COS_SECRET_ID: secrets.secretId,
    COS_SECRET_KEY: secrets.secretKey,
    COS_TOKEN: secrets.token,
    COS_SCHEME: 'http',
    COS_REGION: 'ap-guangzhou',
    COS_CONNECT_TO: connectTo,
    SHUTDOWN_GRACE_MS: String(graceMs),
    ...more
  }
}

/** Starts the built service with this descriptor as stdout and waits until it serves requests. */
async function startService (
  t: Test, connectTo: string, stdout: number, more: Record<string, string> = {}
): Promise<{ program: Program, url: string }> {
  const port = await freePort()
  const program = startProgram(t, 'server', environmentFor(connectTo, { PORT: String(port), ...more }), stdout)
  const url = `http://127.0.0.1:${port}`
  const isServing = () => fetch(`${url}/livez`).then(() => true, () => false)
  await until(isServing)
  return { program, url }
}

async function put (url: string, id: string): Promise<Response> {
  const headers = { 'content-type': 'application/json' }
  return await fetch(`${url}${at(id)}`, { method: 'PUT', headers, body: JSON.stringify(configuration) })
}

/** Sends this many requests, twenty at a time. */
async function inBatches<T> (count: number, send: (index: number) => Promise<T>): Promise<T[]> {
  const results: T[] = []
  for (let first = 0; first < count; first += 20) {
    const batch = Array.from({ length: Math.min(20, count - first) }, (_, index) => send(first + index))
    results.push(...await Promise.all(batch))
  }
  return results
}

/** Reads until the condition is true, and then the remaining text. */
async function readUntil (read: () => string, isAll: (text: string) => boolean): Promise<string> {
  let text = ''
  await until(() => {
    text += read()
    return isAll(text)
  })
  for (let part = read(); part !== ''; part = read()) text += part
  refuseSecrets(text)
  return text
}

function linesOf (text: string): Line[] {
  return text.trimEnd().split('\n').map(line => JSON.parse(line) as Line)
}

function auditsOf (text: string): Line[] {
  return linesOf(text).filter(({ type }) => type === 'audit')
}

/** Opens a pipe that only `read` reads. The service does not inherit its reader. */
function openPipe (t: Test) {
  const path = `${t.testdir()}/pipe`
  execFileSync('mkfifo', [path])
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  // The service gets the pipe in blocking mode, as from a shell.
  const writer = openSync(path, constants.O_WRONLY)
  t.teardown(() => { closeSync(writer) })
  const bytes = Buffer.alloc(64 * 1024)
  return {
    writer,
    read () {
      try {
        return bytes.toString('utf8', 0, readSync(reader, bytes))
      } catch {
        return ''
      }
    },
    closeReader () { closeSync(reader) }
  }
}

function openFile (t: Test) {
  const path = `${t.testdir()}/log`
  const writer = openSync(path, 'w')
  t.teardown(() => { closeSync(writer) })
  let length = 0
  return {
    writer,
    read () {
      const text = readFileSync(path, 'utf8').slice(length)
      length += text.length
      return text
    }
  }
}
