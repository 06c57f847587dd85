import type { TSchema } from '@sinclair/typebox'
import { Errors, ValueErrorType } from '@sinclair/typebox/errors'
import type { ValueError } from '@sinclair/typebox/errors'
import { createPauses } from '../concurrency/event-loop.ts'
import { ConfigError } from '../config/environment.ts'
import { actionsByName, CallersFileSchema } from '../contract/callers.ts'
import type { Action, CallersFile } from '../contract/callers.ts'
import { parseSubject } from './certificate.ts'
import type { CertificateRule } from './certificate.ts'
import { compileGlob } from './glob.ts'
import type { Glob } from './glob.ts'

/** Permissions: any of the actions, on any of the buckets. */
export interface Statement {
  readonly actions: ReadonlySet<Action>
  readonly buckets: readonly Glob[]
  /** Undefined for any region. */
  readonly regions: ReadonlySet<string> | undefined
  /** Undefined for the buckets with the APPID of the bucket in the path. */
  readonly destinations: readonly Glob[] | undefined
}

/** A caller, its ways to authenticate and its permissions. */
export interface Caller {
  readonly name: string
  /** SHA-256 digests of bearer keys, 32 bytes each. */
  readonly keys: readonly Buffer[]
  /** Claims that a token must have. */
  readonly claims: Readonly<Record<string, unknown>> | undefined
  readonly certificate: CertificateRule | undefined
  /** Undefined for the limit of the service, 0 for none. */
  readonly rateLimitPerMinute: number | undefined
  readonly allow: readonly Statement[]
}

/**
 * Parses the text of a callers file. Lets the event loop serve requests in between, because a service reloads its file.
 *
 * @throws {ConfigError} with every issue and its place (RFC 6901). It never quotes a value, which could be a key.
 */
export async function parseCallers (text: string): Promise<Caller[]> {
  const document = parseJson(text)
  const pause = createPauses()
  const issues = schemaIssues(CallersFileSchema, '', withoutCallers(document))
  const addFurtherIssues = createFurtherIssues(issues)
  const found = arrayOf(membersOf(document)['callers'])
  for (const [index, caller] of found.entries()) {
    await pause()
    const pointer = `/callers/${index}`
    issues.push(...schemaIssues(CallersFileSchema.properties.callers.items, pointer, caller))
    addFurtherIssues(pointer, caller)
  }
  if (issues.length > 0) throw new ConfigError(textsOf(issues))
  const callers: Caller[] = []
  for (const caller of found as CallersFile['callers']) {
    await pause()
    callers.push(toCaller(caller))
  }
  return callers
}

/** Returns the document with an empty array in place of its callers, which are validated one by one. */
function withoutCallers (document: unknown): unknown {
  return Array.isArray(membersOf(document)['callers']) ? { ...membersOf(document), callers: [] } : document
}

/** Returns a line for each place. The first issue of a place says what is wrong. Further issues follow from it. */
function textsOf (issues: readonly Issue[]): string[] {
  const details = new Map<string, string>()
  for (const { pointer, detail } of issues) if (!details.has(pointer)) details.set(pointer, detail)
  return [...details].map(([pointer, detail]) => `CALLERS_FILE: ${pointer || 'the document'} ${detail}`)
}

function parseJson (text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    throw new ConfigError(['CALLERS_FILE: the document is not JSON, which has no comments and no trailing commas'])
  }
}

interface Issue {
  pointer: string
  detail: string
}

function schemaIssues (schema: TSchema, base: string, value: unknown): Issue[] {
  return [...Errors(schema, value)].map(error => {
    const pointer = base + error.path
    if (error.type === ValueErrorType.ObjectAdditionalProperties) return unknownPropertyIssue(pointer)
    if (error.type === ValueErrorType.ObjectRequiredProperty) return { pointer, detail: 'is required' }
    return { pointer, detail: `must be ${error.schema.description}${hintAt(error)}` }
  })
}

/**
 * Returns the issue of an unknown property. A long or unusual name could be a misplaced key, so only its object is
 * named.
 */
function unknownPropertyIssue (pointer: string): Issue {
  const end = pointer.lastIndexOf('/')
  return /^[$\w.-]{1,32}$/.test(pointer.slice(end + 1))
    ? { pointer, detail: 'is not known here' }
    : { pointer: pointer.slice(0, end), detail: 'has a property that is not known here' }
}

function hintAt ({ path, value }: ValueError): string {
  return /\/keys\/[0-9]+$/.test(path) && typeof value === 'string' && !value.startsWith('sha256:')
    ? '; it looks like a key itself: paste its hash (npm run key)'
    : ''
}

/**
 * Returns a function that adds the issues of a caller that the schema cannot express. It accepts a caller of any shape,
 * so that all issues are reported at once.
 */
function createFurtherIssues (issues: Issue[]): (pointer: string, caller: unknown) => void {
  const places = new Map<string, string>()
  const rejectDuplicate = (value: unknown, pointer: string) => {
    if (typeof value !== 'string') return
    const earlier = places.get(value)
    if (earlier === undefined) places.set(value, pointer)
    else issues.push({ pointer, detail: `is the same as ${earlier}` })
  }
  return (pointer, caller) => {
    const { name, keys, jwt, certificate } = membersOf(caller)
    rejectDuplicate(name, `${pointer}/name`)
    for (const [which, key] of arrayOf(keys).entries()) rejectDuplicate(key, `${pointer}/keys/${which}`)
    if (keys === undefined && jwt === undefined && certificate === undefined) {
      issues.push({ pointer, detail: 'needs at least one of keys, jwt and certificate' })
    }
    const { subject } = membersOf(certificate)
    if (typeof subject === 'string' && parseSubject(subject) === undefined) {
      issues.push({ pointer: `${pointer}/certificate/subject`, detail: 'must be attributes such as O=corp, CN=billing' })
    }
  }
}

function arrayOf (value: unknown): unknown[] {
  return Array.isArray(value) ? value : []
}

function membersOf (value: unknown): Record<string, unknown> {
  return (value ?? {}) as Record<string, unknown>
}

/** Converts a valid entry of the callers file. */
export function toCaller ({ name, keys = [], jwt, certificate, rateLimitPerMinute, allow }: CallersFile['callers'][number]): Caller {
  return {
    name,
    keys: keys.map(key => Buffer.from(key.slice('sha256:'.length), 'hex')),
    claims: jwt?.claims,
    certificate: certificate as CertificateRule | undefined,
    rateLimitPerMinute,
    allow: allow.map(statement => ({
      actions: new Set(statement.actions.flatMap(name => actionsByName[name])),
      buckets: statement.buckets.map(compileGlob),
      regions: statement.regions && new Set(statement.regions),
      destinations: statement.destinations?.map(compileGlob)
    }))
  }
}
