import { Writable } from 'node:stream'
import { pino } from 'pino'
import type { Logger } from 'pino'
import { Agent } from 'undici'
import { readConfig } from '../src/config/config.ts'
import { startEmulator } from '../src/emulator/server.ts'
import type { Emulator, EmulatorOptions } from '../src/emulator/server.ts'
import type { AuditRecord } from '../src/logging/audit-log.ts'
import { startService } from '../src/service.ts'
import type { Service } from '../src/service.ts'
import { outputsTo } from './outputs.ts'
import { refuseSecrets, secret } from './secrets.ts'

/** The part of the tap API that a subtest needs. */
export interface Test {
  teardown (handler: () => unknown): void
}

export const bucket = 'examplebucket-1250000000'
export const otherBucket = 'logs-1250000000'
export const secrets = {
  secretId: 'AKIDtestTESTtestTESTtestTESTtest0000',
  secretKey: secret('kKeEyYkKeEyYkKeEyYkKeEyYkKeEyY00'),
  token: secret('tToOkKeEnN+/tToOkKeEnN==')
}

/** A PUT body with every member that this service knows. */
export const configuration = {
  IsEnabled: true,
  IncludedObjectVersions: 'All',
  Filter: { Prefix: 'myPrefix' },
  OptionalFields: { Field: ['Size', 'ETag'] },
  Schedule: { Frequency: 'Daily' },
  Destination: {
    COSBucketDestination: {
      Format: 'CSV',
      AccountId: '100000000001',
      Bucket: 'qcs::cos:ap-guangzhou::examplebucket-1250000000',
      Prefix: 'list1',
      Encryption: { SSECOS: {} }
    }
  }
}

/** A response as the caller receives it. */
export interface Answer {
  status: number
  headers: Record<string, string | string[] | undefined>
  text: string
  // Tests access any member; an absent one makes the comparison fail.

  json: any
}

export interface Running {
  emulator: Emulator
  service: Service
  url: string
  /** Returns everything that was logged, at trace level. */
  logs (): string
  /** Returns the records of the audit log. */
  audits (): AuditRecord[]
  /** Sends a request over its own connection; an object becomes a JSON body. */
  call (method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer>
}

/** Returns the path of a configuration of the test bucket. */
export function at (id: string, query = ''): string {
  return `/buckets/${bucket}/inventories/${id}${query}`
}

/** Creates a stream that stores its input and checks it for secrets at the end of the test. */
function recordingStream (t: Test): { stream: Writable, written: () => string } {
  let lines = ''
  const stream = new Writable({
    write (chunk: Buffer, _, done) {
      lines += chunk.toString()
      done()
    }
  })
  t.teardown(() => { refuseSecrets(lines) })
  return { stream, written: () => lines }
}

/** Creates a logger that stores its lines and checks them for secrets. */
export function recordingLogger (t: Test): { logger: Logger, logs: () => string } {
  const { stream, written } = recordingStream(t)
  return { logger: pino({ level: 'trace' }, stream), logs: written }
}

/** Starts an emulator on a free port. */
export async function startTestEmulator (t: Test, options: Partial<EmulatorOptions> = {}): Promise<Emulator> {
  const emulator = await startEmulator({
    credentials: [secrets],
    buckets: [{ name: bucket, region: 'ap-guangzhou' }, { name: otherBucket, region: 'ap-shanghai' }],
    ...options
  })
  t.teardown(() => emulator.close())
  return emulator
}

/** Starts the real service on a free port with this environment. */
export async function startTestService (
  t: Test, connectTo: string, environment: Record<string, string> = {}
): Promise<Omit<Running, 'emulator'>> {
  const { logger, logs } = recordingLogger(t)
  const config = readConfig({
    AUTH: 'none',
    // `x` is the Host header of raw requests in tests.
    ALLOWED_HOSTS: 'x',
    PORT: '0',
    COS_SECRET_ID: secrets.secretId,
    COS_SECRET_KEY: secrets.secretKey,
    COS_TOKEN: secrets.token,
    COS_SCHEME: 'http',
    COS_CONNECT_TO: connectTo,
    COS_REGION: 'ap-guangzhou',
    // Most tests are about the result of one attempt.
    COS_MAX_ATTEMPTS: '1',
    COS_BUCKET_REGIONS: `${otherBucket}=ap-shanghai`,
    ...environment
  })
  const { stream, written } = recordingStream(t)
  const service = await startService(config, logger, outputsTo(line => { stream.write(line) }))
  const agent = new Agent()
  t.teardown(async () => {
    await agent.destroy()
    await service.app.close()
  })
  const { url } = service
  const audits = () => written().split('\n').filter(line => line !== '').map(line => JSON.parse(line) as AuditRecord)
  return { service, url, logs, audits, call: (...args) => callOver(agent, url, ...args) }
}

/** Starts service and emulator. */
export async function start (
  t: Test, { environment, ...options }: Partial<EmulatorOptions> & { environment?: Record<string, string> } = {}
): Promise<Running> {
  const emulator = await startTestEmulator(t, options)
  return { emulator, ...await startTestService(t, emulator.address, environment) }
}

// A test may replace the timers and the clock of Node.
const { setTimeout: startTimer } = globalThis
const now = performance.now.bind(performance)

/**
 * Checks a condition until it is true: in every iteration of the event loop, and after 20 ms every 5 ms, because a
 * condition that other processes or timers make true would else use a whole core.
 */
export async function until (condition: () => boolean | Promise<boolean>): Promise<void> {
  const startedAt = now()
  while (!await condition()) {
    await new Promise<void>(resolve => {
      if (now() - startedAt < 20) setImmediate(resolve)
      else startTimer(resolve, 5)
    })
  }
}

async function callOver (
  agent: Agent, url: string, method: string, path: string, body?: unknown, headers: Record<string, string> = {}
): Promise<Answer> {
  const raw = typeof body === 'string' || Buffer.isBuffer(body)
  // Origin and path are separate, because a URL would be normalized and change %2E%2E.
  const response = await agent.request({
    origin: url,
    path,
    method: method as 'GET',
    headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
    body: body === undefined ? null : raw ? body : JSON.stringify(body)
  })
  const text = await response.body.text()
  const isJson = /^application\/([a-z]+\+)?json/.test(String(response.headers['content-type']))
  return { status: response.statusCode, headers: response.headers, text, json: isJson && text !== '' ? JSON.parse(text) : undefined }
}
