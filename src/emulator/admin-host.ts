import { isIPv4, isIPv6 } from 'node:net'

const wildcards = ['0.0.0.0', '[::]']

/**
 * Tells whether a Host value may reach the admin paths. Loopback on any port, the address of the emulator and allowed
 * names may. A page of another site can make its own name resolve to this machine (DNS rebinding). The browser then
 * sends that name as Host, and no other sign of the page's origin.
 *
 * @param listening host name or IP address; a wildcard such as 0.0.0.0 names no host
 * @param allowed host names or IP addresses, without port
 */
export function isAdminHost (host: string, listening: string, allowed: readonly string[]): boolean {
  const name = toName(host)
  if (name === undefined) return false
  if (name === 'localhost' || name.endsWith('.localhost') || name === '[::1]') return true
  if (isIPv4(name) && name.startsWith('127.')) return true
  return [listening, ...allowed].map(each => toName(isIPv6(each) ? `[${each}]` : each))
    .some(each => each === name && !wildcards.includes(each))
}

/** Returns the host name of a Host value in the spelling of browsers; undefined for a malformed value. */
function toName (host: string): string | undefined {
  return /^[^\s@/?#\\]+$/.test(host) ? URL.parse(`http://${host}`)?.hostname : undefined
}
