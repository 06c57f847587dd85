import { Agent, request } from 'undici'
import type { Dispatcher } from 'undici'
import type { Proxies } from '../config/config.ts'
import { createProxiedAgent } from './proxied-agent.ts'

/** Credentials and key sets are a few KiB. */
const maxBytes = 256 * 1024
const timeoutMs = 5_000

/** A request for a small JSON document. */
export interface JsonRequest {
  method?: 'GET' | 'POST'
  headers?: Record<string, string>
  body?: string
}

/** An error of {@link Fetcher}. The message names the host and the problem, never the request or the response. */
export class FetchError extends Error {
  override name = 'FetchError'
  /** Status of a complete response; undefined if there was none. */
  readonly status: number | undefined

  constructor (message: string, status?: number) {
    super(message)
    this.status = status
  }
}

/**
 * Fetches small documents from services other than COS: key sets, the metadata service, STS. A response may have 256
 * KiB and must be complete within 5 s. Redirects are not followed.
 */
export interface Fetcher {
  /** @throws {FetchError} if there is no complete response in time, or its status is not 200 */
  fetchText (url: string, options?: JsonRequest): Promise<string>
  /** @throws {FetchError} also if the response is not JSON */
  fetchJson (url: string, options?: JsonRequest): Promise<unknown>
}

/**
 * Creates a fetcher.
 *
 * @param proxies by the scheme of the URL
 */
export function createFetcher (proxies: Proxies): Fetcher {
  // These calls are minutes apart. The other side would have closed most connections that were kept.
  const options = { pipelining: 0, maxResponseSize: maxBytes }
  const agentOf = (scheme: 'http' | 'https'): Dispatcher => {
    const proxy = proxies[scheme]
    return proxy === undefined ? new Agent(options) : createProxiedAgent(proxy, timeoutMs, options)
  }
  const agents = { 'http:': agentOf('http'), 'https:': agentOf('https') }

  async function fetchText (url: string, { method = 'GET', headers = {}, body }: JsonRequest = {}): Promise<string> {
    const { host, protocol } = new URL(url)
    try {
      const response = await request(url, {
        method,
        headers,
        body: body ?? null,
        dispatcher: agents[protocol as keyof typeof agents],
        signal: AbortSignal.timeout(timeoutMs)
      })
      const text = await response.body.text()
      if (response.statusCode === 200) return text
      throw new FetchError(`${host} returned ${response.statusCode}`, response.statusCode)
    } catch (error) {
      if (error instanceof FetchError) throw error
      // The code of an abort is a number without meaning for the reader.
      const { name, code } = error as Error & { code?: unknown }
      throw new FetchError(`${host} did not respond (${typeof code === 'string' ? code : name})`)
    }
  }

  return {
    fetchText,
    async fetchJson (url, options = {}) {
      const text = await fetchText(url, options)
      try {
        return JSON.parse(text) as unknown
      } catch {
        throw new FetchError(`${new URL(url).host} did not return JSON`)
      }
    }
  }
}

/** Uses no proxy: the metadata service belongs to the machine itself. */
export const directFetcher = createFetcher({ http: undefined, https: undefined })
