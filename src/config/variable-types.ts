/** Reports a configuration error. The text continues a sentence that begins with the name of the variable. */
export type Reject = (issue: string) => void

/** Converts the text of a variable to a value. */
export interface VariableType<T> {
  /** Type and range in Markdown, such as `integer, 0 to 65535`. */
  label: string
  /** Returns the value. Rejects malformed text, and then may return undefined. */
  parse: (text: string, reject: Reject) => T | undefined
}

/** A row of the table of variables. */
export interface Variable {
  type: VariableType<unknown>
  /** The text that is parsed when the variable is not set. */
  default?: string
  /** Unit of a number. */
  unit?: string
  /** Wraps the value in a `Secret`. Messages never show it. */
  secret?: true
  /** The name in lower case is an alternative that takes precedence. */
  lowerCase?: true
  /** `NAME_FILE` is a variable of its own, not a file that contains the value. */
  fileForm?: false
  /** Markdown, in sentences. */
  description: string
}

/** Rows by the name of the variable. */
export type Variables = Record<string, Variable>

/** A decimal integer from `min` to `max`. */
export function integer (min: number, max: number): VariableType<number> {
  return {
    label: `integer, ${min} to ${max}`,
    parse (text, reject) {
      const number = /^[0-9]{1,10}$/.test(text) ? Number(text) : NaN
      if (number >= min && number <= max) return number
      reject(`must be an integer from ${min} to ${max}`)
      return undefined
    }
  }
}

/** One of the given texts, spelled exactly so. */
export function choice <const T extends string> (...choices: T[]): VariableType<T> {
  return {
    label: choices.map(each => `\`${each}\``).join(', '),
    parse (text, reject) {
      const found = choices.find(each => each === text)
      if (found === undefined) reject(`must be one of ${choices.join(', ')}`)
      return found
    }
  }
}

const trueOrFalse = choice('true', 'false')

/** `true` or `false`. */
export const flag: VariableType<boolean> = {
  label: trueOrFalse.label,
  parse (text, reject) {
    const value = trueOrFalse.parse(text, reject)
    return value === undefined ? undefined : value === 'true'
  }
}

/** Any text. */
export const text: VariableType<string> = { label: 'text', parse: text => text }

/** The path of a file. The file is not opened. */
export const path: VariableType<string> = { label: 'path', parse: text => text }

/** An absolute `http` or `https` URL without user and password. */
export const httpUrl: VariableType<string> = {
  label: 'URL, `https` or `http`',
  parse (text, reject) {
    const url = URL.parse(text)
    if (url !== null && ['https:', 'http:'].includes(url.protocol) && url.username === '' && url.password === '') return text
    reject('must be a URL that begins with https:// or http://')
    return undefined
  }
}

/** Visible ASCII characters without spaces, as in keys and tokens. */
export const key: VariableType<string> = {
  label: 'text, visible ASCII',
  parse (text, reject) {
    if (!/^[\x21-\x7E]+$/.test(text)) reject('must be visible ASCII without blanks')
    return text
  }
}

/**
 * Names, comma separated. Returns lower case, because these values are case-insensitive (OpenTelemetry specification).
 */
export function names (label: string): VariableType<string[]> {
  return { label, parse: text => splitList(text.toLowerCase()) }
}

/** Returns the entries of a comma separated list, trimmed. Drops empty ones. */
export function splitList (text: string): string[] {
  return text.split(',').map(each => each.trim()).filter(each => each !== '')
}
