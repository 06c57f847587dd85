import type { VariableType } from './variable-types.ts'

const redisSchemes = 'use redis:// or rediss:// with one host'
const clusterScheme = /^(?:rediss?[+-])?(?:sentinel|cluster)s?:/i
const maxDatabase = 2_147_483_647

/** The URL of one Redis server. Rejects URLs that would make the Redis client throw. */
export const redisUrl: VariableType<string> = {
  label: 'URL, `redis` or `rediss`',
  parse (text, reject) {
    const issue = redisUrlIssue(text)
    if (issue !== undefined) reject(issue)
    // The client recognizes a scheme in lower case only. It would send the password of REDISS:// unencrypted.
    return URL.parse(text)?.href ?? text
  }
}

/** Returns what makes a URL of Redis unusable, as the end of a sentence that begins with the variable. */
function redisUrlIssue (text: string): string | undefined {
  const [scheme] = clusterScheme.exec(text) ?? []
  if (scheme !== undefined) return `begins with ${scheme.toLowerCase()}//, which is not supported: ${redisSchemes}`
  const hosts = text.split(/[/?#]+/)[1]?.split('@').at(-1)
  if (hosts?.includes(',') === true) return `has several hosts, which is not supported: ${redisSchemes}`
  const url = URL.parse(text)
  if (url === null || !['redis:', 'rediss:'].includes(url.protocol) || url.hostname === '' || !isPercentEncoded(url)) {
    return 'must be redis://host:port/database or rediss://host:port/database'
  }
  // Parameters would replace settings of the client, such as its timeouts.
  if (url.search !== '' || url.hash !== '') return 'must not have a query or a fragment'
  const database = /^\/?([0-9]{0,10})$/.exec(url.pathname)?.[1]
  if (database === undefined || Number(database) > maxDatabase) {
    return `must end with a database from 0 to ${maxDatabase} or without one`
  }
  return undefined
}

/** The URL of an HTTP proxy, with user and password or without. */
export const proxyUrl: VariableType<string> = {
  label: 'URL, `http` or `https`',
  parse (text, reject) {
    const issue = proxyUrlIssue(URL.parse(text))
    if (issue !== undefined) reject(issue)
    return text
  }
}

/** Returns what makes the URL of a proxy unusable, as the end of a sentence that begins with the variable. */
function proxyUrlIssue (url: URL | null): string | undefined {
  if (url === null || !['http:', 'https:'].includes(url.protocol)) return 'must be a URL that begins with http:// or https://'
  if (!isPercentEncoded(url)) return 'must have user and password in percent-encoding'
  // undici sends neither when one is missing.
  return (url.username === '') === (url.password === '') ? undefined : 'must have both user and password, or neither'
}

/** Returns whether user and password can be decoded. */
function isPercentEncoded ({ username, password }: URL): boolean {
  try {
    for (const each of [username, password]) decodeURIComponent(each)
    return true
  } catch {
    return false
  }
}
