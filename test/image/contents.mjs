// Checks /app of an image that is mounted at the given path: it may contain only runtime files. Further arguments are
// names that dist must contain, or with ! must not contain.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const [app, ...expectations] = process.argv.slice(2)
const isService = expectations.includes('server.js')
assert.deepEqual(readdirSync(app).sort(), ['LICENSE', 'dist', 'node_modules', ...isService ? ['openapi'] : [], 'package.json'])

const programs = readdirSync(join(app, 'dist'))
for (const name of expectations) {
  const wanted = !name.startsWith('!')
  assert.equal(programs.includes(name.replace('!', '')), wanted, `dist contains ${programs.join(' ')}`)
}

const locked = JSON.parse(readFileSync('package-lock.json', 'utf8')).packages
const packages = readdirSync(join(app, 'node_modules'))
  .flatMap(name => name.startsWith('@') ? readdirSync(join(app, 'node_modules', name)).map(part => `${name}/${part}`) : name)
  .filter(name => !name.startsWith('.'))
for (const name of packages) {
  const entry = locked[`node_modules/${name}`]
  assert.ok(entry && !entry.dev, `${name} is not a runtime dependency`)
}

const unread = /(^|\/)\.git$|\.[cm]?ts$|^node_modules\/.*\.map$/
assert.deepEqual(readdirSync(app, { recursive: true }).filter(path => unread.test(path)), [])
