import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ask } from './processes.ts'
import { until } from './load.ts'

interface Test {
  teardown (handler: () => unknown): void
}

/** Where Debian puts it. */
const program = '/usr/sbin/nginx'

/**
 * nginx as `deploy/nginx.conf` has it, on this port of loopback before these replicas. What belongs to a container is
 * replaced: addresses, paths, and names that Docker's DNS would know.
 *
 * @param folder of its own, where it may write
 * @returns its URL, and what it has complained of
 */
export async function startNginx (
  t: Test, folder: string, port: number, replicas: string[]
): Promise<{ url: string, errors: () => string[] }> {
  if (!existsSync(program)) throw new Error(`this test needs ${program}: apt-get install nginx-light`)
  mkdirSync(folder, { recursive: true })
  const servers = replicas.map(address => `server ${address} max_fails=0;`).join('\n    ')
  const configuration = [
    [/\/tmp\//g, `${folder}/`],
    [/worker_processes auto;/, 'worker_processes 1;'],
    [/access_log \/dev\/stdout json;/, `access_log ${folder}/access.log json;`],
    [/resolver [^;]*;/, ''],
    [/resolver_timeout [^;]*;/, ''],
    [/server replica:8080 resolve max_fails=0;/, servers],
    [/listen 8080;/, `listen 127.0.0.1:${port};`]
  ].reduce((text, [pattern, replacement]) => {
    if (text.search(pattern as RegExp) < 0) throw new Error(`deploy/nginx.conf has no ${String(pattern)} any more`)
    return text.replace(pattern as RegExp, replacement as string)
  }, readFileSync(new URL('../../deploy/nginx.conf', import.meta.url), 'utf8'))
  const file = join(folder, 'nginx.conf')
  writeFileSync(file, configuration)

  // As root its workers would be nobody, who need not have access to the folder.
  const directives = `daemon off; ${process.getuid?.() === 0 ? 'user root;' : ''}`
  const child = spawn(program, ['-p', folder, '-c', file, '-e', 'stderr', '-g', directives], { stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => { said += text })
  const ended = once(child, 'close')
  t.teardown(async () => {
    child.kill('SIGTERM')
    await ended
  })
  const url = `http://127.0.0.1:${port}`
  await until(async () => {
    if (child.exitCode !== null) throw new Error(`nginx does not start:\n${said}`)
    return await ask(`${url}/livez`).then(({ status }) => status, () => 0)
  }, status => status === 200)
  return { url, errors: () => said.split('\n').filter(line => / \[(error|crit|alert|emerg)\] /.test(line)) }
}
