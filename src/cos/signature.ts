import { createHash, createHmac } from 'node:crypto'
import { percentEncode } from './addresses.ts'

/** A request as the signature sees it. */
export interface SignableRequest {
  method: string
  /** Decoded path; `/` for every bucket operation. */
  path: string
  /** Decoded query parameters; one without a value is the empty string. */
  parameters: Readonly<Record<string, string>>
  /** The headers to sign, with the values that go on the wire. */
  headers: Readonly<Record<string, string>>
}

/** A span of Unix seconds in which a signature is valid, start and end included. */
export interface KeyTime {
  start: number
  end: number
}

/** The window of a request sent now: 60 s back for clocks that lag, 900 s ahead. */
export function keyTimeAt (nowMs: number): KeyTime {
  const seconds = Math.floor(nowMs / 1000)
  return { start: seconds - 60, end: seconds + 900 }
}

/**
 * The Authorization value of a request (COS document 7778). Pure: the time is an argument.
 * Every header and parameter given is signed; leave out what the wire does not carry.
 */
export function authorization (
  request: SignableRequest,
  keys: { secretId: string, secretKey: string },
  keyTime: KeyTime
): string {
  const time = `${keyTime.start};${keyTime.end}`
  const signKey = createHmac('sha1', keys.secretKey).update(time).digest('hex')
  const parameters = canonicalPairs(Object.entries(request.parameters))
  // Optional white space around a header's value is not part of it (RFC 9110, 5.5).
  const headers = canonicalPairs(Object.entries(request.headers).map(([name, value]) => [name, value.trim()]))
  const httpString =
    `${request.method.toLowerCase()}\n${request.path}\n${joinPairs(parameters)}\n${joinPairs(headers)}\n`
  const stringToSign = `sha1\n${time}\n${createHash('sha1').update(httpString).digest('hex')}\n`
  const signature = createHmac('sha1', signKey).update(stringToSign).digest('hex')
  return `q-sign-algorithm=sha1&q-ak=${keys.secretId}&q-sign-time=${time}&q-key-time=${time}` +
    `&q-header-list=${joinNames(headers)}&q-url-param-list=${joinNames(parameters)}&q-signature=${signature}`
}

type Pairs = Array<[name: string, value: string]>

function canonicalPairs (pairs: Pairs): Pairs {
  return pairs
    .map(([name, value]): [string, string] => [percentEncode(name).toLowerCase(), percentEncode(value)])
    .sort(([a], [b]) => a < b ? -1 : 1)
}

const joinPairs = (pairs: Pairs) => pairs.map(([name, value]) => `${name}=${value}`).join('&')
const joinNames = (pairs: Pairs) => pairs.map(([name]) => name).join(';')
