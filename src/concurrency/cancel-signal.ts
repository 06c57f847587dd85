/**
 * Tells when nobody waits for an answer any more. An AbortSignal is one; making one costs as much as signing a request,
 * which is why those of requests are made here.
 */
export interface Departure {
  readonly aborted: boolean
  addEventListener (type: 'abort', listener: () => void): void
  removeEventListener (type: 'abort', listener: () => void): void
}

/** Somebody who may leave, or never will. */
export class Waiting implements Departure {
  aborted = false
  readonly #listeners = new Set<() => void>()

  addEventListener (_: 'abort', listener: () => void): void {
    this.#listeners.add(listener)
  }

  removeEventListener (_: 'abort', listener: () => void): void {
    this.#listeners.delete(listener)
  }

  /** Tells the listeners, which must not throw. To be called at most once. */
  leave (): void {
    this.aborted = true
    for (const listener of this.#listeners) listener()
  }
}
