import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { endWithThisProcess } from '../child-guard.ts'
import { freePort } from '../free-port.ts'
import { environment, missing, read } from './tools.ts'

interface Test {
  teardown (handler: () => unknown): void
}

/** A running nginx. */
interface Nginx {
  /** Base URL, such as `http://127.0.0.1:8081`. */
  url: string
  /** Returns the errors that nginx has logged. */
  errors (): string[]
}

/** Creates a folder that is removed at the end of the test. */
export function temporaryFolder (t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'deploy-'))
  t.teardown(() => { rmSync(folder, { recursive: true }) })
  return folder
}

/**
 * Writes a copy of `deploy/nginx.conf` with a loopback port and files in the folder. Addresses replace the Docker host
 * name, because the nginx 1.22 of Debian does not support `resolve`.
 *
 * @param replicas `host:port` of each
 * @returns the path of the written file
 */
export function writeConfiguration (folder: string, port: number, replicas: string[]): string {
  const substitutes: Array<[string, string]> = [
    ['listen 8080;', `listen 127.0.0.1:${port};`],
    ['server replica-1:8080 resolve max_fails=0;', replicas.map(address => `server ${address} max_fails=0;`).join(' ')],
    ['server replica-2:8080 resolve max_fails=0;', ''],
    ['access_log /dev/stdout json;', `access_log ${folder}/access.log json;`],
    ...['nginx.pid', 'client-bodies', 'proxied', 'fastcgi', 'uwsgi', 'scgi']
      .map((name): [string, string] => [`/tmp/${name};`, `${folder}/${name};`])
  ]
  let text = read('deploy/nginx.conf')
  for (const [written, substitute] of substitutes) {
    if (text.split(written).length !== 2) throw new Error(`deploy/nginx.conf does not have once: ${written}`)
    text = text.replace(written, substitute)
  }
  const path = join(folder, 'nginx.conf')
  writeFileSync(path, text)
  return path
}

/** Starts nginx with `deploy/nginx.conf` in front of these replicas (`host:port`). It stops at the end of the test. */
export async function startNginx (t: Test, replicas: string[]): Promise<Nginx> {
  const folder = temporaryFolder(t)
  const port = await freePort()
  const child = spawn('nginx', ['-p', folder, '-c', writeConfiguration(folder, port, replicas), '-g', 'daemon off;'], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: environment
  })
  // SIGKILL would not end its workers.
  endWithThisProcess(child, { signal: 'SIGTERM' })
  const end = once(child, 'close').catch(() => {})
  t.teardown(async () => {
    child.kill('SIGTERM')
    await end
  })
  await once(child, 'spawn').catch((error: Error) => { throw missing('nginx', error) })
  const written: string[] = []
  const lines = createInterface(child.stderr).on('line', line => { written.push(line) })
  while (!written.some(line => line.includes('start worker process '))) {
    await Promise.race([once(lines, 'line'), end])
    if (child.exitCode !== null) throw new Error(`nginx did not start:\n${written.join('\n')}`)
  }
  return {
    url: `http://127.0.0.1:${port}`,
    errors: () => written.filter(line => / \[(error|crit|alert|emerg)\] /.test(line))
  }
}
