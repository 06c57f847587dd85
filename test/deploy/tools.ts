import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = new URL('../../', import.meta.url)

/** Where a file of the project is. */
export const pathOf = (path: string) => fileURLToPath(new URL(path, root))

/** The text of a file of the project. */
export const read = (path: string) => readFileSync(new URL(path, root), 'utf8')

/**
 * Runs a tool to its end.
 *
 * @returns its exit code, and all it wrote
 * @throws {Error} saying which Debian package to install when the tool is missing
 */
export function run (tool: keyof typeof packages, args: string[]): { code: number | null, output: string } {
  const { error, status, stdout, stderr } = spawnSync(tool, args, { encoding: 'utf8', env: environment })
  if (error !== undefined) throw missing(tool, error)
  return { code: status, output: stdout + stderr }
}

const packages = { promtool: 'prometheus', nginx: 'nginx-light' }

/** Debian keeps servers where only root's PATH looks. */
export const environment = { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin` }

/** What to tell whoever lacks a tool; other faults are told as they are. */
export function missing (tool: keyof typeof packages, error: Error): Error {
  if ((error as NodeJS.ErrnoException).code !== 'ENOENT') return error
  return new Error(`${tool} is missing. Install Debian's ${packages[tool]}.`)
}
