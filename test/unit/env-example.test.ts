import { readFileSync } from 'node:fs'
import { test } from 'tap'
import { readConfig } from '../../src/config/config.ts'
import { sections } from '../../src/config/variables.ts'

const text = readFileSync(new URL('../../.env.example', import.meta.url), 'utf8')
const lines = [...text.matchAll(/^(#?)([A-Z][A-Z0-9_]*)=(.*)$/gm)]
  .map(([, comment, name = '', value = '']) => ({ isSet: comment === '', name, value }))

test('.env.example names variables of the table only, with their defaults', async t => {
  const defaults = new Map(sections.flatMap(({ variables }) =>
    Object.entries(variables).map(([name, variable]) => [name, variable.default ?? ''])))
  t.ok(lines.length > 30)
  t.strictSame(lines.filter(({ name }) => !defaults.has(name)), [])
  for (const { isSet, name, value } of lines) if (!isSet) t.equal(value, defaults.get(name), name)
})

test('the service accepts the values that .env.example sets', async t => {
  const environment = Object.fromEntries(lines.filter(({ isSet }) => isSet).map(({ name, value }) => [name, value]))
  t.doesNotThrow(() => readConfig(environment))
  t.throws(() => readConfig({ ...environment, COS_REGION: 'Guangzhou!' }), /COS_REGION/)
})
