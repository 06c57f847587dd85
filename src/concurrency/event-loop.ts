import { setImmediate } from 'node:timers/promises'

/** Work that takes longer than this many milliseconds lets the event loop serve other requests in between. */
const longestHoldMs = 4

let last = Promise.resolve()

/**
 * Waits for an iteration of the event loop in which no other caller of this function continues. Callers continue in
 * order of arrival.
 */
export function nextIteration (): Promise<void> {
  last = last.then(() => setImmediate())
  return last
}

/**
 * Returns a function to call between the parts of long work. It waits for the next iteration of the event loop if
 * {@link longestHoldMs} have passed since the previous wait.
 */
export function createPauses (wait = nextIteration): () => Promise<void> {
  let begunAt = performance.now()
  return async () => {
    if (performance.now() - begunAt <= longestHoldMs) return
    await wait()
    begunAt = performance.now()
  }
}
