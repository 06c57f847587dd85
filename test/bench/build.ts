import { execFile } from 'node:child_process'
import { cpSync, rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const root = new URL('../../', import.meta.url)
const compiler = fileURLToPath(new URL('node_modules/typescript/bin/tsc', root))
const built = new URL('dist/bench/', root)

/**
 * Compiles `src` as `npm run build` does, into a separate package, and the peers. The bench measures JavaScript, as
 * production runs it. There are no type checks here.
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
    // Without type checks, the compiler needs no other files.
    compile('test/bench', '--noResolve')
  ])
}

/**
 * Returns the command that runs a compiled program, such as `service/dist/server` or `peers/http-proxy`.
 *
 * @param flags flags of V8
 */
export function commandOf (program: string, flags: string[] = []): string[] {
  return [process.execPath, ...flags, fileURLToPath(new URL(`${program}.js`, built))]
}
