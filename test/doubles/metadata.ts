import { randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** The part of the tap API that a subtest needs. */
interface Test {
  teardown (handler: () => unknown): void
}

/** Credentials in the form of the emulator. */
export interface IssuedCredentials {
  secretId: string
  secretKey: string
  token: string
}

export interface IssuerOptions {
  /** Lifetime of issued credentials. Expiry is rounded up to a second, the resolution of the real formats. */
  lifetimeMs?: number
  /** Receives every key and token before it is returned. */
  onSecret?: (text: string) => void
  /** Receives new credentials before the response is sent. */
  onIssued?: (credentials: IssuedCredentials) => void
  now?: () => number
}

/** A response in place of the valid one; an object becomes JSON. */
export interface OtherAnswer {
  status?: number
  headers?: Record<string, string>
  body: string | object
}

/** An HTTP server that issues credentials. */
export interface Issuer {
  /** Base URL such as `http://127.0.0.1:40000`; it stays the same after `bringBack`. */
  readonly endpoint: string
  /** Number of requests that have arrived. */
  readonly calls: number
  /** All issued credentials, the latest last. */
  readonly issued: IssuedCredentials[]
  lifetimeMs: number
  /** Response to every request: credentials (undefined), no response, or another one. */
  answer: undefined | 'hang' | OtherAnswer
  /** Waits until this many requests have arrived in all. */
  arrived (calls: number): Promise<void>
  /** Closes all connections and rejects new ones. */
  takeDown (): Promise<void>
  bringBack (): Promise<void>
}

/** Creates a key pair with token, and the time it expires in seconds since 1970. */
export type Issue = () => { credentials: IssuedCredentials, expiredTime: number }

type Respond = (request: IncomingMessage, body: string, issue: Issue) => OtherAnswer

/** Starts an issuer with the format of `respond`. It is closed at the end of the test. */
export async function startIssuer (
  t: Test, respond: Respond, { lifetimeMs = 7_200_000, onSecret, onIssued, now = Date.now }: IssuerOptions = {}
): Promise<Issuer> {
  let calls = 0
  const waiting = new Set<{ calls: number, resolve: () => void }>()
  const server = createServer((request, response) => { void serve(request, response) })

  async function serve (request: IncomingMessage, response: ServerResponse): Promise<void> {
    let body = ''
    for await (const chunk of request.setEncoding('utf8')) body += chunk
    calls += 1
    for (const each of waiting) {
      if (calls >= each.calls) each.resolve()
    }
    if (issuer.answer === 'hang') return
    const { status = 200, headers, body: answer } = issuer.answer ?? respond(request, body, issue)
    const isText = typeof answer === 'string'
    response.writeHead(status, { 'content-type': isText ? 'text/plain' : 'application/json', ...headers })
    response.end(isText ? answer : JSON.stringify(answer))
  }

  const issue: Issue = () => {
    const credentials = {
      secretId: `AKIDdouble${randomBytes(13).toString('hex')}`,
      secretKey: randomBytes(16).toString('hex'),
      token: randomBytes(60).toString('base64')
    }
    onSecret?.(credentials.secretKey)
    onSecret?.(credentials.token)
    issuer.issued.push(credentials)
    onIssued?.(credentials)
    return { credentials, expiredTime: Math.ceil((now() + issuer.lifetimeMs) / 1000) }
  }

  const listen = (port: number) => new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(port, '127.0.0.1', () => {
      server.off('error', reject)
      resolve()
    })
  })
  const close = () => new Promise<void>(resolve => {
    server.close(() => { resolve() })
    server.closeAllConnections()
  })

  await listen(0)
  t.teardown(close)
  const { port } = server.address() as AddressInfo
  const issuer: Issuer = {
    endpoint: `http://127.0.0.1:${port}`,
    get calls () { return calls },
    issued: [],
    lifetimeMs,
    answer: undefined,
    async arrived (wanted) {
      if (calls < wanted) await new Promise<void>(resolve => { waiting.add({ calls: wanted, resolve }) })
    },
    takeDown: close,
    bringBack: () => listen(port)
  }
  return issuer
}

/** A metadata service with the roles of its instance. */
export interface MetadataDouble extends Issuer {
  /** Roles of the instance; without any, the list is 404. */
  roles: string[]
}

/**
 * Starts the metadata service of a CVM instance (document 213/4934): role names, one per line, and the credentials of
 * each. The real service returns the same credentials until shortly before they expire. This one issues new ones at
 * every call.
 */
export async function startMetadataDouble (
  t: Test, { roles = ['cos-inventory'], ...options }: IssuerOptions & { roles?: string[] } = {}
): Promise<MetadataDouble> {
  const list = '/latest/meta-data/cam/security-credentials/'
  const notFound: OtherAnswer = { status: 404, headers: { 'content-type': 'text/html' }, body: '<h1>404 Not Found</h1>' }
  const issuer = await startIssuer(t, ({ method, url = '' }, _, issue) => {
    if (method !== 'GET' || !url.startsWith(list) || double.roles.length === 0) return notFound
    const role = decodeURIComponent(url.slice(list.length))
    if (role === '') return { body: double.roles.join('\n') }
    if (!double.roles.includes(role)) return notFound
    const { credentials: { secretId, secretKey, token }, expiredTime } = issue()
    return {
      body: {
        TmpSecretId: secretId,
        TmpSecretKey: secretKey,
        ExpiredTime: expiredTime,
        Expiration: isoSeconds(expiredTime),
        Token: token,
        Code: 'Success'
      }
    }
  }, options)
  const double: MetadataDouble = Object.assign(issuer, { roles })
  return double
}

/** Returns ISO 8601 without fractions of a second. */
export function isoSeconds (epochSeconds: number): string {
  return new Date(epochSeconds * 1000).toISOString().replace('.000Z', 'Z')
}
