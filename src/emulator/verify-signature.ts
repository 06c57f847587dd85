import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import { CosError } from './cos-error.ts'
import { type CosRequest, type Parameter, percentEncode } from './request.ts'

const fieldNames = [
  'q-sign-algorithm', 'q-ak', 'q-sign-time', 'q-key-time', 'q-header-list', 'q-url-param-list', 'q-signature'
] as const
const tokenName = 'x-cos-security-token'
const maxSkewSeconds = 900

/** A key pair that the emulator accepts. */
export interface EmulatorCredential {
  secretId: string
  secretKey: string
  /** The token of a temporary key, which every request must contain. */
  token?: string
  /** Permitted CAM actions, such as 'cos:PutBucketInventory'; all actions when absent. */
  actions?: string[]
  /** The APPID of the account that the key belongs to. A key without one belongs to every account. */
  appId?: string
}

/** The rules for a signature. */
export interface SignatureRules {
  credentials: EmulatorCredential[]
  /** Milliseconds since 1970. */
  nowMs: number
  /** True when the signature must cover the Host and the parameters of the operation. */
  requireCoverage: boolean
}

type FieldName = typeof fieldNames[number]
type Fields = Record<FieldName, string>

/** Tells whether a query parameter belongs to a signature in the query, and not to the operation. */
export function isSignatureParameter (name: string): boolean {
  return name === tokenName || (fieldNames as readonly string[]).includes(name)
}

/**
 * Checks the signature of a request (COS document 7778) and returns its credential. The signature is in the
 * Authorization header or in the query. The signed text is rebuilt from the two lists of the signature and the values
 * of the request, because SDKs sign different headers. COS does not require coverage. With `requireCoverage` a
 * signature must cover the Host and all parameters that have a value.
 *
 * @throws CosError AccessDenied without signature or after its time, InvalidArgument for a malformed one,
 *   InvalidAccessKeyId, RequestTimeTooSkewed, SignatureDoesNotMatch, ExpiredToken
 */
export function verifySignature (
  request: CosRequest, path: string, parameters: Parameter[], rules: SignatureRules
): EmulatorCredential {
  const { credentials, nowMs, requireCoverage } = rules
  const fields = readFields(request, parameters)
  const credential = credentials.find(({ secretId }) => secretId === fields['q-ak'])
  if (credential === undefined) throw new CosError('InvalidAccessKeyId')
  const nowSeconds = Math.floor(nowMs / 1000)
  checkWindow('q-sign-time', fields, nowSeconds)
  checkWindow('q-key-time', fields, nowSeconds)

  const signed = (host: string) => signedTexts(request, path, parameters, fields, host)
  const asReceived = signed(request.host)
  // The Python SDK signs the host name without the port that it sends.
  const texts = [asReceived, signed(request.host.replace(/:\d+$/, ''))]
  if (!texts.some(({ stringToSign }) => isSignatureOf(stringToSign, fields, credential.secretKey))) {
    throw new CosError('SignatureDoesNotMatch', undefined, {
      StringToSign: asReceived.stringToSign, FormatString: asReceived.httpString
    })
  }
  if (requireCoverage) checkCoverage(fields, parameters)
  checkToken(credential, request, parameters)
  return credential
}

function readFields (request: CosRequest, parameters: Parameter[]): Fields {
  const header = request.headers['authorization']
  const inQuery = parameters.filter(({ name }) => name !== tokenName && isSignatureParameter(name))
  if (header === undefined && inQuery.length === 0) throw new CosError('AccessDenied')
  if (header !== undefined && inQuery.length > 0) throw malformed('it is in the header and in the query')
  const pairs = header === undefined ? inQuery : header.split('&').map(toPair)
  const fields: Partial<Record<string, string>> = {}
  for (const { name, value } of pairs) {
    if (!(fieldNames as readonly string[]).includes(name)) throw malformed('it has an unknown field')
    if (fields[name] !== undefined) throw malformed(`${name} occurs twice`)
    fields[name] = value
  }
  for (const name of fieldNames) {
    if (fields[name] === undefined) throw malformed(`${name} is missing`)
  }
  return checkFields(fields as Fields)
}

function toPair (pair: string): Parameter {
  const [name = '', ...rest] = pair.split('=')
  return { name: name.trim(), value: rest.join('=').trim() }
}

function checkFields (fields: Fields): Fields {
  if (fields['q-sign-algorithm'] !== 'sha1') throw malformed('q-sign-algorithm is not sha1')
  if (!/^[0-9a-f]{40}$/.test(fields['q-signature'])) throw malformed('q-signature is not 40 hex digits')
  for (const name of ['q-header-list', 'q-url-param-list'] as const) {
    const list = splitList(fields[name])
    const sorted = list.every((entry, index) => index === 0 || entry > (list[index - 1] as string))
    if (!sorted) throw malformed(`${name} is not sorted, or has a name twice`)
    if (list.some(entry => entry !== entry.toLowerCase())) throw malformed(`${name} is not in lower case`)
  }
  return fields
}

// An expired signature and a wrong clock have different codes. SDKs correct their clock after both.
function checkWindow (name: 'q-sign-time' | 'q-key-time', fields: Fields, nowSeconds: number): void {
  const [start, end] = (/^(\d{1,11});(\d{1,11})$/.exec(fields[name]) ?? []).slice(1).map(Number)
  if (start === undefined || end === undefined || start > end) throw malformed(`${name} is not start;end`)
  if (nowSeconds > end) throw new CosError('AccessDenied', 'Request has expired')
  if (start > nowSeconds + maxSkewSeconds) throw new CosError('RequestTimeTooSkewed')
}

function signedTexts (
  request: CosRequest, path: string, parameters: Parameter[], fields: Fields, host: string
): { httpString: string, stringToSign: string } {
  const headers = Object.entries({ ...request.headers, host })
    // Node decodes headers as Latin-1, but the signature uses UTF-8.
    .map(([name, value]) => ({ name, value: Buffer.from(value, 'latin1').toString() }))
  const httpString = [
    request.method.toLowerCase(),
    path,
    join(fields['q-url-param-list'], parameters),
    join(fields['q-header-list'], headers),
    ''
  ].join('\n')
  const digest = createHash('sha1').update(httpString).digest('hex')
  return { httpString, stringToSign: `sha1\n${fields['q-sign-time']}\n${digest}\n` }
}

function join (list: string, present: Parameter[]): string {
  // The first value of a duplicate name counts. Later entries of a Map replace earlier ones, so the order is reversed.
  const values = new Map(present.toReversed().map(({ name, value }) => [percentEncode(name).toLowerCase(), value]))
  return splitList(list).map(entry => {
    const value = values.get(entry)
    if (value === undefined) {
      throw new CosError('SignatureDoesNotMatch', `The signature covers ${entry}, which is not in the request.`)
    }
    return `${entry}=${percentEncode(value)}`
  }).join('&')
}

function isSignatureOf (stringToSign: string, fields: Fields, secretKey: string): boolean {
  const signKey = createHmac('sha1', secretKey).update(fields['q-key-time']).digest('hex')
  const expected = createHmac('sha1', signKey).update(stringToSign).digest('hex')
  return timingSafeEqual(Buffer.from(expected), Buffer.from(fields['q-signature']))
}

// Parameters without a value need no cover, because the C SDK omits them from its list.
function checkCoverage (fields: Fields, parameters: Parameter[]): void {
  const covered = new Set(splitList(fields['q-url-param-list']))
  const uncovered = parameters
    .filter(({ name, value }) => value !== '' && !isSignatureParameter(name))
    .map(({ name }) => percentEncode(name).toLowerCase())
    .filter(name => !covered.has(name))
    .map(name => `the parameter ${name}`)
  if (!splitList(fields['q-header-list']).includes('host')) uncovered.unshift('the header host')
  if (uncovered.length === 0) return
  throw new CosError('SignatureDoesNotMatch', `The signature does not cover ${uncovered.join(', ')}. ` +
    'Sign every part of the request, or start the emulator with EMULATOR_LENIENT=signature-coverage.')
}

// COS does not document the code of a wrong token. Here a missing or unexpected token makes the key unknown. Any other
// wrong token is an expired one.
function checkToken (credential: EmulatorCredential, request: CosRequest, parameters: Parameter[]): void {
  const sent = request.headers[tokenName] ?? parameters.find(({ name }) => name === tokenName)?.value
  if ((sent === undefined) !== (credential.token === undefined)) throw new CosError('InvalidAccessKeyId')
  if (sent !== credential.token) throw new CosError('ExpiredToken')
}

function splitList (list: string): string[] {
  return list === '' ? [] : list.split(';')
}

function malformed (issue: string): CosError {
  return new CosError('InvalidArgument', `The signature is malformed: ${issue}.`)
}
