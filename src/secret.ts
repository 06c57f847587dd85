import { inspect } from 'node:util'

/**
 * A text that is not printed by accident. In JSON, templates, log lines and `util.inspect` it is `[secret]`, also deep
 * inside an error or its cause. Only {@link Secret.reveal} returns the text.
 */
export class Secret {
  readonly #text: string

  constructor (text: string) {
    this.#text = text
  }

  /** Returns the text itself, for a signature, a header or a comparison only. */
  reveal (): string {
    return this.#text
  }

  toString (): string {
    return '[secret]'
  }

  toJSON (): string {
    return '[secret]'
  }

  [inspect.custom] (): string {
    return '[secret]'
  }
}
