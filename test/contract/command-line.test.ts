import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable, Writable } from 'node:stream'
import { mock } from 'node:test'
import t from 'tap'
import { run } from '../../src/client/cli/run.ts'
import { callersFile, everything, keyOf, withKey } from '../callers-file.ts'
import { startLossyProxy } from '../doubles/lossy-proxy.ts'
import { refuseSecrets, secret } from '../secrets.ts'
import { bucket, configuration, start } from '../start.ts'
import type { Running, Test } from '../start.ts'

interface Result {
  code: number
  stdout: string
  stderr: string
}

interface CommandOptions {
  stdin?: string
  env?: Record<string, string>
  /** Whether stdout is a terminal, and one with colors. */
  terminal?: 'plain' | 'colors' | undefined
}

/** Runs the command line in this process. Its output is checked for secrets. */
async function command (words: string[], { stdin = '', env = {}, terminal }: CommandOptions = {}): Promise<Result> {
  const written = { stdout: '', stderr: '' }
  // A buffer of one byte makes each write wait for the reader.
  const streamTo = (name: 'stdout' | 'stderr') => new Writable({
    highWaterMark: 1,
    write (chunk: Buffer, _, done) {
      written[name] += chunk.toString()
      setImmediate(done)
    }
  })
  const stdout = Object.assign(streamTo('stdout'), { isTTY: terminal !== undefined, hasColors: () => terminal === 'colors' })
  const stderr = streamTo('stderr')
  const code = await run(words, { stdin: Readable.from([Buffer.from(stdin)]), stdout, stderr, env })
  for (const stream of [stdout, stderr]) await new Promise<void>(resolve => { stream.end(resolve) })
  refuseSecrets(written.stdout + written.stderr)
  return { code, ...written }
}

interface CommandRunning extends Running {
  /** Runs a command with the URL of the service. */
  cli: (words: string[], options?: CommandOptions) => Promise<Result>
}

async function startCli (t: Test, environment: Record<string, string> = {}): Promise<CommandRunning> {
  const running = await start(t, { environment: { RATE_LIMIT_PER_MINUTE: '0', ...environment } })
  const cli = (words: string[], { env, ...options }: CommandOptions = {}) =>
    command(words, { env: { COS_INVENTORY_URL: running.url, ...env }, ...options })
  return { ...running, cli }
}

const setOf = (...items: Array<Record<string, unknown>>) =>
  JSON.stringify({ InventoryConfigurations: items.map(item => ({ ...configuration, ...item })) })

function temporaryFile (t: Test, name: string, text: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'command-line-'))
  t.teardown(() => { rmSync(folder, { recursive: true }) })
  writeFileSync(join(folder, name), text)
  return join(folder, name)
}

t.test('put, get, list and delete work on one configuration', async t => {
  const { cli } = await startCli(t)
  const file = temporaryFile(t, 'daily.json', JSON.stringify(configuration))
  t.strictSame(await cli(['put', bucket, 'daily', file]), { code: 0, stdout: 'Stored daily\n', stderr: '' })
  const got = await cli(['get', bucket, 'daily'])
  t.strictSame(JSON.parse(got.stdout), { Id: 'daily', ...configuration })
  t.equal((await cli(['put', bucket, 'daily', '-'], { stdin: got.stdout })).code, 0)

  const filter = '{"Prefix":"myPrefix"}'
  t.equal((await cli(['list', bucket])).stdout, `daily\tyes\tDaily\tAll\texamplebucket-1250000000/list1\t${filter}\n`)
  t.strictSame(JSON.parse((await cli(['list', bucket, '--json'])).stdout), [{ Id: 'daily', ...configuration }])
  t.equal((await cli(['delete', bucket, 'daily'])).stdout, 'Deleted daily\n')
  t.equal((await cli(['delete', bucket, 'daily', '--json'])).stdout, '{"Id":"daily"}\n')
  t.equal((await cli(['list', bucket])).stdout, '')
})

t.test('put prints warnings of preflight', async t => {
  const { cli } = await startCli(t)
  const stdin = JSON.stringify({ ...configuration, Schedule: { Frequency: 'Monthly', MonthlyDate: 31 } })
  const { code, stderr } = await cli(['put', bucket, 'monthly', '-', '--preflight', 'warn'], { stdin })
  t.equal(code, 0)
  t.match(stderr, /^warning: \/Schedule\/MonthlyDate MonthWithoutDate: /)
  const json = JSON.parse((await cli(['put', bucket, 'monthly', '-', '--preflight', 'warn', '--json'], { stdin })).stdout)
  t.match(json, { Id: 'monthly', ETag: /^"/, Warnings: [{ code: 'MonthWithoutDate' }] })
  t.match(await cli(['put', bucket, 'monthly', '-', '--preflight', 'enforce'], { stdin }), { code: 1, stdout: '' })
})

t.test('terminal gets a table, with colors if it has them', async t => {
  const { cli } = await startCli(t)
  const stdin = setOf(
    { Id: 'a' }, { Id: 'longer-id', IsEnabled: false, Schedule: { Frequency: 'Monthly', MonthlyDate: 3 }, Filter: { Prefix: '目录' } },
    { Id: 'plain', Filter: undefined, Destination: { COSBucketDestination: { Bucket: 'qcs::cos:ap-guangzhou::logs-1250000000', Format: 'CSV' } } }
  )
  t.equal((await cli(['apply', bucket, '-'], { stdin })).code, 0)
  const plain = (await cli(['list', bucket], { terminal: 'plain' })).stdout
  const lines = plain.split('\n')
  t.equal(lines[0], 'ID         ENABLED  SCHEDULE   VERSIONS  DESTINATION                     FILTER')
  t.ok(lines.includes('a          yes      Daily      All       examplebucket-1250000000/list1  {"Prefix":"myPrefix"}'))
  t.ok(lines.some(line => /^longer-id +no +Monthly 3 +All +\S+ +\{"Prefix":"目录"\}$/.test(line)))
  t.ok(lines.some(line => /^plain +yes +Daily +All +logs-1250000000 +-$/.test(line)))
  t.notMatch(plain, '\x1b')
  const colored = (await cli(['list', bucket], { terminal: 'colors' })).stdout
  t.match(colored, /^\x1b\[1mID .*\x1b\[22m\n/) // eslint-disable-line no-control-regex
  t.match(colored, /\x1b\[2mlonger-id/) // eslint-disable-line no-control-regex
})

t.test('plan has exit code 2 with changes, and apply makes them', async t => {
  const { cli } = await startCli(t)
  await cli(['apply', bucket, '-'], { stdin: setOf({ Id: 'same' }, { Id: 'changed' }, { Id: 'old' }) })
  const stdin = setOf({ Id: 'same' }, { Id: 'changed', IsEnabled: false, Filter: undefined }, { Id: 'new' })
  const expected = [
    'create\tnew\t', 'delete\told\t', 'update\tchanged\t/Filter: {"Prefix":"myPrefix"} to nothing', 'update\tchanged\t/IsEnabled: true to false'
  ]
  const plan = await cli(['plan', bucket, '-', '--prune'], { stdin })
  t.equal(plan.code, 2)
  t.strictSame(plan.stdout.split('\n').slice(0, -1).sort(), expected)
  t.equal(plan.stderr, '1 to create, 1 to update, 1 to delete, 1 unchanged, 0 not in the set\n')
  const json = await cli(['plan', bucket, '-', '--json'], { stdin })
  t.match(json, { code: 2 })
  t.match(JSON.parse(json.stdout), { Created: ['new'], Unmanaged: ['old'] })
  t.match((await cli(['plan', bucket, '-', '--prune'], { stdin, terminal: 'colors' })).stdout, /\x1b\[3[123]m/) // eslint-disable-line no-control-regex

  const applied = await cli(['apply', bucket, '-', '--prune'], { stdin })
  t.equal(applied.code, 0)
  t.strictSame(applied.stdout.trimEnd().split('\n').sort(), ['Created\tnew', 'Deleted\told', 'Unchanged\tsame', 'Updated\tchanged'])
  t.match(applied.stderr, /1 created/)
  t.match(await cli(['plan', bucket, '-', '--prune'], { stdin }), { code: 0, stdout: '' })
  t.match(await cli(['apply', bucket, '-'], { stdin: setOf() }), { code: 0, stdout: /^Unmanaged/ })
})

t.test('export prints a set that apply takes', async t => {
  const { cli } = await startCli(t)
  await cli(['apply', bucket, '-'], { stdin: setOf({ Id: 'a' }, { Id: 'b' }) })
  const exported = await cli(['export', bucket])
  t.equal(exported.code, 0)
  t.match(await cli(['plan', bucket, '-', '--prune'], { stdin: exported.stdout }), { code: 0, stdout: '' })
  await cli(['apply', bucket, '-', '--prune'], { stdin: setOf() })
  t.match(await cli(['apply', bucket, '-', '--json'], { stdin: exported.stdout }), { code: 0, stdout: /"Created": \[\n/ })
  await cli(['apply', bucket, '-', '--prune'], { stdin: setOf() })
  t.match(await cli(['apply', bucket, '-'], { stdin: setOf() }), { code: 0, stdout: '', stderr: 'The set is empty\n' })
})

t.test('apply has exit code 1 when a change fails', async t => {
  const { cli, emulator } = await startCli(t)
  emulator.addFault({ kind: 'error', status: 403, code: 'AccessDenied', match: { operation: 'PutBucketInventory' } })
  const stdin = setOf({ Id: 'a' })
  const text = await cli(['apply', bucket, '-'], { stdin, terminal: 'plain' })
  t.match(text, { code: 1, stdout: /^Failed {5}a {2}AccessDenied: .+\n$/, stderr: '1 failed\n' })
  t.match(await cli(['apply', bucket, '-', '--json'], { stdin }), { code: 1, stdout: /"AccessDenied"/ })
})

t.test('reports and rows print text and JSON', async t => {
  const { cli, emulator } = await startCli(t, { REPORTS: 'true' })
  await cli(['apply', bucket, '-'], { stdin: setOf({ Id: 'daily', IncludedObjectVersions: 'Current', Filter: undefined, OptionalFields: { Field: ['Size', 'Tag'] } }) })
  await emulator.deliverReport({ bucket, id: 'daily', count: 250, date: '20261119' })
  await emulator.deliverReport({
    bucket, id: 'daily', date: '20261120', objects: [{ Key: 'a\u001b]0;x\u0007\u009b1m目录', Size: 1 }, { Key: 'b', Size: 22 }]
  })
  t.match((await cli(['reports', bucket, 'daily'])).stdout, /^20261120\t\S+\tyes\t(yes|no)\n20261119\t/)
  const one = await cli(['reports', bucket, 'daily', '--limit', '1', '--json'])
  t.match(JSON.parse(one.stdout), { Reports: [{ Date: '20261120' }], IsTruncated: true })
  t.equal(one.stderr, 'There are older reports. Use --from, --to or --limit.\n')
  const there = ['--destination', bucket, '--prefix', 'list1']
  t.match((await cli(['reports', bucket, 'daily', ...there, '--to', '20261119'])).stdout, /^20261119\t\S+\tyes\t-\n$/)

  const json = (await cli(['rows', bucket, 'daily', '--json', '--fields', 'Key,Size'])).stdout
  t.equal(json, '{"Key":"a\\u001b]0;x\\u0007\\u009b1m目录","Size":1}\n{"Key":"b","Size":22}\n')
  const rows = ['rows', bucket, 'daily', '--fields', 'Key,Size']
  t.equal((await cli(rows)).stdout, 'a\\u001b]0;x\\u0007\\u009b1m目录\t1\nb\t22\n')
  t.equal((await cli(rows, { terminal: 'plain' })).stdout,
    `Key${' '.repeat(28)}Size\na\\u001b]0;x\\u0007\\u009b1m目录  1\nb${' '.repeat(30)}22\n`)
  t.match((await cli(['rows', bucket, 'daily', '--fields', 'Tag,Size'])).stdout, /^1\t\n/, 'null is an empty cell')
  const longer = ['rows', bucket, 'daily', '--date', '20261119', '--file', '0', '--key-prefix', '', '--fields', 'Key']
  t.equal((await cli(longer, { terminal: 'plain' })).stdout.split('\n').length, 252)
  t.equal((await cli([...longer, '--limit', '7'])).stdout.split('\n').length, 8)
  t.equal((await cli(['rows', bucket, 'daily', '--key-prefix', 'nothing'], { terminal: 'plain' })).stdout, '')
})

t.test('error is a message and exit code 1', async t => {
  const { cli } = await startCli(t)
  const missing = await cli(['get', bucket, 'daily'])
  t.match(missing, { code: 1, stdout: '' })
  t.match(missing.stderr, /^cos-inventory-client: 404 InventoryConfigurationNotFoundError: .+\ncos-inventory-client: request id \S+\n$/)
  const invalid = await cli(['put', bucket, 'daily', '-'], { stdin: '{}' })
  t.match(invalid.stderr, /\ncos-inventory-client: body \/IsEnabled /)
  const cases: Array<[string[], RegExp]> = [
    [['frobnicate'], /There is no command frobnicate\./],
    [['toString'], /There is no command toString\./],
    [['get', bucket], /Write: cos-inventory-client get <bucket> <id>\n/],
    [['list', bucket, '--prune'], /Unknown option '--prune'/],
    [['rows', bucket, 'a', '--limit', 'x'], /--limit must be a number/],
    [['put', bucket, 'daily', '/nowhere/x.json'], /ENOENT.*x\.json/],
    [['put', bucket, 'daily', temporaryFile(t, 'bad.json', '{')], /bad\.json is not JSON/],
    [['put', bucket, 'daily', '-'], /Standard input is not JSON/],
    [['list', bucket, '--url', 'nowhere'], /The URL of the service is not valid/],
    [['get', bucket, '..'], /"\.\." is no bucket, id or date/]
  ]
  for (const [words, expected] of cases) {
    const { code, stdout, stderr } = await cli(words)
    t.match({ code, stdout }, { code: 1, stdout: '' }, words.join(' '))
    t.match(stderr, expected)
  }
  t.match(await command(['list', bucket]), { code: 1, stderr: /Set --url or COS_INVENTORY_URL/ })
})

t.test('unavailable service and gateways are errors', async t => {
  const { service, cli, url } = await startCli(t)
  t.match(await cli(['list', bucket, '--url', `${url}/livez?x`]), { code: 1, stderr: /404 RouteNotFound/ })
  const proxy = await startLossyProxy(t, url)
  proxy.decide = () => ({ status: 502, body: '<h1>Bad Gateway</h1>' })
  const { stderr } = await cli(['list', bucket, '--url', proxy.url])
  t.equal(stderr, 'cos-inventory-client: Status 502, and the body is not from cos-inventory-proxy. Check the URL.\n')
  await service.app.close()
  t.match(await cli(['list', bucket]), { code: 1, stderr: /^cos-inventory-client: No complete response: .*ECONNREFUSED.*\. Check the URL/ })
  // The cause that Node gives when a name has several addresses.
  const cause = Object.assign(new Error(''), { code: 'ECONNREFUSED' })
  mock.method(globalThis, 'fetch', async () => { throw new TypeError('fetch failed', { cause }) })
  t.teardown(() => { mock.restoreAll() })
  t.match(await cli(['list', bucket]), { stderr: /No complete response: ECONNREFUSED\./ })
})

t.test('token comes from options, files or variables, and is never printed', async t => {
  const { environment } = callersFile(t, [withKey('cli', everything)])
  const { cli } = await startCli(t, environment)
  const token = keyOf('cli')
  const file = temporaryFile(t, 'token', `${token}\n`)
  const wrong = { COS_INVENTORY_TOKEN: secret('wrong-key-0123456789') }
  const list = ['list', bucket]
  t.equal((await cli([...list, '--token', token], { env: wrong })).code, 0)
  t.equal((await cli([...list, '--token-file', file], { env: wrong })).code, 0)
  t.equal((await cli(list, { env: { COS_INVENTORY_TOKEN: token } })).code, 0)
  t.equal((await cli(list, { env: { COS_INVENTORY_TOKEN_FILE: file } })).code, 0)
  t.match(await cli(list, { env: wrong }), { code: 1, stderr: /401 Unauthenticated/ })
  t.match(await cli(list), { code: 1, stderr: /401/ })
  t.match(await cli([...list, '--token', `${token} x`]), { code: 1, stderr: /characters that no token has/ })
  t.match(await cli([...list, '--url', `http://user:${secret('pass-word-0123456789')}@127.0.0.1`]), { code: 1, stderr: /must not have a user/ })
  t.equal((await cli([...list, '--token', token, '--region', 'ap-guangzhou'])).code, 0)
})

t.test('help and version need no service', async t => {
  for (const words of [[], ['--help'], ['-h'], ['help'], ['list', '--help']]) {
    t.match(await command(words), { code: 0, stdout: /^Usage: cos-inventory-client <command>/, stderr: '' })
  }
  t.match(await command(['--version']), { code: 0, stdout: /^\d+\.\d+\.\d+\n$/ })
})
