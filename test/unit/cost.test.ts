/**
 * What operations cost, in a measure that does not depend on the machine: bytes of the JavaScript heap, garbage
 * included. What makes more garbage is slower, and is seen here on a loaded machine as on an idle one. It does not see
 * what costs time alone.
 *
 * Measured is the build in dist/e2e, without V8's optimising compilers: they leave out allocations, and when they have
 * come to what depends on time. Figures are somewhat higher than in production.
 */
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { start } from '../bench/processes.ts'
import { callersFile, everything, withKey } from '../callers-file.ts'
import { secrets } from '../start.ts'
import type { Test } from '../start.ts'

/**
 * Bytes for each operation on Node 20; on later ones they are up to 8 % less, or 7 % more. GET is that of a
 * configuration that was read before; `changed` is one that was not. This test prints the present ones:
 * `node --import tsx test/e2e/build.ts && node --import tsx test/unit/cost.test.ts`
 */
const figures: Record<string, number> = {
  authorization: 6_060,
  fromConfigurationXml: 41_000,
  fromListXml: 3_800_000,
  toConfigurationXml: 26_600,
  etagOf: 20_700,
  GET: 86_500,
  'GET changed': 156_000,
  PUT: 182_000
}

/** A figure is the same within two percent from run to run, on a loaded machine too. */
const tolerance = 0.15

const v8Flags = [
  '--no-opt', '--no-maglev', '--no-sparkplug', '--expose-gc',
  // Megabytes: enough for a batch without the garbage collector.
  '--min-semi-space-size=64', '--max-semi-space-size=64'
]

// It takes some 5 s; others may have the machine.
t.setTimeout(120_000)

t.test('no operation takes more memory than it did', async t => {
  const upstream = await run(t, '../bench/upstream.ts', [], {}, /listening at http:\/\/(\S+)/)
  const callers = ['billing', 'archive', 'search'].map(name => withKey(name, everything))
  const measured = await run(t, 'cost-child.ts', v8Flags, {
    ...callersFile(t, callers).environment,
    COS_CONNECT_TO: upstream,
    COS_REGION: 'ap-guangzhou',
    COS_SCHEME: 'http',
    COS_SECRET_ID: secrets.secretId,
    COS_SECRET_KEY: secrets.secretKey,
    COS_TOKEN: secrets.token,
    PORT: '0',
    RATE_LIMIT_PER_MINUTE: '1000000'
  }, /^(\{.*\})\n/m)
  t.comment(`Node ${process.version}: ${measured}`)
  const costs = Object.entries(JSON.parse(measured) as Record<string, number>)
  t.strictSame(costs.map(([operation]) => operation), Object.keys(figures), 'there is a figure for each operation')
  for (const [operation, bytes] of costs) {
    const figure = figures[operation] ?? 0
    const bound = Math.floor(figure * (1 + tolerance))
    t.ok(bytes <= bound, `${operation} takes ${bytes} bytes, of at most ${bound} (${figure} and ${tolerance * 100} %). ` +
      'When it is more, find what allocates it; when that is worth its cost, write the new figures into this file')
  }
})

/** Runs a file of the tests with this environment and nothing else of ours, such as coverage. It ends with the test. */
async function run (
  t: Test, file: string, flags: string[], environment: Record<string, string>, ready: RegExp
): Promise<string> {
  const path = fileURLToPath(new URL(file, import.meta.url))
  const command = [process.execPath, ...flags, '--import', import.meta.resolve('tsx'), path]
  const { said, stop } = await start({ command, environment, cores: undefined, ready })
  t.teardown(stop)
  return said
}
