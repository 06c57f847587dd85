import { readdirSync, readFileSync } from 'node:fs'
import { request } from 'undici'
import type { Dispatcher } from 'undici'
import type { EmulatorBucket, Fault } from '../../src/emulator/server.ts'
import { secret } from '../secrets.ts'
import { secrets } from '../start.ts'
import { startProgram } from '../e2e/program.ts'
import type { Program } from '../e2e/program.ts'

interface Test {
  teardown (handler: () => unknown): void
}

/** The service as a process of its own. */
export interface ServiceProcess extends Program {
  url: string
  port: number
  pid: number
}

/** The emulator as a process of its own, so that load on it takes nothing from the callers. */
export interface EmulatorProcess {
  address: string
  addFault (fault: Fault): Promise<void>
  clearFaults (): Promise<void>
  /** Moves what the emulator takes for now. */
  setClockOffset (ms: number): Promise<void>
  /** The documents stored in a bucket. */
  configurations (bucket: string): Promise<string[]>
  /** Ends it, and every connection to it. */
  stop (): Promise<void>
}

/** A line of the service's log. */
export interface LogLine { level: number, msg: string, [field: string]: unknown }

/** Buckets in regions, as the environment of the service names them. */
export function bucketRegions (buckets: EmulatorBucket[]): string {
  return buckets.map(({ name, region }) => `${name}=${region}`).join(',')
}

/** The service as a process, once it listens; what it calls COS is at `cosAddress`. */
export async function startServiceProcess (
  t: Test, cosAddress: string, environment: Record<string, string> = {}
): Promise<ServiceProcess> {
  const program = startProgram(t, 'server', {
    COS_SECRET_ID: secrets.secretId,
    COS_SECRET_KEY: secrets.secretKey,
    COS_TOKEN: secrets.token,
    AUTH: 'none',
    ALLOWED_HOSTS: 'x',
    PORT: '0',
    COS_SCHEME: 'http',
    COS_REGION: 'ap-guangzhou',
    COS_CONNECT_TO: cosAddress,
    ...environment
  })
  const [, url = ''] = await program.until(/"(?:Server )?listening at (http:[^"]+)"/i)
  return { ...program, url, port: Number(new URL(url).port), pid: program.process.pid as number }
}

/** The emulator's own program, once it listens. */
export async function startEmulatorProcess (t: Test, buckets: EmulatorBucket[]): Promise<EmulatorProcess> {
  const program = startProgram(t, 'emulator/main', {
    EMULATOR_PORT: '0',
    EMULATOR_KEYS: `${secrets.secretId}:${secrets.secretKey}:${secret(secrets.token)}`,
    EMULATOR_BUCKETS: bucketRegions(buckets)
  })
  const [, address = ''] = await program.until(/emulator on http:\/\/(\S+)/)
  const admin = async (method: Dispatcher.HttpMethod, path: string, body?: object): Promise<unknown> => {
    const { status, text } = await ask(`http://${address}/_emulator/${path}`, method, body)
    if (status >= 300) throw new Error(`${method} ${path}: ${status} ${text}`)
    return text === '' ? undefined : JSON.parse(text)
  }
  return {
    address,
    addFault: async fault => { await admin('POST', 'faults', fault) },
    clearFaults: async () => { await admin('DELETE', 'faults') },
    setClockOffset: async offsetMs => { await admin('PUT', 'clock', { offsetMs }) },
    configurations: async bucket => await admin('GET', `configurations?bucket=${bucket}`) as string[],
    async stop () {
      program.process.kill('SIGTERM')
      await program.exit
    }
  }
}

/** The log so far, audit lines included. */
export function logOf ({ stdout }: Program): LogLine[] {
  const text = stdout()
  // The last line may still be on its way.
  return text.slice(0, text.lastIndexOf('\n') + 1).split('\n').filter(line => line !== '')
    .map(line => JSON.parse(line) as LogLine)
}

/** Resident memory of a process in MiB. */
export function residentMiB (pid: number): number {
  const [, kib = 'NaN'] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Number(kib) / 1024
}

/** How many file descriptors a process has open, sockets above all. */
export function openDescriptors (pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length
}

/** What a metric is now, summed over the series whose labels include these; 0 when there is none. */
export async function metric (url: string, name: string, labels: Record<string, string> = {}): Promise<number> {
  const { text } = await ask(`${url}/metrics`)
  const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`)
  return text.split('\n')
    .filter(line => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
    .filter(line => wanted.every(each => line.includes(each)))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0)
}

/** Asks over a connection that ends with the answer, so that none stays open to be counted. */
export async function ask (
  url: string, method: Dispatcher.HttpMethod = 'GET', body?: object
): Promise<{ status: number, text: string }> {
  const headers = body === undefined ? {} : { 'content-type': 'application/json' }
  const sent = body === undefined ? null : JSON.stringify(body)
  const answer = await request(url, { method, headers, body: sent, reset: true })
  return { status: answer.statusCode, text: await answer.body.text() }
}
