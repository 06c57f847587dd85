import { parse } from 'ini'
import { readTextFile } from '../../files/text-file.ts'
import { CredentialSourceError, fromDocument } from './sourced-credentials.ts'
import type { SourcedCredentials } from './sourced-credentials.ts'

const origin = 'the credentials file'

/**
 * Returns credentials from a file. The file is a profile of Tencent's tools, or JSON in the form of STS. A profile is
 * ini with a section `[default]`, which has `secret_id`, `secret_key` and `token`.
 *
 * @param now wall clock, in milliseconds since 1970
 * @throws {CredentialSourceError} when the file cannot be read or contains no valid credentials
 */
export async function fromFile (path: string, now: () => number): Promise<SourcedCredentials> {
  const document = parseDocument(readText(path, origin))
  return fromDocument(document, { origin, temporary: false, now: now() })
}

/**
 * Returns the text of a file without white space around it.
 *
 * @param name the name of the file in the error message, which does not show the path
 * @throws {CredentialSourceError} when it cannot be read
 */
export function readText (path: string, name: string): string {
  try {
    return readTextFile(path)
  } catch (error) {
    throw new CredentialSourceError(`${name} cannot be read (${(error as NodeJS.ErrnoException).code})`)
  }
}

function parseDocument (text: string): unknown {
  if (!text.startsWith('{')) {
    const profile: unknown = parse(text)['default']
    if (profile !== undefined) return profile
    throw new CredentialSourceError(`${origin} is neither JSON nor a profile with a section [default]`)
  }
  try {
    return JSON.parse(text)
  } catch {
    // The parser's message quotes the text, which may be a key.
    throw new CredentialSourceError(`${origin} begins as JSON but is not valid JSON`)
  }
}
