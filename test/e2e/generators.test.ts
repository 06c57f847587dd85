import { execFile, execFileSync } from 'node:child_process'
import { cpSync, writeFileSync } from 'node:fs'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { bucket, start } from '../start.ts'
import { expected } from './generators/bodies.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const document = `${root}openapi/openapi.json`

/** The generators, their programs and arguments, and the scenario that uses what they generate. */
const generators = [
  ['openapi-typescript', 'openapi-typescript', [document, '--output', 'types.ts'], 'openapi-fetch'],
  ['@hey-api/openapi-ts', 'openapi-ts', ['--input', document, '--output', 'hey-api', '--client', '@hey-api/client-fetch'], 'hey-api'],
  ['orval', 'orval', ['--config', 'orval.config.mjs'], 'orval']
] as const

const orvalConfig = {
  input: document,
  output: {
    target: 'orval.gen.ts',
    client: 'fetch',
    override: { mutator: { path: './orval-fetch.ts', name: 'orvalFetch' } }
  }
}

const strict = [
  '--ignoreConfig', '--strict', '--noEmit', '--target', 'es2022', '--module', 'esnext', '--moduleResolution', 'bundler', '--skipLibCheck',
  '--allowImportingTsExtensions', '--types', 'node', '--typeRoots', `${root}node_modules/@types`
]

for (const [name, program, args, scenario] of generators) {
  t.test(`a client of ${name} compiles strictly and runs the whole scenario`, async t => {
    // In the repository, so that packages are found.
    const folder = t.testdir()
    cpSync(`${root}test/e2e/generators`, folder, { recursive: true })
    writeFileSync(`${folder}/orval.config.mjs`, `export const client = ${JSON.stringify(orvalConfig)}`)
    const run = (command: string, ...rest: readonly string[]) =>
      execFileSync(`${root}node_modules/.bin/${command}`, rest, { cwd: folder, encoding: 'utf8', stdio: 'pipe' })
    run(program, ...args)
    run('tsc', ...strict, `${scenario}.ts`)

    const { url } = await start(t, { environment: { RATE_LIMIT_PER_MINUTE: '0' } })
    const script = `import { run } from '${pathToFileURL(`${folder}/${scenario}.ts`).href}'
      console.log(JSON.stringify(await run('${url}', '${bucket}')))`
    // Generated imports have no extensions, which only tsx resolves. The service runs in this process.
    const { stdout } = await promisify(execFile)(process.execPath,
      ['--import', 'tsx', '--input-type', 'module', '--eval', script], { cwd: folder, env: { PATH: process.env['PATH'] } })
    t.strictSame(JSON.parse(stdout), expected)
  })
}
