import { createHash, createHmac } from 'node:crypto'

/** The signed parts of a POST of JSON to `/`, with the values that are sent. */
export interface Tc3Request {
  /** The Host header, with its port if it has one. */
  host: string
  contentType: string
  body: string
}

const algorithm = 'TC3-HMAC-SHA256'
const service = 'sts'
const signedHeaders = 'content-type;host'

/**
 * Returns the Authorization value of a call to STS (signature method v3, document 1021/34193). The function is pure:
 * the time is an argument.
 *
 * @param timestampSeconds since 1970, the same as in X-TC-Timestamp
 */
export function tc3Authorization (
  { host, contentType, body }: Tc3Request,
  keys: { secretId: string, secretKey: string },
  timestampSeconds: number
): string {
  const date = new Date(timestampSeconds * 1000).toISOString().slice(0, 10)
  const scope = `${date}/${service}/tc3_request`
  const canonicalRequest = `POST\n/\n\ncontent-type:${contentType}\nhost:${host}\n\n${signedHeaders}\n${sha256(body)}`
  const stringToSign = `${algorithm}\n${timestampSeconds}\n${scope}\n${sha256(canonicalRequest)}`
  const signingKey = [date, service, 'tc3_request'].reduce<string | Buffer>(hmac, `TC3${keys.secretKey}`)
  const signature = hmac(signingKey, stringToSign).toString('hex')
  return `${algorithm} Credential=${keys.secretId}/${scope}, SignedHeaders=${signedHeaders}, Signature=${signature}`
}

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')
const hmac = (key: string | Buffer, text: string) => createHmac('sha256', key).update(text).digest()
