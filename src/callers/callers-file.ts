import type { ValueError } from '@sinclair/typebox/errors'
import { createPauses } from '../concurrency/event-loop.ts'
import { membersOf, parseDocument, rejectIssues, schemaIssues } from '../config/document-issues.ts'
import type { Issue } from '../config/document-issues.ts'
import { actionsByName, CallersFileSchema } from '../contract/callers.ts'
import type { Action, CallersFile } from '../contract/callers.ts'
import { parseSubject } from './certificate.ts'
import type { CertificateRule } from './certificate.ts'
import { compileGlob } from './glob.ts'
import type { Glob } from './glob.ts'

const variable = 'CALLERS_FILE'

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
  const document = parseDocument(variable, text)
  const pause = createPauses()
  const issues = schemaIssues(CallersFileSchema, withoutCallers(document))
  const addFurtherIssues = createFurtherIssues(issues)
  const found = arrayOf(membersOf(document)['callers'])
  for (const [index, caller] of found.entries()) {
    await pause()
    const base = `/callers/${index}`
    const ofCaller = schemaIssues(CallersFileSchema.properties.callers.items, caller, hintAt)
    issues.push(...ofCaller.map(({ pointer, detail }) => ({ pointer: base + pointer, detail })))
    addFurtherIssues(base, caller)
  }
  rejectIssues(variable, issues)
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
