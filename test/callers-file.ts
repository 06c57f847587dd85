import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { secret } from './secrets.ts'

interface Test {
  teardown (handler: () => unknown): void
}

/** A caller as the file holds it. */
export interface CallerEntry {
  name: string
  keys?: string[]
  jwt?: { claims: Record<string, unknown> }
  certificate?: { san: string } | { subject: string }
  rateLimitPerMinute?: number
  allow: Array<{ actions: string[], buckets: string[], regions?: string[], destinations?: string[] }>
}

/** The bearer key tests use for a caller of this name. */
export function keyOf (name: string): string {
  return secret(`key-of-${name}-${'0123456789abcdef'.repeat(2)}`)
}

/** How the file names a key. */
export function hashOf (key: string): string {
  return `sha256:${createHash('sha256').update(key).digest('hex')}`
}

/** The header a caller of this name sends. */
export function as (name: string): { authorization: string } {
  return { authorization: `Bearer ${keyOf(name)}` }
}

/** What lets a caller do everything. */
export const everything: CallerEntry['allow'] = [{ actions: ['cos:*'], buckets: ['*'], destinations: ['*'] }]

/** A caller that is recognised by {@link keyOf} its name. */
export function withKey (name: string, allow: CallerEntry['allow'], more: Partial<CallerEntry> = {}): CallerEntry {
  return { name, keys: [hashOf(keyOf(name))], allow, ...more }
}

/** Writes a callers file; gives the environment of a service that uses it, and a way to replace it. */
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
