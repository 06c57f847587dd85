import type { Dispatcher } from 'undici'
import type { CancelSignal } from '../../concurrency/cancel-signal.ts'
import { maxErrorBytes } from '../operations.ts'
import type { Success } from '../operations.ts'
import type { CosRequest, CosResponse } from './messages.ts'

/** A response as undici delivers it. */
type Received = Omit<CosResponse, 'confidential'>

/** Reasons for which the service itself ends an exchange. */
export const timedOut = Object.assign(new Error('no response in time'), { code: 'TIMEOUT' })
export const canceledByCaller = Object.assign(new Error('the caller disconnected'), { code: 'CANCELLED' })
export const tooLarge = Object.assign(new Error('the response is too large'), { code: 'RESPONSE_TOO_LARGE' })

/** An exchange without a whole response. */
export class BrokenExchange extends Error {
  override readonly name = 'BrokenExchange'
  /** True when undici had begun to write the request. */
  readonly wasSent: boolean
  /** True when the head of a response had arrived. */
  readonly hasResponse: boolean

  constructor (cause: unknown, { wasSent, hasResponse }: Pick<BrokenExchange, 'wasSent' | 'hasResponse'>) {
    super('no whole response', { cause })
    this.wasSent = wasSent
    this.hasResponse = hasResponse
  }
}

/**
 * Sends one request and reads its whole response.
 *
 * @param limitMs time for connecting, sending and receiving, in milliseconds
 * @throws {BrokenExchange} whose cause is one of the three reasons above, or an error of undici
 */
export function exchange (
  agent: Dispatcher,
  { address, target, method, body, signal, success }: CosRequest,
  headers: Record<string, string>,
  limitMs: number
): Promise<Received> {
  return new Promise((resolve, reject) => {
    agent.dispatch({ origin: address.origin, path: target, method, headers, body: body ?? null },
      new Exchange(resolve, reject, signal, limitMs, success))
  })
}

/**
 * Receives the events of undici for a request, until the response is whole or the exchange is broken off. It has its
 * own timer, because the end of the time must also end the request. It is a class because undici takes one handler.
 */
class Exchange implements Dispatcher.DispatchHandler {
  readonly #resolve: (response: Received) => void
  readonly #reject: (error: BrokenExchange) => void
  readonly #signal: CancelSignal | undefined
  readonly #timer: NodeJS.Timeout
  readonly #success: Success
  readonly #cancel = () => { this.#breakOff(canceledByCaller) }
  readonly #chunks: Buffer[] = []
  #controller: Dispatcher.DispatchController | undefined
  #isOver = false
  #bytes = 0
  #status = 0
  #headers: CosResponse['headers'] = {}

  constructor (
    resolve: (response: Received) => void,
    reject: (error: BrokenExchange) => void,
    signal: CancelSignal | undefined,
    limitMs: number,
    success: Success
  ) {
    this.#success = success
    this.#resolve = resolve
    this.#reject = reject
    this.#signal = signal
    this.#timer = setTimeout(() => { this.#breakOff(timedOut) }, limitMs)
    signal?.addEventListener('abort', this.#cancel)
  }

  onRequestStart (controller: Dispatcher.DispatchController): void {
    // The request may have waited for a connection for longer than its limit.
    if (this.#isOver) controller.abort(timedOut)
    else this.#controller = controller
  }

  onResponseStart (_: unknown, status: number, headers: CosResponse['headers']): void {
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
    this.#reject(new BrokenExchange(cause, { wasSent: this.#controller !== undefined, hasResponse: this.#status > 0 }))
  }

  #end (): void {
    this.#isOver = true
    clearTimeout(this.#timer)
    this.#signal?.removeEventListener('abort', this.#cancel)
  }
}

const emptyBody = Buffer.alloc(0)
