/**
 * `npm run check` (in the image: `dist/check.js`) checks the environment of the service, and everything that it names:
 * files, COS, Redis. It changes nothing. Each finding is a line of stdout. Exits with 0 if no finding is an error, with
 * 1 if one is, and with 2 and the usage if the arguments are invalid.
 */
import './inspector-off.ts'
import { parseArgs } from 'node:util'
import { runChecks } from './check/checks.ts'
import type { Target } from './check/cos.ts'
import { lineOf } from './check/finding.ts'
import { isBucketAndRegion } from './config/formats.ts'

const target = readTarget()
if (target === undefined) {
  process.stderr.write('Usage: npm run check -- [--bucket <name-appid> [--region <region>]]\n')
  process.exit(2)
}
let code = 0
for await (const finding of runChecks(process.env, target)) {
  process.stdout.write(`${lineOf(finding)}\n`)
  if (finding.level === 'error') code = 1
}
// A check that was not finished in time would keep the process alive.
process.exit(code)

/** Returns the bucket and region of the arguments; undefined if they are invalid. */
function readTarget (): Target | undefined {
  try {
    const { bucket, region } = parseArgs({ options: { bucket: { type: 'string' }, region: { type: 'string' } } }).values
    const isValid = bucket === undefined ? region === undefined : isBucketAndRegion(bucket, region ?? 'ap-guangzhou')
    return isValid ? { bucket, region } : undefined
  } catch {
    return undefined
  }
}
