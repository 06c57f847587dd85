import { inspect } from 'node:util'

/**
 * A text that must not be printed by accident: in JSON, in a template, in a log line or under `util.inspect` it is
 * `[secret]`, also deep inside an error or its cause. What needs the text itself says so with {@link Secret.reveal}.
 */
export class Secret {
  readonly #text: string

  constructor (text: string) {
    this.#text = text
  }

  /** The text itself, for a signature, a header or a comparison and nothing else. */
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
