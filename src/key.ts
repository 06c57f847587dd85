/**
 * `npm run key -- --name billing` (in the image: `dist/key.js --name billing`) creates a bearer key for a caller. It
 * prints the key, which is stored nowhere, and the entry for the callers file, which contains the hash. To rotate keys,
 * add only the hash: a caller may have several `keys`. Exits with 1 and prints the usage if the name is missing or
 * invalid.
 */
import { parseArgs } from 'node:util'
import { createKey } from './callers/key.ts'
import { callerNamePattern } from './contract/callers.ts'

const name = readName()
if (name === undefined) {
  process.stderr.write('Usage: npm run key -- --name <1 to 64 of A-Z a-z 0-9 . _ ->\n')
  process.exitCode = 1
} else {
  const { key, hash } = createKey()
  const allow = [{ actions: ['cos:GetBucketInventory'], buckets: ['examplebucket-1250000000'] }]
  process.stdout.write(`# The key of ${name}, which is shown only once:
${key}

# Its entry for the callers file. Edit allow: here the caller may only read this bucket.
${JSON.stringify({ name, keys: [hash], allow }, null, 2)}
`)
}

function readName (): string | undefined {
  try {
    const { values } = parseArgs({ options: { name: { type: 'string' } } })
    return values.name !== undefined && new RegExp(callerNamePattern).test(values.name) ? values.name : undefined
  } catch {
    return undefined
  }
}
