import { createHash, randomBytes } from 'node:crypto'

/**
 * A new bearer key and what the callers file holds of it. The key is `cip_`, by which scanners can tell a leaked one,
 * and 32 random bytes in base64url (RFC 4648, section 5): too many to guess, so that a plain SHA-256 keeps it safe.
 */
export function createKey (): { key: string, hash: string } {
  const key = `cip_${randomBytes(32).toString('base64url')}`
  return { key, hash: `sha256:${createHash('sha256').update(key).digest('hex')}` }
}
