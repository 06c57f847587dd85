/**
 * The only way out: every request to COS is signed and sent here, and nowhere else is undici used.
 */
import { hash } from 'node:crypto'
import { Agent, buildConnector, errors as undiciErrors } from 'undici'
import type { Dispatcher } from 'undici'
import type { Config } from '../../config.ts'
import type { Credentials } from '../../config/credentials.ts'
import type { CancelSignal } from '../../concurrency/cancel-signal.ts'
import { createProxiedAgent, ProxyError } from '../../proxied-agent.ts'
import { Secret } from '../../secret.ts'
import { assertAllowed, serviceAddress } from './endpoints.ts'
import type { Address } from './endpoints.ts'
import type { CosClock } from './clock.ts'
import { maxErrorBytes } from '../operations.ts'
import type { Success } from '../operations.ts'
import { authorization, keyTimeAt, signKeyOf } from './signature.ts'
import type { KeyTime } from './signature.ts'
import { canceled, UpstreamError } from '../upstream-error.ts'

/** Where attempts are logged. Headers and bodies never are. */
export interface AttemptLog {
  debug (fields: object, message: string): void
}

export interface CosRequest {
  method: 'GET' | 'PUT' | 'POST' | 'DELETE'
  address: Address
  /** Request target, see {@link assertAllowed}. */
  target: string
  /** XML body of PUT and POST. */
  body?: string | undefined
  /** What to sign with. */
  credentials: Credentials
  /** 1 for the first attempt; COS is told of later ones. */
  number: number
  /** Headers of the trace the request belongs to; not signed. */
  traceHeaders: Readonly<Record<string, string>>
  /** What a response is that is no error. */
  success: Success
  /** Instant of the monotonic clock at which the caller's whole request must be over, in milliseconds. */
  deadlineAt: number
  /** Breaks the attempt off. */
  signal?: CancelSignal | undefined
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

/** Connections to COS: all that are open, and those with a request on them. */
export interface Connections {
  open: number
  busy: number
}

export interface Transport {
  /**
   * Sends one attempt and reads the whole answer, whatever its status. Redirects are not followed.
   *
   * @throws {UpstreamError} UpstreamTimeout, UpstreamUnreachable, or UpstreamInvalidResponse for an answer that
   *   is too large or not HTTP; `cancelled` when the signal broke it off
   * @throws {Error} when it is neither an inventory call nor GET Service; nothing is sent then
   */
  send (request: CosRequest): Promise<CosAnswer>
  /** Connections that go through a proxy are not counted. */
  connections (): Connections
  /** Waits for answers under way, then closes every connection. */
  close (): Promise<void>
}

interface Dependencies {
  /** Monotonic clock, in milliseconds. */
  now: () => number
  clock: Pick<CosClock, 'now'>
  userAgent: string
}

/** Keep-alive pools, one for each host, at most `COS_MAX_CONNECTIONS` sockets each. */
export function createTransport (config: Config['cos'], { now, clock, userAgent }: Dependencies): Transport {
  const { host: serviceHost } = serviceAddress(config)
  // A request that has just come has lost a moment already.
  const enoughMs = 0.9 * Math.min(config.timeoutMs, config.deadlineMs)
  const agent = createAgent(config)

  /** The latest of each secret key, and gone with it. */
  const signKeys = new WeakMap<Secret, { start: number, signKey: Secret }>()

  function currentSignKey (secretKey: Secret, keyTime: KeyTime): Secret {
    const latest = signKeys.get(secretKey)
    if (latest?.start === keyTime.start) return latest.signKey
    const signKey = new Secret(signKeyOf(secretKey.reveal(), keyTime))
    signKeys.set(secretKey, { start: keyTime.start, signKey })
    return signKey
  }

  function signedHeaders (
    { method, address, target, body, credentials, number, traceHeaders }: CosRequest
  ): Record<string, string> {
    const { secretId, secretKey, token } = credentials
    const headers: Record<string, string> = { host: address.host }
    if (body !== undefined) {
      headers['content-type'] = 'application/xml'
      headers['content-length'] = String(Buffer.byteLength(body))
      headers['content-md5'] = hash('md5', body, 'base64')
    }
    if (token !== undefined) headers['x-cos-security-token'] = token.reveal()
    // As the official SDKs mark it.
    if (number > 1) headers['x-cos-sdk-retry'] = 'true'
    const signable = { method, path: '/', parameters: parametersOf(target), headers }
    const keys = { secretId, secretKey: secretKey.reveal() }
    const keyTime = keyTimeAt(clock.now())
    const signature = authorization(signable, keys, keyTime, currentSignKey(secretKey, keyTime).reveal())
    return Object.assign(headers, traceHeaders, { 'user-agent': userAgent, authorization: signature })
  }

  return {
    async send (request) {
      assertAllowed(request, serviceHost)
      const { method, address: { host }, number, log } = request
      const limitMs = Math.min(config.timeoutMs, request.deadlineAt - now())
      if (limitMs <= 0) throw timedOut(request, { wasSent: false, isSilence: false })
      const headers = signedHeaders(request)
      const startedAt = now()
      try {
        const { status, headers: received, body } = await exchange(agent, request, headers, limitMs)
        log.debug({ method, host, attempt: number, status, durationMs: Math.round(now() - startedAt) }, 'COS answered')
        return { status, headers: received, body, confidential: confidentialIn(headers, request) }
      } catch (error) {
        const { cause, wasSent, hasBegun } = error as BrokenExchange
        const fault = codeOf(cause)
        log.debug({ method, host, attempt: number, fault, durationMs: Math.round(now() - startedAt) }, 'COS did not answer')
        if (cause === left) throw canceled(wasSent)
        if (cause === late || cause instanceof undiciErrors.ConnectTimeoutError) {
          throw timedOut(request, { wasSent, isSilence: !hasBegun && limitMs >= enoughMs })
        }
        throw toUpstreamError(cause, wasSent, request, config.connectTo?.host)
      }
    },

    connections () {
      // An agent with proxies does not know.
      const pools = agent instanceof Agent ? Object.values(agent.stats) : []
      const sum = (what: 'connected' | 'running') => pools.reduce((total, pool) => total + Number(pool[what]), 0)
      return { open: sum('connected'), busy: sum('running') }
    },

    close: () => agent.close()
  }
}

/** The parameters of a request target that {@link assertAllowed} has let pass: nothing in it stands for a blank. */
function parametersOf (target: string): Record<string, string> {
  const parameters: Record<string, string> = {}
  for (const parameter of target.slice('/?'.length).split('&')) {
    const [name, value = ''] = parameter.split('=') as [string, string?]
    parameters[name] = decodeURIComponent(value)
  }
  return parameters
}

/** Why an exchange was broken off by us. */
const late = Object.assign(new Error('no answer in time'), { code: 'TIMEOUT' })
const left = Object.assign(new Error('nobody waits any more'), { code: 'CANCELLED' })
const tooLarge = Object.assign(new Error('the response is too large'), { code: 'RESPONSE_TOO_LARGE' })

/** An exchange without a whole answer. */
class BrokenExchange extends Error {
  /** Whether undici had begun to write the request. */
  readonly wasSent: boolean
  /** Whether the head of an answer was there. */
  readonly hasBegun: boolean

  constructor (cause: unknown, { wasSent, hasBegun }: Pick<BrokenExchange, 'wasSent' | 'hasBegun'>) {
    super('no whole answer', { cause })
    this.wasSent = wasSent
    this.hasBegun = hasBegun
  }
}

/** One request and its whole answer. @throws {BrokenExchange} */
function exchange (
  agent: Dispatcher,
  { address, target, method, body, signal, success }: CosRequest,
  headers: Record<string, string>,
  limitMs: number
): Promise<Omit<CosAnswer, 'confidential'>> {
  return new Promise((resolve, reject) => {
    agent.dispatch({ origin: address.origin, path: target, method, headers, body: body ?? null },
      new Exchange(resolve, reject, signal, limitMs, success))
  })
}

/** What undici tells of a request, until its answer is whole, or it is broken off. */
class Exchange implements Dispatcher.DispatchHandler {
  readonly #resolve: (answer: Omit<CosAnswer, 'confidential'>) => void
  readonly #reject: (error: BrokenExchange) => void
  readonly #signal: CancelSignal | undefined
  readonly #timer: NodeJS.Timeout
  readonly #success: Success
  readonly #leave = () => { this.#breakOff(left) }
  readonly #chunks: Buffer[] = []
  #controller: Dispatcher.DispatchController | undefined
  #isOver = false
  #bytes = 0
  #status = 0
  #headers: CosAnswer['headers'] = {}

  constructor (
    resolve: (answer: Omit<CosAnswer, 'confidential'>) => void,
    reject: (error: BrokenExchange) => void,
    signal: CancelSignal | undefined,
    limitMs: number,
    success: Success
  ) {
    this.#success = success
    this.#resolve = resolve
    this.#reject = reject
    this.#signal = signal
    this.#timer = setTimeout(() => { this.#breakOff(late) }, limitMs)
    signal?.addEventListener('abort', this.#leave)
  }

  onRequestStart (controller: Dispatcher.DispatchController): void {
    // It may have waited for a connection longer than anybody waits for it.
    if (this.#isOver) controller.abort(late)
    else this.#controller = controller
  }

  onResponseStart (_: unknown, status: number, headers: CosAnswer['headers']): void {
    this.#status = status
    this.#headers = headers
  }

  onResponseData (_: unknown, chunk: Buffer): void {
    this.#chunks.push(chunk)
    this.#bytes += chunk.length
    const { status, maxBytes } = this.#success
    if (this.#bytes > (this.#status === status ? maxBytes : maxErrorBytes)) this.#breakOff(tooLarge)
  }

  onResponseEnd (): void {
    this.#end()
    const [first = emptyBody, ...others] = this.#chunks
    this.#resolve({
      status: this.#status,
      headers: this.#headers,
      body: others.length === 0 ? first : Buffer.concat(this.#chunks)
    })
  }

  onResponseError (_: unknown, error: Error): void {
    this.#fail(error)
  }

  #breakOff (reason: Error): void {
    this.#fail(reason)
    this.#controller?.abort(reason)
  }

  #fail (cause: unknown): void {
    if (this.#isOver) return
    this.#end()
    this.#reject(new BrokenExchange(cause, { wasSent: this.#controller !== undefined, hasBegun: this.#status > 0 }))
  }

  #end (): void {
    this.#isOver = true
    clearTimeout(this.#timer)
    this.#signal?.removeEventListener('abort', this.#leave)
  }
}

const emptyBody = Buffer.alloc(0)

function createAgent (config: Config['cos']): Dispatcher {
  const options = {
    connections: config.maxConnections,
    pipelining: 1,
    // The attempt's own timer bounds connecting, headers and body together; two more clocks would only race it.
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: connector(config)
  }
  const { proxies, connectTo, scheme, timeoutMs } = config
  const proxy = connectTo === undefined ? proxies[scheme] : undefined
  return proxy === undefined ? new Agent(options) : createProxiedAgent(proxy, timeoutMs, options)
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

function timedOut (
  { address }: CosRequest, { wasSent, isSilence }: { wasSent: boolean, isSilence: boolean }
): UpstreamError {
  return new UpstreamError('UpstreamTimeout', `COS (${address.host}) did not answer in time.`,
    { class: 'timeout', remedy: 'repeat', wasSent, isSilence })
}

function toUpstreamError (
  cause: unknown, wasSent: boolean, { address: { host } }: CosRequest, connectTo: string | undefined
): UpstreamError {
  const code = codeOf(cause)
  const invalid = (detail: string, remedy: 'none' | 'repeat') =>
    new UpstreamError('UpstreamInvalidResponse', detail, { class: 'invalid', remedy, cause })
  const unreachable = (hint: string, remedy: 'none' | 'repeat') =>
    new UpstreamError('UpstreamUnreachable', `COS cannot be reached: ${hint}`,
      { class: 'unreachable', remedy, cause, wasSent })
  if (cause === tooLarge) return invalid(`The response of ${host} is larger than any of COS to this operation.`, 'none')
  if (cause instanceof undiciErrors.HTTPParserError || notAnswers.test(code)) {
    return invalid(`The answer of ${host} is not HTTP as COS speaks it.`, 'repeat')
  }
  if (cause instanceof ProxyError) {
    return unreachable(`the proxy did not connect to ${host} (${code}). Is the proxy right?`, 'repeat')
  }
  if (code === 'ENOTFOUND') {
    const hint = connectTo === undefined ? 'Is the region right?' : 'Is COS_CONNECT_TO right?'
    return unreachable(`there is no host ${connectTo ?? host}. ${hint}`, 'none')
  }
  return unreachable(`${host} could not be reached or cut the connection (${code}).`, 'repeat')
}

/** Codes of undici for what came back and cannot be an answer. */
const notAnswers = /^(UND_ERR_HEADERS_OVERFLOW|ERR_ASSERTION)/

/** Faults of the network, of TLS and nearly all of undici's carry a code. */
function codeOf (error: unknown): string {
  return String((error as { code?: unknown }).code)
}
