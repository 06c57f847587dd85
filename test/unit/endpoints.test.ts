import fc from 'fast-check'
import t from 'tap'
import { readConfig } from '../../src/config/config.ts'
import { assertAllowed, assertInventoryTarget } from '../../src/cos/client/allowed-requests.ts'
import {
  createAddressBook, inventoryTarget, objectPageTarget, objectTarget, percentEncode, regionOf, serviceAddress,
  serviceTarget
} from '../../src/cos/client/endpoints.ts'
import { checksumKey, folderOfReports, isFolderOfReports, manifestKey, manifestObjectOf } from '../../src/cos/report-keys.ts'
import { runsOf } from '../runs.ts'
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
    assertAllowed({ method: method as 'GET', address: { host }, target }, { serviceHost, readsReports: true })
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

const bucketHost = 'b-1.cos.ap-guangzhou.myqcloud.com'
const folder = 'list1/1250000000/examplebucket/daily-report'

/** Tells whether a request for reports may be sent. */
function mayRead (
  target: string,
  { method = 'GET', body, reportFolder = folder, readsReports = true }:
  { method?: string, body?: string, reportFolder?: string, readsReports?: boolean } = {}
): boolean {
  try {
    const allowed = { serviceHost: 'service.cos.myqcloud.com', readsReports }
    assertAllowed({ method: method as 'GET', address: { host: bucketHost }, target, body, reportFolder }, allowed)
    return true
  } catch (error) {
    if (/^request not sent: (it is not a read of a report|reports are disabled)/.test((error as Error).message) || error instanceof URIError) return false
    throw error
  }
}

t.test('assertAllowed permits reads of manifests, checksums, data files and their list', async t => {
  const hex = '0123456789abcdef0123456789abcdef'
  for (const key of [manifestKey(folder, '20261120'), checksumKey(folder, '20261120'), `${folder}/${hex}.csv.gz`, `${folder}/a_B-9.csv`]) {
    t.ok(mayRead(objectTarget(key)), key)
    t.ok(mayRead(objectTarget(key), { method: 'HEAD' }), key)
  }
  const prefix = `${folder}/20`
  for (const marker of [undefined, `${folder}/20261120`, `${folder}/20261120/manifest.json`]) t.ok(mayRead(objectPageTarget({ prefix, marker })))
})

t.test('assertAllowed rejects every other request with a folder of reports', async t => {
  const manifest = objectTarget(manifestKey(folder, '20261120'))
  const list = objectPageTarget({ prefix: `${folder}/20`, marker: undefined })
  for (const method of ['PUT', 'POST', 'DELETE', 'OPTIONS', 'get']) {
    t.notOk(mayRead(manifest, { method }), method)
    t.notOk(mayRead(list, { method }), method)
  }
  t.notOk(mayRead(list, { method: 'HEAD' }), 'HEAD of the bucket')
  t.notOk(mayRead(manifest, { body: '' }), 'a body')
  for (const target of [manifest, list]) t.notOk(mayRead(target, { readsReports: false }), 'without REPORTS')
  for (const target of [
    '/', '/?', '', '/?inventory', '/?inventory&id=daily-report', '/?acl', '/?prefix=', '/?prefix=list1%2F', '/?delete',
    `${list}&delimiter=%2F`, list.replace('max-keys=1000', 'max-keys=999'), list.replace('&encoding-type=url', ''),
    list.replace('20', '2'), list.replace('%2F', '/'), `${list}#`, `${list}&marker=a`, `/${list}`, list.slice(1),
    `${manifest}?acl`, `${manifest}?`, `${manifest}#a`, `/${manifest}`, manifest.slice(1), manifest.replace('manifest', '%6Danifest'),
    manifest.replace('.json', '.txt'), manifest.replace('20261120', '19991231'), manifest.replace('20261120', '2026112'),
    objectTarget(`${folder}/20261120/../../secret/20261120/manifest.json`), objectTarget(`${folder}/secret.txt`),
    objectTarget(`${folder}/sub/a.csv.gz`), objectTarget(`${folder}/.csv.gz`), objectTarget(`${folder}/${'a'.repeat(129)}.csv`),
    objectTarget('other/1250000000/examplebucket/daily-report/20261120/manifest.json'), objectTarget(`${folder}x/20261120/manifest.json`),
    '/%', '/%2e%2e/', '/.', '/..', '/./', '//', '/%2F'
  ]) t.notOk(mayRead(target), JSON.stringify(target))
})

t.test('assertAllowed rejects folders that servers may normalize', async t => {
  for (const reportFolder of [
    '', '/', 'a', '1/b', '../1/b/c', './1/b/c', '/1/b/c', 'a//1/b/c', '1/b/..', '1/b/.', 'a/../1/b/c', '1//c', 'x/1/B/c', '1/b/c/', 'a/b/c', '1/b/c d'
  ]) {
    t.notOk(isFolderOfReports(reportFolder), reportFolder)
    t.notOk(mayRead(objectTarget(manifestKey(reportFolder, '20261120')), { reportFolder }), reportFolder)
    t.notOk(mayRead(objectPageTarget({ prefix: `${reportFolder}/20`, marker: undefined }), { reportFolder }), reportFolder)
  }
})

t.test('assertAllowed reads nothing outside of the folder for any prefix, id and key', async t => {
  const text = fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('', '/', '.', '..', 'a/../b', '//', 'a b', '+', '%2F', '?', '#', '清单', 'list1'))
  const id = fc.stringMatching(/^[A-Za-z0-9._-]{1,20}$/)
  const tail = fc.oneof(text, fc.constantFrom('20261120/manifest.json', '20261120/manifest.checksum', 'abc.csv.gz', '../20261120/manifest.json'))
  t.doesNotThrow(() => {
    fc.assert(fc.property(text, id, tail, fc.constantFrom('GET', 'HEAD', 'PUT', 'DELETE', 'POST'), (prefix, configuration, rest, method) => {
      const reportFolder = folderOfReports(prefix, 'examplebucket-1250000000', configuration)
      let target: string
      try {
        target = objectTarget(`${reportFolder}/${rest}`)
      } catch (error) {
        // A lone surrogate has no percent-encoding.
        return error instanceof URIError
      }
      if (!mayRead(target, { method, reportFolder })) return true
      const path = new URL(`http://x${target}`).pathname
      return ['GET', 'HEAD'].includes(method) && path === target && target !== '/' && !/\/\/|\/\.{1,2}(\/|$)/.test(decodeURIComponent(path)) &&
        decodeURIComponent(path).endsWith(`1250000000/examplebucket/${configuration}/${rest}`) && /\.(json|checksum|csv|csv\.gz)$/.test(rest)
    }), { numRuns: runsOf(2_000) })
  })
})

t.test('folderOfReports adds a slash to a prefix that has none', async t => {
  for (const [prefix, expected] of [
    ['', '1250000000/b/i'], ['/', '1250000000/b/i'], ['a', 'a/1250000000/b/i'], ['a/', 'a/1250000000/b/i'], ['a/b c', 'a/b c/1250000000/b/i']
  ] as const) t.equal(folderOfReports(prefix, 'b-1250000000', 'i'), expected, prefix)
})

t.test('manifestObjectOf finds the day of manifests and checksums', async t => {
  t.strictSame(manifestObjectOf(`${folder}/20261120/manifest.json`, folder), { date: '20261120', kind: 'json' })
  t.strictSame(manifestObjectOf(`${folder}/20261120/manifest.checksum`, folder), { date: '20261120', kind: 'checksum' })
  for (const key of [`${folder}/20abcdef.csv.gz`, `${folder}/20261120/manifest.txt`, `${folder}/20261120/a/manifest.json`, 'x']) {
    t.equal(manifestObjectOf(key, folder), undefined, key)
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
