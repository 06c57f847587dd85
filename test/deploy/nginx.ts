import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { environment, missing, read } from './tools.ts'

interface Test {
  teardown (handler: () => unknown): void
}

/** A folder that goes with the test. */
export function temporaryFolder (t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'deploy-'))
  t.teardown(() => { rmSync(folder, { recursive: true }) })
  return folder
}

/**
 * Writes `deploy/nginx.conf` for this machine: another port on loopback, addresses in place of the name that Docker's
 * DNS knows (Debian's nginx 1.22 has no `resolve` yet), files in the folder.
 *
 * @param replicas `host:port` of each
 * @returns the path of the written file
 */
export function writeConfiguration (folder: string, port: number, replicas: string[]): string {
  const substitutes: Array<[string, string]> = [
    ['listen 8080;', `listen 127.0.0.1:${port};`],
    ['server replica:8080 resolve max_fails=0;', replicas.map(address => `server ${address} max_fails=0;`).join(' ')],
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

/**
 * Starts nginx as `deploy/nginx.conf` says in front of these replicas. It ends with the test.
 *
 * @param replicas `host:port` of each
 * @returns where it listens, such as `http://127.0.0.1:8081`
 */
export async function startNginx (t: Test, replicas: string[]): Promise<string> {
  const folder = temporaryFolder(t)
  const port = await freePort()
  const child = spawn('nginx', ['-p', folder, '-c', writeConfiguration(folder, port, replicas), '-g', 'daemon off;'], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: environment
  })
  const end = once(child, 'close').catch(() => {})
  t.teardown(async () => {
    child.kill('SIGTERM')
    await end
  })
  await once(child, 'spawn').catch((error: Error) => { throw missing('nginx', error) })
  let written = ''
  for await (const line of createInterface(child.stderr)) {
    written += `${line}\n`
    if (line.includes('start worker process ')) {
      child.stderr.resume()
      return `http://127.0.0.1:${port}`
    }
  }
  throw new Error(`nginx did not start:\n${written}`)
}

/** A port that nobody listens on. */
export async function freePort (): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
