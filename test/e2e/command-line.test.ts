import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { refuseSecrets, secret } from '../secrets.ts'
import { freePort } from '../free-port.ts'
import { argumentsFor, startProgram } from './program.ts'

const token = secret('key-of-command-line-0123456789abcdef')
const port = String(await freePort())
const demo = startProgram(t, 'demo', { PORT: port })
await demo.until(/cos-inventory-proxy is at/)
const environment = { COS_INVENTORY_URL: `http://127.0.0.1:${port}`, COS_INVENTORY_TOKEN: token }

const program = [process.execPath, ...argumentsFor('client/cli')].map(word => `'${word}'`).join(' ')
const rows = `${program} rows logs-1250000000 all-objects`
const list = `${program} list logs-1250000000`

interface Result {
  code: number
  /** Without stderr, unless the line redirects it. */
  output: string
}

async function run ([name = '', ...args]: string[], env: Record<string, string>): Promise<Result> {
  const child = spawn(name, args, {
    env: { ...environment, ...env, PATH: process.env['PATH'], SHELL: '/bin/bash' }, stdio: ['ignore', 'pipe', 'inherit']
  })
  const [output, [code]] = await Promise.all([text(child.stdout), once(child, 'close')])
  refuseSecrets(output)
  return { code: code as number, output }
}

/** Runs a line of bash. */
const bash = (line: string) => run(['bash', '-c', line], {})

/** Runs a line of bash in a pseudo terminal made by `script` of util-linux. Its output has stderr, too. */
const inTerminal = (line: string, env: Record<string, string>) => run(['script', '-qec', `${line}; exit $?`, '/dev/null'], env)

t.test('rows end quietly when the reader has enough', async t => {
  const { output } = await bash(`${rows} 2>&1 | head -1; echo "$\{PIPESTATUS[*]}"`)
  t.match(output, /^1250000000\tlogs\t.*\n0 0\n$/)
})

t.test('apply runs to its end, and plan says nothing, when the reader is gone', async t => {
  const configuration = {
    IsEnabled: true,
    IncludedObjectVersions: 'Current',
    Schedule: { Frequency: 'Daily' },
    Destination: { COSBucketDestination: { Bucket: 'qcs::cos:ap-guangzhou::reports-1250000000', Format: 'CSV' } }
  }
  const set = { InventoryConfigurations: Array.from({ length: 5 }, (_, index) => ({ Id: `c${index}`, ...configuration })) }
  const path = `${t.testdir({ set: JSON.stringify(set) })}/set`
  const bucket = 'examplebucket-1250000000'
  const { output } = await bash(`
    ${program} plan ${bucket} '${path}' 2>/dev/null | true; echo "$\{PIPESTATUS[0]}"
    ${program} apply ${bucket} '${path}' 2>/dev/null | true; echo "$\{PIPESTATUS[0]}"
    ${program} list ${bucket} | wc -l`)
  t.equal(output, '1\n0\n5\n')
})

t.test('exit codes tell success, error and plan with changes apart', async t => {
  const { output } = await bash(`
    ${program} export logs-1250000000 > /dev/null; echo $?
    ${program} get logs-1250000000 no-such-id 2>/dev/null; echo $?
    echo '{"InventoryConfigurations":[]}' | ${program} plan logs-1250000000 - --prune 2>/dev/null; echo $?
    ${program} export logs-1250000000 | ${program} plan logs-1250000000 - 2>/dev/null; echo $?`)
  t.equal(output, '0\n1\ndelete\tall-objects\t\n2\n0\n')
})

t.test('terminal gets a table with colors, without them when NO_COLOR is set', async t => {
  const colored = await inTerminal(list, { TERM: 'xterm-256color' })
  t.equal(colored.code, 0)
  t.match(colored.output, /^\x1b\[1mID .*ENABLED.*\x1b\[22m\r\nall-objects {2}yes/) // eslint-disable-line no-control-regex
  for (const env of [{ TERM: 'xterm-256color', NO_COLOR: '1' }, { TERM: 'dumb' }]) {
    const { output } = await inTerminal(list, env)
    t.match(output, /^ID {11}ENABLED .*\r\nall-objects {2}yes/)
    t.notMatch(output, '\x1b')
  }
  t.match(await inTerminal(`${list} --json | cat`, { TERM: 'xterm-256color' }), { output: /^\[\r\n {2}\{/ })
})

t.test('output that cannot be written is an error', async t => {
  t.match(await bash(`${list} 2>&1 >/dev/full`), { code: 1, output: /^cos-inventory-client: .*ENOSPC/ })
})
