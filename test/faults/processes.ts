import { readdirSync, readFileSync } from 'node:fs'
import { request } from 'undici'
import type { Dispatcher } from 'undici'
import type { EmulatorBucket, Fault, ReportOrder } from '../../src/emulator/server.ts'
import { secret } from '../secrets.ts'
import { secrets, startTestService } from '../start.ts'
import { startProgram } from '../e2e/program.ts'
import type { Program } from '../e2e/program.ts'

interface Test {
  teardown (handler: () => unknown): void
}

/** The service as a process. */
export interface ServiceProcess extends Program {
  url: string
  port: number
  pid: number
}

/** The emulator as a process, so that its load does not slow the callers. */
export interface EmulatorProcess {
  address: string
  addFault (fault: Fault): Promise<void>
  clearFaults (): Promise<void>
  /** Sets the clock of the emulator ahead by this time. */
  setClockOffset (ms: number): Promise<void>
  deliverReport (order: ReportOrder): Promise<void>
  /** Returns the documents stored in a bucket. */
  configurations (bucket: string): Promise<string[]>
  /** Stops the emulator and closes its connections. */
  stop (): Promise<void>
}

/** The service as a process or in this process. */
export type AnyService = Pick<ServiceProcess, 'url' | 'stdout' | 'stderr'>

/** A line in the log of the service. */
export interface LogLine { level: number, msg: string, [field: string]: unknown }

/** Returns the value of COS_BUCKET_REGIONS for these buckets. */
export function bucketRegions (buckets: EmulatorBucket[]): string {
  return buckets.map(({ name, region }) => `${name}=${region}`).join(',')
}

/** Starts the service with COS at this address and waits until it listens. */
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

/**
 * Starts the service in this process, which takes a tenth of the time of {@link startServiceProcess}. Its output is the
 * log at level trace, with audit lines, and the warnings of this process.
 */
export async function startServiceHere (
  t: Test, cosAddress: string, environment: Record<string, string> = {}
): Promise<AnyService> {
  const { url, logs, audits } = await startTestService(t, cosAddress, { COS_MAX_ATTEMPTS: '3', ...environment })
  let warnings = ''
  const warn = ({ message }: Error) => { warnings += `${message}\n` }
  process.on('warning', warn)
  t.teardown(() => { process.off('warning', warn) })
  return {
    url,
    stdout: () => logs() + audits().map(record => `${JSON.stringify(record)}\n`).join(''),
    stderr: () => warnings
  }
}

/** Starts the emulator and waits until it listens. */
export async function startEmulatorProcess (t: Test, buckets: EmulatorBucket[]): Promise<EmulatorProcess> {
  const program = startProgram(t, 'emulator/main', {
    EMULATOR_PORT: '0',
    EMULATOR_KEYS: `${secrets.secretId}:${secrets.secretKey}:${secret(secrets.token)}`,
    EMULATOR_BUCKETS: bucketRegions(buckets)
  })
  const [, address = ''] = await program.until(/emulator on http:\/\/(\S+)/)
  const admin = async (method: Dispatcher.HttpMethod, path: string, body?: object): Promise<unknown> => {
    const { status, text } = await requestOnce(`http://${address}/_emulator/${path}`, method, body)
    if (status >= 300) throw new Error(`${method} ${path}: ${status} ${text}`)
    return text === '' ? undefined : JSON.parse(text)
  }
  return {
    address,
    addFault: async fault => { await admin('POST', 'faults', fault) },
    clearFaults: async () => { await admin('DELETE', 'faults') },
    deliverReport: async order => { await admin('POST', 'reports', order) },
    setClockOffset: async offsetMs => { await admin('PUT', 'clock', { offsetMs }) },
    configurations: async bucket => await admin('GET', `configurations?bucket=${bucket}`) as string[],
    async stop () {
      program.process.kill('SIGTERM')
      await program.exit
    }
  }
}

/** Returns the log so far, including audit lines. */
export function logOf ({ stdout }: Pick<Program, 'stdout'>): LogLine[] {
  const text = stdout()
  // The last line may be incomplete.
  return text.slice(0, text.lastIndexOf('\n') + 1).split('\n').filter(line => line !== '')
    .map(line => JSON.parse(line) as LogLine)
}

/** Returns the resident memory of a process in MiB. */
export function residentMiB (pid: number): number {
  const [, kib = 'NaN'] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Number(kib) / 1024
}

/** Returns the number of open file descriptors of a process, mostly sockets. */
export function openDescriptors (pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length
}

/** Returns the value of a metric, summed over the series with these labels; 0 when there is none. */
export async function metric (url: string, name: string, labels: Record<string, string> = {}): Promise<number> {
  const { text } = await requestOnce(`${url}/metrics`)
  const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`)
  return text.split('\n')
    .filter(line => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
    .filter(line => wanted.every(each => line.includes(each)))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0)
}

/** Sends a request over a connection that closes after the response, so that it is not counted later. */
export async function requestOnce (
  url: string, method: Dispatcher.HttpMethod = 'GET', body?: object
): Promise<{ status: number, text: string }> {
  const headers = body === undefined ? {} : { 'content-type': 'application/json' }
  const sent = body === undefined ? null : JSON.stringify(body)
  const response = await request(url, { method, headers, body: sent, reset: true })
  return { status: response.statusCode, text: await response.body.text() }
}
