import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { rm, writeFile } from 'node:fs/promises'
import fc from 'fast-check'
import t from 'tap'
import { readCredentials } from '../../src/config/credentials.ts'
import type { CredentialsConfig } from '../../src/config/credentials.ts'
import { EnvironmentReader } from '../../src/config/environment.ts'
import { createCredentialSource, CredentialSourceError } from '../../src/cos/credentials/source.ts'
import type { SourcedCredentials } from '../../src/cos/credentials/source.ts'
import { tc3Authorization } from '../../src/cos/credentials/tc3-signature.ts'
import { isoSeconds, startMetadataDouble } from '../doubles/metadata.ts'
import type { IssuedCredentials, OtherAnswer } from '../doubles/metadata.ts'
import { startStsDouble } from '../doubles/sts.ts'
import { runsOf } from '../runs.ts'

const { default: sdk } = createRequire(import.meta.url)('tencentcloud-sdk-nodejs-common/tencentcloud/common/sign.js') as {
  default: { sign3 (options: object): string }
}

const roleArn = 'qcs::cam::uin/100000000001:roleName/cos-inventory'
const base = { COS_SECRET_ID: 'AKIDbase', COS_SECRET_KEY: 'baseKeyOfTheTest', COS_TOKEN: 'baseTokenOfTheTest' }
const leastKeys = { SecretId: 'AKIDinFile', SecretKey: 'keyInTheFile' }
/** Texts that no message may contain; `/` excludes paths. */
const known = new Set([base.COS_SECRET_KEY, base.COS_TOKEN, leastKeys.SecretKey, '/'])
const onSecret = (text: string) => { known.add(text) }

function configOf (environment: Record<string, string>): CredentialsConfig {
  const reader = new EnvironmentReader(environment)
  const config = readCredentials(reader, environment, undefined)
  t.strictSame(reader.issues, [])
  return config
}

const sourceOf = (config: CredentialsConfig, now = Date.now) => createCredentialSource(config, now)

const revealed = ({ credentials: { secretId, secretKey, token }, expiresAt }: SourcedCredentials) =>
  ({ secretId, secretKey: secretKey.reveal(), token: token?.reveal(), expiresAt })

async function messageOf (loading: Promise<unknown>): Promise<string> {
  const error = await loading.then(() => { throw new Error('should have failed') }, (error: unknown) => error as Error)
  if (!(error instanceof CredentialSourceError)) throw error
  for (const secret of known) assert.ok(!error.message.includes(secret), 'a message contains a secret or a path')
  return error.message
}

t.test('env source reads its variables at each load and lists their files', async t => {
  const fixed = sourceOf(configOf(base))
  t.match(fixed, { name: 'env', files: [] })
  t.strictSame(revealed(await fixed.load()),
    { secretId: 'AKIDbase', secretKey: base.COS_SECRET_KEY, token: base.COS_TOKEN, expiresAt: undefined })

  const path = join(t.testdir(), 'key')
  await writeFile(path, 'firstKey\n')
  const source = sourceOf(configOf({ COS_SECRET_ID: 'AKIDbase', COS_SECRET_KEY_FILE: path }))
  t.strictSame(source.files, [path])
  await writeFile(path, 'secondKey')
  t.match(revealed(await source.load()), { secretKey: 'secondKey', token: undefined })
  await writeFile(path, 'a key with blanks')
  t.equal(await messageOf(source.load()), 'COS_SECRET_KEY must be visible ASCII without blanks (its value is not shown)')
  await rm(path)
  t.match(await messageOf(source.load()), 'COS_SECRET_KEY_FILE cannot be read: ENOENT')
})

t.test('file source reads every format that Tencent tools write', async t => {
  const path = join(t.testdir(), 'credentials')
  const source = sourceOf({ source: 'file', path }, () => 1_700_000_000_000)
  t.match(source, { name: 'file', files: [path] })
  const plain = { secretId: 'AKIDinFile', secretKey: 'keyInTheFile', token: undefined, expiresAt: undefined }
  const temporary = { ...plain, token: 'to+k/en==', expiresAt: 1_800_000_000_999 }
  const forms: Array<[text: string | object, expected: object]> = [
    ['[default]\nsecret_id=AKIDinFile\nsecret_key=keyInTheFile', plain],
    ['\uFEFF\r\n; a comment\r\n[default]\r\n  secret_id =  AKIDinFile \r\nsecret_key\t= keyInTheFile\r\ntoken =\r\n[other]\r\nsecret_id = x\r\n', plain],
    ['[default]\nsecret_id = AKIDinFile\nsecret_key = "keyInTheFile"\ntoken = to+k/en==\nexpired_time = 1800000000', temporary],
    [leastKeys, plain],
    [{ secretId: 'AKIDinFile', secretKey: 'keyInTheFile', token: null, expiresAt: '' }, plain],
    [{ type: 'oauth', secretId: 'AKIDinFile', secretKey: 'keyInTheFile', token: 'to+k/en==', expiresAt: 1_800_000_000 }, temporary],
    [{ secret_id: 'AKIDinFile', secret_key: 'keyInTheFile', session_token: 'to+k/en==', expiration: '2027-01-15T08:00:00Z' }, temporary],
    [{ TmpSecretId: 'AKIDinFile', TmpSecretKey: 'keyInTheFile', SecurityToken: 'to+k/en==', expires_at: '2027-01-15T16:00:00+08:00' }, temporary],
    [{ expiredTime: 1_800_000_000, credentials: { tmpSecretId: 'AKIDinFile', tmpSecretKey: 'keyInTheFile', sessionToken: 'to+k/en==' } }, temporary],
    [{ Response: { ExpiredTime: '1800000000', Credentials: { ...leastKeys, Token: 'to+k/en==' } } }, temporary],
    [{ Response: { Expiration: '2027-01-15T08:00:00Z', ...leastKeys, Token: 'to+k/en==' } }, temporary],
    [{ ...leastKeys, Token: 'to+k/en==', Expiration: '2027-01-15T08:00:00' }, temporary],
    [{ ...leastKeys, Token: 'to+k/en==', Expiration: '2027-01-15T03:00:00.000-0500' }, temporary]
  ]
  // A time without a zone is UTC, in any time zone of the machine.
  const zone = process.env['TZ']
  process.env['TZ'] = 'Asia/Shanghai'
  t.teardown(() => { process.env['TZ'] = zone ?? 'UTC' })
  for (const [form, expected] of forms) {
    const text = typeof form === 'string' ? form : ` ${JSON.stringify(form)}\n`
    await writeFile(path, text)
    t.strictSame(revealed(await source.load()), expected, text)
  }
})

t.test('file source rejects with the error of an invalid file and quotes none of it', async t => {
  const path = join(t.testdir(), 'credentials')
  const source = sourceOf({ source: 'file', path }, () => 1_700_000_000_999)
  t.equal(await messageOf(source.load()), 'the credentials file cannot be read (ENOENT)')
  const expired = 'the credentials file: the credentials expired at 2023-11-14T22:13:20Z'
  const invalid: Array<[text: string | object, message: string]> = [
    ['', 'the credentials file is neither JSON nor a profile with a section [default]'],
    ['[other]\nsecret_id=AKIDinFile', 'the credentials file is neither JSON nor a profile with a section [default]'],
    ['default = keyInTheFile', 'the credentials file: SecretId is missing'],
    ['[default]\nsecret_id=AKIDinFile', 'the credentials file: SecretKey is missing'],
    ['[default]\nsecret_id=AKIDinFile\nsecret_key', 'the credentials file: SecretKey must be visible ASCII without blanks'],
    ['[default]\nsecret_id=AKIDinFile\nsecret_key=keyInTheFile too', 'the credentials file: SecretKey must be visible ASCII without blanks'],
    ['{"SecretKey":"keyInTheFile"', 'the credentials file begins as JSON but is not valid JSON'],
    [{}, 'the credentials file: SecretId is missing'],
    [{ Response: null, Credentials: 'keyInTheFile' }, 'the credentials file: SecretId is missing'],
    [{ ...leastKeys, SecretId: 'ключ' }, 'the credentials file: SecretId must be visible ASCII without blanks'],
    [{ ...leastKeys, Token: 'keyInTheFile\r\nx: y' }, 'the credentials file: Token must be visible ASCII without blanks'],
    [{ ...leastKeys, Token: ['keyInTheFile'] }, 'the credentials file: Token must be visible ASCII without blanks'],
    [{ ...leastKeys, ExpiredTime: 1_700_000_000 }, expired],
    [{ ...leastKeys, Expiration: isoSeconds(1_700_000_000) }, expired]
  ]
  for (const time of [0, -1, true, {}, 'soon', '2027-13-01T00:00:00Z', '2027', 1e300, '-5', 1_800_000_000_000]) {
    invalid.push([{ ...leastKeys, ExpiredTime: time }, `the credentials file: ${time === '2027'
      ? 'the credentials expired at 1970-01-01T00:33:47Z'
      : 'ExpiredTime is not a time'}`])
  }
  for (const [fault, message] of invalid) {
    const text = typeof fault === 'string' ? fault : JSON.stringify(fault)
    await writeFile(path, text)
    t.equal(await messageOf(source.load()), message, text)
  }
})

t.test('file source rejects when the path is not a file', async t => {
  const source = sourceOf({ source: 'file', path: t.testdir() })
  t.equal(await messageOf(source.load()), 'the credentials file cannot be read (not a file)')
})

t.test('file source rejects with CredentialSourceError only, for any content', async t => {
  const path = join(t.testdir(), 'credentials')
  const source = sourceOf({ source: 'file', path })
  const texts = fc.oneof(fc.string(), fc.json(), fc.string().map(text => `[default]\n${text}`))
  await t.resolves(fc.assert(fc.asyncProperty(texts, async text => {
    await writeFile(path, text)
    await messageOf(source.load())
  }), { numRuns: 100 }))
})

t.test('cvm-role source loads credentials of the first role of the instance', async t => {
  const issued: IssuedCredentials[] = []
  const double = await startMetadataDouble(t, {
    roles: ['rôle/1 of+2', 'second'], onSecret, onIssued: each => { issued.push(each) }, now: () => 1_700_000_000_001
  })
  const source = sourceOf({ source: 'cvm-role', metadataEndpoint: `${double.endpoint}/ignored` })
  t.match(source, { name: 'cvm-role', files: [] })
  const fixed = sourceOf({ source: 'cvm-role', metadataEndpoint: double.endpoint }, () => 1_700_000_000_000)
  t.strictSame(revealed(await fixed.load()), { ...issued[0], expiresAt: 1_700_007_201_999 })
  double.lifetimeMs = 5_000
  t.match(revealed(await fixed.load()), { ...issued[1], expiresAt: 1_700_000_006_999 })
  t.equal(double.calls, 4)
  t.match(await messageOf(source.load()), 'the credentials expired at 2023-11-14T22:13:26Z')

  const host = double.endpoint.replace('http://', '')
  const noRole = `${host} returned no role; bind a role to this instance`
  double.answer = { body: '\n \n' }
  t.equal(await messageOf(source.load()), noRole)
  double.answer = undefined
  double.roles = []
  t.equal(await messageOf(source.load()), noRole)
})

/** Returns malformed responses, each with its expected message; `make` builds a valid response with changes. */
const malformed = (make: (changes: object) => object): Array<[response: OtherAnswer, message: RegExp]> => [
  [{ status: 500, body: 'keyInTheFile' }, /^[^ ]+ returned 500$/],
  [{ status: 302, headers: { location: 'http://127.0.0.1:9' }, body: '' }, /^[^ ]+ returned 302$/],
  [{ body: make({ TmpSecretId: undefined }) }, /^[^ ]+: SecretId is missing$/],
  [{ body: make({ TmpSecretKey: '' }) }, /^[^ ]+: SecretKey is missing$/],
  [{ body: make({ Token: null }) }, /^[^ ]+: Token is missing$/],
  [{ body: make({ ExpiredTime: undefined }) }, /^[^ ]+: ExpiredTime is missing$/],
  [{ body: make({ ExpiredTime: 'keyInTheFile' }) }, /^[^ ]+: ExpiredTime is not a time$/],
  [{ body: make({ ExpiredTime: 1 }) }, /^[^ ]+: the credentials expired at 1970-01-01T00:00:01Z$/],
  [{ body: make({ TmpSecretKey: 12 }) }, /^[^ ]+: SecretKey must be visible ASCII without blanks$/],
  [{ body: make({ Token: 'key\nInTheFile' }) }, /^[^ ]+: Token must be visible ASCII without blanks$/]
]
const validResponse = { TmpSecretId: 'AKIDx', TmpSecretKey: 'keyInTheFile', Token: 'x', ExpiredTime: 4_000_000_000 }

t.test('cvm-role source rejects when a response has no valid credentials', async t => {
  const double = await startMetadataDouble(t, { onSecret })
  const source = sourceOf({ source: 'cvm-role', metadataEndpoint: double.endpoint })
  const invalid: Array<[response: OtherAnswer, message: RegExp]> = [
    ...malformed(changes => ({ Code: 'Success', ...validResponse, ...changes })),
    [{ body: 'role' }, /^[^ ]+ did not return JSON$/],
    [{ body: '"keyInTheFile"' }, /^[^ ]+ returned an unknown code instead of Success$/],
    [{ body: { Code: 'InvalidRole' } }, /^[^ ]+ returned InvalidRole instead of Success$/],
    [{ body: { ...validResponse, Code: { keyInTheFile: 1 } } }, /^[^ ]+ returned an unknown code instead of Success$/]
  ]
  for (const [response, message] of invalid) {
    double.answer = response
    t.match(await messageOf(source.load()), message)
  }
  double.answer = 'hang'
  const { calls } = double
  const loading = messageOf(source.load())
  await double.arrived(calls + 1)
  await double.takeDown()
  t.match(await loading, /^127\.0\.0\.1:\d+ did not respond \(\w+\)$/)
  t.match(await messageOf(source.load()), /^127\.0\.0\.1:\d+ did not respond \(ECONNREFUSED\)$/)
  await double.bringBack()
  double.answer = undefined
  t.match(revealed(await source.load()), double.issued.at(-1))
})

t.test('assume-role source signs with the key pair of its variables', async t => {
  const subjects = { roleArn, keys: [{ secretId: 'AKIDbase', secretKey: base.COS_SECRET_KEY, token: base.COS_TOKEN }] }
  const double = await startStsDouble(t, { subjects, onSecret })
  const environment = { COS_CREDENTIALS: 'assume-role', COS_ROLE_ARN: roleArn, STS_ENDPOINT: double.endpoint }
  const source = sourceOf(configOf({ ...environment, ...base }))
  t.match(source, { name: 'assume-role', files: [] })
  const before = Date.now()
  const { expiresAt = NaN, ...credentials } = revealed(await source.load())
  t.strictSame(credentials, double.issued[0])
  t.ok(expiresAt >= before + 7_200_000 && expiresAt < Date.now() + 7_202_000)

  const host = double.endpoint.replace('http://', '')
  const { COS_TOKEN: _, ...permanent } = base
  t.equal(await messageOf(sourceOf(configOf({ ...environment, ...permanent })).load()), `${host} rejected AssumeRole: AuthFailure.TokenFailure`)
  double.subjects = { ...subjects, keys: [{ secretId: 'AKIDbase', secretKey: base.COS_SECRET_KEY }] }
  t.match(revealed(await sourceOf(configOf({ ...environment, ...permanent })).load()), double.issued[1])

  const path = join(t.testdir(), 'key')
  await writeFile(path, 'anotherKey')
  const rotating = sourceOf(configOf({ ...environment, COS_SECRET_ID: 'AKIDbase', COS_SECRET_KEY_FILE: path }))
  t.strictSame(rotating.files, [path])
  t.match(await messageOf(rotating.load()), 'rejected AssumeRole: AuthFailure.SignatureFailure')
  await writeFile(path, base.COS_SECRET_KEY)
  t.match(revealed(await rotating.load()), double.issued[2])
  await rm(path)
  t.match(await messageOf(rotating.load()), 'COS_SECRET_KEY_FILE cannot be read: ENOENT')

  double.subjects = { ...subjects, roleArn: 'another' }
  t.match(await messageOf(source.load()), 'rejected AssumeRole: ResourceNotFound.RoleNotFound')
  const late = sourceOf(configOf({ ...environment, ...base }), () => Date.now() - 600_000)
  t.match(await messageOf(late.load()), 'rejected AssumeRole: AuthFailure.SignatureExpire')
  const other = sourceOf(configOf({ ...environment, ...base, COS_SECRET_ID: 'AKIDother' }))
  t.match(await messageOf(other.load()), 'rejected AssumeRole: AuthFailure.SecretIdNotFound')
  const session = sourceOf(configOf({ ...environment, ...base, COS_ROLE_SESSION_NAME: 'another' }))
  t.match(await messageOf(session.load()), 'rejected AssumeRole: InvalidParameterValue')
})

t.test('oidc source reads the token file at each load', async t => {
  const tokenFile = join(t.testdir(), 'token')
  const subjects = { roleArn, providerId: 'tke', webIdentityToken: randomBytes(40).toString('base64url') }
  onSecret(subjects.webIdentityToken)
  const double = await startStsDouble(t, { subjects, onSecret })
  const config = { source: 'oidc', stsEndpoint: `${double.endpoint}/ignored?too`, region: 'ap-guangzhou', roleArn, providerId: 'tke', tokenFile } as const
  const source = sourceOf(config)
  t.match(source, { name: 'oidc', files: [] })
  t.equal(await messageOf(source.load()), 'the web identity token file cannot be read (ENOENT)')
  for (const text of ['', 'two words', 'ключ']) {
    await writeFile(tokenFile, text)
    t.equal(await messageOf(source.load()), 'the web identity token file must contain visible ASCII without blanks')
  }
  t.equal(double.calls, 0)
  await writeFile(tokenFile, 'an.old.token')
  t.match(await messageOf(source.load()), 'rejected AssumeRoleWithWebIdentity: InvalidParameter.WebIdentityTokenError')
  await writeFile(tokenFile, `${subjects.webIdentityToken}\n`)
  t.match(revealed(await source.load()), double.issued[0])
  t.match(await messageOf(sourceOf({ ...config, providerId: 'another' }).load()), 'InvalidParameterValue')
  t.match(await messageOf(sourceOf({ ...config, region: '?' }).load()), 'UnsupportedRegion')
})

t.test('STS source rejects when a response has no valid credentials', async t => {
  const double = await startStsDouble(t, { subjects: { roleArn }, onSecret })
  const source = sourceOf(configOf({ COS_CREDENTIALS: 'assume-role', COS_ROLE_ARN: roleArn, STS_ENDPOINT: double.endpoint, ...base }))
  const invalid: Array<[response: OtherAnswer, message: RegExp]> = [
    ...malformed(changes => {
      const { ExpiredTime, ...Credentials } = { ...validResponse, ...changes }
      return { Response: { Credentials, ExpiredTime } }
    }),
    [{ body: '<html>keyInTheFile</html>' }, /^[^ ]+ did not return JSON$/],
    [{ body: '{}' }, /^[^ ]+: SecretId is missing$/],
    [{ body: 'null' }, /^[^ ]+: SecretId is missing$/],
    [{ body: { Response: [] } }, /^[^ ]+: SecretId is missing$/],
    [{ body: { Response: { Credentials: 'keyInTheFile', ExpiredTime: 1 } } }, /^[^ ]+: SecretId is missing$/],
    [{ body: { Response: { Error: 'keyInTheFile' } } }, /^[^ ]+ rejected AssumeRole: an unknown code$/],
    [{ body: { Response: { Error: { Code: 'key In The File' } } } }, /^[^ ]+ rejected AssumeRole: an unknown code$/]
  ]
  for (const [response, message] of invalid) {
    double.answer = response
    t.match(await messageOf(source.load()), message)
  }
  double.reject('InternalError.DbError', 'keyInTheFile')
  t.match(await messageOf(source.load()), /^[^ ]+ rejected AssumeRole: InternalError\.DbError$/)
  for (const quoted of ['AKIDbase', 'AKIDbaseAndMore', base.COS_TOKEN, 'a'.repeat(64), 'lower.Case', 'X'.repeat(81), 'Internal Error']) {
    double.reject(quoted)
    t.match(await messageOf(source.load()), /^[^ ]+ rejected AssumeRole: an unknown code$/)
  }
})

t.test('credential source passes on an error that is not a CredentialSourceError', async t => {
  const failing = sourceOf({ source: 'cvm-role', metadataEndpoint: 'not a URL' })
  await t.rejects(failing.load(), { code: 'ERR_INVALID_URL' })
})

t.test('TC3 signature equals that of the official SDK for generated requests', async t => {
  const requests = fc.record({
    host: fc.domain(),
    body: fc.string({ unit: 'binary', minLength: 1 }),
    secretId: fc.stringMatching(/^AKID[A-Za-z0-9]{32}$/),
    secretKey: fc.stringMatching(/^[A-Za-z0-9]{32}$/),
    timestamp: fc.nat({ max: 4_000_000_000 })
  })
  t.doesNotThrow(() => {
    fc.assert(fc.property(requests, ({ host, body, timestamp, ...keys }) => {
      const contentType = 'application/json'
      const theirs = sdk.sign3({
        method: 'POST',
        url: `https://${host}/`,
        payload: Buffer.from(body),
        timestamp,
        service: 'sts',
        ...keys,
        multipart: false,
        headers: { 'Content-Type': contentType }
      })
      return tc3Authorization({ host: new URL(`https://${host}`).host, contentType, body }, keys, timestamp) === theirs
    }), { numRuns: runsOf(300) })
  })
})
