/**
 * Tells its listeners when a caller disconnects. An AbortSignal is one. Creating an AbortSignal costs as much as
 * signing a request. So each request gets a {@link CancelSource} instead.
 */
export interface CancelSignal {
  readonly aborted: boolean
  addEventListener (type: 'abort', listener: () => void): void
  removeEventListener (type: 'abort', listener: () => void): void
}

/** A signal together with the function that cancels it. */
export class CancelSource implements CancelSignal {
  aborted = false
  readonly #listeners = new Set<() => void>()

  addEventListener (_: 'abort', listener: () => void): void {
    this.#listeners.add(listener)
  }

  removeEventListener (_: 'abort', listener: () => void): void {
    this.#listeners.delete(listener)
  }

  /** Calls the listeners, which must not throw. Must be called at most once. */
  cancel (): void {
    this.aborted = true
    for (const listener of this.#listeners) listener()
  }
}
