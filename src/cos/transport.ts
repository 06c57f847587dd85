/**
 * The only way out: every request to COS is signed and sent here, and nowhere else is undici used.
 */
import { createHash } from 'node:crypto'
import { Agent, buildConnector, errors as undiciErrors } from 'undici'
import type { Config } from '../config.ts'
import type { Credentials } from '../config/credentials.ts'
import { ServiceError } from '../errors.ts'
import { assertInventoryTarget } from './addresses.ts'
import type { Address } from './addresses.ts'
import { authorization, keyTimeAt } from './signature.ts'

/** A page is 100 configurations; a thousand rich ones of 8 KiB each still fit. */
export const maxAnswerBytes = 8 * 1024 * 1024

/** Where attempts are logged. Headers and bodies never are. */
export interface AttemptLog {
  debug (fields: object, message: string): void
}

export interface CosRequest {
  method: 'GET' | 'PUT' | 'POST' | 'DELETE'
  address: Address
  /** Request target, see {@link assertInventoryTarget}. */
  target: string
  /** XML body of PUT and POST. */
  body?: string
  /** What to sign with. */
  credentials: Credentials
  /** When the caller's whole request must be over, in milliseconds since 1970. */
  deadlineAt: number
  log: AttemptLog
}

/** A whole answer of COS, or of whatever stood in its place. */
export interface CosAnswer {
  status: number
  headers: Readonly<Record<string, string | string[] | undefined>>
  body: Uint8Array
  /** What was sent and must not be passed on, should the answer quote it. */
  confidential: readonly string[]
}

export interface Transport {
  /**
   * Sends one attempt and reads the whole answer, whatever its status. Redirects are not followed.
   *
   * @throws {ServiceError} UpstreamTimeout, UpstreamUnreachable, or UpstreamInvalidResponse for an answer that
   *   is too large or not HTTP
   * @throws {Error} when the target is not an inventory call; nothing is sent then
   */
  send (request: CosRequest): Promise<CosAnswer>
  /** Waits for answers under way, then closes every connection. */
  close (): Promise<void>
}

interface Dependencies {
  now: () => number
  userAgent: string
}

/** Keep-alive pools, one for each bucket host, at most `COS_MAX_CONNECTIONS` sockets each. */
export function createTransport (config: Config['cos'], { now, userAgent }: Dependencies): Transport {
  const agent = new Agent({
    connections: config.maxConnections,
    pipelining: 1,
    maxResponseSize: maxAnswerBytes,
    // The attempt's own timer bounds connecting, headers and body together; two more clocks would only race it.
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: connector(config)
  })

  function signedHeaders ({ method, address, target, body, credentials }: CosRequest): Record<string, string> {
    const { secretId, secretKey, token } = credentials
    const headers: Record<string, string> = { host: address.host }
    if (body !== undefined) {
      headers['content-type'] = 'application/xml'
      headers['content-length'] = String(Buffer.byteLength(body))
      headers['content-md5'] = createHash('md5').update(body).digest('base64')
    }
    if (token !== undefined) headers['x-cos-security-token'] = token.reveal()
    const parameters = Object.fromEntries(new URLSearchParams(target.slice(target.indexOf('?'))))
    const signable = { method, path: '/', parameters, headers }
    const keys = { secretId, secretKey: secretKey.reveal() }
    return { ...headers, 'user-agent': userAgent, authorization: authorization(signable, keys, keyTimeAt(now())) }
  }

  async function exchange (
    request: CosRequest, headers: Record<string, string>, signal: AbortSignal
  ): Promise<CosAnswer> {
    const { method, address, target, body = null, log } = request
    const startedAt = now()
    const fields = { method, host: address.host }
    try {
      const answer = await agent.request({ origin: address.origin, path: target, method, headers, body, signal })
      const bytes = await answer.body.bytes()
      log.debug({ ...fields, status: answer.statusCode, durationMs: now() - startedAt }, 'COS answered')
      const confidential = confidentialIn(headers, request)
      return { status: answer.statusCode, headers: answer.headers, body: bytes, confidential }
    } catch (error) {
      log.debug({ ...fields, fault: codeOf(error), durationMs: now() - startedAt }, 'COS did not answer')
      const late = signal.aborted || error instanceof undiciErrors.ConnectTimeoutError
      throw late ? timedOut(request) : toServiceError(error, request, config.connectTo?.host)
    }
  }

  return {
    async send (request) {
      assertInventoryTarget(request.target)
      const limitMs = Math.min(config.timeoutMs, request.deadlineAt - now())
      if (limitMs <= 0) throw timedOut(request)
      const headers = signedHeaders(request)
      const abort = new AbortController()
      const timer = setTimeout(() => { abort.abort() }, limitMs)
      return await exchange(request, headers, abort.signal).finally(() => { clearTimeout(timer) })
    },

    close: () => agent.close()
  }
}

/** With COS_CONNECT_TO the socket goes there, while Host, TLS name and certificate check stay the bucket host's. */
function connector ({ connectTo, timeoutMs }: Config['cos']): buildConnector.connector {
  // An aborted request leaves a connection attempt behind; this ends it, before later requests queue on it.
  const connect = buildConnector({ timeout: timeoutMs })
  if (connectTo === undefined) return connect
  return (options, callback) => {
    connect({
      ...options,
      servername: options.servername ?? options.hostname,
      hostname: connectTo.host,
      port: String(connectTo.port)
    }, callback)
  }
}

function confidentialIn (headers: Record<string, string>, { credentials: { secretId, token } }: CosRequest): string[] {
  const signature = String(headers['authorization']).slice(-40)
  // A short one, which no real one is, would be found in ordinary words.
  return [secretId, signature, token?.reveal() ?? ''].filter(text => text.length >= 16)
}

function timedOut ({ method, address }: CosRequest): ServiceError {
  return new ServiceError('UpstreamTimeout', `COS (${address.host}) did not answer in time.${doubt(method)}`)
}

function doubt (method: CosRequest['method']): string {
  return method === 'GET'
    ? ''
    : ' Whether the change was made is not known: read the configuration, or send the same request again.'
}

function toServiceError (
  error: unknown, { method, address: { host } }: CosRequest, connectTo: string | undefined
): ServiceError {
  const code = codeOf(error)
  if (code === 'UND_ERR_RES_EXCEEDED_MAX_SIZE') return invalid(`The answer of ${host} is larger than any of COS.`, error)
  if (error instanceof undiciErrors.HTTPParserError || notAnswers.test(code)) {
    return invalid(`The answer of ${host} is not HTTP as COS speaks it.`, error)
  }
  if (code === 'ENOTFOUND') {
    const hint = connectTo === undefined ? 'Is the region right?' : 'Is COS_CONNECT_TO right?'
    return unreachable(`there is no host ${connectTo ?? host}. ${hint}`, error)
  }
  const neverSent = ['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'EAI_AGAIN'].includes(code)
  return unreachable(`${host} could not be reached or cut the connection (${code}).${neverSent ? '' : doubt(method)}`, error)
}

/** Codes of undici for what came back and cannot be an answer. */
const notAnswers = /^(UND_ERR_HEADERS_OVERFLOW|ERR_ASSERTION)/

function invalid (detail: string, cause: unknown): ServiceError {
  return new ServiceError('UpstreamInvalidResponse', detail, { cause })
}

function unreachable (hint: string, cause: unknown): ServiceError {
  return new ServiceError('UpstreamUnreachable', `COS cannot be reached: ${hint}`, { cause })
}

/** Faults of the network, of TLS and nearly all of undici's carry a code. That of an abort is a number. */
function codeOf (error: unknown): string {
  const { code, name } = error as { code?: unknown, name?: unknown }
  return String(typeof code === 'number' ? name : code)
}
