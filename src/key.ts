/**
 * `npm run key -- --name billing` (in the image: `dist/key.js --name billing`) makes a bearer key for a caller. It
 * prints the key, which is kept nowhere, and the entry for the callers file, which holds the key's hash. While keys
 * rotate, only the hash is wanted: a caller may have several in its `keys`. Exits with 1 and says how it is used when
 * the name is missing or not one a caller may have.
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
  process.stdout.write(`# The key of ${name}, shown this once:
${key}

# Its entry in callers of the callers file. Edit allow: as it stands, the caller may read this one bucket.
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
