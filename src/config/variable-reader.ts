import { Secret } from '../secret.ts'
import { readTextFile } from '../files/text-file.ts'
import type { Variable, Variables, VariableType } from './variable-types.ts'

/** Environment variables as a process gets them. */
export type Environment = Readonly<Record<string, string | undefined>>

/** Longest list of errors in a message: a file can have an error in every byte. */
const longestList = 200

/** Stops the start. Lists every configuration error and shows no secret. */
export class ConfigError extends Error {
  readonly issues: string[]

  constructor (issues: string[]) {
    const rest = issues.length - longestList
    const listed = issues.slice(0, longestList).map(each => `  - ${each}`)
    super([`The configuration has ${issues.length === 1 ? '1 error' : `${issues.length} errors`}:`, ...listed,
      ...rest > 0 ? [`  … and ${rest} more`] : []].join('\n'))
    this.name = 'ConfigError'
    this.issues = issues
  }
}

type Parsed<V> = V extends { secret: true } ? Secret : V extends { type: VariableType<infer T> } ? T : never

/** The value that {@link VariableReader.read} returns for a variable of a table. */
export type ValueIn<T extends Variables, N extends keyof T> =
  Parsed<T[N]> | (T[N] extends { default: string } ? never : undefined)

/**
 * Reads the variables of a table and collects configuration errors. A variable may also be given as `NAME_FILE`, a
 * file that contains the value. An empty variable counts as not set. The reader removes white space and quotation marks
 * around a value, because `docker run --env-file` passes quotation marks on.
 */
export class VariableReader<T extends Variables> {
  readonly issues: string[] = []
  readonly #table: T
  readonly #environment: Environment

  constructor (table: T, environment: Environment) {
    this.#table = table
    this.#environment = environment
  }

  /** Returns the value of a variable, or its default when the variable is not set or malformed. */
  read <N extends keyof T & string>(name: N): ValueIn<T, N> {
    const { type, default: fallback, secret } = this.#row(name)
    const reject = (issue: string) => {
      const sentence = issue.startsWith(':') ? name + issue : `${name} ${issue}`
      this.#reject(secret ? `${sentence} (its value is not shown)` : sentence)
    }
    const parse = (text: string | undefined) => text === undefined ? undefined : type.parse(text, reject)
    const value = parse(this.text(name)) ?? parse(fallback)
    return (secret && value !== undefined ? new Secret(String(value)) : value) as ValueIn<T, N>
  }

  /** Returns the text of a variable, from the variable or from the file that `NAME_FILE` names. */
  text (name: keyof T & string): string | undefined {
    return (this.#row(name).lowerCase ? this.#textOf(name.toLowerCase(), `${name.toLowerCase()}_FILE`) : undefined) ??
      this.#textOf(name, this.#fileFormOf(name))
  }

  /** Returns the path in the `NAME_FILE` form of a variable. */
  path (name: keyof T & string): string | undefined {
    return this.#set(this.#fileFormOf(name))
  }

  /** Returns whether a variable is set, in either form. */
  has (name: keyof T & string): boolean {
    return this.#set(name) !== undefined || this.path(name) !== undefined
  }

  /** Returns whether a variable has no quotation marks or spaces around its value, which other readers would see. */
  isExact (name: keyof T & string): boolean {
    return (this.#environment[name] ?? '') === (this.#set(name) ?? '')
  }

  #row (name: keyof T & string): Variable {
    return this.#table[name] as Variable
  }

  #fileFormOf (name: keyof T & string): string | undefined {
    return this.#row(name).fileForm === false ? undefined : `${name}_FILE`
  }

  #textOf (name: string, fileForm: string | undefined): string | undefined {
    const direct = this.#set(name)
    const path = this.#set(fileForm)
    if (path === undefined) return this.#unquoted(name, direct)
    if (direct !== undefined) {
      this.#reject(`${name} and ${fileForm} are both set: use one`)
      return undefined
    }
    try {
      const text = unquote(readTextFile(path))
      if (text !== '') return this.#unquoted(name, text)
      this.#reject(`${fileForm} is empty`)
      return undefined
    } catch (error) {
      // The path is not shown. An operator who confuses NAME_FILE with NAME puts the secret there.
      this.#reject(`${fileForm} cannot be read: ${(error as NodeJS.ErrnoException).code}`)
      return undefined
    }
  }

  #set (name: string | undefined): string | undefined {
    const text = unquote(name === undefined ? '' : this.#environment[name] ?? '')
    return text === '' ? undefined : text
  }

  /** Rejects a value with an unpaired quotation mark, without showing the value. */
  #unquoted (name: string, text: string | undefined): string | undefined {
    if (text === undefined || !/^["']|["']$/.test(text)) return text
    this.#reject(`${name} must not begin or end with an unpaired quotation mark (its value is not shown)`)
    return undefined
  }

  /** Adds an error once: a variable can be read more than once. */
  #reject (issue: string): void {
    if (!this.issues.includes(issue)) this.issues.push(issue)
  }
}

function unquote (text: string): string {
  const trimmed = text.trim()
  const [, , inner] = /^(["'])(.*)\1$/s.exec(trimmed) ?? []
  return inner?.trim() ?? trimmed
}
