import { readFileSync } from 'node:fs'
import { Secret } from '../secret.ts'

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
 * given as `NAME_FILE`, a file that holds the value. An empty variable counts as not set.
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
    if (path === undefined) return direct
    if (direct !== undefined) {
      this.faults.push(`${name} and ${name}_FILE are both set: use one`)
      return undefined
    }
    try {
      // Editors and `echo` end a file with a line feed that is no part of the secret.
      return readFileSync(path, 'utf8').replace(/\r?\n$/, '')
    } catch (error) {
      // Not the path: whoever takes NAME_FILE for NAME has put the secret there.
      this.faults.push(`${name}_FILE cannot be read: ${(error as NodeJS.ErrnoException).code}`)
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
    this.faults.push(`${name} must be ${choices.length === 1 ? '' : 'one of '}${choices.join(', ')}`)
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
    const text = this.#environment[name]
    return text === '' ? undefined : text
  }
}
