import { Secret } from '../secret.ts'
import { readTextFile } from '../text-file.ts'

/** Environment variables as a process gets them. */
export type Environment = Readonly<Record<string, string | undefined>>

/** Nobody reads further, and a file can have a fault in every byte. */
const longestList = 200

/** What stops a start: every fault of the configuration at once, no value of a secret in any of them. */
export class ConfigError extends Error {
  readonly faults: string[]

  constructor (faults: string[]) {
    const rest = faults.length - longestList
    const listed = faults.slice(0, longestList).map(fault => `  - ${fault}`)
    super([`The configuration has ${faults.length === 1 ? '1 fault' : `${faults.length} faults`}:`, ...listed,
      ...rest > 0 ? [`  … and ${rest} more`] : []].join('\n'))
    this.name = 'ConfigError'
    this.faults = faults
  }
}

/** `COS_CREDENTIALS_FILE` is a variable of its own, not the file form of `COS_CREDENTIALS`. */
const withoutFileForm = new Set(['COS_CREDENTIALS'])

/**
 * Reads variables one by one and collects what is wrong with them in {@link EnvironmentReader.faults}. Each may also be
 * given as `NAME_FILE`, a file that holds the value. An empty variable counts as not set. White space around a value is
 * left out, and so are quotation marks, which `docker run --env-file` passes on.
 */
export class EnvironmentReader {
  readonly faults: string[] = []
  readonly #environment: Environment

  constructor (environment: Environment) {
    this.#environment = environment
  }

  /** The value of a variable, from itself or from the file it names. */
  value (name: string): string | undefined {
    const direct = this.#set(name)
    const path = this.path(name)
    if (path === undefined) return this.#unquoted(name, direct)
    if (direct !== undefined) {
      this.faults.push(`${name} and ${name}_FILE are both set: use one`)
      return undefined
    }
    try {
      const text = unquote(readTextFile(path))
      if (text !== '') return this.#unquoted(name, text)
      this.#add(`${name}_FILE is empty`)
      return undefined
    } catch (error) {
      // Not the path: whoever takes NAME_FILE for NAME has put the secret there.
      this.#add(`${name}_FILE cannot be read: ${(error as NodeJS.ErrnoException).code}`)
      return undefined
    }
  }

  /** Where the file form of a variable points to. */
  path (name: string): string | undefined {
    return withoutFileForm.has(name) ? undefined : this.#set(`${name}_FILE`)
  }

  /** Whether a variable is set, in either form. */
  has (name: string): boolean {
    return this.#set(name) !== undefined || this.path(name) !== undefined
  }

  /** Returns whether a variable is free of quotation marks and blanks around its value, which other readers see. */
  isExact (name: string): boolean {
    return (this.#environment[name] ?? '') === (this.#set(name) ?? '')
  }

  integer (name: string, fallback: number, min: number, max: number): number {
    const text = this.value(name)
    if (text === undefined) return fallback
    const number = /^[0-9]{1,10}$/.test(text) ? Number(text) : NaN
    if (number >= min && number <= max) return number
    this.faults.push(`${name} must be an integer from ${min} to ${max}`)
    return fallback
  }

  choice <const T extends string> (name: string, fallback: T, choices: readonly T[]): T {
    const text = this.value(name)
    if (text === undefined) return fallback
    const found = choices.find(each => each === text)
    if (found !== undefined) return found
    this.faults.push(`${name} must be one of ${choices.join(', ')}`)
    return fallback
  }

  flag (name: string): boolean {
    return this.choice(name, 'false', ['true', 'false']) === 'true'
  }

  /** A value that is never shown: visible ASCII without blanks, as keys and tokens are. */
  secret (name: string): Secret | undefined {
    const text = this.value(name)
    if (text === undefined) return undefined
    if (!/^[\x21-\x7E]+$/.test(text)) {
      this.faults.push(`${name} must be visible ASCII without blanks (its value is not shown)`)
    }
    return new Secret(text)
  }

  /** An absolute URL of one of the protocols, such as `https:`. User and password have no place in it. */
  url (name: string, protocols: string[]): string | undefined {
    const text = this.value(name)
    if (text === undefined) return undefined
    const url = URL.parse(text)
    if (url !== null && protocols.includes(url.protocol) && url.username === '' && url.password === '') return text
    this.faults.push(`${name} must be a URL that begins with ${protocols.map(each => `${each}//`).join(' or ')}`)
    return undefined
  }

  #set (name: string): string | undefined {
    const text = unquote(this.#environment[name] ?? '')
    return text === '' ? undefined : text
  }

  /** Rejects a value with one half of a pair of quotation marks, without showing it. */
  #unquoted (name: string, text: string | undefined): string | undefined {
    if (text === undefined || !/^["']|["']$/.test(text)) return text
    this.#add(`${name} must not begin or end with an unpaired quotation mark (its value is not shown)`)
    return undefined
  }

  /** A variable can be read more than once. */
  #add (fault: string): void {
    if (!this.faults.includes(fault)) this.faults.push(fault)
  }
}

function unquote (text: string): string {
  const trimmed = text.trim()
  const [, , inner] = /^(["'])(.*)\1$/s.exec(trimmed) ?? []
  return inner?.trim() ?? trimmed
}
