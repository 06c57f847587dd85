import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { spawnSync } from 'node:child_process'
import { as, callersFile, everything, withKey } from '../callers-file.ts'
import { freePort } from '../free-port.ts'
import { commandOf, productionFlags } from './build.ts'
import { bucket, region } from './documents.ts'
import { start, whenEverythingEnds } from './processes.ts'
import type { Running } from './processes.ts'

/** Something that is measured. */
export interface Server extends Running {
  name: string
  origin: string
  /** `json` is the API of this service, `cos` what the upstream speaks. */
  speaks: 'json' | 'cos'
  /** Headers every request to it needs. */
  headers: Record<string, string>
}

/** How to start something that is measured. */
export interface Kind {
  name: string
  /** One line for the legend. */
  is: string
  speaks: Server['speaks']
  /**
   * @param upstream `host:port` of what takes the place of COS
   * @param cores to run on; anywhere when undefined
   */
  start (upstream: string, cores: string | undefined): Promise<Server>
}

/** The temporary key pair that everything signs with. */
export const credential = {
  secretId: 'AKIDbenchBENCHbenchBENCHbenchBEN0000',
  secretKey: 'bBeEnNcChHbBeEnNcChHbBeEnNcChH00',
  token: 'bBeEnNcChH/tToOkKeEnN+=='.repeat(8)
}

const callerNames = ['billing', 'reporting', 'archive', 'search', 'operations']
const lifetime = { teardown: whenEverythingEnds }
const listening = /listening at (http:\/\/[\d.:]+)/i

/** The service with everything that production has switched on. */
export const service: Kind = {
  name: 'service',
  is: 'what this is about, as in production: five callers with keys, rate limit, log, audit log, metrics, all limits',
  speaks: 'json',
  start: createServiceStart()
}

/** Everything that is measured, the service first. */
export const kinds: Kind[] = [
  service,
  {
    name: 'bare',
    is: 'Fastify, undici, fast-xml-parser and a signature: no callers, no checks, no log',
    speaks: 'json',
    start: (upstream, cores) => startPeer('bare', 'bare-translator', 'json', upstream, cores)
  },
  {
    name: 'express',
    is: 'Express and cos-nodejs-sdk-v5 as their documentation shows',
    speaks: 'json',
    start: (upstream, cores) => startPeer('express', 'express-sdk', 'json', upstream, cores)
  },
  {
    name: 'http-proxy',
    is: 'Fastify and @fastify/http-proxy: passes XML through, signs nothing',
    speaks: 'cos',
    start: (upstream, cores) => startPeer('http-proxy', 'http-proxy', 'cos', upstream, cores)
  },
  { name: 'nginx', is: 'one worker: passes XML through, signs nothing', speaks: 'cos', start: startNginx }
]

/** The least of a Fastify server, whose time to start is compared. */
export const bareFastify: Kind = {
  name: 'bare Fastify',
  is: 'Fastify with one route, which makes one call with undici',
  speaks: 'json',
  start: (upstream, cores) => startPeer('bare Fastify', 'bare-fastify', 'json', upstream, cores)
}

/** Whether nginx is there. */
export function hasNginx (): boolean {
  return spawnSync('nginx', ['-v']).error === undefined
}

/** The upstream double; its address is what it says. */
export async function startUpstream (cores: string | undefined): Promise<Running> {
  return await start({ command: commandOf('upstream'), cores, ready: /listening at http:\/\/(\S+)/ })
}

/** The project's own emulator, which checks signatures; its address is what it says. */
export async function startEmulator (): Promise<Running> {
  const { secretId, secretKey, token } = credential
  return await start({
    command: commandOf('service/dist/emulator/main'),
    environment: {
      EMULATOR_PORT: '0',
      EMULATOR_KEYS: `${secretId}:${secretKey}:${token}`,
      EMULATOR_BUCKETS: `${bucket}=${region}`
    },
    cores: undefined,
    ready: /emulator on http:\/\/(\S+)/
  })
}

/** Names are those of the service: peers read the same. */
function environment (upstream: string): Record<string, string> {
  return {
    COS_CONNECT_TO: upstream,
    COS_REGION: region,
    COS_SECRET_ID: credential.secretId,
    COS_SECRET_KEY: credential.secretKey,
    COS_TOKEN: credential.token
  }
}

function createServiceStart (): Kind['start'] {
  let callers: Record<string, string> | undefined
  return async (upstream, cores) => {
    callers ??= callersFile(lifetime, callerNames.map(name => withKey(name, everything))).environment
    const running = await start({
      command: commandOf('service/dist/server', productionFlags),
      environment: {
        ...environment(upstream),
        ...callers,
        COS_SCHEME: 'http',
        LOG_LEVEL: 'info',
        PORT: '0',
        // Counted, and never reached.
        RATE_LIMIT_PER_MINUTE: '10000000'
      },
      cores,
      ready: listening
    })
    // Neither the first nor the last that keys are compared with.
    return { ...running, name: 'service', origin: running.said, speaks: 'json', headers: as('archive') }
  }
}

async function startPeer (
  name: string, program: string, speaks: Server['speaks'], upstream: string, cores: string | undefined
): Promise<Server> {
  const running = await start({
    command: commandOf(`peers/${program}`), environment: environment(upstream), cores, ready: listening
  })
  return { ...running, name, origin: running.said, speaks, headers: {} }
}

async function startNginx (upstream: string, cores: string | undefined): Promise<Server> {
  const folder = mkdtempSync(join(tmpdir(), 'bench-nginx-'))
  whenEverythingEnds(() => { rmSync(folder, { recursive: true, force: true }) })
  const port = await freePort()
  const path = join(folder, 'nginx.conf')
  writeFileSync(path, nginxConfiguration(folder, port, upstream))
  const running = await start({
    command: ['nginx', '-p', folder, '-c', path, '-e', 'stderr'],
    cores,
    ready: /start worker process (\d+)/,
    // A killed master would leave its worker behind.
    endBy: 'SIGTERM'
  })
  return { ...running, name: 'nginx', origin: `http://127.0.0.1:${port}`, speaks: 'cos', headers: {} }
}

function nginxConfiguration (folder: string, port: number, upstream: string): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(name => `${name}_temp_path ${folder}/${name};`)
  return `daemon off;
worker_processes 1;
pid ${folder}/nginx.pid;
error_log stderr notice;
events { worker_connections 1024; }
http {
  ${temporary.join('\n  ')}
  access_log off;
  keepalive_requests 100000000;
  upstream cos { server ${upstream}; keepalive 64; keepalive_requests 100000000; }
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://cos;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffers 16 16k;
    }
  }
}
`
}
