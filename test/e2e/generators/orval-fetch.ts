/** The function that clients of orval call. Documents name no host, and the default one takes every body for JSON. */
let base = ''

export function useBaseUrl (url: string): void {
  base = url
}

export async function orvalFetch<T> (path: string, options: RequestInit): Promise<T> {
  const response = await fetch(`${base}${path}`, options)
  const text = await response.text()
  const isJson = /json/.test(response.headers.get('content-type') ?? '')
  return { data: isJson && text !== '' ? JSON.parse(text) : text, status: response.status, headers: response.headers } as T
}
