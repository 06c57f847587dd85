import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import t from 'tap'
import { exampleCredential } from '../../src/emulator/examples.ts'
import type { CosRequest } from '../../src/emulator/request.ts'
import { verifySignature } from '../../src/emulator/verify-signature.ts'
import { growsLinearly } from '../growth.ts'
import {
  type Sent, bucketHost, bucketName, element, errorOf, send, startForTest, toAuthorization, toPut
} from './client.ts'

interface Vector {
  name: string
  method: string
  requestTarget: string
  headers: Record<string, string>
  body?: string
  secretId: string
  secretKey: string
  keyTime: string
  authorization: string
  sdks: Record<string, string | { authorization: string }>
}

const { vectors } = JSON.parse(
  readFileSync(new URL('../vectors/cos-signatures.json', import.meta.url), 'utf8')) as { vectors: Vector[] }

// The result of each vector's operation after the signature was accepted.
const outcomes: Record<string, [number, string | undefined]> = {
  'official-put-object': [501, 'NotImplemented'],
  'official-get-object': [404, 'NoSuchKey'],
  'inventory-put': [200, undefined],
  'inventory-get-with-security-token': [404, 'InventoryConfigurationNotFoundError'],
  'inventory-list': [200, undefined],
  'inventory-list-continuation': [400, 'InvalidArgument'],
  'inventory-delete': [204, undefined],
  'inventory-post-with-security-token': [200, undefined]
}

for (const vector of vectors) {
  t.test(`emulator accepts all signatures of ${vector.name}`, async t => {
    const { secretId, secretKey, headers, method, requestTarget, body } = vector
    const [start] = vector.keyTime.split(';').map(Number)
    const token = headers['x-cos-security-token']
    const emulator = await startForTest(t, {
      credentials: [{ secretId, secretKey, ...(token !== undefined && { token }) }],
      buckets: [
        { name: bucketName, region: 'ap-guangzhou' }, { name: bucketName, region: 'ap-beijing' }
      ].filter(({ region }) => headers['Host']?.includes(region)),
      now: () => start as number * 1000
    })
    const others = Object.values(vector.sdks).flatMap(sdk => typeof sdk === 'string' ? [] : [sdk.authorization])
    for (const authorization of [vector.authorization, ...others]) {
      for (const target of [requestTarget, requestTarget.replace('?inventory', '?inventory=')]) {
        emulator.reset()
        const sentBody = body ?? (method === 'PUT' ? '13 characters' : undefined)
        const response = await send(emulator, {
          method,
          target,
          headers: { ...headers, Authorization: authorization },
          ...(sentBody !== undefined && { body: sentBody })
        })
        t.strictSame(errorOf(response), outcomes[vector.name], `${target} ${authorization}`)
      }
    }
  })
}

const list: Sent = { target: '/?inventory' }

t.test('emulator returns 403 when the request differs from the signed one', async t => {
  const emulator = await startForTest(t)
  const put = toPut('a')
  const signed = { ...put, headers: { ...put.headers, 'x-cos-example': 'one' } }
  const changes: Record<string, NonNullable<Sent['tamper']>> = {
    method: request => { request.method = 'POST' },
    path: request => { request.target = request.target.replace('/?', '/x?') },
    'the value of a parameter': request => { request.target = request.target.replace('id=a', 'id=b') },
    'the presence of a parameter': request => { request.target = '/?inventory' },
    'Content-Type': request => { request.headers['Content-Type'] = 'application/xml; charset=utf-8' },
    'Content-MD5': request => { request.headers['Content-MD5'] = 'AAAAAAAAAAAAAAAAAAAAAA==' },
    'the bucket of the Host': request => {
      request.headers['Host'] = bucketHost.replace('examplebucket', 'reports')
    },
    'an x-cos header': request => { request.headers['x-cos-example'] = 'two' },
    'the presence of a header': request => { delete request.headers['x-cos-example'] }
  }
  for (const [what, tamper] of Object.entries(changes)) {
    t.strictSame(errorOf(await send(emulator, { ...signed, tamper })), [403, 'SignatureDoesNotMatch'], what)
  }
  t.strictSame(emulator.configurations(bucketName), [])
  t.equal((await send(emulator, signed)).status, 200, 'unchanged')
})

t.test('emulator returns 403 when key, time or lists of the signature differ', async t => {
  const emulator = await startForTest(t)
  const now = Math.floor(Date.now() / 1000)
  const changes: Record<string, Sent> = {
    key: { ...list, credential: { ...exampleCredential, secretKey: 'AnotherExampleKeyNotASecret00000' } },
    'q-sign-time': { ...list, authorize: right => right.replace(/(q-sign-time=\d+;)\d+/, `$1${now + 5000}`) },
    'q-key-time': { ...list, authorize: right => right.replace(/(q-key-time=\d+;)\d+/, `$1${now + 5000}`) },
    'q-signature': { ...list, authorize: right => right.replace(/[0-9a-f]{40}$/, '0'.repeat(40)) },
    'a missing header': { ...list, authorize: right => right.replace('q-header-list=host', 'q-header-list=') },
    'a missing parameter': { ...list, authorize: right => right.replace('list=inventory', 'list=') },
    'a header that the request lacks': { ...list, authorize: right => right.replace('=host', '=date;host') },
    'a parameter that the request lacks': { ...list, authorize: right => right.replace('=inventory', '=id;inventory') }
  }
  for (const [what, sent] of Object.entries(changes)) {
    t.strictSame(errorOf(await send(emulator, sent)), [403, 'SignatureDoesNotMatch'], what)
  }
})

t.test('error of an invalid signature contains the text that the emulator signed', async t => {
  const emulator = await startForTest(t)
  const authorize = (right: string) => right.replace(/.{40}$/, 'a'.repeat(40))
  const response = await send(emulator, { ...list, keyTime: '1;9999999999', authorize })
  t.equal(element(response.body, 'FormatString'), `get\n/\ninventory=\nhost=${bucketHost}\n`)
  t.match(element(response.body, 'StringToSign'), /^sha1\n1;9999999999\n[0-9a-f]{40}\n$/)
})

t.test('emulator returns 400 when the signature is malformed', async t => {
  const emulator = await startForTest(t)
  const malformed: Record<string, (right: string) => string> = {
    'another algorithm': right => right.replace('sha1', 'sha256'),
    'a missing field': right => right.replace(/&q-key-time=[\d;]+/, ''),
    'an unknown field': right => `${right}&q-extra=1`,
    'a field twice': right => right.replace('&', '&q-sign-algorithm=sha1&'),
    'no fields at all': () => 'Basic',
    'a short signature': right => right.slice(0, -1),
    'a time without end': right => right.replace(/(q-sign-time=\d+);\d+/, '$1'),
    'a time that ends before it starts': right => right.replace(/q-key-time=(\d+);(\d+)/, 'q-key-time=$2;$1'),
    'a list in another order': right => right.replace('=host', '=x;host'),
    'a list with a name twice': right => right.replace('=host', '=host;host'),
    'a list in upper case': right => right.replace('=host', '=Host')
  }
  for (const [what, authorize] of Object.entries(malformed)) {
    t.strictSame(errorOf(await send(emulator, { ...list, authorize })), [400, 'InvalidArgument'], what)
  }
})

t.test('emulator distinguishes an expired signature from a clock that is ahead', async t => {
  const start = 1_700_000_000
  const emulator = await startForTest(t, { now: () => start * 1000 })
  const at = (keyTime: string) => send(emulator, { ...list, keyTime })

  const expired = await at(`${start - 900};${start - 1}`)
  t.strictSame(errorOf(expired), [403, 'AccessDenied'])
  t.equal(element(expired.body, 'Message'), 'Request has expired')
  t.equal((await at(`${start - 900};${start}`)).status, 200, 'in its last second')
  t.equal((await at(`${start + 900};${start + 1000}`)).status, 200, '900 seconds ahead')
  t.strictSame(errorOf(await at(`${start + 901};${start + 1000}`)), [403, 'RequestTimeTooSkewed'])

  emulator.setClockOffset(3_600_000)
  const late = await at(`${start};${start + 900}`)
  t.strictSame(errorOf(late), [403, 'AccessDenied'])
  t.equal(late.headers.date, new Date((start + 3600) * 1000).toUTCString())
})

t.test('emulator returns an error when key or token is unknown', async t => {
  const emulator = await startForTest(t)
  const temporary = { secretId: 'AKIDtemporary', secretKey: 'temporaryExampleKey', token: 'token+/==~' }
  const withToken = (token: string): Sent =>
    ({ ...list, credential: temporary, headers: { 'x-cos-security-token': token } })
  t.strictSame(errorOf(await send(emulator, withToken('token+/==~'))), [403, 'InvalidAccessKeyId'], 'unknown key')

  emulator.setCredentials([exampleCredential, temporary])
  t.equal((await send(emulator, withToken('token+/==~'))).status, 200)
  t.strictSame(errorOf(await send(emulator, withToken('another'))), [400, 'ExpiredToken'])
  t.strictSame(
    errorOf(await send(emulator, { ...list, credential: temporary })), [403, 'InvalidAccessKeyId'], 'no token')
  t.strictSame(
    errorOf(await send(emulator, { ...list, headers: { 'x-cos-security-token': 'token' } })),
    [403, 'InvalidAccessKeyId'], 'a token for a permanent key')
})

t.test('emulator accepts a signature in the query with its token', async t => {
  const temporary = { secretId: 'AKIDtemporary', secretKey: 'temporaryExampleKey', token: 'token+/==~' }
  const emulator = await startForTest(t, { credentials: [temporary] })
  const authorization = toAuthorization({
    method: 'GET', target: '/?inventory', headers: { Host: bucketHost }, credential: temporary, keyTime: '1;9999999999'
  })
  const fields = new URLSearchParams(authorization)
  fields.set('x-cos-security-token', temporary.token)

  t.equal((await send(emulator, { target: `/?inventory&${fields}`, credential: null })).status, 200)
  t.equal((await send(emulator, { target: `/?${fields}&inventory`, credential: null })).status, 200, 'at the start of the query')
  t.strictSame(
    errorOf(await send(emulator, { target: `/?inventory&${fields}`, headers: { Authorization: authorization } })),
    [400, 'InvalidArgument'], 'not in both query and header')
})

t.test('emulator accepts a Host signed with or without its port', async t => {
  const emulator = await startForTest(t)
  const withPort = `${bucketHost}:${emulator.port}`
  t.equal((await send(emulator, { ...list, host: withPort })).status, 200)
  const signedWithout = await send(emulator, {
    ...list, tamper: request => { request.headers['Host'] = withPort }
  })
  t.equal(signedWithout.status, 200)
  const signedWith = await send(emulator, {
    ...list, host: withPort, tamper: request => { request.headers['Host'] = bucketHost }
  })
  t.strictSame(errorOf(signedWith), [403, 'SignatureDoesNotMatch'])
})

t.test('emulator verifies header values as UTF-8 and names in lower case', async t => {
  const emulator = await startForTest(t)
  const value = '报告 (a) *'
  const authorization = toAuthorization({
    method: 'GET',
    target: '/?Inventory-Extra=x',
    headers: { Host: bucketHost, 'x-cos-note': value },
    credential: exampleCredential,
    keyTime: '1;9999999999'
  })
  const response = await send(emulator, {
    target: '/?Inventory-Extra=x',
    headers: { 'x-cos-note': Buffer.from(value).toString('latin1'), Authorization: authorization }
  })
  t.strictSame(errorOf(response), [501, 'NotImplemented'], 'the signature is accepted')
})

/** Returns a DELETE whose signature covers only these headers and the parameters of this target. */
function covering (target: string, headers: Record<string, string>): Sent {
  const authorization = toAuthorization({
    method: 'DELETE', target, headers, credential: exampleCredential, keyTime: '1;9999999999'
  })
  return { method: 'DELETE', target: '/?inventory&id=a', headers: { Authorization: authorization } }
}

t.test('emulator rejects a signature that does not cover Host and parameters', async t => {
  const emulator = await startForTest(t)
  const host = { Host: bucketHost }
  const partial: Array<[string, Record<string, string>, string]> = [
    ['/', {}, 'the header host, the parameter id'],
    ['/', host, 'the parameter id'],
    ['/?inventory&id=a', {}, 'the header host'],
    ['/?inventory', host, 'the parameter id']
  ]
  for (const [target, headers, uncovered] of partial) {
    const response = await send(emulator, covering(target, headers))
    t.strictSame(errorOf(response), [403, 'SignatureDoesNotMatch'])
    t.equal(element(response.body, 'Message'), `The signature does not cover ${uncovered}. ` +
      'Sign every part of the request, or start the emulator with EMULATOR_LENIENT=signature-coverage.')
  }
  t.equal((await send(emulator, covering('/?id=a', host))).status, 204, 'the C SDK does not list empty parameters')
})

t.test('emulator accepts a partial signature when signature coverage is lenient', async t => {
  const emulator = await startForTest(t, { lenient: ['signature-coverage'] })
  t.equal((await send(emulator, covering('/', {}))).status, 204)
})

t.test('emulator uses the first value when a signed parameter occurs twice', async t => {
  const emulator = await startForTest(t)
  const response = await send(emulator, {
    target: '/?inventory&id=a', tamper: request => { request.target += '&id=b' }
  })
  t.strictSame(errorOf(response), [400, 'InvalidArgument'], 'the signature is accepted')
})

t.test('signature verification takes linear time when many parameters are listed', async t => {
  const verify = (count: number) => {
    const names = Array.from({ length: count }, (_, index) => String(index).padStart(6, '0'))
    const fields = 'q-sign-algorithm=sha1&q-ak=a&q-sign-time=1;9&q-key-time=1;9&q-header-list=' +
      `&q-url-param-list=${names.join(';')}&q-signature=${'0'.repeat(40)}`
    const parameters = names.map(name => ({ name, value: '' })).reverse()
    const request: CosRequest = {
      method: 'GET', target: '/', host: '', rawPath: '/', rawQuery: '', headers: { authorization: fields }, repeatedHeaders: []
    }
    const rules = { credentials: [{ secretId: 'a', secretKey: 'b' }], nowMs: 1000, requireCoverage: true }
    assert.throws(() => verifySignature(request, '/', parameters, rules), { code: 'SignatureDoesNotMatch' })
  }
  t.ok(growsLinearly(verify, 1000))
})

t.test('emulator checks the bucket before the signature and permission after it', async t => {
  const emulator = await startForTest(t, {
    credentials: [{ ...exampleCredential, actions: ['cos:GetBucketInventory'] }]
  })
  const elsewhere = bucketHost.replace('guangzhou', 'shanghai')
  const absent = bucketHost.replace('examplebucket', 'absent')
  for (const credential of [null, exampleCredential]) {
    t.strictSame(errorOf(await send(emulator, { ...list, host: absent, credential })), [404, 'NoSuchBucket'])
    t.strictSame(errorOf(await send(emulator, { ...list, host: elsewhere, credential })), [404, 'NoSuchBucket'])
  }
  const anonymous = await send(emulator, { ...list, credential: null })
  t.strictSame(errorOf(anonymous), [403, 'AccessDenied'])
  t.equal(element(anonymous.body, 'Message'), 'Access Denied.')

  t.strictSame(errorOf(await send(emulator, toPut('a'))), [403, 'AccessDenied'])
  t.strictSame(
    errorOf(await send(emulator, { target: '/?inventory&id=a' })), [404, 'InventoryConfigurationNotFoundError'])
  t.equal((await send(emulator, list)).status, 200, 'COS documents no action for LIST, so it is always allowed')
})
