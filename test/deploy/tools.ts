import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = new URL('../../', import.meta.url)

/** Returns the absolute path of a file of the project. */
export const pathOf = (path: string) => fileURLToPath(new URL(path, root))

/** Returns the text of a file of the project. */
export const read = (path: string) => readFileSync(new URL(path, root), 'utf8')

/**
 * Runs a tool to its end.
 *
 * @returns its exit code and its output
 * @throws {Error} naming the Debian package to install when the tool is missing
 */
export function run (tool: keyof typeof packages, args: string[]): { code: number | null, output: string } {
  const { error, status, stdout, stderr } = spawnSync(tool, args, { encoding: 'utf8', env: environment })
  if (error !== undefined) throw missing(tool, error)
  return { code: status, output: stdout + stderr }
}

const packages = { promtool: 'prometheus', nginx: 'nginx-light' }

/** On Debian, servers are in a folder that only the PATH of root contains. */
export const environment = { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin` }

/** Returns an error that names the Debian package when a tool is missing; returns other errors unchanged. */
export function missing (tool: keyof typeof packages, error: Error): Error {
  if ((error as NodeJS.ErrnoException).code !== 'ENOENT') return error
  return new Error(`${tool} is missing. Install Debian's ${packages[tool]}.`)
}
