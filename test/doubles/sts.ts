import { createHash, createHmac, randomUUID } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { isoSeconds, startIssuer } from './metadata.ts'
import type { Issuer, IssuerOptions, OtherAnswer } from './metadata.ts'

/** Permitted callers and roles. Absent values are rejected. */
export interface StsSubjects {
  /** Key pairs that may call AssumeRole. */
  keys?: Array<{ secretId: string, secretKey: string, token?: string | undefined }>
  roleArn: string
  sessionName?: string
  providerId?: string
  /** The identity token that is accepted. */
  webIdentityToken?: string
}

export interface StsDouble extends Issuer {
  subjects: StsSubjects
  /** Error codes of the responses, the latest last. */
  readonly rejections: string[]
  /** Rejects every further call with this error until the test resets the response. */
  reject (code: string, message?: string): void
}

class Rejection extends Error {
  readonly code: string

  constructor (code: string, message: string) {
    super(message)
    this.code = code
  }
}

const actions = {
  AssumeRole: ['RoleArn', 'RoleSessionName', 'DurationSeconds'],
  AssumeRoleWithWebIdentity: ['ProviderId', 'WebIdentityToken', 'RoleArn', 'RoleSessionName', 'DurationSeconds']
}

/**
 * Starts STS, version 2018-08-13: AssumeRole (document 1312/48197) with a full signature check, and
 * AssumeRoleWithWebIdentity (document 1312/73070). Errors have status 200, as in the real API.
 */
export async function startStsDouble (
  t: { teardown (handler: () => unknown): void },
  { subjects, now = Date.now, ...options }: IssuerOptions & { subjects: StsSubjects }
): Promise<StsDouble> {
  const rejections: string[] = []
  const issuer = await startIssuer(t, ({ method, url, headers }, body, issue) => {
    try {
      if (method !== 'POST' || url !== '/') throw new Rejection('InvalidRequest', `${method} ${url}`)
      check(headers, body, double.subjects, now())
      const { credentials: { secretId, secretKey, token }, expiredTime } = issue()
      return response({
        Credentials: { Token: token, TmpSecretId: secretId, TmpSecretKey: secretKey },
        ExpiredTime: expiredTime,
        Expiration: isoSeconds(expiredTime)
      })
    } catch (error) {
      if (!(error instanceof Rejection)) throw error
      rejections.push(error.code)
      return response({ Error: { Code: error.code, Message: error.message } })
    }
  }, { now, ...options })
  const double: StsDouble = Object.assign(issuer, {
    subjects,
    rejections,
    reject (code: string, message = 'rejected by the test') {
      issuer.answer = response({ Error: { Code: code, Message: message } })
    }
  })
  return double
}

const response = (members: object): OtherAnswer => ({ body: { Response: { ...members, RequestId: randomUUID() } } })

function check (headers: IncomingHttpHeaders, body: string, subjects: StsSubjects, now: number): void {
  const action = one(headers, 'x-tc-action')
  if (!Object.hasOwn(actions, action)) throw new Rejection('InvalidAction', action)
  if (one(headers, 'x-tc-version') !== '2018-08-13') throw new Rejection('NoSuchVersion', 'x-tc-version')
  if (!/^[a-z]{2,}-[a-z-]+\d*$/.test(one(headers, 'x-tc-region'))) throw new Rejection('UnsupportedRegion', 'x-tc-region')
  if (one(headers, 'content-type') !== 'application/json') throw new Rejection('InvalidRequest', 'content-type')
  const timestamp = one(headers, 'x-tc-timestamp')
  if (!/^\d{10}$/.test(timestamp)) throw new Rejection('InvalidParameter', 'x-tc-timestamp')
  if (Math.abs(now / 1000 - Number(timestamp)) > 300) throw new Rejection('AuthFailure.SignatureExpire', timestamp)

  if (action === 'AssumeRole') checkSignature(headers, body, timestamp, subjects.keys ?? [])
  else if (one(headers, 'authorization') !== 'SKIP') throw new Rejection('AuthFailure.InvalidAuthorization', 'not SKIP')

  const parameters = JSON.parse(body) as Record<string, unknown>
  const names = actions[action as keyof typeof actions]
  const missing = names.find(name => !Object.hasOwn(parameters, name))
  if (missing !== undefined) throw new Rejection('MissingParameter', missing)
  const unknown = Object.keys(parameters).find(name => !names.includes(name))
  if (unknown !== undefined) throw new Rejection('UnknownParameter', unknown)
  const { DurationSeconds: seconds, RoleSessionName: session, RoleArn, ProviderId, WebIdentityToken } = parameters
  if (typeof seconds !== 'number' || !Number.isInteger(seconds) || seconds < 1 || seconds > 43200) {
    throw new Rejection('InvalidParameter.OverTimeError', 'DurationSeconds')
  }
  const expectedSession = subjects.sessionName ?? 'cos-inventory-proxy'
  if (session !== expectedSession) throw new Rejection('InvalidParameterValue', 'RoleSessionName')
  if (RoleArn !== subjects.roleArn) throw new Rejection('ResourceNotFound.RoleNotFound', 'RoleArn')
  if (action === 'AssumeRole') return
  if (ProviderId === undefined || ProviderId !== subjects.providerId) {
    throw new Rejection('InvalidParameterValue', 'ProviderId')
  }
  if (WebIdentityToken === undefined || WebIdentityToken !== subjects.webIdentityToken) {
    throw new Rejection('InvalidParameter.WebIdentityTokenError', 'WebIdentityToken')
  }
}

/** Checks signature method v3 (document 1021/34193) of the request as it arrived. */
function checkSignature (
  headers: IncomingHttpHeaders, body: string, timestamp: string, keys: NonNullable<StsSubjects['keys']>
): void {
  const shape = /^TC3-HMAC-SHA256 Credential=([^/, ]+)\/(\d{4}-\d\d-\d\d)\/sts\/tc3_request, SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})$/
  const [, secretId, date = '', signed = '', signature] = shape.exec(one(headers, 'authorization')) ?? []
  if (signature === undefined) throw new Rejection('AuthFailure.InvalidAuthorization', 'not TC3-HMAC-SHA256')
  if (date !== isoSeconds(Number(timestamp)).slice(0, 10)) throw new Rejection('AuthFailure.SignatureFailure', 'date')
  const names = signed.split(';')
  if (!names.includes('content-type') || !names.includes('host') || names.join() !== [...names].sort().join()) {
    throw new Rejection('AuthFailure.SignatureFailure', 'signed headers')
  }
  const key = keys.find(each => each.secretId === secretId)
  if (key === undefined) throw new Rejection('AuthFailure.SecretIdNotFound', 'no such key')
  const canonicalHeaders = names.map(name => `${name}:${one(headers, name).trim().toLowerCase()}\n`).join('')
  const digest = (text: string) => createHash('sha256').update(text, 'utf8').digest('hex')
  const request = ['POST', '/', '', canonicalHeaders, signed, digest(body)].join('\n')
  const scope = [date, 'sts', 'tc3_request']
  let signing: Buffer = Buffer.from(`TC3${key.secretKey}`)
  for (const part of scope) signing = createHmac('sha256', signing).update(part).digest()
  const text = ['TC3-HMAC-SHA256', timestamp, scope.join('/'), digest(request)].join('\n')
  const expected = createHmac('sha256', signing).update(text).digest('hex')
  if (signature !== expected) throw new Rejection('AuthFailure.SignatureFailure', 'signature')
  if (headers['x-tc-token'] !== key.token) throw new Rejection('AuthFailure.TokenFailure', 'x-tc-token')
}

function one (headers: IncomingHttpHeaders, name: string): string {
  const value = headers[name]
  if (typeof value !== 'string') throw new Rejection('MissingParameter', name)
  return value
}
