import { createServer } from 'node:http'
import type { ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import type { CryptoKey, JWK } from 'jose'

/** The part of the tap API that a subtest needs. */
interface Test {
  teardown (handler: () => unknown): void
}

export interface TokenIssuerOptions {
  /** Receives every token before it is returned. */
  onSecret?: (text: string) => void
  /** Returns milliseconds since the epoch; tokens expire five minutes later by default. */
  now?: () => number
}

export interface SignOptions {
  alg?: IssuerAlgorithm
  /** Key id in the header: that of the signing key by default, null for none. */
  kid?: string | null
  /** Additional or replaced header parameters. */
  header?: Record<string, unknown>
}

export type IssuerAlgorithm = typeof algorithms[number]

/** An issuer of JSON Web Tokens that publishes its keys over HTTP. */
export interface TokenIssuer {
  /** Configuration of the service for this issuer. */
  readonly config: { jwksUrl: string, issuer: string, audience: string }
  /** Published keys, one for each algorithm; a test may replace them with any value. */
  keys: unknown[]
  /** Number of requests for the keys. */
  readonly calls: number
  /** Response to requests for the keys: the keys (undefined), none until `release`, or another text. */
  answer: undefined | 'hang' | { status?: number, body: string }
  /** Waits until this many requests have arrived in all. */
  arrived (calls: number): Promise<void>
  /** Responds to all pending requests. */
  release (): void
  /** Returns a token with valid `iss`, `aud` and `exp`, replaced by `claims`; undefined removes a claim. */
  sign (claims?: Record<string, unknown>, options?: SignOptions): Promise<string>
  /** Replaces all keys by new ones. */
  rotate (): Promise<void>
  /** Closes all connections and rejects new ones. */
  takeDown (): Promise<void>
  /** Listens again on the same port. */
  bringBack (): Promise<void>
}

const algorithms = ['RS256', 'ES256', 'EdDSA'] as const

/** Keys that all issuers of this process share, by key id: an RSA key takes a quarter of a second. */
const sharedKeys = new Map<string, ReturnType<typeof generateKeyPair>>()

/** Starts an issuer that is closed at the end of the test. */
export async function startIssuer (
  t: Test, { onSecret, now = Date.now }: TokenIssuerOptions = {}
): Promise<TokenIssuer> {
  const signers = new Map<IssuerAlgorithm, { kid: string, privateKey: CryptoKey }>()
  const waiting: Array<{ calls: number, resolve: () => void }> = []
  let hanging: ServerResponse[] = []
  let calls = 0
  let generation = 0

  const server = createServer((_, response) => {
    calls += 1
    for (const each of waiting) {
      if (calls >= each.calls) each.resolve()
    }
    if (issuer.answer === 'hang') hanging.push(response)
    else reply(response)
  })

  function reply (response: ServerResponse): void {
    const { status = 200, body } = typeof issuer.answer === 'object'
      ? issuer.answer
      : { body: JSON.stringify({ keys: issuer.keys }) }
    response.writeHead(status, { 'content-type': 'application/json' }).end(body)
  }

  async function makeKeys (): Promise<JWK[]> {
    generation += 1
    return Promise.all(algorithms.map(async alg => {
      const kid = `${alg}-${generation}`
      const pair = sharedKeys.get(kid) ?? generateKeyPair(alg)
      sharedKeys.set(kid, pair)
      const { publicKey, privateKey } = await pair
      signers.set(alg, { kid, privateKey })
      return { ...await exportJWK(publicKey), kid, alg, use: 'sig' }
    }))
  }

  function listen (port: number): Promise<void> {
    return new Promise((resolve, reject) => {
      server.once('error', reject).listen(port, '127.0.0.1', resolve)
    })
  }

  function close (): Promise<void> {
    return new Promise(resolve => {
      server.close(() => { resolve() })
      server.closeAllConnections()
    })
  }

  const keys = await makeKeys()
  await listen(0)
  const { port } = server.address() as AddressInfo
  const config = { jwksUrl: `http://127.0.0.1:${port}/jwks`, issuer: 'https://issuer.example', audience: 'inventories' }
  const issuer: TokenIssuer = {
    config,
    keys,
    get calls () { return calls },
    answer: undefined,
    arrived: total => calls >= total
      ? Promise.resolve()
      : new Promise(resolve => { waiting.push({ calls: total, resolve }) }),
    release () {
      issuer.answer = undefined
      hanging.forEach(reply)
      hanging = []
    },
    async sign (claims = {}, { alg = 'RS256', kid, header = {} } = {}) {
      const signer = signers.get(alg)
      if (signer === undefined) throw new Error(`no key for ${alg}`)
      const expiry = Math.floor(now() / 1000) + 300
      const token = await new SignJWT({ iss: config.issuer, aud: config.audience, exp: expiry, ...claims })
        .setProtectedHeader({ alg, ...kid === null ? {} : { kid: kid ?? signer.kid }, ...header })
        .sign(signer.privateKey)
      onSecret?.(token)
      return token
    },
    async rotate () {
      issuer.keys = await makeKeys()
    },
    takeDown: close,
    bringBack: () => listen(port)
  }
  t.teardown(close)
  return issuer
}
