import { createHash } from 'node:crypto'
import { buffer } from 'node:stream/consumers'
import t from 'tap'
import { type Bytes, chunksOf, partOf, sizeOf } from '../../src/emulator/content.ts'
import { exampleCredential } from '../../src/emulator/examples.ts'
import { createObjectStore, toStoredObject } from '../../src/emulator/objects.ts'
import type { Emulator, PlacedObject } from '../../src/emulator/server.ts'
import {
  type ReceivedResponse, type Sent, bucketHost, bucketName, element, errorOf, send, sendHead, startForTest
} from './client.ts'

const body = 'The quick brown fox'
const md5 = createHash('md5').update(body).digest('hex')
const modified = '2026-11-20T02:41:07.123Z'
const asDate = 'Fri, 20 Nov 2026 02:41:07 GMT'
const earlier = 'Fri, 20 Nov 2026 02:41:06 GMT'
const object: PlacedObject = { bucket: bucketName, key: 'a', body, lastModifiedMs: Date.parse(modified) }
const get: Sent = { target: '/a' }
const head: Sent = { method: 'HEAD', target: '/a' }

t.test('GET and HEAD return an object with its headers', async t => {
  const emulator = await startForTest(t)
  emulator.putObject(object)
  for (const [sent, expected] of [[get, body], [head, '']] as const) {
    const response = await send(emulator, sent)
    t.strictSame([response.status, response.body], [200, expected])
    t.match(response.headers, {
      etag: `"${md5}"`,
      'last-modified': asDate,
      'accept-ranges': 'bytes',
      'content-length': String(body.length),
      'content-type': 'application/octet-stream',
      server: 'tencent-cos',
      'x-cos-request-id': /./
    })
  }
  t.strictSame(emulator.requests.map(({ operation }) => operation), ['GetObject', 'HeadObject'])
  emulator.putObject({ ...object, body: Buffer.from('new') })
  t.equal((await send(emulator, get)).body, 'new', 'a second object replaces the first')
  emulator.reset()
  t.strictSame(errorOf(await send(emulator, get)), [404, 'NoSuchKey'])
})

t.test('GET of an absent object returns an error document, HEAD only its status', async t => {
  const emulator = await startForTest(t)
  const missing = await send(emulator, get)
  t.strictSame(errorOf(missing), [404, 'NoSuchKey'])
  t.equal(element(missing.body, 'Resource'), `${bucketHost}/a`)
  const headed = await send(emulator, head)
  t.strictSame([headed.status, headed.body], [404, ''])
  t.ok(headed.headers['x-cos-trace-id'])
})

t.test('GET returns a part when Range has one satisfiable range', async t => {
  const emulator = await startForTest(t)
  emulator.putObject(object)
  emulator.putObject({ ...object, key: 'empty', body: '' })
  const cases: Array<[string, number, string, string?]> = [
    ['bytes=0-2', 206, 'The', 'bytes 0-2/19'],
    ['bytes=16-', 206, 'fox', 'bytes 16-18/19'],
    ['bytes=16-99', 206, 'fox', 'bytes 16-18/19'],
    ['BYTES=-3', 206, 'fox', 'bytes 16-18/19'],
    ['bytes=-99', 206, body, 'bytes 0-18/19'],
    ['bytes=2-1', 200, body],
    ['bytes=-', 200, body],
    ['bytes=0-1,3-4', 200, body],
    ['lines=0-1', 200, body]
  ]
  for (const [Range, status, expected, range] of cases) {
    const response = await send(emulator, { ...get, headers: { Range } })
    t.strictSame([response.status, response.body, response.headers['content-range']], [status, expected, range], Range)
    t.equal(response.headers['content-length'], String(expected.length))
  }
  for (const Range of ['bytes=19-', 'bytes=-0', 'bytes=99-100']) {
    t.strictSame(errorOf(await send(emulator, { ...get, headers: { Range } })), [416, 'InvalidRange'], Range)
  }
  t.strictSame(
    errorOf(await send(emulator, { target: '/empty', headers: { Range: 'bytes=0-' } })), [416, 'InvalidRange'])
  const headed = await send(emulator, { ...head, headers: { Range: 'bytes=0-2' } })
  t.strictSame([headed.status, headed.headers['content-length']], [200, '19'], 'HEAD has no ranges')
})

t.test('GET and HEAD evaluate preconditions', async t => {
  const emulator = await startForTest(t)
  emulator.putObject(object)
  const cases: Array<[Record<string, string>, number]> = [
    [{ 'If-Match': `"${md5}"` }, 200],
    [{ 'If-Match': `"other", ${md5}` }, 200],
    [{ 'If-Match': '*' }, 200],
    [{ 'If-Match': '"other"' }, 412],
    [{ 'If-Match': `"${md5}"`, 'If-Unmodified-Since': earlier }, 200],
    [{ 'If-None-Match': `W/"${md5}"` }, 304],
    [{ 'If-None-Match': '*' }, 304],
    [{ 'If-None-Match': '"other"' }, 200],
    [{ 'If-None-Match': '"other"', 'If-Modified-Since': asDate }, 200],
    [{ 'If-Modified-Since': asDate }, 304],
    [{ 'If-Modified-Since': earlier }, 200],
    [{ 'If-Modified-Since': 'yesterday' }, 200],
    [{ 'If-Unmodified-Since': asDate }, 200],
    [{ 'If-Unmodified-Since': earlier }, 412],
    [{ 'If-Unmodified-Since': 'yesterday' }, 200],
    [{ 'If-Unmodified-Since': earlier, 'If-None-Match': `"${md5}"` }, 412],
    [{ 'If-Match': `"${md5}"`, 'If-None-Match': `"${md5}"` }, 304]
  ]
  for (const [headers, status] of cases) {
    for (const sent of [get, head]) {
      const response = await send(emulator, { ...sent, headers })
      const what = `${sent.method ?? 'GET'} ${JSON.stringify(headers)}`
      t.equal(response.status, status, what)
      t.equal(response.body === body, status === 200 && sent === get, what)
    }
  }
  const unchanged = await send(emulator, { ...get, headers: { 'If-None-Match': `"${md5}"` } })
  t.strictSame([unchanged.headers.etag, unchanged.headers['last-modified']], [`"${md5}"`, asDate])
  t.notOk('content-length' in unchanged.headers)
  t.strictSame(
    errorOf(await send(emulator, { ...get, headers: { 'If-Match': '"other"' } })), [412, 'PreconditionFailed'])
})

t.test('GET returns 403 for an archived object, and 302 for one of an origin', async t => {
  const emulator = await startForTest(t)
  emulator.putObject({ ...object, access: 'archived' })
  t.strictSame(errorOf(await send(emulator, get)), [403, 'InvalidObjectState'])
  const headed = await send(emulator, head)
  t.strictSame([headed.status, headed.headers['x-cos-storage-class']], [200, 'ARCHIVE'])
  t.equal(element((await send(emulator, { target: '/' })).body, 'StorageClass'), 'ARCHIVE')

  emulator.putObject({ ...object, key: 'far away', access: 'redirect' })
  for (const method of ['GET', 'HEAD']) {
    const { status, headers, body } = await send(emulator, { method, target: '/far%20away' })
    t.strictSame([status, headers.location, body], [302, 'http://origin.example/far%20away', ''], method)
  }
  t.strictSame(keysOf(await send(emulator, { target: '/' })), ['a'], 'LIST has no object that is not there')
})

t.test('GET sets response headers from its parameters', async t => {
  const emulator = await startForTest(t)
  emulator.putObject(object)
  const { headers } = await send(emulator, {
    target: '/a?response-content-type=text%2Fplain&response-cache-control=no-store&response-expires=0'
  })
  t.match(headers, { 'content-type': 'text/plain', 'cache-control': 'no-store', expires: '0' })
  for (const target of ['/a?response-expires=%0D%0AX%3A1', '/a?response-expires=0&prefix=a']) {
    t.strictSame(errorOf(await send(emulator, { target })), [400, 'InvalidArgument'], target)
  }
  t.strictSame(errorOf(await send(emulator, { ...get, body: 'x' })), [400, 'UnexpectedContent'])
})

t.test('key is the decoded path, and the signature covers the decoded path', async t => {
  const emulator = await startForTest(t)
  for (const key of ['报告 (1).txt', 'a+b', 'a//b', '/a', 'a/../b', '100%']) {
    emulator.putObject({ ...object, key, body: key })
    const target = `/${encodeURIComponent(key).replaceAll('%2F', '/')}`
    t.equal((await send(emulator, { target })).body, key)
  }
})

t.test('GET of a key that resolves to the bucket returns its list', async t => {
  const emulator = await startForTest(t, {
    credentials: [{ ...exampleCredential, actions: ['cos:GetObject', 'cos:HeadObject'] }]
  })
  const keys = ['.', '..', '/', './', 'a/..', 'a/./b/../..']
  for (const key of keys) emulator.putObject({ ...object, key })
  for (const key of keys) {
    t.strictSame(errorOf(await send(emulator, { target: `/${key}` })), [403, 'AccessDenied'], key)
  }
  emulator.setCredentials([exampleCredential])
  for (const key of keys) {
    t.match((await send(emulator, { target: `/${key}` })).body, /^<ListBucketResult>/, key)
    t.equal((await send(emulator, { method: 'HEAD', target: `/${key}` })).headers.etag, undefined, key)
  }
  t.strictSame(new Set(emulator.requests.map(({ operation }) => operation)), new Set(['GetBucket', 'HeadBucket']))
})

t.test('each operation on objects needs its own action', async t => {
  const emulator = await startForTest(t)
  emulator.putObject(object)
  const requests: Record<string, Sent> = { GetBucket: { target: '/' }, GetObject: get, HeadObject: head }
  for (const allowed of Object.keys(requests)) {
    emulator.setCredentials([{ ...exampleCredential, actions: [`cos:${allowed}`] }])
    for (const [operation, sent] of Object.entries(requests)) {
      t.equal((await send(emulator, sent)).status, operation === allowed ? 200 : 403, `${operation} with ${allowed}`)
    }
  }
})

function keysOf ({ body }: ReceivedResponse): Array<string | undefined> {
  return [...body.matchAll(/<Key>([^<]*)/g)].map(([, key]) => key)
}

function prefixesOf ({ body }: ReceivedResponse): Array<string | undefined> {
  return [...body.matchAll(/<CommonPrefixes><Prefix>([^<]*)/g)].map(([, prefix]) => prefix)
}

function putAll (emulator: Emulator, keys: string[]): void {
  for (const key of keys) emulator.putObject({ ...object, key })
}

t.test('LIST returns objects in the byte order of UTF-8 with all elements', async t => {
  const emulator = await startForTest(t)
  t.equal((await send(emulator, { target: '/' })).body, '<ListBucketResult><Name>examplebucket-1250000000</Name>' +
    '<Prefix></Prefix><Marker></Marker><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated></ListBucketResult>')
  // Strings of JavaScript have the second key before the first.
  putAll(emulator, ['\uffee', '😀', 'b', 'B', 'a&<'])
  emulator.putObject({ ...object, bucket: 'logs-1250000000', key: 'elsewhere' })
  const { headers, body: listed } = await send(emulator, { target: '/?prefix=&marker=&max-keys=&delimiter=' })
  t.strictSame(keysOf({ status: 200, headers, body: listed }), ['B', 'a&amp;&lt;', 'b', '\uffee', '😀'])
  t.equal(headers['x-cos-bucket-region'], 'ap-guangzhou')
  t.match(listed, `<Contents><Key>B</Key><LastModified>${modified}</LastModified><ETag>&quot;${md5}&quot;</ETag>` +
    '<Size>19</Size><Owner><ID>1250000000</ID><DisplayName>1250000000</DisplayName></Owner>' +
    '<StorageClass>STANDARD</StorageClass></Contents>')
})

t.test('LIST returns pages, and NextMarker only when truncated', async t => {
  const emulator = await startForTest(t)
  putAll(emulator, ['a/1', 'a/2', 'a/3', 'b'])
  const first = await send(emulator, { target: '/?prefix=a%2F&max-keys=2' })
  t.strictSame(keysOf(first), ['a/1', 'a/2'])
  t.strictSame([element(first.body, 'IsTruncated'), element(first.body, 'NextMarker')], ['true', 'a/2'])
  const second = await send(emulator, { target: '/?prefix=a%2F&max-keys=2&marker=a%2F2' })
  t.strictSame(keysOf(second), ['a/3'])
  t.strictSame([element(second.body, 'IsTruncated'), element(second.body, 'NextMarker')], ['false', undefined])
  t.strictSame([element(second.body, 'Prefix'), element(second.body, 'Marker')], ['a/', 'a/2'])
  t.equal(element(second.body, 'MaxKeys'), '2')

  putAll(emulator, Array.from({ length: 1000 }, (_, index) => `c${index}`))
  t.equal(keysOf(await send(emulator, { target: '/' })).length, 1000)
})

t.test('LIST returns common prefixes when there is a delimiter', async t => {
  const emulator = await startForTest(t)
  putAll(emulator, ['a/1', 'a/2', 'b', 'c/1/x', 'c/2'])
  const all = await send(emulator, { target: '/?delimiter=%2F' })
  t.strictSame([prefixesOf(all), keysOf(all)], [['a/', 'c/'], ['b']])
  t.equal(element(all.body, 'Delimiter'), '/')
  const below = await send(emulator, { target: '/?delimiter=%2F&prefix=c%2F' })
  t.strictSame([prefixesOf(below), keysOf(below)], [['c/1/'], ['c/2']])

  const first = await send(emulator, { target: '/?delimiter=%2F&max-keys=1' })
  t.strictSame([prefixesOf(first), element(first.body, 'NextMarker')], [['a/'], 'a/'])
  const second = await send(emulator, { target: '/?delimiter=%2F&max-keys=1&marker=a%2F' })
  t.strictSame([prefixesOf(second), keysOf(second)], [[], ['b']], 'the marker stands for all objects below it')
})

t.test('LIST percent-encodes names when encoding-type is url', async t => {
  const emulator = await startForTest(t)
  putAll(emulator, ['x/报 告+\u0001', 'x/y/z'])
  const { body: listed } = await send(emulator, { target: '/?encoding-type=url&prefix=x%2F&delimiter=%2F&marker=x%2F' })
  t.match(listed, '<EncodingType>url</EncodingType><Prefix>x%2F</Prefix><Marker>x%2F</Marker>')
  t.match(listed, '<Delimiter>%2F</Delimiter>')
  t.match(listed, '<Key>x%2F%E6%8A%A5%20%E5%91%8A%2B%01</Key>')
  t.match(listed, '<CommonPrefixes><Prefix>x%2Fy%2F</Prefix></CommonPrefixes>')
  t.match((await send(emulator, { target: '/?prefix=x%2F' })).body, '<Key>x/报 告+?</Key>', 'well-formed without it')
})

t.test('LIST returns 400 when a parameter is invalid', async t => {
  const emulator = await startForTest(t)
  const parameters = [
    'max-keys=0', 'max-keys=1001', 'max-keys=x', 'max-keys=-1', 'encoding-type=xml', 'delimiter=ab', 'prefix=a&inventory',
    'prefix=a&list-type=2'
  ]
  for (const query of parameters) {
    t.strictSame(errorOf(await send(emulator, { target: `/?${query}` })), [400, 'InvalidArgument'], query)
  }
})

t.test('LIST lags behind GET when the object has a lag', async t => {
  const emulator = await startForTest(t, { now: () => 1_700_000_000_000 })
  emulator.putObject({ ...object, listLagMs: 60_000 })
  const sent = { keyTime: '1;9999999999' }
  t.equal((await send(emulator, { ...get, ...sent })).status, 200)
  t.strictSame(keysOf(await send(emulator, { target: '/', ...sent })), [])
  emulator.setClockOffset(60_000)
  t.strictSame(keysOf(await send(emulator, { target: '/', ...sent })), ['a'])
  emulator.putObject({ bucket: bucketName, key: 'now', body })
  const { headers } = await send(emulator, { target: '/now', ...sent })
  t.equal(headers['last-modified'], new Date(1_700_000_060_000).toUTCString())
})

t.test('object store drops the oldest object beyond its limits', async t => {
  const store = createObjectStore({ objects: 2, bytes: 10 })
  const put = (key: string, body: string) => store.put(toStoredObject({ bucket: 'b-1', key, body }, 0))
  const kept = () => store.list('b-1', '', '', 0).map(({ key }) => key)
  put('a', '1')
  put('b', '1')
  put('a', '22')
  put('c', '1')
  t.strictSame(kept(), ['a', 'c'], 'b was put before the second a')
  put('d', '9 bytes..')
  t.strictSame(kept(), ['c', 'd'])
  put('e', '8 bytes.')
  t.strictSame(kept(), ['e'])
  put('e', '')
  put('f', '10 bytes..')
  t.strictSame(kept(), ['e', 'f'], 'a replaced object does not count')
  store.put({ ...toStoredObject({ bucket: 'b-1', key: 'made', body: '' }, 0), bytes: { size: 1e12, read: () => [] } })
  t.strictSame(kept(), ['f', 'made'], 'bytes that are not stored do not count')
})

t.test('partOf returns the same part of stored and of made bytes', async t => {
  const digits = Buffer.from('0123456789')
  const made: Bytes = { size: 10, read: () => [digits.subarray(0, 3), digits.subarray(3, 4), digits.subarray(4)] }
  const read = async (bytes: Bytes) => {
    const pieces: Buffer[] = []
    for await (const chunk of chunksOf(bytes)) pieces.push(chunk)
    return Buffer.concat(pieces).toString()
  }
  for (const [start, end] of [[0, 10], [0, 0], [2, 5], [3, 4], [5, 9], [9, 10], [10, 10]] as const) {
    for (const bytes of [digits, made]) {
      const part = partOf(bytes, start, end)
      t.strictSame([sizeOf(part), await read(part)], [end - start, '0123456789'.slice(start, end)])
    }
  }
})

t.test('injected faults match operations on objects', async t => {
  const emulator = await startForTest(t)
  emulator.putObject({ ...object, body: Buffer.alloc(100_000, 'x') })
  const requests: Record<string, Sent> = { GetBucket: { target: '/' }, GetObject: get, HeadObject: head }
  for (const operation of Object.keys(requests)) {
    emulator.clearFaults()
    emulator.addFault({ kind: 'error', status: 503, code: 'SlowDown', match: { operation } })
    for (const [other, sent] of Object.entries(requests)) {
      const response = await send(emulator, sent)
      t.equal(response.status, other === operation ? 503 : 200, `${other} with a fault of ${operation}`)
      if (other === 'HeadObject') t.equal(response.body, '', 'HEAD has no body, also with a fault')
    }
  }
})

t.test('HEAD sends no body when its head is truncated or slow', async t => {
  const emulator = await startForTest(t)
  emulator.putObject(object)
  emulator.addFault({ kind: 'drip', ms: 0, times: 1 })
  const slow = await send(emulator, head)
  t.strictSame([slow.status, slow.headers['content-length'], slow.body], [200, '19', ''])
  emulator.addFault({ kind: 'cut', times: 1 })
  await t.rejects(send(emulator, head), { code: 'ECONNRESET' }, 'half of the head is no response')
})

t.test('truncated object has its Content-Length and fewer bytes', async t => {
  const emulator = await startForTest(t)
  emulator.putObject(object)
  for (const [fault, expected] of [[{ bytes: 3 }, 'The'], [{}, body.slice(0, 9)]] as const) {
    emulator.addFault({ kind: 'cut', times: 1, ...fault })
    const incoming = await sendHead(emulator, get)
    t.equal(incoming.headers['content-length'], '19')
    let received = ''
    incoming.on('data', (chunk: Buffer) => { received += chunk.toString() })
    await t.rejects(buffer(incoming), { code: 'ECONNRESET' })
    t.equal(received, expected)
  }
})
