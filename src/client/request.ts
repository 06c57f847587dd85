import { errorOf, InventoryError } from './error.ts'
import { pause, retryPauseMs } from './retry.ts'
import type { ClientOptions } from './types.ts'

/** A request to the service. */
export interface Request {
  method: string
  /** Segments of the path, not encoded. */
  path: readonly string[]
  /** All but the first three are parameters of the query. Undefined ones are left out. */
  options?: { signal?: AbortSignal | undefined, ifMatch?: string | undefined, ifNoneMatch?: string | undefined }
  body?: unknown
  accept?: string
}

/** Sends a request, with retries, and reads the response. */
export type Call = <T>(request: Request, read: (response: Response) => T | Promise<T>) => Promise<T>

/** Returns the function that sends all requests of a client. Throws TypeError if the URL is not valid. */
export function createCall (clientOptions: ClientOptions): Call {
  const { bucket, region, token, fetch: send = fetch, maxAttempts = 3, maxPauseMs = 60_000 } = clientOptions
  const base = baseOf(clientOptions.url)
  return async <T>(request: Request, read: (response: Response) => T | Promise<T>): Promise<T> => {
    const { method, path, options = {}, body, accept = 'application/json' } = request
    const { signal, ifMatch, ifNoneMatch, ...query } = options
    const url = urlOf(base, ['buckets', bucket, 'inventories', ...path], { region, ...query })
    const attempt = async (count: number): Promise<T> => {
      const headers = headersOf({
        accept,
        authorization: bearer(typeof token === 'function' ? await token() : token),
        'content-type': body ? 'application/json' : undefined,
        'if-match': ifMatch,
        'if-none-match': ifNoneMatch
      })
      let failure: unknown
      try {
        // A redirect could send a change elsewhere, or as another method.
        const init: RequestInit = { method, headers, signal: signal ?? null, redirect: 'manual' }
        const response = await send(url, body ? { ...init, body: JSON.stringify(body) } : init)
        if (response.ok || response.status === 304) return await read(response)
        failure = await errorOf(response)
      } catch (error) {
        failure = error
      }
      signal?.throwIfAborted()
      const error = failure instanceof InventoryError ? failure : undefined
      const isConditional = (ifMatch ?? ifNoneMatch) !== undefined
      const pauseMs = retryPauseMs({ method, isConditional, count, error }, maxAttempts)
      if (pauseMs === undefined || pauseMs > maxPauseMs) throw failure
      await pause(pauseMs, signal)
      return attempt(count + 1)
    }
    return attempt(1)
  }
}

function baseOf (text: string): URL {
  const url = new URL(text)
  // The message of fetch would show the password.
  if (url.username + url.password) throw new TypeError('The URL must not have a user or password. Use token.')
  url.pathname = url.pathname.replace(/\/*$/, '/')
  return url
}

function urlOf (base: URL, path: string[], query: object): URL {
  // URLs drop these segments, so that the request would reach another resource.
  const dropped = path.find(segment => /^\.{0,2}$/.test(segment))
  if (dropped !== undefined) throw new TypeError(`"${dropped}" is no bucket, id or date.`)
  const url = new URL(path.map(encodeURIComponent).join('/'), base)
  for (const [name, value] of Object.entries(query)) {
    const isGiven = value !== undefined
    if (isGiven) url.searchParams.set(name.replace(/[A-Z]/g, letter => `-${letter.toLowerCase()}`), String(value))
  }
  return url
}

function bearer (token: string | undefined): string | undefined {
  // The message of fetch would show the token.
  if (/[^!-~]/.test(token ?? '')) throw new TypeError('The token has characters that no token has.')
  return token ? `Bearer ${token}` : undefined
}

function headersOf (headers: Record<string, unknown>): Record<string, string> {
  const entries = Object.entries(headers).filter(([, value]) => value !== undefined)
  return Object.fromEntries(entries) as Record<string, string>
}
