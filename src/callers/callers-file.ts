import { Errors, ValueErrorType } from '@sinclair/typebox/errors'
import type { ValueError } from '@sinclair/typebox/errors'
import { ConfigError } from '../config/environment.ts'
import { actions, CallersFileSchema } from '../contract/callers.ts'
import type { Action, CallersFile } from '../contract/callers.ts'
import { parseSubject } from './certificate.ts'
import type { CertificateRule } from './certificate.ts'
import { compileGlob } from './glob.ts'
import type { Glob } from './glob.ts'

/** What a caller may do: any of the actions, on any of the buckets. */
export interface Statement {
  readonly actions: ReadonlySet<Action>
  readonly buckets: readonly Glob[]
  /** Undefined for any region. */
  readonly regions: ReadonlySet<string> | undefined
  /** Undefined for the buckets with the APPID of the bucket in the path. */
  readonly destinations: readonly Glob[] | undefined
}

/** Someone who may call, how to recognise them, and what they may do. */
export interface Caller {
  readonly name: string
  /** SHA-256 digests of bearer keys, 32 bytes each. */
  readonly keys: readonly Buffer[]
  /** What the claims of a token must be. */
  readonly claims: Readonly<Record<string, unknown>> | undefined
  readonly certificate: CertificateRule | undefined
  /** Undefined for the limit of the service, 0 for none. */
  readonly rateLimitPerMinute: number | undefined
  readonly allow: readonly Statement[]
}

/**
 * Reads the text of a callers file.
 *
 * @throws {ConfigError} naming every fault and its place (RFC 6901), never a value: it could be a key
 */
export function parseCallers (text: string): Caller[] {
  const document = parseJson(text)
  // The first fault of a place says what is wrong; what else is said there follows from it.
  const faults = new Map<string, string>()
  for (const { pointer, detail } of [...shapeFaults(document), ...otherFaults(document)]) {
    if (!faults.has(pointer)) faults.set(pointer, detail)
  }
  if (faults.size === 0) return (document as CallersFile).callers.map(toCaller)
  throw new ConfigError([...faults].map(([pointer, detail]) => `CALLERS_FILE: ${pointer || 'the document'} ${detail}`))
}

function parseJson (text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    throw new ConfigError(['CALLERS_FILE: the document is not JSON, which has no comments and no trailing commas'])
  }
}

interface Fault {
  pointer: string
  detail: string
}

function shapeFaults (document: unknown): Fault[] {
  return [...Errors(CallersFileSchema, document)].map(error => {
    if (error.type === ValueErrorType.ObjectAdditionalProperties) return faultOfUnknown(error.path)
    if (error.type === ValueErrorType.ObjectRequiredProperty) return { pointer: error.path, detail: 'is required' }
    return { pointer: error.path, detail: `must be ${error.schema.description}${hintAt(error)}` }
  })
}

/** A long name, or an odd one, could be a key in the wrong place: then only the object it is in is named. */
function faultOfUnknown (pointer: string): Fault {
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

/** What the schema cannot say. The document may still have any shape, so that all faults are named together. */
function otherFaults (document: unknown): Fault[] {
  const faults: Fault[] = []
  const places = new Map<string, string>()
  const refuseRepeated = (value: unknown, pointer: string) => {
    if (typeof value !== 'string') return
    const earlier = places.get(value)
    if (earlier === undefined) places.set(value, pointer)
    else faults.push({ pointer, detail: `is the same as ${earlier}` })
  }
  for (const [index, caller] of arrayOf(membersOf(document)['callers']).entries()) {
    const pointer = `/callers/${index}`
    const { name, keys, jwt, certificate } = membersOf(caller)
    refuseRepeated(name, `${pointer}/name`)
    for (const [which, key] of arrayOf(keys).entries()) refuseRepeated(key, `${pointer}/keys/${which}`)
    if (keys === undefined && jwt === undefined && certificate === undefined) {
      faults.push({ pointer, detail: 'needs at least one of keys, jwt and certificate' })
    }
    const { subject } = membersOf(certificate)
    if (typeof subject === 'string' && parseSubject(subject) === undefined) {
      faults.push({ pointer: `${pointer}/certificate/subject`, detail: 'must be attributes such as O=corp, CN=billing' })
    }
  }
  return faults
}

function arrayOf (value: unknown): unknown[] {
  return Array.isArray(value) ? value : []
}

function membersOf (value: unknown): Record<string, unknown> {
  return (value ?? {}) as Record<string, unknown>
}

function toCaller ({ name, keys = [], jwt, certificate, rateLimitPerMinute, allow }: CallersFile['callers'][number]): Caller {
  return {
    name,
    keys: keys.map(key => Buffer.from(key.slice('sha256:'.length), 'hex')),
    claims: jwt?.claims,
    certificate: certificate as CertificateRule | undefined,
    rateLimitPerMinute,
    allow: allow.map(statement => ({
      actions: new Set(statement.actions.flatMap(action => action === 'cos:*' ? actions : [action])),
      buckets: statement.buckets.map(compileGlob),
      regions: statement.regions && new Set(statement.regions),
      destinations: statement.destinations?.map(compileGlob)
    }))
  }
}
