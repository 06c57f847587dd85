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

/** What {@link Fetcher} throws. The message names the host and the fault, never what was sent or answered. */
export class FetchError extends Error {
  override name = 'FetchError'
}

/**
 * Fetches small documents from services that are not COS: key sets, the metadata service, STS. At most 256 KiB, within
 * 5 s from connecting to the last byte; redirects are not followed.
 */
export interface Fetcher {
  /** @throws {FetchError} when there is no whole answer in time, or its status is not 200 */
  fetchText (url: string, options?: JsonRequest): Promise<string>
  /** @throws {FetchError} also when the answer is not JSON */
  fetchJson (url: string, options?: JsonRequest): Promise<unknown>
}

/**
 * Creates a fetcher.
 *
 * @param proxies by the scheme of the URL
 */
export function createFetcher (proxies: Proxies): Fetcher {
  // These calls come minutes apart: a kept connection would mostly be one that the other side has closed.
  const options = { pipelining: 0, maxResponseSize: maxBytes }
  const agentOf = (scheme: 'http' | 'https'): Dispatcher => {
    const proxy = proxies[scheme]
    return proxy === undefined ? new Agent(options) : createProxiedAgent(proxy, timeoutMs, options)
  }
  const agents = { 'http:': agentOf('http'), 'https:': agentOf('https') }

  async function fetchText (url: string, { method = 'GET', headers = {}, body }: JsonRequest = {}): Promise<string> {
    const { host, protocol } = new URL(url)
    try {
      const answer = await request(url, {
        method,
        headers,
        body: body ?? null,
        dispatcher: agents[protocol as keyof typeof agents],
        signal: AbortSignal.timeout(timeoutMs)
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

  return {
    fetchText,
    async fetchJson (url, options = {}) {
      const text = await fetchText(url, options)
      try {
        return JSON.parse(text) as unknown
      } catch {
        throw new FetchError(`${new URL(url).host} did not answer JSON`)
      }
    }
  }
}

/** Uses no proxy: the metadata service belongs to the machine itself. */
export const directFetcher = createFetcher({ http: undefined, https: undefined })
