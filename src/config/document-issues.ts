/** Names every issue of a JSON document of the operator. No text quotes a value, which could be a key. */
import type { TSchema } from '@sinclair/typebox'
import { Errors, ValueErrorType } from '@sinclair/typebox/errors'
import type { ValueError } from '@sinclair/typebox/errors'
import { readTextFile } from '../files/text-file.ts'
import { ConfigError } from './environment.ts'

/** An issue and its place (RFC 6901). */
export interface Issue {
  pointer: string
  detail: string
}

/**
 * Reads the text of a document.
 *
 * @param variable the variable that names the file
 * @param maxMebibytes the largest size
 * @throws {ConfigError} when the file cannot be read
 */
export function readDocument (variable: string, path: string, maxMebibytes?: number): string {
  try {
    return readTextFile(path, maxMebibytes)
  } catch (error) {
    throw new ConfigError([`${variable} cannot be read: ${(error as NodeJS.ErrnoException).code}`])
  }
}

/** @throws {ConfigError} when the text is not JSON */
export function parseDocument (variable: string, text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    throw new ConfigError([`${variable}: the document is not JSON, which has no comments and no trailing commas`])
  }
}

/**
 * Returns the issues that a schema finds. The description of each part completes a sentence that begins with "must be".
 *
 * @param hintAt returns what follows that description
 */
export function schemaIssues (schema: TSchema, document: unknown, hintAt: (error: ValueError) => string = () => ''): Issue[] {
  return [...Errors(schema, document)].map(error => {
    if (error.type === ValueErrorType.ObjectAdditionalProperties) return unknownPropertyIssue(error.path)
    if (error.type === ValueErrorType.ObjectRequiredProperty) return { pointer: error.path, detail: 'is required' }
    return { pointer: error.path, detail: `must be ${error.schema.description}${hintAt(error)}` }
  })
}

/**
 * Returns the issue of an unknown property. A long or unusual name could be a misplaced key, so only its object is
 * named.
 */
function unknownPropertyIssue (pointer: string): Issue {
  const end = pointer.lastIndexOf('/')
  return isPlainName(pointer.slice(end + 1))
    ? { pointer, detail: 'is not known here' }
    : { pointer: pointer.slice(0, end), detail: 'has a property that is not known here' }
}

/** Tells whether a name can be shown. A secret key of Tencent Cloud has 32 characters. */
export function isPlainName (name: string): boolean {
  return /^[$\w.-]{1,31}$/.test(name)
}

/**
 * Rejects a document that has issues. The first issue of a place says what is wrong. Further issues follow from it.
 *
 * @throws {ConfigError} with one issue for each place
 */
export function rejectIssues (variable: string, issues: readonly Issue[]): void {
  const byPlace = new Map<string, string>()
  for (const { pointer, detail } of issues) if (!byPlace.has(pointer)) byPlace.set(pointer, detail)
  if (byPlace.size === 0) return
  throw new ConfigError([...byPlace].map(([pointer, detail]) => `${variable}: ${pointer || 'the document'} ${detail}`))
}

/** Returns the members of an object, or none. */
export function membersOf (value: unknown): Record<string, unknown> {
  return (value ?? {}) as Record<string, unknown>
}
