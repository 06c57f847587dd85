import { randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** What a subtest needs of tap: a place to clean up. */
interface Test {
  teardown (handler: () => unknown): void
}

/** As the emulator takes them. */
export interface IssuedCredentials {
  secretId: string
  secretKey: string
  token: string
}

export interface IssuerOptions {
  /** How long issued credentials live; expiry is rounded up to the second, which is all the real formats hold. */
  lifetimeMs?: number
  /** Called with every key and token, before anyone else sees it. */
  onSecret?: (text: string) => void
  /** Called with new credentials before they are answered. */
  onIssued?: (credentials: IssuedCredentials) => void
  now?: () => number
}

/** An answer in place of the right one; an object becomes JSON. */
export interface OtherAnswer {
  status?: number
  headers?: Record<string, string>
  body: string | object
}

/** Something that issues credentials on a port of its own. */
export interface Issuer {
  /** Such as `http://127.0.0.1:40000`, the same after it was down. */
  readonly endpoint: string
  /** How many requests have arrived. */
  readonly calls: number
  /** Everything issued, the latest last. */
  readonly issued: IssuedCredentials[]
  lifetimeMs: number
  /** What every request gets: credentials (undefined), no answer at all, or something else. */
  answer: undefined | 'hang' | OtherAnswer
  /** Waits until this many requests have arrived in all. */
  arrived (calls: number): Promise<void>
  /** Cuts every connection and refuses new ones. */
  takeDown (): Promise<void>
  bringBack (): Promise<void>
}

/** A fresh key pair with its token, and from when on it has expired in seconds since 1970. */
export type Issue = () => { credentials: IssuedCredentials, expiredTime: number }

type Respond = (request: IncomingMessage, body: string, issue: Issue) => OtherAnswer

/** An issuer that speaks the format of `respond`. Closed at the end of the test. */
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

/** A metadata service, and the roles of its instance. */
export interface MetadataDouble extends Issuer {
  /** None: the instance has no role, and the list is 404. */
  roles: string[]
}

/**
 * The metadata service of a CVM instance (document 213/4934): role names one a line, and the credentials of each.
 * Unlike the real one, which repeats credentials until shortly before they expire, it issues new ones at every call.
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

/** ISO 8601 without fractions of a second. */
export function isoSeconds (epochSeconds: number): string {
  return new Date(epochSeconds * 1000).toISOString().replace('.000Z', 'Z')
}
