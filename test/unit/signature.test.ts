import { createRequire } from 'node:module'
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import t from 'tap'
import {
  assertAllowed, assertInventoryTarget, createAddressBook, inventoryTarget, percentEncode, regionOf, serviceAddress,
  serviceTarget
} from '../../src/cos/client/endpoints.ts'
import { authorization, keyTimeAt } from '../../src/cos/client/signature.ts'
import { readConfig } from '../../src/config.ts'
import { secrets } from '../start.ts'

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

t.test('the signer equals every published vector', async t => {
  t.ok(vectors.length >= 7)
  for (const { name, method, path, query, headers, keyTime, authorization: expected, ...keys } of vectors) {
    const [start = NaN, end = NaN] = keyTime.split(';').map(Number)
    t.equal(authorization({ method, path, parameters: query, headers }, keys, { start, end }), expected, name)
  }
})

t.test('the signer equals the official SDK over generated requests', async t => {
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
    }), { numRuns: 500 })
  })
})

t.test('the order of headers and parameters, the case of names and white space around values do not matter', async t => {
  const keys = { secretId: 'AKID', secretKey: 'key' }
  const time = { start: 1, end: 2 }
  const a = authorization({ method: 'GET', path: '/', parameters: { inventory: '', id: 'x' }, headers: { host: 'h', 'x-cos-a': 'v' } }, keys, time)
  const b = authorization({ method: 'get', path: '/', parameters: { id: 'x', inventory: '' }, headers: { 'X-Cos-A': ' v ', Host: 'h' } }, keys, time)
  t.equal(a, b)
})

t.test('a signature is valid from a minute ago for a quarter of an hour', async t => {
  t.strictSame(keyTimeAt(1_700_000_000_999), { start: 1_699_999_940, end: 1_700_000_900 })
})

t.test('percent-encoding leaves only unreserved characters alone', async t => {
  t.equal(percentEncode(" !\"#$%&'()*+,/:;<=>?@[\\]^`{|}é-_.~"),
    '%20%21%22%23%24%25%26%27%28%29%2A%2B%2C%2F%3A%3B%3C%3D%3E%3F%40%5B%5C%5D%5E%60%7B%7C%7D%C3%A9-_.~')
})

t.test('every target names the inventory first, and nothing else passes the check', async t => {
  t.equal(inventoryTarget({ id: 'a.b' }), '/?inventory&id=a.b')
  t.equal(inventoryTarget({}), '/?inventory')
  t.equal(inventoryTarget({ continuationToken: '' }), '/?inventory')
  t.equal(inventoryTarget({ continuationToken: '1ueS+F/=' }), '/?inventory&continuation-token=1ueS%2BF%2F%3D')
  t.doesNotThrow(() => {
    fc.assert(fc.property(fc.string({ unit: 'binary', minLength: 1 }), fc.boolean(), (text, isId) => {
      assertInventoryTarget(inventoryTarget(isId ? { id: text } : { continuationToken: text }))
    }))
  }, 'no id and no token leads out of the inventory API')
  for (const target of [
    '/', '/?', '/?inventory&id=', '/?id=x&inventory', '/?inventoryx', '/?acl&inventory', '//?inventory', '/object?inventory', '/?inventory#',
    '/?inventory&acl', '/?inventory&id=x&acl', '?inventory', 'http://other/?inventory', '/?inventory&id=x y', '/?inventory\r\n'
  ]) t.throws(() => { assertInventoryTarget(target) }, { message: /not an inventory call/ }, JSON.stringify(target))
})

t.test('the host of GET Service is asked for nothing else, and no other host for that', async t => {
  t.equal(serviceTarget(), '/?max-keys=2000')
  t.equal(serviceTarget('a-1&b/'), '/?max-keys=2000&marker=a-1%26b%2F')
  const serviceHost = 'service.cos.myqcloud.com'
  const allow = (method: string, host: string, target: string) => {
    assertAllowed({ method, address: { origin: `https://${host}`, host }, target }, serviceHost)
  }
  t.doesNotThrow(() => {
    fc.assert(fc.property(fc.string({ unit: 'binary', minLength: 1 }), marker => { allow('GET', serviceHost, serviceTarget(marker)) }))
  })
  allow('GET', serviceHost, serviceTarget())
  for (const method of ['GET', 'PUT', 'POST', 'DELETE']) allow(method, 'a-1.cos.ap-guangzhou.myqcloud.com', inventoryTarget({ id: 'a' }))
  const message = /refused to send a request/
  for (const method of ['PUT', 'POST', 'DELETE', 'HEAD', 'get']) t.throws(() => { allow(method, serviceHost, serviceTarget()) }, { message }, method)
  for (const target of [
    '/', '/?inventory', '/?inventory&id=a', '/?max-keys=1', '/?max-keys=20000', '/?marker=a&max-keys=2000', '/?max-keys=2000&marker=', '/a?max-keys=2000',
    '/?max-keys=2000&marker=a&b', '/?max-keys=2000&marker=a b', '/?max-keys=2000\n', '?max-keys=2000', 'http://other/?max-keys=2000'
  ]) t.throws(() => { allow('GET', serviceHost, target) }, { message }, JSON.stringify(target))
  for (const host of [
    'a-1.cos.ap-guangzhou.myqcloud.com', 'cos.ap-guangzhou.myqcloud.com', 'service.cos.tencentcos.cn', `${serviceHost}:8443`, `${serviceHost}.`, ''
  ]) {
    for (const target of [serviceTarget(), serviceTarget('a-1')]) {
      t.throws(() => { allow('GET', host, target) }, { message: /not an inventory call/ }, host)
    }
  }
})

t.test('GET Service is in the domain and at the port of the buckets', async t => {
  const hostOf = (endpoint: string, scheme: 'http' | 'https' = 'https') => serviceAddress({ endpoint, scheme }).host
  t.strictSame(serviceAddress({ endpoint: '{bucket}.cos.{region}.myqcloud.com', scheme: 'https' }),
    { origin: 'https://service.cos.myqcloud.com', host: 'service.cos.myqcloud.com' })
  t.equal(hostOf('{bucket}.cos-internal.{region}.tencentcos.cn'), 'service.cos.tencentcos.cn')
  t.equal(hostOf('{bucket}.cos.{region}.tencentcos.cn:8443'), 'service.cos.tencentcos.cn:8443')
  t.equal(hostOf('{bucket}.cos.{region}.tencentcos.cn:443'), 'service.cos.tencentcos.cn')
  t.equal(hostOf('{bucket}.cos.{region}.tencentcos.cn:443', 'http'), 'service.cos.tencentcos.cn:443')
  t.equal(hostOf('{bucket}.cos.{region}.myqcloud.com:80', 'http'), 'service.cos.myqcloud.com')
  t.equal(hostOf('{bucket}.{region}.mytencentcos.cn'), 'service.cos.myqcloud.com')
  t.equal(hostOf('{bucket}.{region}.tencentcos.cn.private:8080'), 'service.cos.myqcloud.com:8080')
})

t.test('the address of a bucket follows query, map, default and endpoint template', async t => {
  const addressOf = (environment: Record<string, string>) => createAddressBook(readConfig({
    AUTH: 'none', COS_SECRET_ID: secrets.secretId, COS_SECRET_KEY: secrets.secretKey, ...environment
  }).cos)
  const addresses = addressOf({ COS_REGION: 'ap-beijing', COS_BUCKET_REGIONS: 'a-1=ap-shanghai, b-1=ap-seoul,' })
  t.equal(addresses('a-1', 'eu-frankfurt').host, 'a-1.cos.eu-frankfurt.myqcloud.com')
  t.equal(addresses('a-1', undefined).host, 'a-1.cos.ap-shanghai.myqcloud.com')
  t.strictSame(addresses('c-1', undefined),
    { origin: 'https://c-1.cos.ap-beijing.myqcloud.com', host: 'c-1.cos.ap-beijing.myqcloud.com' })
  t.throws(() => addressOf({})('a-1', undefined), { code: 'ValidationFailed', errors: [{ in: 'query', pointer: '/region' }] })

  const fixed = addressOf({ COS_REGION: 'ap-beijing', COS_ENDPOINT: '{bucket}.cos.accelerate.myqcloud.com' })
  t.equal(fixed('a-1', 'eu-frankfurt').host, 'a-1.cos.accelerate.myqcloud.com')
  const { cos } = readConfig({
    AUTH: 'none', COS_SECRET_ID: 'x', COS_SECRET_KEY: 'x', COS_BUCKET_REGIONS: 'a-1=ap-seoul', COS_ENDPOINT: '{bucket}.private'
  })
  t.strictSame([regionOf(cos, 'a-1', 'eu-frankfurt'), regionOf(cos, 'b-1', 'eu-frankfurt')], ['ap-seoul', undefined],
    'a host that is the same for every region is in the configured one, or in one that nobody knows')

  const template = '{bucket}.cos-internal.{region}.tencentcos.cn'
  const origin = (environment: Record<string, string>) => addressOf({ COS_REGION: 'r-1', ...environment })('a-1', undefined).origin
  t.equal(origin({ COS_ENDPOINT: `${template}:8443` }), 'https://a-1.cos-internal.r-1.tencentcos.cn:8443')
  t.equal(origin({ COS_ENDPOINT: `${template}:443` }), 'https://a-1.cos-internal.r-1.tencentcos.cn')
  t.equal(origin({ COS_ENDPOINT: `${template}:80`, COS_SCHEME: 'http' }), 'http://a-1.cos-internal.r-1.tencentcos.cn')
})
