import { spawn } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { endWithThisProcess, guard } from '../child-guard.ts'
import { at, secrets } from '../start.ts'
import { refuseSecrets } from '../secrets.ts'
import { builtPackage, startProgram } from './program.ts'

interface Test {
  teardown (handler: () => unknown): void
}

/** The service as somebody runs it by hand. */
interface Session {
  /** What the terminal shows so far, without the carriage returns of terminals. */
  shown (): string
  /** Waits until something is shown. */
  until (pattern: RegExp): Promise<RegExpExecArray>
  /** Types into the terminal. */
  type (text: string): void
  /** The exit code of the service, once all is shown. */
  exit: Promise<number | null>
}

const environment = {
  AUTH: 'none',
  PORT: '0',
  COS_SECRET_ID: secrets.secretId,
  COS_SECRET_KEY: secrets.secretKey,
  COS_REGION: 'ap-guangzhou',
  COS_SCHEME: 'http',
  COS_CONNECT_TO: '127.0.0.1:1',
  COS_MAX_ATTEMPTS: '1',
  AUDIT_LOG: 'stdout'
}

const interrupt = '\x03'

t.test('on a terminal each request is a line for people, and Ctrl+C ends the service', async t => {
  const session = startSession(t, { ...environment, TERM: 'xterm', NO_COLOR: '1' })
  const [, url] = await session.until(/listening at (http:\/\/127\.0\.0\.1:\d+)/)
  t.equal((await fetch(`${url}/nowhere`)).status, 404)
  const [line] = await session.until(/^.*answered.*$/m)
  t.match(line, /^\[\d\d:\d\d:\d\d\.\d{3}\] INFO: answered \{.*"method":"GET","path":"\/nowhere",.*"status":404,.*\}$/)
  t.notMatch(line, /pid|hostname|"level"|"time"/)

  await fetch(`${url}${at('daily')}`, { method: 'DELETE' })
  const [change] = await session.until(/^.*AUDIT.*$/m)
  t.match(change, /^\[\d\d:\d\d:\d\d\.\d{3}\] AUDIT <anyone>: change \{.*"action":"cos:DeleteBucketInventory",.*\}$/)

  session.type(interrupt)
  t.equal(await session.exit, 0)
  t.match(session.shown(), /\] INFO: stopping \{"signal":"SIGINT"\}\n(.*\n)*.*\] INFO: stopped\n$/)
  t.notOk(session.shown().includes('\x1b'), 'NO_COLOR is heeded')
})

t.test('a terminal that has colours gets them, and a dumb one none', async t => {
  const sessions = ['xterm-256color', 'dumb'].map(TERM => startSession(t, { ...environment, TERM }))
  await Promise.all(sessions.map(session => session.until(/listening at/)))
  for (const session of sessions) session.type(interrupt)
  t.strictSame(await Promise.all(sessions.map(({ exit }) => exit)), [0, 0])
  t.strictSame(sessions.map(session => session.shown().includes('\x1b[32mINFO\x1b[39m')), [true, false])
  t.strictSame(sessions.map(session => session.shown().includes('\x1b')), [true, false])
})

t.test('a caller cannot send commands to the terminal', async t => {
  const session = startSession(t, { ...environment, TERM: 'xterm', NO_COLOR: '1' })
  const [, url] = await session.until(/listening at (http:\/\/127\.0\.0\.1:\d+)/)
  const id = encodeURIComponent('\x1B[31m\x9B31m\x9D0;title\x07\x7F')
  t.equal((await fetch(`${url}${at(id)}`, { method: 'DELETE' })).status, 400)
  const [line] = await session.until(/^.*AUDIT.*$/m)
  t.ok(line.includes(String.raw`"id":"\u001b[31m\u009b31m\u009d0;title\u0007\u007f"`), line)
  session.type(interrupt)
  t.equal(await session.exit, 0)
  t.notMatch(session.shown(), /[^\n\x20-\x7E]/)
})

t.test('what ends the service at once is still shown', async t => {
  const server = createServer()
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => new Promise(resolve => { server.close(resolve) }))
  const { port } = server.address() as AddressInfo
  const session = startSession(t, { ...environment, PORT: String(port), TERM: 'xterm', NO_COLOR: '1' })
  t.equal(await session.exit, 1)
  t.match(session.shown(), /\] FATAL: cannot start: listen EADDRINUSE.* \{"code":"EADDRINUSE"\}\n$/)
})

t.test('in a pipe every line is JSON, whatever the terminal', async t => {
  const program = startProgram(t, 'server', { ...environment, TERM: 'xterm', FORCE_COLOR: '1' })
  await program.until(/listening at/)
  program.process.kill('SIGTERM')
  t.equal(await program.exit, 0)
  const lines = program.stdout().trimEnd().split('\n').map(line => JSON.parse(line) as { msg: string })
  t.strictSame(lines.at(-1)?.msg, 'stopped')
})

/** Runs the built service on a pseudo terminal, which `script` of util-linux makes. It does not outlive the test. */
function startSession (t: Test, environment: Record<string, string>): Session {
  const program = fileURLToPath(new URL('dist/server.js', builtPackage))
  const child = spawn('script', ['-qec', 'echo $$; exec "$NODE" "$PROGRAM"', '/dev/null'], {
    env: { ...environment, NODE: process.execPath, PROGRAM: program, SHELL: '/bin/sh', PATH: process.env['PATH'] },
    stdio: ['pipe', 'pipe', 'inherit']
  })
  endWithThisProcess(child)
  const news = new EventEmitter()
  let output = ''
  let ended = false
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text.replaceAll('\r', '')
    news.emit('news')
  })
  const exit = once(child, 'close').then(([code]) => {
    ended = true
    news.emit('news')
    return code as number | null
  })
  // The service has a session of its own: it would outlive its terminal.
  child.stdout.once('data', () => { guard(Number.parseInt(output, 10), exit) })
  const shown = () => output.replace(/^\d+\n/, '')
  const until = async (pattern: RegExp): Promise<RegExpExecArray> => {
    for (;;) {
      const found = pattern.exec(output)
      if (found !== null) return found
      if (ended) throw new Error(`the service ended without ${String(pattern)}:\n${output}`)
      await once(news, 'news')
    }
  }
  t.teardown(async () => {
    if (!ended) {
      const [pid] = await until(/^\d+(?=\n)/)
      process.kill(Number(pid), 'SIGKILL')
    }
    await exit
    refuseSecrets(output)
  })
  return { shown, until, type: text => { child.stdin.write(text) }, exit }
}
