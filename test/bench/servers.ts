import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { spawnSync } from 'node:child_process'
import { as, callersFile, everything, withKey } from '../callers-file.ts'
import { createAuthority } from '../certificates.ts'
import { freePort } from '../free-port.ts'
import { productionFlags } from '../production-flags.ts'
import { commandOf } from './build.ts'
import { bucket, region } from './documents.ts'
import { start, onExit } from './processes.ts'
import type { Running } from './processes.ts'

/** A measured server. */
export interface Server extends Running {
  name: string
  origin: string
  /** `json` is the API of this service, `cos` that of COS. */
  format: 'json' | 'cos'
  /** Headers that every request needs. */
  headers: Record<string, string>
}

/** A kind of server and how to start it. */
export interface Kind {
  name: string
  /** One line for the legend. */
  description: string
  format: Server['format']
  /**
   * @param upstream `host:port` in place of COS
   * @param cores cores of the process; any core when undefined
   */
  start (upstream: string, cores: string | undefined): Promise<Server>
}

/** The temporary key pair of all requests. */
const credential = {
  secretId: 'AKIDbenchBENCHbenchBENCHbenchBEN0000',
  secretKey: 'bBeEnNcChHbBeEnNcChHbBeEnNcChH00',
  token: 'bBeEnNcChH/tToOkKeEnN+=='.repeat(8)
}

const callerNames = ['billing', 'reporting', 'archive', 'search', 'operations']
const lifetime = { teardown: onExit }
const listening = /listening at (http:\/\/[\d.:]+)/i

/** The service with all features of production. */
export const service: Kind = {
  name: 'service',
  description: 'this service as in production: five callers with keys, rate limit, log, audit log, metrics, all limits',
  format: 'json',
  start: (upstream, cores) => startService(upstream, cores)
}

/** All measured servers, the service first. */
export const kinds: Kind[] = [
  service,
  {
    name: 'bare',
    description: 'Fastify, undici, fast-xml-parser and a signature: no authentication, no validation, no log',
    format: 'json',
    start: (upstream, cores) => startPeer('bare', 'bare-translator', 'json', upstream, cores)
  },
  {
    name: 'express',
    description: 'Express and cos-nodejs-sdk-v5 as their documentation shows',
    format: 'json',
    start: (upstream, cores) => startPeer('express', 'express-sdk', 'json', upstream, cores)
  },
  {
    name: 'http-proxy',
    description: 'Fastify and @fastify/http-proxy: forwards XML unchanged, without a signature',
    format: 'cos',
    start: (upstream, cores) => startPeer('http-proxy', 'http-proxy', 'cos', upstream, cores)
  },
  { name: 'nginx', description: 'one worker: forwards XML unchanged, without a signature', format: 'cos', start: startNginx }
]

/** A minimal Fastify server, for the start time. */
export const bareFastify: Kind = {
  name: 'bare Fastify',
  description: 'Fastify with one route, which makes one call with undici',
  format: 'json',
  start: (upstream, cores) => startPeer('bare Fastify', 'bare-fastify', 'json', upstream, cores)
}

/** Returns whether nginx is installed. */
export function hasNginx (): boolean {
  return spawnSync('nginx', ['-v']).error === undefined
}

/** Starts the upstream double; `captured` is its address. */
export async function startUpstream (cores: string | undefined): Promise<Running> {
  return await start({ command: commandOf('upstream'), cores, ready: /listening at http:\/\/(\S+)/ })
}

/** Starts the emulator, which checks signatures; `captured` is its address. */
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

/** Returns the variables of the service, which the peers read too. */
function environment (upstream: string): Record<string, string> {
  return {
    COS_CONNECT_TO: upstream,
    COS_REGION: region,
    COS_SECRET_ID: credential.secretId,
    COS_SECRET_KEY: credential.secretKey,
    COS_TOKEN: credential.token
  }
}

/** Starts the upstream double with TLS for the hosts of all buckets. `certificateFile` has its authority. */
export async function startTlsUpstream (
  cores: string | undefined
): Promise<{ upstream: Running, certificateFile: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'bench-tls-'))
  onExit(() => { rmSync(folder, { recursive: true, force: true }) })
  const authority = await createAuthority()
  const { cert, key } = await authority.issue(`*.cos.${region}.myqcloud.com`)
  const write = (name: string, text: string) => {
    const path = join(folder, name)
    writeFileSync(path, text)
    return path
  }
  const [TLS_CERTIFICATE, TLS_KEY] = [write('cert.pem', cert), write('key.pem', key)]
  const certificateFile = write('ca.pem', authority.cert)
  const upstream = await start({
    command: commandOf('upstream'), environment: { TLS_CERTIFICATE, TLS_KEY }, cores, ready: /listening at http:\/\/(\S+)/
  })
  return { upstream, certificateFile }
}

/** Starts the service with further variables. */
export const startService = createServiceStart()

function createServiceStart (): (...args: [...Parameters<Kind['start']>, more?: Record<string, string>]) => Promise<Server> {
  let callers: Record<string, string> | undefined
  return async (upstream, cores, more) => {
    callers ??= callersFile(lifetime, callerNames.map(name => withKey(name, everything))).environment
    const running = await start({
      command: commandOf('service/dist/server', productionFlags),
      environment: {
        ...environment(upstream),
        ...callers,
        COS_SCHEME: 'http',
        LOG_LEVEL: 'info',
        PORT: '0',
        REPORTS: 'true',
        // Requests are counted, and the limit is never reached.
        RATE_LIMIT_PER_MINUTE: '10000000',
        ...more
      },
      cores,
      ready: listening
    })
    // This key is neither the first nor the last in the file.
    return { ...running, name: 'service', origin: running.captured, format: 'json', headers: as('archive') }
  }
}

async function startPeer (
  name: string, program: string, format: Server['format'], upstream: string, cores: string | undefined
): Promise<Server> {
  const running = await start({
    command: commandOf(`peers/${program}`), environment: environment(upstream), cores, ready: listening
  })
  return { ...running, name, origin: running.captured, format, headers: {} }
}

async function startNginx (upstream: string, cores: string | undefined): Promise<Server> {
  const folder = mkdtempSync(join(tmpdir(), 'bench-nginx-'))
  onExit(() => { rmSync(folder, { recursive: true, force: true }) })
  const port = await freePort()
  const path = join(folder, 'nginx.conf')
  writeFileSync(path, nginxConfiguration(folder, port, upstream))
  const running = await start({
    command: ['nginx', '-p', folder, '-c', path, '-e', 'stderr'],
    cores,
    ready: /start worker process (\d+)/,
    // SIGKILL would end only the master process of nginx.
    endBy: 'SIGTERM'
  })
  return { ...running, name: 'nginx', origin: `http://127.0.0.1:${port}`, format: 'cos', headers: {} }
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
