import { createHash, randomBytes } from 'node:crypto'

/**
 * Returns a new bearer key and its hash for the callers file. The prefix `cip_` lets scanners find leaked keys. The
 * rest is 32 random bytes in base64url (RFC 4648, section 5). They cannot be guessed, so a plain SHA-256 is safe.
 */
export function createKey (): { key: string, hash: string } {
  const key = `cip_${randomBytes(32).toString('base64url')}`
  return { key, hash: `sha256:${createHash('sha256').update(key).digest('hex')}` }
}
