/** Lint messages for code outside the owner of shared state. */
import { Linter } from 'eslint'
import t from 'tap'
import tseslint from 'typescript-eslint'

const rules = new URL('../../eslint.ownership.js', import.meta.url).href
const { ownership } = await import(rules) as { ownership: Linter.Config[] }
const linter = new Linter()
const typescript = { files: ['**/*.ts'], languageOptions: { parser: tseslint.parser } } as Linter.Config
const config = [typescript, ...ownership]

const requestState = "declare module 'fastify' {\n  interface FastifyRequest { tenant: string }\n}"
const decoration = "app.decorateRequest('tenant', '')"
const socketState = 'export const bytes = new Map<Socket, number>()'
const responseState = 'export const late = new WeakSet<ServerResponse>()'
const ofRequest = 'The state of a request belongs to src/http/context.'
const ofConnection = /The state of a connection belongs to src\/http\/connections/

for (const [path, code, message] of [
  ['src/http/query.ts', requestState, ofRequest],
  ['src/routes/probes.ts', decoration, ofRequest],
  ['src/http/query.ts', socketState, ofConnection],
  ['src/routes/probes.ts', responseState, ofConnection]
] as const) {
  t.test(`lint names the owner of ${code.slice(0, 30)} in ${path}`, async t => {
    t.match(linter.verify(code, config, { filename: path }), [{ message }])
  })
}

t.test('lint accepts the same state at its owner', async t => {
  t.strictSame(linter.verify(requestState, config, { filename: 'src/http/context/route-config.ts' }), [])
  t.strictSame(linter.verify(socketState, config, { filename: 'src/http/connections/server.ts' }), [])
})
