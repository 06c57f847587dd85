import { distance } from 'fastest-levenshtein'
import type { Environment } from './environment.ts'
import type { Variable } from './variable-types.ts'
import { variables } from './variables.ts'

/** Names with these beginnings are likely to be meant for this service. */
const ownPrefixes = [
  'AUDIT_', 'AUTH_', 'CALLERS_', 'COS_', 'JWT_', 'METRICS_', 'RATE_LIMIT_', 'REPORTS_', 'SHUTDOWN_', 'TLS_'
]

/** Names that platforms and other programs set: OpenTelemetry, TKE, and proxies of other protocols. */
const ofOthers = /^(?:OTEL_|TKE_|(?:ALL|FTP|RSYNC|SOCKS)_PROXY$)/

/** Variables of Kubernetes service links. A Service named `cos-inventory-proxy` causes some that begin with `COS_`. */
const serviceLink = /_(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)$/
const serviceLinkUrl = /^(?:tcp|udp|sctp):\/\//

/** Shorter names resemble too many others. */
const minLength = 6

/** Most names that are returned. A log line must stay short. */
const maxNames = 20

const knownNames = Object.entries<Variable>(variables).flatMap(([name, { lowerCase, fileForm }]) => {
  const all = lowerCase ? [name, name.toLowerCase()] : [name]
  return fileForm === false ? all : [...all, ...all.map(each => `${each}_FILE`)]
})
const known = new Set(knownNames)
const comparable = knownNames.filter(name => name.length >= minLength)

/**
 * Returns the names of at most 20 variables that are set, look like those of this service and are none. They begin as
 * its variables do, or differ from one in a few letters. Variables of the platform are not among them.
 */
export function unknownNames (environment: Environment): string[] {
  return Object.entries(environment)
    .filter(([name, value = '']) => value !== '' && looksOwn(name, value))
    .map(([name]) => name)
    .sort()
    .slice(0, maxNames)
}

function looksOwn (name: string, value: string): boolean {
  const upper = name.toUpperCase()
  // A longer name is not one of this service. It could be a secret in the wrong place.
  if (known.has(name) || !/^\w{1,64}$/.test(name) || ofOthers.test(upper)) return false
  if (serviceLink.test(upper) || (upper.endsWith('_PORT') && serviceLinkUrl.test(value))) return false
  return ownPrefixes.some(prefix => upper.startsWith(prefix)) || comparable.some(each => isSimilar(upper, each))
}

/** Returns whether two names differ by one letter, or by two in a long name, as a swap of two letters does. */
function isSimilar (name: string, other: string): boolean {
  return distance(name, other) <= (other.length < 10 ? 1 : 2)
}
