import { Agent, request } from 'undici'
import type { Dispatcher } from 'undici'
import { createProxiedAgent } from './proxied-agent.ts'

/** Credentials and key sets are a few KiB. */
const maxBytes = 256 * 1024
const timeoutMs = 5_000

/** A request for a small JSON document. */
export interface JsonRequest {
  method?: 'GET' | 'POST'
  headers?: Record<string, string>
  body?: string
  /** Whether a proxy of the environment is not used: the metadata service is the machine's own. */
  isDirect?: boolean
}

/** What {@link fetchText} throws. The message names the host and the fault, never what was sent or answered. */
export class FetchError extends Error {
  override name = 'FetchError'
}

// These calls come minutes apart: a kept connection would mostly be one that the other side has closed.
const options = { pipelining: 0, maxResponseSize: maxBytes }
const direct = new Agent(options)
let proxied: Dispatcher | undefined

/** Created at the first use: a URL that is none stops the start, as an error of the configuration. */
function throughProxies (): Dispatcher {
  proxied ??= createProxiedAgent(options)
  return proxied
}

/**
 * Fetches a small document from a service that is not COS: key sets, the metadata service, STS. At most 256 KiB, within
 * 5 s from connecting to the last byte; redirects are not followed. Proxies of the environment (`HTTPS_PROXY`,
 * `HTTP_PROXY`, `NO_PROXY`) are used.
 *
 * @throws {FetchError} when there is no whole answer in time, or its status is not 200
 */
export async function fetchText (
  url: string, { method = 'GET', headers = {}, body, isDirect = false }: JsonRequest = {}
): Promise<string> {
  const { host } = new URL(url)
  const dispatcher = isDirect ? direct : throughProxies()
  try {
    const answer = await request(url, {
      method, headers, body: body ?? null, dispatcher, signal: AbortSignal.timeout(timeoutMs)
    })
    const text = await answer.body.text()
    if (answer.statusCode === 200) return text
    throw new FetchError(`${host} answered ${answer.statusCode}`)
  } catch (error) {
    if (error instanceof FetchError) throw error
    // The code of an abort is a number that says nothing.
    const { name, code } = error as Error & { code?: unknown }
    throw new FetchError(`${host} did not answer (${typeof code === 'string' ? code : name})`)
  }
}

/**
 * The same for a JSON document.
 *
 * @throws {FetchError} also when the answer is not JSON
 */
export async function fetchJson (url: string, options: JsonRequest = {}): Promise<unknown> {
  const text = await fetchText(url, options)
  try {
    return JSON.parse(text) as unknown
  } catch {
    throw new FetchError(`${new URL(url).host} did not answer JSON`)
  }
}
