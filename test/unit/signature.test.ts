import { createRequire } from 'node:module'
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import t from 'tap'
import { authorization, keyTimeAt } from '../../src/cos/client/signature.ts'
import { runsOf } from '../runs.ts'

interface Vector {
  name: string
  method: string
  path: string
  query: Record<string, string>
  headers: Record<string, string>
  secretId: string
  secretKey: string
  keyTime: string
  authorization: string
}
interface SdkUtil {
  getAuth (options: object): string
}

const { vectors } = JSON.parse(
  readFileSync(new URL('../vectors/cos-signatures.json', import.meta.url), 'utf8')
) as { vectors: Vector[] }
const sdk = createRequire(import.meta.url)('cos-nodejs-sdk-v5/sdk/util.js') as SdkUtil

t.test('signature equals every published vector', async t => {
  t.ok(vectors.length >= 7)
  for (const { name, method, path, query, headers, keyTime, authorization: expected, ...keys } of vectors) {
    const [start = NaN, end = NaN] = keyTime.split(';').map(Number)
    t.equal(authorization({ method, path, parameters: query, headers }, keys, { start, end }), expected, name)
  }
})

t.test('signature equals that of the official SDK for generated requests', async t => {
  const token = fc.string({ unit: 'binary', maxLength: 40 })
  const requests = fc.record({
    method: fc.constantFrom('GET', 'PUT', 'POST', 'DELETE'),
    parameters: fc.record({ inventory: fc.constant(''), id: token, 'continuation-token': token }, { noNullPrototype: true, requiredKeys: ['inventory'] }),
    headers: fc.record({
      host: fc.domain(),
      'content-md5': fc.base64String(),
      'x-cos-security-token': fc.string({ unit: 'grapheme-ascii' }).map(each => each.trim())
    }, { noNullPrototype: true, requiredKeys: ['host'] }),
    secretKey: fc.stringMatching(/^[A-Za-z0-9]{32}$/),
    start: fc.nat({ max: 4_000_000_000 })
  })
  t.doesNotThrow(() => {
    fc.assert(fc.property(requests, ({ method, parameters, headers, secretKey, start }) => {
      const keyTime = { start, end: start + 960 }
      const ours = authorization({ method, path: '/', parameters, headers }, { secretId: 'AKID', secretKey }, keyTime)
      const theirs = sdk.getAuth({
        SecretId: 'AKID',
        SecretKey: secretKey,
        KeyTime: `${start};${start + 960}`,
        Method: method,
        Key: '',
        Pathname: '/',
        UseRawKey: true,
        Query: parameters,
        Headers: headers
      })
      return ours === theirs
    }), { numRuns: runsOf(500) })
  })
})

t.test('signature does not depend on order, case of names and surrounding white space', async t => {
  const keys = { secretId: 'AKID', secretKey: 'key' }
  const time = { start: 1, end: 2 }
  const a = authorization({ method: 'GET', path: '/', parameters: { inventory: '', id: 'x' }, headers: { host: 'h', 'x-cos-a': 'v' } }, keys, time)
  const b = authorization({ method: 'get', path: '/', parameters: { id: 'x', inventory: '' }, headers: { 'X-Cos-A': ' v ', Host: 'h' } }, keys, time)
  t.equal(a, b)
})

t.test('signature is valid from one minute ago to 15 minutes ahead', async t => {
  t.strictSame(keyTimeAt(1_700_000_000_999), { start: 1_699_999_940, end: 1_700_000_900 })
})
