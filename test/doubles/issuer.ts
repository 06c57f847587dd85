import { createServer } from 'node:http'
import type { ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import type { CryptoKey, JWK } from 'jose'

/** What a subtest needs of tap: a place to clean up. */
interface Test {
  teardown (handler: () => unknown): void
}

export interface TokenIssuerOptions {
  /** Called with every token before anyone else sees it. */
  onSecret?: (text: string) => void
  /** Milliseconds since the epoch; tokens expire five minutes later unless told otherwise. */
  now?: () => number
}

export interface SignOptions {
  alg?: IssuerAlgorithm
  /** Key id in the header: that of the key unless told otherwise, null for none. */
  kid?: string | null
  /** More header parameters, or others. */
  header?: Record<string, unknown>
}

export type IssuerAlgorithm = typeof algorithms[number]

/** An issuer of JSON Web Tokens that publishes its keys on a port. */
export interface TokenIssuer {
  /** As the service is configured for it. */
  readonly config: { jwksUrl: string, issuer: string, audience: string }
  /** What is published, one key for each algorithm; a test may put anything here. */
  keys: unknown[]
  /** How many times the keys have been asked for. */
  readonly calls: number
  /** What those who ask get: the keys (undefined), no answer until `release`, or another text. */
  answer: undefined | 'hang' | { status?: number, body: string }
  /** Waits until the keys have been asked for this many times in all. */
  arrived (calls: number): Promise<void>
  /** Gives those who hang what they asked for. */
  release (): void
  /** A token with right `iss`, `aud` and `exp`, but for what `claims` say; undefined leaves one out. */
  sign (claims?: Record<string, unknown>, options?: SignOptions): Promise<string>
  /** New keys in place of all that were. */
  rotate (): Promise<void>
  /** Cuts every connection and refuses new ones. */
  takeDown (): Promise<void>
  /** On the same port. */
  bringBack (): Promise<void>
}

const algorithms = ['RS256', 'ES256', 'EdDSA'] as const

/** Starts an issuer. Closed at the end of the test. */
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
      const { publicKey, privateKey } = await generateKeyPair(alg)
      const kid = `${alg}-${generation}`
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
