import type { Dispatcher } from 'undici'
import { maxErrorBytes } from '../operations.ts'
import { BrokenExchange, canceledByCaller, timedOut, tooLarge } from './exchange.ts'
import type { CosRequest, CosResponse } from './messages.ts'

/**
 * Sends one request and reads the head of its response. The body of a success is a stream. Any other body is read
 * whole.
 *
 * @param limitMs time for connecting, sending and the head, in milliseconds
 * @throws {BrokenExchange} whose cause is one of the reasons of the service, or an error of undici
 */
export async function openExchange (
  agent: Dispatcher,
  { address, target, signal, success }: CosRequest,
  headers: Record<string, string>,
  limitMs: number
): Promise<Omit<CosResponse, 'confidential'>> {
  const aborter = new AbortController()
  let hasResponse = false

  async function receive (): Promise<Omit<CosResponse, 'confidential'>> {
    const { statusCode: status, headers: received, body } = await agent.request(
      { origin: address.origin, path: target, method: 'GET', headers, signal: aborter.signal })
    hasResponse = true
    if (status === success.status) return { status, headers: received, body: emptyBody, stream: body }
    return { status, headers: received, body: await readWhole(body) }
  }

  return await new Promise((resolve, reject) => {
    const end = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', cancel)
    }
    const fail = (cause: unknown) => { reject(new BrokenExchange(cause, { wasSent: true, hasResponse })) }
    // undici reports an abort of a request that waits for a connection only when it gets one.
    const breakOff = (reason: Error) => {
      end()
      aborter.abort(reason)
      fail(reason)
    }
    const cancel = () => { breakOff(canceledByCaller) }
    const timer = setTimeout(() => { breakOff(timedOut) }, limitMs)
    signal?.addEventListener('abort', cancel)
    void receive().then(resolve, fail).finally(end)
  })
}

async function readWhole (body: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of body) {
    chunks.push(chunk)
    bytes += chunk.length
    if (bytes > maxErrorBytes) throw tooLarge
  }
  return Buffer.concat(chunks)
}

const emptyBody = Buffer.alloc(0)
