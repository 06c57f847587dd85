import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { readConfiguration } from '../../src/emulator/configuration.ts'
import { exampleBuckets, exampleCredential } from '../../src/emulator/examples.ts'
import { startEmulator } from '../../src/emulator/server.ts'
import { endWithThisProcess } from '../child-guard.ts'
import {
  type ReceivedResponse, type Endpoint, type Sent, bucketName, element, errorOf, send, startForTest, toDocument, toJob,
  toPut
} from './client.ts'

const main = fileURLToPath(new URL('../../src/emulator/main.ts', import.meta.url))
const defaults = { credentials: [exampleCredential], buckets: exampleBuckets }

type Program = ChildProcess & { stdout: NodeJS.ReadableStream, stderr: NodeJS.ReadableStream }

// The flags of this process load TypeScript and record coverage.
function run (environment: Record<string, string>): Program {
  const program = spawn(process.execPath, [...process.execArgv, main], {
    env: { ...process.env, EMULATOR_PORT: '0', ...environment }, stdio: ['ignore', 'pipe', 'pipe']
  }) as Program
  endWithThisProcess(program)
  return program
}

async function runToEnd (
  environment: Record<string, string>
): Promise<{ code: number, output: string, errors: string }> {
  const program = run(environment)
  const outputs = Promise.all([text(program.stdout), text(program.stderr)])
  const [code] = await once(program, 'exit')
  const [output, errors] = await outputs
  return { code, output, errors }
}

interface Teardown { teardown: (end: () => unknown) => void }

/** Starts the program and returns its output up to the moment it listens. */
async function start (
  t: Teardown, environment: Record<string, string>
): Promise<{ program: Program, endpoint: Endpoint, output: string }> {
  const program = run(environment)
  t.teardown(() => program.kill('SIGKILL'))
  let output = ''
  for await (const chunk of program.stdout.setEncoding('utf8')) {
    output += chunk
    if (output.includes('COS_CONNECT_TO')) break
  }
  const [, host = '', port] = /http:\/\/([\d.]+):(\d+)/.exec(output) ?? []
  return { program, endpoint: { host, port: Number(port) }, output }
}

t.test('emulator serves the example buckets until SIGTERM', async t => {
  const { program, endpoint, output } = await start(t, {})
  t.match(output, exampleCredential.secretKey, 'the example key is public')
  t.match(output, 'examplebucket-1250000000 (ap-guangzhou)')
  t.equal((await send(endpoint, toPut('a'))).status, 200)
  program.kill('SIGTERM')
  t.strictSame(await once(program, 'exit'), [0, null])
})

t.test('emulator ignores SIGUSR1 instead of opening the inspector', async t => {
  const { program, endpoint } = await start(t, {})
  const errors = text(program.stderr)
  program.kill('SIGUSR1')
  t.equal((await send(endpoint, toPut('a'))).status, 200)
  program.kill('SIGTERM')
  t.strictSame(await once(program, 'exit'), [0, null])
  t.equal(await errors, '')
})

t.test('emulator keeps acknowledged changes when it is killed', async t => {
  const environment = {
    EMULATOR_STATE_FILE: join(t.testdir(), 'state.json'),
    EMULATOR_KEYS: `AKIDone:first-key,${exampleCredential.secretId}:second-key`,
    EMULATOR_BUCKETS: `${bucketName}=ap-guangzhou`
  }
  const credential = { secretId: exampleCredential.secretId, secretKey: 'second-key' }
  const first = await start(t, environment)
  t.notMatch(first.output, /-key/)
  const changes = [
    toPut('a'), toPut('b'), toPut('c'), toJob('once'), { method: 'DELETE', target: '/?inventory&id=b' },
    toPut('a', toDocument('a', { Filter: '' }))
  ]
  for (const change of changes) await send(first.endpoint, { ...change, credential })
  const list: Sent = { target: '/?inventory', credential }
  const before = await send(first.endpoint, list)
  first.program.kill('SIGKILL')
  await once(first.program, 'exit')

  const second = await start(t, environment)
  const after: ReceivedResponse = await send(second.endpoint, list)
  t.equal(after.body, before.body)
  t.match(after.body, '<Id>a</Id>')
  t.strictSame(errorOf(await send(second.endpoint, { ...toJob('once'), credential })), [409, 'DuplicateInventoryId'])
  second.program.kill('SIGINT')
  t.strictSame(await once(second.program, 'exit'), [0, null])
})

t.test('emulator start fails with all configuration errors and no secret', async t => {
  const { code, output, errors } = await runToEnd({
    EMULATOR_PORT: '70000',
    EMULATOR_KEYS: 'AKIDx:, topsecret',
    EMULATOR_BUCKETS: 'bucket=ap-guangzhou',
    EMULATOR_LENIENT: 'signature-coverage,everything',
    EMULATOR_ALLOWED_HOSTS: 'emulator:9000,*'
  })
  t.strictSame([code, output], [1, ''])
  t.equal(errors, `The emulator cannot start:
- EMULATOR_PORT must be a port, 0 to 65535
- EMULATOR_KEYS: entry 1 must be secretId:secretKey or secretId:secretKey:token, with appid/ in front or without
- EMULATOR_KEYS: entry 2 must be secretId:secretKey or secretId:secretKey:token, with appid/ in front or without
- EMULATOR_BUCKETS: entry 1 must be bucket-appid=region
- EMULATOR_LENIENT: entry 2 must be one of signature-coverage
- EMULATOR_ALLOWED_HOSTS: entry 1 must be a host name or IP address without port
- EMULATOR_ALLOWED_HOSTS: entry 2 must be a host name or IP address without port
`)
})

t.test('emulator start fails with one line when the port is taken', async t => {
  const emulator = await startForTest(t)
  const { code, errors } = await runToEnd({ EMULATOR_PORT: String(emulator.port) })
  t.equal(code, 1)
  t.match(errors, new RegExp(`^The emulator cannot start: .*EADDRINUSE.*:${emulator.port}\n$`))
})

t.test('emulator start fails and keeps the state file when the file is malformed', async t => {
  for (const content of ['', '{', 'null', '{"nextSequence":1,"configurations":{"a":1},"jobs":{}}']) {
    const stateFile = join(t.testdir({ state: content }), 'state')
    await t.rejects(startEmulator({ ...defaults, stateFile }), { message: / is not a state file of this emulator$/ })
    t.equal(readFileSync(stateFile, 'utf8'), content)
  }
})

t.test('PUT returns 500 and stores nothing when the state file cannot be written', async t => {
  const directory = join(t.testdir({ gone: {} }), 'gone')
  const emulator = await startForTest(t, { stateFile: join(directory, 'state.json') })
  rmSync(directory, { recursive: true })
  const put = await send(emulator, toPut('a'))
  t.strictSame(errorOf(put), [500, 'InternalError'])
  t.equal(element(put.body, 'Message'), 'We encountered an internal error. Please try again.')
  t.strictSame(emulator.configurations(bucketName), [])
})

t.test('emulator start fails when the state file cannot be written', async t => {
  const stateFile = join(t.testdir(), 'absent', 'state.json')
  await t.rejects(startForTest(t, { stateFile }), { code: 'ENOENT' })
})

t.test('continuation tokens of LIST stay valid after a restart', async t => {
  const stateFile = join(t.testdir(), 'state.json')
  const first = await startForTest(t, { stateFile })
  for (let index = 0; index < 101; index++) await send(first, toPut(`n${index}`))
  const token = element((await send(first, { target: '/?inventory' })).body, 'NextContinuationToken') ?? ''
  await first.close()
  const second = await startForTest(t, { stateFile })
  const page = await send(second, { target: `/?inventory&continuation-token=${encodeURIComponent(token)}` })
  t.equal(element(page.body, 'Id'), 'n100')
  rmSync(stateFile)
  writeFileSync(stateFile, 'no longer read while it runs')
  t.equal((await send(second, toPut('n101'))).status, 200)
})

t.test('readConfiguration returns options, or the error of an invalid variable', async t => {
  t.strictSame(readConfiguration({ EMULATOR_HOST: '' }), {
    options: { host: '127.0.0.1', port: 9000, lenient: [], strict: [], ...defaults }
  })
  t.strictSame(readConfiguration({
    EMULATOR_HOST: '0.0.0.0',
    EMULATOR_PORT: '0',
    EMULATOR_KEYS: 'AKIDa:one,AKIDb:two:to:ken,1250000000/AKIDc:three',
    EMULATOR_BUCKETS: 'a-1=ap-guangzhou, b-2=eu-frankfurt',
    EMULATOR_STATE_FILE: '/state.json',
    EMULATOR_LENIENT: ' signature-coverage',
    EMULATOR_STRICT: 'content-md5 ',
    EMULATOR_ALLOWED_HOSTS: 'emulator, cos_emulator.test,::2'
  }), {
    options: {
      host: '0.0.0.0',
      port: 0,
      credentials: [
        { secretId: 'AKIDa', secretKey: 'one' }, { secretId: 'AKIDb', secretKey: 'two', token: 'to:ken' },
        { secretId: 'AKIDc', secretKey: 'three', appId: '1250000000' }
      ],
      buckets: [{ name: 'a-1', region: 'ap-guangzhou' }, { name: 'b-2', region: 'eu-frankfurt' }],
      stateFile: '/state.json',
      lenient: ['signature-coverage'],
      strict: ['content-md5'],
      allowedHosts: ['emulator', 'cos_emulator.test', '::2']
    }
  })
  const invalid = {
    EMULATOR_PORT: 'x',
    EMULATOR_KEYS: 'AKIDa:one:',
    EMULATOR_BUCKETS: 'a-1',
    EMULATOR_LENIENT: 'signature-coverage,',
    EMULATOR_STRICT: 'content-sha1'
  }
  for (const [name, value] of Object.entries(invalid)) {
    t.match(readConfiguration({ [name]: value }), { errors: [new RegExp(`^${name}`)] })
  }
})
