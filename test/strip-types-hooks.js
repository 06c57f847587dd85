// Replaces types with blanks, which keep lines and columns: traces and coverage are right without source maps.
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

const require = createRequire(import.meta.url)
const versions = ['ts-blank-space', 'typescript'].map(name => require(`${name}/package.json`).version).join('-')
const cache = fileURLToPath(new URL(`../node_modules/.cache/strip-types-${versions}`, import.meta.url))
mkdirSync(cache, { recursive: true })

/** Replaces the types of a file. The compiler is loaded only for a file that has changed. */
async function strip (text, path) {
  const cached = `${cache}/${createHash('sha256').update(text).digest('hex')}.js`
  try {
    return readFileSync(cached, 'utf8')
  } catch (error) {
    if (error.code !== 'ENOENT') throw error
  }
  const { default: blank } = await import('ts-blank-space')
  const stripped = blank(text, node => {
    throw new SyntaxError(`${path} has syntax that is more than types: ${node.getText()}`)
  })
  // Another process may read or write the same file now.
  const written = `${cached}.${process.pid}`
  writeFileSync(written, stripped)
  renameSync(written, cached)
  return stripped
}

export async function load (url, context, nextLoad) {
  if (!url.startsWith('file:') || !url.endsWith('.ts')) return nextLoad(url, context)
  const path = fileURLToPath(url)
  return { format: 'module', shortCircuit: true, source: await strip(readFileSync(path, 'utf8'), path) }
}
