import { spawn } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { endWithThisProcess, guard } from '../child-guard.ts'
import { at, secrets } from '../start.ts'
import { refuseSecrets } from '../secrets.ts'
import { argumentsFor, startProgram } from './program.ts'

interface Test {
  teardown (handler: () => unknown): void
}

/** The service in an interactive terminal. */
interface Session {
  /** Returns the output of the terminal so far, without carriage returns. */
  shown (): string
  /** Waits until the output matches. */
  until (pattern: RegExp): Promise<RegExpExecArray>
  /** Types into the terminal. */
  type (text: string): void
  /** The exit code of the service after all output has arrived. */
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

t.test('terminal shows a readable line per request, and Ctrl+C ends the service', async t => {
  const session = startSession(t, { ...environment, TERM: 'xterm', NO_COLOR: '1' })
  const [, url] = await session.until(/listening at (http:\/\/127\.0\.0\.1:\d+)/)
  t.equal((await fetch(`${url}/nowhere`)).status, 404)
  const [line] = await session.until(/^.*request completed.*$/m)
  t.match(line, /^\[\d\d:\d\d:\d\d\.\d{3}\] INFO: request completed \{.*"method":"GET","path":"\/nowhere",.*"status":404,.*\}$/)
  t.notMatch(line, /pid|hostname|"level"|"time"/)

  await fetch(`${url}${at('daily')}`, { method: 'DELETE' })
  const [change] = await session.until(/^.*AUDIT.*$/m)
  t.match(change, /^\[\d\d:\d\d:\d\d\.\d{3}\] AUDIT <anyone>: change \{.*"action":"cos:DeleteBucketInventory",.*\}$/)

  session.type(interrupt)
  t.equal(await session.exit, 0)
  t.match(session.shown(), /\] INFO: stopping \{"signal":"SIGINT"\}\n(.*\n)*.*\] INFO: stopped\n$/)
  t.notOk(session.shown().includes('\x1b'), 'NO_COLOR disables colors')
})

t.test('terminal output has colors unless TERM is dumb', async t => {
  const sessions = ['xterm-256color', 'dumb'].map(TERM => startSession(t, { ...environment, TERM }))
  await Promise.all(sessions.map(session => session.until(/listening at/)))
  for (const session of sessions) session.type(interrupt)
  t.strictSame(await Promise.all(sessions.map(({ exit }) => exit)), [0, 0])
  t.strictSame(sessions.map(session => session.shown().includes('\x1b[32mINFO\x1b[39m')), [true, false])
  t.strictSame(sessions.map(session => session.shown().includes('\x1b')), [true, false])
})

t.test('terminal output escapes control characters of a request', async t => {
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

t.test('terminal shows the fatal line when the service cannot start', async t => {
  const server = createServer()
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => new Promise(resolve => { server.close(resolve) }))
  const { port } = server.address() as AddressInfo
  const session = startSession(t, { ...environment, PORT: String(port), TERM: 'xterm', NO_COLOR: '1' })
  t.equal(await session.exit, 1)
  t.match(session.shown(), /\] FATAL: cannot start \{"code":"EADDRINUSE","cause":"listen EADDRINUSE.*"\}\n$/)
})

t.test('pipe output is JSON for any terminal variables', async t => {
  const program = startProgram(t, 'server', { ...environment, TERM: 'xterm', FORCE_COLOR: '1' })
  await program.until(/listening at/)
  program.process.kill('SIGTERM')
  t.equal(await program.exit, 0)
  const lines = program.stdout().trimEnd().split('\n').map(line => JSON.parse(line) as { msg: string })
  t.strictSame(lines.at(-1)?.msg, 'stopped')
})

/** Runs the built service in a pseudo terminal made by `script` of util-linux. It is killed at the end of the test. */
function startSession (t: Test, environment: Record<string, string>): Session {
  const words = [process.execPath, ...argumentsFor('server')].map(word => `'${word}'`).join(' ')
  const child = spawn('script', ['-qec', `echo $$; exec ${words}`, '/dev/null'], {
    env: { ...environment, SHELL: '/bin/sh', PATH: process.env['PATH'] },
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
  // The service has its own session, so it would outlive the terminal.
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
