import { execFile } from 'node:child_process'
import { cpSync, readFileSync, rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const root = new URL('../../', import.meta.url)
const compiler = fileURLToPath(new URL('node_modules/typescript/bin/tsc', root))
const built = new URL('dist/bench/', root)

/**
 * Compiles `src` as `npm run build` does, into a package of its own, and the peers. Plain JavaScript is what production
 * runs, and what the time to start is about. Types are the type check's business.
 */
export async function build (): Promise<void> {
  rmSync(built, { recursive: true, force: true })
  for (const name of ['package.json', 'openapi']) {
    cpSync(new URL(name, root), new URL(`service/${name}`, built), { recursive: true })
  }
  const compile = async (project: string, ...more: string[]) => {
    await promisify(execFile)(process.execPath, [compiler, '-p', project, '--noCheck', ...more], { cwd: root })
  }
  await Promise.all([
    compile('src', '--outDir', fileURLToPath(new URL('service/dist', built))),
    // Nothing is looked up in other files where nothing is checked.
    compile('test/bench', '--noResolve')
  ])
}

const { scripts } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8')) as { scripts: { start: string } }

/** What `npm start` and the image tell V8. */
export const productionFlags = scripts.start.split(' ').filter(word => word.startsWith('--'))

/**
 * The command that runs a compiled program, such as `service/dist/server` or `peers/http-proxy`.
 *
 * @param flags of V8
 */
export function commandOf (program: string, flags: string[] = []): string[] {
  return [process.execPath, ...flags, fileURLToPath(new URL(`${program}.js`, built))]
}
