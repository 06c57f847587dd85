import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { secret } from './secrets.ts'

interface Test {
  teardown (handler: () => unknown): void
}

/** A caller in the format of the callers file. */
export interface CallerEntry {
  name: string
  keys?: string[]
  jwt?: { claims: Record<string, unknown> }
  certificate?: { san: string } | { subject: string }
  rateLimitPerMinute?: number
  allow: Array<{ actions: string[], buckets: string[], regions?: string[], destinations?: string[] }>
}

/** Returns the bearer key that tests use for a caller. */
export function keyOf (name: string): string {
  return secret(`key-of-${name}-${'0123456789abcdef'.repeat(2)}`)
}

/** Returns the hash of a key in the format of the callers file. */
export function hashOf (key: string): string {
  return `sha256:${createHash('sha256').update(key).digest('hex')}`
}

/** Returns the Authorization header of a caller. */
export function as (name: string): { authorization: string } {
  return { authorization: `Bearer ${keyOf(name)}` }
}

/** Statements that allow every call and destination. */
export const everything: CallerEntry['allow'] = [{ actions: ['cos:*', 'reports:*'], buckets: ['*'], destinations: ['*'] }]

/** Returns a caller that is identified by {@link keyOf} its name. */
export function withKey (name: string, allow: CallerEntry['allow'], more: Partial<CallerEntry> = {}): CallerEntry {
  return { name, keys: [hashOf(keyOf(name))], allow, ...more }
}

/** Writes a callers file. Returns the environment of a service that uses it and a function that replaces it. */
export function callersFile (
  t: Test, callers: CallerEntry[]
): { environment: { AUTH: string, CALLERS_FILE: string }, replace: (callers: CallerEntry[]) => void } {
  const text = (entries: CallerEntry[]) => JSON.stringify({ callers: entries }, null, 2)
  const folder = mkdtempSync(join(tmpdir(), 'callers-'))
  t.teardown(() => { rmSync(folder, { recursive: true }) })
  const path = join(folder, 'callers.json')
  writeFileSync(path, text(callers))
  return {
    environment: { AUTH: 'required', CALLERS_FILE: path },
    replace: entries => { writeFileSync(path, text(entries)) }
  }
}
