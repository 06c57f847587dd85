import { hash } from 'node:crypto'
import { Secret } from '../../secret.ts'
import type { CosClock } from './clock.ts'
import type { CosRequest } from './messages.ts'
import { authorization, keyTimeAt, signKeyOf } from './signature.ts'
import type { KeyTime } from './signature.ts'

/** Shorter texts occur in ordinary words. No real credential is shorter. */
const shortestConfidential = 16

interface Dependencies {
  clock: Pick<CosClock, 'now'>
  userAgent: string
}

/**
 * Creates the function that returns all headers of a request, with its signature. The key that signs the requests of a
 * second is derived once for each secret key.
 */
export function createHeaderSigner (
  { clock, userAgent }: Dependencies
): (request: CosRequest) => Record<string, string> {
  /** The latest signing key of each secret key. */
  const signKeys = new WeakMap<Secret, { start: number, signKey: Secret }>()

  function currentSignKey (secretKey: Secret, keyTime: KeyTime): Secret {
    const latest = signKeys.get(secretKey)
    if (latest?.start === keyTime.start) return latest.signKey
    const signKey = new Secret(signKeyOf(secretKey.reveal(), keyTime))
    signKeys.set(secretKey, { start: keyTime.start, signKey })
    return signKey
  }

  return ({ method, address, target, body, range, credentials, number, traceHeaders }) => {
    const { secretId, secretKey, token } = credentials
    const headers: Record<string, string> = { host: address.host }
    if (body !== undefined) {
      headers['content-type'] = 'application/xml'
      headers['content-length'] = String(Buffer.byteLength(body))
      headers['content-md5'] = hash('md5', body, 'base64')
    }
    if (range !== undefined) headers['range'] = range
    if (token !== undefined) headers['x-cos-security-token'] = token.reveal()
    // The official SDKs mark retries like this.
    if (number > 1) headers['x-cos-sdk-retry'] = 'true'
    const [path, query] = target.split('?') as [string, string?]
    const signable = { method, path: decodeURIComponent(path), parameters: parametersOf(query), headers }
    const keys = { secretId, secretKey: secretKey.reveal() }
    const keyTime = keyTimeAt(clock.now())
    const signature = authorization(signable, keys, keyTime, currentSignKey(secretKey, keyTime).reveal())
    return Object.assign(headers, traceHeaders, { 'user-agent': userAgent, authorization: signature })
  }
}

/** Returns the decoded parameters of a query that this service has built. */
function parametersOf (query: string | undefined): Record<string, string> {
  const parameters: Record<string, string> = {}
  if (query === undefined) return parameters
  for (const parameter of query.split('&')) {
    const [name, value = ''] = parameter.split('=') as [string, string?]
    parameters[name] = decodeURIComponent(value)
  }
  return parameters
}

/** Returns the parts of a request that no response may show: key id, signature and token. */
export function confidentialIn (headers: Record<string, string>, { credentials }: CosRequest): string[] {
  const { secretId, token } = credentials
  const signature = String(headers['authorization']).slice(-40)
  return [secretId, signature, token?.reveal() ?? ''].filter(text => text.length >= shortestConfidential)
}
