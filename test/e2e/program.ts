import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { chmodSync, cpSync, rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { endWithThisProcess } from '../child-guard.ts'
import { productionFlags } from '../production-flags.ts'
import { refuseSecrets } from '../secrets.ts'

interface Test {
  teardown (handler: () => unknown): void
}

/** A started program and its output. */
export interface Program {
  process: ChildProcess
  stdout (): string
  stderr (): string
  /** Resolves when stdout matches; rejects when the program ends first. */
  until (pattern: RegExp): Promise<RegExpExecArray>
  /** The exit code after all output has arrived; null after a signal. */
  exit: Promise<number | null>
}

const root = new URL('../../', import.meta.url)

/** Folder of the build under test. It is a separate package, so that files written by a program stay in it. */
export const builtPackage = new URL('dist/e2e/', root)

/** Compiles `src` as `npm run build` and `npm run build:client` do, without type checks to save seconds. */
export function build (): void {
  rmSync(builtPackage, { recursive: true, force: true })
  for (const name of ['package.json', 'openapi', 'docs']) {
    cpSync(new URL(name, root), new URL(name, builtPackage), { recursive: true })
  }
  const compiler = fileURLToPath(new URL('node_modules/typescript/bin/tsc', root))
  const outDir = fileURLToPath(new URL('dist', builtPackage))
  execFileSync(process.execPath, [compiler, '-p', 'src', '--noCheck', '--outDir', outDir], { cwd: root })
  execFileSync(process.execPath, [compiler, '-p', 'src/client', '--noCheck', '--outDir', `${outDir}/client`], { cwd: root })
  cpSync(new URL('src/client/package.json', root), new URL('dist/client/package.json', builtPackage))
  // npm makes the programs of a package executable.
  chmodSync(`${outDir}/client/cli.js`, 0o755)
}

/** Arguments of Node for a program in `src`. */
export const fromSource = ['--import', new URL('test/strip-types.js', root).href]

/** Whether the runner of tap collects coverage. Its hooks, which slow each start, serve nothing else. */
const isMeasured = process.env['_TAPJS_PROCESSINFO_COVERAGE_'] === '1'

/**
 * Runs a built program with only this environment, and the service with the flags of `npm start`. It is killed at the
 * end of the test or of this process. A program that is measured for coverage runs from `src`: its functions would have
 * other places in the built code.
 *
 * @param stdout a descriptor for its stdout; by default a pipe that is read
 */
export function startProgram (
  t: Test, name: string, environment: Record<string, string>, stdout: 'pipe' | number = 'pipe'
): Program {
  return startNode(t, argumentsFor(name), environment, stdout)
}

/** Returns the arguments of Node that run a program as {@link startProgram} does. */
export function argumentsFor (name: string): string[] {
  const flags = name === 'server' ? productionFlags : []
  const program = isMeasured
    ? [...fromSource, fileURLToPath(new URL(`src/${name}.ts`, root))]
    : [fileURLToPath(new URL(`dist/${name}.js`, builtPackage))]
  return [...flags, ...program]
}

/** Runs Node as {@link startProgram} runs a built program. */
export function startNode (
  t: Test, args: string[], environment: Record<string, string>, stdout: 'pipe' | number = 'pipe'
): Program {
  // tap adds its hooks to NODE_OPTIONS of each child. The program `env` removes them.
  const words = isMeasured ? [] : ['env', `NODE_OPTIONS=${environment['NODE_OPTIONS'] ?? ''}`]
  const [command, ...rest] = [...words, process.execPath, ...args] as [string, ...string[]]
  const child = spawn(command, rest, {
    env: { ...environment, PATH: process.env['PATH'] },
    stdio: ['ignore', stdout, 'pipe']
  })
  endWithThisProcess(child)
  const written = { stdout: '', stderr: '' }
  const news = new EventEmitter()
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream]?.setEncoding('utf8').on('data', (text: string) => {
      written[stream] += text
      news.emit('news')
    })
  }
  let ended = false
  const exit = once(child, 'close').then(([code]) => {
    ended = true
    news.emit('news')
    return code as number | null
  })
  t.teardown(async () => {
    if (!ended) child.kill('SIGKILL')
    await exit
    refuseSecrets(written.stdout + written.stderr)
  })
  return {
    process: child,
    stdout: () => written.stdout,
    stderr: () => written.stderr,
    async until (pattern) {
      for (;;) {
        const found = pattern.exec(written.stdout)
        if (found !== null) return found
        if (ended) throw new Error(`${args.join(' ')} ended without ${String(pattern)}:\n${written.stdout}${written.stderr}`)
        await once(news, 'news')
      }
    },
    exit
  }
}
