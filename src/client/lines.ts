/**
 * Returns the lines of a body of JSON texts (application/x-ndjson). Rejects if the body is broken off. A consumer that
 * stops early cancels the response.
 */
export async function * jsonLines<T> (body: ReadableStream<Uint8Array>): AsyncGenerator<T, void> {
  const reader = body.getReader()
  const decoder = new TextDecoder('utf-8', { fatal: true })
  let rest = ''
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) break
      const lines = (rest + decoder.decode(value, { stream: true })).split('\n')
      rest = lines.pop() as string
      for (const line of lines) yield JSON.parse(line) as T
    }
    if (rest !== '') throw new Error('The response ends within a line. Send the request again.')
  } finally {
    // Frees the connection after an early end. A body that is broken or complete ignores it.
    void reader.cancel().catch(() => {})
  }
}
