import fc from 'fast-check'
import t from 'tap'
import { readConfig } from '../../src/config/config.ts'
import {
  assertAllowed, assertInventoryTarget, createAddressBook, inventoryTarget, percentEncode, regionOf, serviceAddress,
  serviceTarget
} from '../../src/cos/client/endpoints.ts'
import { secrets } from '../start.ts'

t.test('percentEncode encodes every character that is not unreserved', async t => {
  t.equal(percentEncode(" !\"#$%&'()*+,/:;<=>?@[\\]^`{|}é-_.~"),
    '%20%21%22%23%24%25%26%27%28%29%2A%2B%2C%2F%3A%3B%3C%3D%3E%3F%40%5B%5C%5D%5E%60%7B%7C%7D%C3%A9-_.~')
})

t.test('assertInventoryTarget accepts inventory targets and throws for any other target', async t => {
  t.equal(inventoryTarget({ id: 'a.b' }), '/?inventory&id=a.b')
  t.equal(inventoryTarget({}), '/?inventory')
  t.equal(inventoryTarget({ continuationToken: '' }), '/?inventory')
  t.equal(inventoryTarget({ continuationToken: '1ueS+F/=' }), '/?inventory&continuation-token=1ueS%2BF%2F%3D')
  t.doesNotThrow(() => {
    fc.assert(fc.property(fc.string({ unit: 'binary', minLength: 1 }), fc.boolean(), (text, isId) => {
      assertInventoryTarget(inventoryTarget(isId ? { id: text } : { continuationToken: text }))
    }))
  }, 'no id or token changes the API that is called')
  for (const target of [
    '/', '/?', '/?inventory&id=', '/?id=x&inventory', '/?inventoryx', '/?acl&inventory', '//?inventory', '/object?inventory', '/?inventory#',
    '/?inventory&acl', '/?inventory&id=x&acl', '?inventory', 'http://other/?inventory', '/?inventory&id=x y', '/?inventory\r\n'
  ]) t.throws(() => { assertInventoryTarget(target) }, { message: /not an inventory call/ }, JSON.stringify(target))
})

t.test('assertAllowed permits only GET Service at the service host', async t => {
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
  const message = /request not sent/
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

t.test('serviceAddress uses the domain and port of the bucket endpoint', async t => {
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

t.test('bucket address follows region parameter, region map, default and template', async t => {
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
    'with a fixed host, the region is the configured one or unknown')

  const template = '{bucket}.cos-internal.{region}.tencentcos.cn'
  const origin = (environment: Record<string, string>) => addressOf({ COS_REGION: 'r-1', ...environment })('a-1', undefined).origin
  t.equal(origin({ COS_ENDPOINT: `${template}:8443` }), 'https://a-1.cos-internal.r-1.tencentcos.cn:8443')
  t.equal(origin({ COS_ENDPOINT: `${template}:443` }), 'https://a-1.cos-internal.r-1.tencentcos.cn')
  t.equal(origin({ COS_ENDPOINT: `${template}:80`, COS_SCHEME: 'http' }), 'http://a-1.cos-internal.r-1.tencentcos.cn')
})
