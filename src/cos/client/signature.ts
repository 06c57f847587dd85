import { createHmac, hash } from 'node:crypto'
import { percentEncode } from './endpoints.ts'

/** The parts of a request that are signed. */
export interface SignableRequest {
  method: string
  /** Decoded path: `/` for operations on a bucket, else `/` and the key of an object. */
  path: string
  /** Decoded query parameters; one without a value is the empty string. */
  parameters: Readonly<Record<string, string>>
  /** The headers to sign, with the values that are sent. */
  headers: Readonly<Record<string, string>>
}

/** A span of Unix seconds in which a signature is valid, start and end included. */
export interface KeyTime {
  start: number
  end: number
}

/** Returns the window of a request that is sent now: 60 s back for clocks that lag, 900 s ahead. */
export function keyTimeAt (nowMs: number): KeyTime {
  const seconds = Math.floor(nowMs / 1000)
  return { start: seconds - 60, end: seconds + 900 }
}

/**
 * Returns the key that signs the requests of a window (COS document 7778). All requests of a second share it.
 *
 * @returns 40 hex digits, as secret as the secret key
 */
export function signKeyOf (secretKey: string, keyTime: KeyTime): string {
  return createHmac('sha1', secretKey).update(timeOf(keyTime)).digest('hex')
}

/**
 * Returns the Authorization value of a request (COS document 7778). The function is pure: the time is an argument. It
 * signs every given header and parameter.
 *
 * @param signKey result of {@link signKeyOf} for the secret key and the same window
 */
export function authorization (
  request: SignableRequest,
  keys: { secretId: string, secretKey: string },
  keyTime: KeyTime,
  signKey = signKeyOf(keys.secretKey, keyTime)
): string {
  const time = timeOf(keyTime)
  const parameters = canonical(request.parameters, value => value)
  // Optional white space around a header's value is not part of it (RFC 9110, 5.5).
  const headers = canonical(request.headers, value => value.trim())
  const httpString = `${request.method.toLowerCase()}\n${request.path}\n${parameters.pairs}\n${headers.pairs}\n`
  const stringToSign = `sha1\n${time}\n${hash('sha1', httpString)}\n`
  const signature = createHmac('sha1', signKey).update(stringToSign).digest('hex')
  return `q-sign-algorithm=sha1&q-ak=${keys.secretId}&q-sign-time=${time}&q-key-time=${time}` +
    `&q-header-list=${headers.names}&q-url-param-list=${parameters.names}&q-signature=${signature}`
}

function timeOf ({ start, end }: KeyTime): string {
  return `${start};${end}`
}

/** Returns names and values in the form of the signature, sorted by name, and the list of names. */
function canonical (
  values: Readonly<Record<string, string>>, trim: (value: string) => string
): { pairs: string, names: string } {
  const encoded = Object.keys(values).map(name => ({
    name: percentEncode(name).toLowerCase(),
    value: percentEncode(trim(values[name] as string))
  }))
  if (encoded.length > 1) encoded.sort((a, b) => a.name < b.name ? -1 : 1)
  let pairs = ''
  let names = ''
  for (const { name, value } of encoded) {
    pairs += `${pairs && '&'}${name}=${value}`
    names += `${names && ';'}${name}`
  }
  return { pairs, names }
}
