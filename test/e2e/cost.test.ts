/**
 * Compares what operations cost in bytes of JavaScript heap, garbage included. This measure does not depend on the
 * machine or its load. It does not include work without allocations. The measured build is dist/e2e without V8's
 * optimizing compilers. These compilers remove allocations, and when they run depends on time. Results are somewhat
 * higher than in production.
 */
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { start } from '../bench/processes.ts'
import { callersFile, everything, withKey } from '../callers-file.ts'
import { secrets } from '../start.ts'
import type { Test } from '../start.ts'

/**
 * Bytes per operation on Node 20; later versions differ by -8 % to +7 %. GET reads a cached configuration, `changed`
 * reads a configuration that is not cached. This test prints current values:
 * `node --import tsx test/e2e/build.ts && node --import tsx test/e2e/cost.test.ts`
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

/** Results differ by at most two percent between runs, on a loaded machine too. */
const tolerance = 0.15

const v8Flags = [
  '--no-opt', '--no-maglev', '--no-sparkplug', '--expose-gc',
  // The size in megabytes lets a batch run without garbage collection.
  '--min-semi-space-size=64', '--max-semi-space-size=64'
]

// The test runs for about 5 s on an idle machine.
t.setTimeout(120_000)

t.test('operations allocate at most 15 % more heap than their stored figures', async t => {
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
    t.ok(bytes <= bound, `${operation} takes ${bytes} bytes, at most ${bound} allowed (${figure} + ${tolerance * 100} %). ` +
      'Find the allocation; if it is worth its cost, update the figures in this file')
  }
})

/** Runs a test file with only this environment, so without coverage. The process ends with the test. */
async function run (
  t: Test, file: string, flags: string[], environment: Record<string, string>, ready: RegExp
): Promise<string> {
  const path = fileURLToPath(new URL(file, import.meta.url))
  const command = [process.execPath, ...flags, '--import', import.meta.resolve('tsx'), path]
  const { captured, stop } = await start({ command, environment, cores: undefined, ready })
  t.teardown(stop)
  return captured
}
