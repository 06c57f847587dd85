import { parse } from 'ini'
import { readTextFile } from '../../files/text-file.ts'
import { CredentialSourceError, fromDocument } from './sourced-credentials.ts'
import type { SourcedCredentials } from './sourced-credentials.ts'

const origin = 'the credentials file'

/**
 * Credentials out of a file: a profile of Tencent's tools (ini, section `[default]` with `secret_id`, `secret_key`,
 * `token`), or JSON as STS, its clients and the command line tools write it.
 *
 * @param now wall clock, in milliseconds since 1970
 * @throws {CredentialSourceError} when the file cannot be read or holds no valid credentials
 */
export async function fromFile (path: string, now: () => number): Promise<SourcedCredentials> {
  const document = parseDocument(readText(path, origin))
  return fromDocument(document, { origin, temporary: false, now: now() })
}

/**
 * The text of a file without white space around it.
 *
 * @param name what the file is, for the message, which leaves out the path
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
    // The parser's message quotes what it read.
    throw new CredentialSourceError(`${origin} begins as JSON but is not valid JSON`)
  }
}
