import { readFileSync } from 'node:fs'
import t from 'tap'
import { CosError, cosErrors } from '../../src/emulator/cos-error.ts'
import type { Emulator } from '../../src/emulator/server.ts'
import { parseXml } from '../../src/emulator/xml.ts'
import { growsLinearly } from '../growth.ts'
import {
  type ReceivedResponse, type Sent, bucketHost, bucketName, element, ended, exchange, forBody, open, errorOf, send,
  startForTest, toDestination, toDocument, toHead, toJob, toPut
} from './client.ts'

const prolog = "<?xml version='1.0' encoding='utf-8' ?>\n"
const list: Sent = { target: '/?inventory' }
const get = (id: string): Sent => ({ target: `/?inventory&id=${id}` })
const remove = (id: string): Sent => ({ method: 'DELETE', target: `/?inventory&id=${id}` })

t.test('PUT, GET, LIST and DELETE store, return, list and remove a configuration', async t => {
  const emulator = await startForTest(t)
  const put = await send(emulator, toPut('daily'))
  t.strictSame([put.status, put.body, put.headers['content-length']], [200, '', '0'])

  const got = await send(emulator, get('daily'))
  t.strictSame([got.status, got.body], [200, toDocument('daily')])

  const listed = await send(emulator, list)
  t.equal(listed.body, `<ListInventoryConfigurationResult>${toDocument('daily')}` +
    '<IsTruncated>false</IsTruncated><ContinuationToken></ContinuationToken></ListInventoryConfigurationResult>')
  t.strictSame(emulator.configurations(bucketName), [toDocument('daily')])

  for (const attempt of ['first', 'second']) {
    const deleted = await send(emulator, remove('daily'))
    t.strictSame([deleted.status, deleted.body, deleted.headers['content-type']], [204, '', undefined], attempt)
  }
  t.strictSame(errorOf(await send(emulator, get('daily'))), [404, 'InventoryConfigurationNotFoundError'])
  t.strictSame(emulator.requests.map(({ operation, status }) => [operation, status]), [
    ['PutBucketInventory', 200], ['GetBucketInventory', 200], ['ListBucketInventory', 200],
    ['DeleteBucketInventory', 204], ['DeleteBucketInventory', 204], ['GetBucketInventory', 404]
  ])
  t.match(emulator.requests[0], {
    method: 'PUT',
    target: '/?inventory&id=daily',
    host: bucketHost,
    body: toDocument('daily'),
    headers: { 'content-type': 'application/xml' }
  })
})

t.test('responses have the headers of COS, and errors its XML document', async t => {
  const emulator = await startForTest(t)
  const found = await send(emulator, list)
  t.match(found.headers, { server: 'tencent-cos', 'content-type': 'application/xml', date: / GMT$/ })
  t.notOk('x-cos-trace-id' in found.headers)
  const requestId = Buffer.from(String(found.headers['x-cos-request-id']), 'base64').toString()
  t.match(requestId, /^[0-9a-f]+_[0-9a-f]+_[0-9a-f]+_[0-9a-f]+$/)

  const { headers, body } = await send(emulator, get('absent'))
  t.equal(body, `${prolog}<Error>
\t<Code>InventoryConfigurationNotFoundError</Code>
\t<Message>The specified inventory configuration does not exist.</Message>
\t<Resource>${bucketHost}/</Resource>
\t<RequestId>${headers['x-cos-request-id']}</RequestId>
\t<TraceId>${headers['x-cos-trace-id']}</TraceId>
</Error>
`)
})

t.test('error document stays well-formed when it contains input of the request', async t => {
  const emulator = await startForTest(t)
  const { status, body } = await send(emulator, { target: '/?inventory&%00%3Cx%3E=1' })
  t.equal(status, 400)
  t.equal(element(body, 'Message'), 'The parameter ?&lt;x&gt; is not known here.')
})

t.test('POST creates one-time jobs, which LIST does not return', async t => {
  const emulator = await startForTest(t)
  const posted = await send(emulator, toJob('once'))
  t.equal(posted.status, 200)
  t.match(element(posted.body, 'JobId'), /^[A-Za-z0-9+/]{43}=$/)
  t.strictSame(errorOf(await send(emulator, get('once'))), [404, 'InventoryConfigurationNotFoundError'])
  t.strictSame(emulator.configurations(bucketName), [])

  t.strictSame(errorOf(await send(emulator, toJob('once'))), [409, 'DuplicateInventoryId'], 'the same day')
  await send(emulator, toPut('periodic'))
  t.strictSame(errorOf(await send(emulator, toJob('periodic'))), [409, 'DuplicateInventoryId'])
})

t.test('POST accepts the same id again after a day', async t => {
  let now = 1_700_000_000_000
  const emulator = await startForTest(t, { now: () => now })
  const post = () => send(emulator, { ...toJob('once'), keyTime: '1;9999999999' })
  t.equal((await post()).status, 200)
  now += 24 * 3600 * 1000 - 1
  t.strictSame(errorOf(await post()), [409, 'DuplicateInventoryId'])
  now += 1
  t.equal((await post()).status, 200)
})

// The rules for documents are those of COS documents 30625, 30623 and 46869. Most error codes are our choice, see the
// README.
const invalidDocuments: Record<string, [string, string | Record<string, string>]> = {
  'another root': ['MalformedXML', '<Inventory><Id>a</Id></Inventory>'],
  'no Id': ['MalformedXML', { Id: '' }],
  'two Ids': ['MalformedXML', { Id: '<Id>a</Id><Id>a</Id>' }],
  'another Id than in the query': ['InvalidArgument', { Id: '<Id>b</Id>' }],
  'an Id with a blank': ['InvalidArgument', { Id: '<Id> a</Id>' }],
  'no IsEnabled': ['MalformedXML', { IsEnabled: '' }],
  'IsEnabled yes': ['MalformedXML', { IsEnabled: '<IsEnabled>yes</IsEnabled>' }],
  'no IncludedObjectVersions': ['MalformedXML', { IncludedObjectVersions: '' }],
  'IncludedObjectVersions No': [
    'MalformedXML', { IncludedObjectVersions: '<IncludedObjectVersions>No</IncludedObjectVersions>' }],
  'no Schedule': ['MalformedXML', { Schedule: '' }],
  'no Frequency': ['MalformedXML', { Schedule: '<Schedule/>' }],
  'Frequency Hourly': ['MalformedXML', { Schedule: '<Schedule><Frequency>Hourly</Frequency></Schedule>' }],
  'Weekly with a day': ['InvalidArgument', {
    Schedule: '<Schedule><Frequency>Weekly</Frequency><MonthlyDate>3</MonthlyDate></Schedule>'
  }],
  'day 0': ['InvalidArgument', {
    Schedule: '<Schedule><Frequency>Monthly</Frequency><MonthlyDate>0</MonthlyDate></Schedule>'
  }],
  'day 32': ['InvalidArgument', {
    Schedule: '<Schedule><Frequency>Monthly</Frequency><MonthlyDate>32</MonthlyDate></Schedule>'
  }],
  'day last': ['MalformedXML', {
    Schedule: '<Schedule><Frequency>Monthly</Frequency><MonthlyDate>last</MonthlyDate></Schedule>'
  }],
  'text in Schedule': ['MalformedXML', { Schedule: '<Schedule>Daily</Schedule>' }],
  'text beside elements': ['MalformedXML', { Schedule: '<Schedule>x<Frequency>Daily</Frequency></Schedule>' }],
  'elements in Id': ['MalformedXML', { Id: '<Id><b>a</b></Id>' }],
  'two prefixes': ['MalformedXML', { Filter: '<Filter><Prefix>a</Prefix><Prefix>b</Prefix></Filter>' }],
  'Period in And': ['MalformedXML', { Filter: '<Filter><And><Period/></And></Filter>' }],
  'StartTime as a date': ['MalformedXML', {
    Filter: '<Filter><Period><StartTime>2023-06-21</StartTime></Period></Filter>'
  }],
  'a Tag without Value': ['MalformedXML', { Filter: '<Filter><And><Tag><Key>a</Key></Tag></And></Filter>' }],
  'a Tag with an empty Key': ['MalformedXML', {
    Filter: '<Filter><Tag><Key></Key><Value>1</Value></Tag></Filter>'
  }],
  'a Tag in And without the field Tag': ['InvalidArgument', {
    Filter: '<Filter><And><Tag><Key>a</Key><Value>1</Value></Tag></And></Filter>'
  }],
  'a Tag without the field Tag': ['InvalidArgument', {
    Filter: '<Filter><Tag><Key>a</Key><Value>1</Value></Tag></Filter>'
  }],
  'no Destination': ['MalformedXML', { Destination: '' }],
  'an empty Destination': ['MalformedXML', { Destination: '<Destination/>' }],
  'no Format': ['MalformedXML', { Destination: toDestination({ Format: '' }) }],
  'Format JSON': ['MalformedXML', { Destination: toDestination({ Format: '<Format>JSON</Format>' }) }],
  'an AccountId with letters': ['MalformedXML', {
    Destination: toDestination({ AccountId: '<AccountId>me</AccountId>' })
  }],
  'no destination bucket': ['MalformedXML', { Destination: toDestination({ Bucket: '' }) }],
  'a destination that is no resource': ['TargetBucketNameInvalid', {
    Destination: toDestination({ Bucket: '<Bucket>reports-1250000000</Bucket>' })
  }],
  'a destination without APPID': ['TargetBucketNameInvalid', {
    Destination: toDestination({ Bucket: '<Bucket>qcs::cos:ap-guangzhou::reports</Bucket>' })
  }],
  'a destination in another region': ['TargetBucketNameInvalid', {
    Destination: toDestination({ Bucket: '<Bucket>qcs::cos:ap-shanghai::logs-1250000000</Bucket>' })
  }]
}

t.test('PUT returns 400 and stores nothing when the document is invalid', async t => {
  const emulator = await startForTest(t)
  for (const [what, [code, document]] of Object.entries(invalidDocuments)) {
    const body = typeof document === 'string' ? document : toDocument('a', document)
    t.strictSame(errorOf(await send(emulator, toPut('a', body))), [400, code], what)
  }
  t.strictSame(emulator.configurations(bucketName), [])
})

t.test('POST returns 400 when the document has IsEnabled or Schedule', async t => {
  const emulator = await startForTest(t)
  for (const omitted of ['IsEnabled', 'Schedule']) {
    const response = await send(emulator, toPut('a', toDocument('a', { [omitted]: '' }), 'POST'))
    t.strictSame(errorOf(response), [400, 'MalformedXML'])
  }
})

t.test('POST accepts a filter by tag without the field Tag', async t => {
  const emulator = await startForTest(t)
  const tagged = { IsEnabled: '', Schedule: '', Filter: '<Filter><Tag><Key>a</Key><Value>1</Value></Tag></Filter>' }
  t.equal((await send(emulator, toPut('a', toDocument('a', tagged), 'POST'))).status, 200)
})

t.test('PUT and POST need no Content-MD5 unless the check is switched on', async t => {
  const requests = (['PUT', 'POST'] as const).map(method => {
    const parts = method === 'POST' ? { IsEnabled: '', Schedule: '' } : {}
    const { headers = {}, ...rest } = toPut('a', toDocument('a', parts), method)
    const { 'Content-MD5': _, ...others } = headers
    return { ...rest, headers: others }
  })
  for (const [strict, expected] of [[[], [200, 200]], [['content-md5'], [400, 400]]] as const) {
    const statuses: number[] = []
    for (const request of requests) {
      const emulator = await startForTest(t, { strict })
      statuses.push((await send(emulator, request)).status)
    }
    t.strictSame(statuses, expected)
  }
})

t.test('PUT accepts an XML declaration with blanks around the equals sign', async t => {
  const emulator = await startForTest(t)
  const document = `<?xml version = "1.0" encoding\t=\n'UTF-8' standalone = "yes" ?>${toDocument('a')}`
  t.equal((await send(emulator, toPut('a', document))).status, 200)
  t.strictSame(errorOf(await send(emulator, toPut('a', document.replace('UTF-8', 'GBK')))), [400, 'MalformedXML'])
})

// Documents of SDKs and other tools, each stored and returned unchanged.
const echoed: Record<string, Record<string, string>> = {
  'names of Object.prototype': { New: '<constructor>c</constructor><__proto__>p</__proto__><toString></toString>' },
  'a prefix in And, with tags and storage classes': {
    Filter: '<Filter><And><Prefix>a</Prefix><Tag><Key>k</Key><Value></Value></Tag><Tag><Key>l</Key><Value>2</Value>' +
      '</Tag><StorageClass>STANDARD</StorageClass><StorageClass>ARCHIVE</StorageClass></And></Filter>',
    OptionalFields: '<OptionalFields><Field>tag</Field></OptionalFields>'
  },
  'a period beside a prefix': {
    Filter: '<Filter><Period><StartTime>1687276800</StartTime><EndTime>1689868800</EndTime></Period>' +
      '<Prefix>a</Prefix></Filter>'
  },
  'empty containers': { Filter: '<Filter></Filter>', OptionalFields: '<OptionalFields></OptionalFields>' },
  'nothing optional': {
    Filter: '', OptionalFields: '', Destination: toDestination({ AccountId: '', Prefix: '', Encryption: '' })
  },
  'the last day of a month': {
    Schedule: '<Schedule><Frequency>Monthly</Frequency><MonthlyDate>31</MonthlyDate></Schedule>'
  },
  'fields in any case, unknown fields and one header': {
    OptionalFields: '<OptionalFields><Field>SIZE</Field><Field>Etag</Field><Field>New</Field>' +
      '<Field>x-cos-meta-*</Field></OptionalFields>'
  },
  Parquet: { Destination: toDestination({ Format: '<Format>Parquet</Format>' }) },
  'SSECOS, as one SDK sends it': {
    Destination: toDestination({ Encryption: '<Encryption><SSECOS></SSECOS></Encryption>' })
  },
  'SSE-COS with a blank, as another does': {
    Destination: toDestination({ Encryption: '<Encryption><SSE-COS> </SSE-COS></Encryption>' })
  },
  'unknown elements': { New: '<New><Inner>1</Inner></New>' },
  'text with references, blanks and other scripts': {
    Filter: '<Filter><Prefix>  a &amp; &lt;b&gt; \' " 报告 😀&#13;\n </Prefix></Filter>'
  },
  'another order': { Id: '', Z: '<Id>a</Id>' },
  'Monthly without a day, as Terraform sends it': { Schedule: '<Schedule><Frequency>Monthly</Frequency></Schedule>' },
  'an empty day, account and period': {
    Schedule: '<Schedule><Frequency>Daily</Frequency><MonthlyDate></MonthlyDate></Schedule>',
    Filter: '<Filter><Period><StartTime></StartTime><EndTime></EndTime></Period></Filter>',
    Destination: toDestination({ AccountId: '<AccountId></AccountId>' })
  },
  'a text in SSE-COS, as coscli sends it': {
    Destination: toDestination({ Encryption: '<Encryption><SSE-COS>111</SSE-COS></Encryption>' })
  }
}

t.test('PUT stores the document as sent', async t => {
  const emulator = await startForTest(t)
  for (const [what, parts] of Object.entries(echoed)) {
    const document = toDocument('a', parts)
    t.equal((await send(emulator, toPut('a', document))).status, 200, what)
    t.equal((await send(emulator, get('a'))).body, document, what)
  }
})

// Each document as sent and as returned.
const normalized: Record<string, [string, string]> = {
  'booleans in upper case': [
    toDocument('a', { IsEnabled: '<IsEnabled>False</IsEnabled>' }),
    toDocument('a', { IsEnabled: '<IsEnabled>false</IsEnabled>' })],
  'a declaration': [`<?xml version="1.0" encoding="UTF-8"?>\n${toDocument('a')}`, toDocument('a')],
  'a declaration in single quotes': [`<?xml version='1.0' standalone='yes' ?>${toDocument('a')}`, toDocument('a')],
  'a byte order mark': [`\ufeff${toDocument('a')}`, toDocument('a')],
  'a namespace': [
    toDocument('a').replace('<InventoryConfiguration>', '<InventoryConfiguration xmlns="http://www.qcloud.com/">'),
    toDocument('a')],
  'indentation, comments and instructions': [
    toDocument('a')
      .replace('<SSE-COS></SSE-COS>', '<SSE-COS/>')
      .replaceAll('><', '>\r\n\t<!-- <x> & <? --><?pi <&?><'),
    toDocument('a')],
  'self-closing elements': [
    toDocument('a', { Destination: toDestination({ Encryption: '<Encryption><SSE-COS/></Encryption>' }) }),
    toDocument('a')],
  'references and sections': [
    toDocument('a', {
      Filter: '<Filter><Prefix>&#97;<![CDATA[<b>&amp;]]>&#x1F600;&quot;&apos;<!-- c -->d<?pi?>e</Prefix></Filter>'
    }),
    toDocument('a', { Filter: '<Filter><Prefix>a&lt;b&gt;&amp;amp;😀"\'de</Prefix></Filter>' })],
  'a name that is special in JavaScript': [
    toDocument('a', { New: '<toString>1</toString>' }), toDocument('a', { New: '<toString>1</toString>' })]
}

t.test('PUT accepts every valid way to write a document', async t => {
  const emulator = await startForTest(t)
  for (const [what, [sent, stored]] of Object.entries(normalized)) {
    t.equal((await send(emulator, toPut('a', sent))).status, 200, what)
    t.strictSame(emulator.configurations(bucketName), [stored], what)
  }
})

const valid = toDocument('a')
const inPrefix = (text: string) => toDocument('a', { Filter: `<Filter><Prefix>${text}</Prefix></Filter>` })
const malformed: Record<string, string | Buffer> = {
  'no XML': 'Id=a',
  JSON: '{"Id":"a"}',
  'a blank': ' ',
  'a truncated document': valid.slice(0, -20),
  'crossed tags': valid.replace('</Id>', '</Ib>'),
  'two roots': valid + valid,
  'two empty roots': '<InventoryConfiguration/><InventoryConfiguration/>',
  'text after the root': `${valid}x`,
  'a document type': `<!DOCTYPE InventoryConfiguration>${valid}`,
  'entities of its own': `<!DOCTYPE a [<!ENTITY b "c">]>${inPrefix('&b;')}`,
  'an undefined entity': inPrefix('&nbsp;'),
  'a bare ampersand': inPrefix('a & b'),
  'a reference put together around a comment': inPrefix('&a<!-- -->mp;'),
  'a reference to a forbidden character': inPrefix('&#0;'),
  'a reference to half a character': inPrefix('&#xD800;'),
  'a reference beyond Unicode': inPrefix('&#x110000;'),
  'a forbidden character': inPrefix('\u0001'),
  'the end of a section in text': inPrefix(']]>'),
  'an unclosed comment': `${valid}<!-- `,
  'an unclosed section': inPrefix('<![CDATA[a'),
  'two dashes in a comment': inPrefix('<!-- a -- b -->'),
  'an unclosed tag': valid.replace('</Prefix>', '</Prefix'),
  'a less-than sign in an attribute': valid.replace('<Id>', '<Id a="<">'),
  'an attribute twice': valid.replace('<Id>', '<Id a="1" a="2">'),
  'a blank line before the declaration': `\n<?xml version="1.0"?>${valid}`,
  'another encoding': `<?xml version="1.0" encoding="gbk"?>${valid}`,
  'another version': `<?xml version="2.0"?>${valid}`,
  'Latin-1': Buffer.from(inPrefix('é'), 'latin1'),
  'a deep nest': toDocument('a', { New: '<n>'.repeat(200) + '</n>'.repeat(200) })
}

t.test('PUT returns 400 when the document is not well-formed', async t => {
  const emulator = await startForTest(t)
  for (const [what, body] of Object.entries(malformed)) {
    t.strictSame(errorOf(await send(emulator, toPut('a', body))), [400, 'MalformedXML'], what)
  }
  t.strictSame(emulator.configurations(bucketName), [])
})

t.test('malicious XML of 1 MiB takes time in proportion to its length', async t => {
  const emulator = await startForTest(t)
  const pieces = ['<![CDATA[', '<!--', '<?', '<', '<a>', '<a b="', '&amp;', '&', '<a ', ']]>', '<a/>', '\n<?xml ', "'", '&#']
  const parse = (text: string) => {
    try {
      parseXml(Buffer.from(text))
    } catch (error) {
      if (!(error instanceof CosError)) throw error
    }
  }
  for (const piece of pieces) {
    const documentOf = (size: number) => inPrefix(piece.repeat(size / piece.length))
    t.ok(growsLinearly(size => { parse(documentOf(size)) }, 50_000), `${piece}: time grows linearly`)
    t.match((await send(emulator, toPut('a', documentOf(1_000_000)))).status, /200|400/, piece)
  }
})

t.test('PUT returns an error when body, length or digest is missing or invalid', async t => {
  const emulator = await startForTest(t)
  const put = toPut('a')
  const withHeaders = (headers: Record<string, string>): Sent => ({ ...put, headers })
  const invalid: Record<string, [Sent, [number, string]]> = {
    chunked: [withHeaders({ ...forBody(valid), 'Transfer-Encoding': 'chunked' }), [411, 'MissingContentLength']],
    'an empty body': [toPut('a', ''), [400, 'MissingRequestBodyError']],
    'a Content-MD5 in hexadecimal': [
      withHeaders({ 'Content-MD5': '900150983cd24fb0d6963f7d28e17f72' }), [400, 'InvalidDigest']],
    'the Content-MD5 of another body': [withHeaders(forBody('another')), [400, 'BadDigest']],
    'more than 1 MiB': [toPut('a', valid + ' '.repeat(1024 * 1024)), [400, 'XMLSizeLimit']]
  }
  for (const [what, [sent, expected]] of Object.entries(invalid)) {
    t.strictSame(errorOf(await send(emulator, sent)), expected, what)
  }
  t.equal(emulator.requests.at(-1)?.body.length, 1024 * 1024, 'the journal keeps 1 MiB of the body')
  const noBody = await exchange(emulator, toHead({ ...put, body: '' }).replace(/Content-Length: 0\r\n/, ''))
  t.match(noBody, /^HTTP\/1\.1 411 [^]*<Code>MissingContentLength</)

  const full = toPut('a', valid + ' '.repeat(1024 * 1024 - valid.length))
  t.equal((await send(emulator, full)).status, 200, 'exactly 1 MiB')
})

t.test('PUT stores nothing when its body is truncated', async t => {
  const emulator = await startForTest(t)
  const socket = await open(emulator)
  socket.write(toHead(toPut('a')) + valid.slice(0, 100))
  const begun = () => emulator.requests.find(({ operation }) => operation === 'PutBucketInventory')
  while (begun() === undefined) await send(emulator, list)
  socket.resetAndDestroy()
  t.strictSame((await send(emulator, list)).status, 200)
  t.match(begun(), { status: 0, body: '' })
  t.strictSame(emulator.configurations(bucketName), [])
})

t.test('LIST returns 400 when the request has a body', async t => {
  const emulator = await startForTest(t)
  t.strictSame(errorOf(await send(emulator, { ...list, body: 'x' })), [400, 'UnexpectedContent'])
  t.equal((await send(emulator, { ...remove('a'), headers: { 'Content-Length': '0' } })).status, 204)
})

t.test('requests outside the inventory API return errors and change nothing', async t => {
  const emulator = await startForTest(t)
  await send(emulator, toPut('a'))
  const others: Array<[Sent, [number, string | undefined]]> = [
    [{ method: 'DELETE', target: '/' }, [501, 'NotImplemented']],
    [{ method: 'PUT', target: '/' }, [501, 'NotImplemented']],
    [{ method: 'GET', target: '/?acl' }, [501, 'NotImplemented']],
    [{ method: 'HEAD', target: '/?prefix=a' }, [501, undefined]],
    [{ method: 'DELETE', target: '/?id=a&inventory' }, [501, 'NotImplemented']],
    [{ method: 'DELETE', target: '/?Inventory&id=a' }, [501, 'NotImplemented']],
    [{ method: 'PUT', target: '/?acl' }, [501, 'NotImplemented']],
    [{ method: 'DELETE', target: '/key?inventory&id=a' }, [501, 'NotImplemented']],
    [{ method: 'GET', target: '/key?inventory&id=a' }, [501, 'NotImplemented']],
    [{ method: 'GET', target: '/key?acl' }, [501, 'NotImplemented']],
    [{ method: 'HEAD', target: '/key?versionId=1' }, [501, undefined]],
    [{ method: 'PUT', target: '/key' }, [501, 'NotImplemented']],
    [{ method: 'DELETE', target: '/key' }, [501, 'NotImplemented']],
    [{ method: 'DELETE', target: '/key/..' }, [501, 'NotImplemented']],
    [{ method: 'POST', target: '/key?restore' }, [501, 'NotImplemented']],
    [{ method: 'PATCH', target: '/?inventory&id=a' }, [405, 'MethodNotAllowed']],
    [{ method: 'DELETE', target: '/?inventory' }, [400, 'InvalidArgument']],
    [{ method: 'DELETE', target: '/?inventory&id=' }, [400, 'InvalidArgument']]
  ]
  for (const [sent, expected] of others) {
    t.strictSame(errorOf(await send(emulator, sent)), expected, `${sent.method} ${sent.target}`)
  }
  t.strictSame(emulator.configurations(bucketName), [valid])
})

t.test('requests return 400 when a parameter is invalid', async t => {
  const emulator = await startForTest(t)
  await send(emulator, toPut('a.B-c_1', toDocument('a.B-c_1')))
  t.equal((await send(emulator, { target: '/?inventory=&Id=a.B-c_1' })).status, 200, 'any case of id')
  t.equal((await send(emulator, { target: '/?inventory&continuation-token=' })).status, 200, 'no token')
  const invalid: Record<string, string> = {
    'an unknown parameter': '/?inventory&prefix=a',
    'an empty parameter': '/?inventory&',
    'a parameter twice': '/?inventory&id=a&Id=b',
    'a value of inventory': '/?inventory=1',
    'a token for GET': '/?inventory&id=a&continuation-token=',
    'a character that is not for ids': '/?inventory&id=a%2Fb',
    'an id that is too long': `/?inventory&id=${'a'.repeat(256)}`,
    'an unknown token': '/?inventory&continuation-token=abc%3D'
  }
  for (const [what, target] of Object.entries(invalid)) {
    t.strictSame(errorOf(await send(emulator, { target })), [400, 'InvalidArgument'], what)
  }
  const added: Sent = { target: '/?inventory&id=a', tamper: request => { request.target += '&Id=b' } }
  t.strictSame(errorOf(await send(emulator, added)), [400, 'InvalidArgument'], 'a parameter twice, signed once')
  const longest = 'a'.repeat(255)
  t.equal((await send(emulator, toPut(longest))).status, 200)
  const broken: Sent = { target: '/?inventory&id=a', tamper: request => { request.target = '/?inventory&id=%' } }
  t.strictSame(errorOf(await send(emulator, broken)), [400, 'InvalidURI'])
  const brokenPath: Sent = { ...list, tamper: request => { request.target = '/%FF?inventory' } }
  t.strictSame(errorOf(await send(emulator, brokenPath)), [400, 'InvalidURI'])
})

t.test('LIST returns pages of 100 in the order of creation', async t => {
  const emulator = await startForTest(t)
  const ids = Array.from({ length: 150 }, (_, index) => `ID-${index}`)
  for (const id of ids) await send(emulator, toPut(id))
  await send(emulator, toPut('ID-3', toDocument('ID-3', { Filter: '' })))
  const idsOf = ({ body }: ReceivedResponse) => [...body.matchAll(/<Id>([^<]*)/g)].map(([, id]) => id)

  const first = await send(emulator, { target: '/?inventory&continuation-token=' })
  t.strictSame(idsOf(first), ids.slice(0, 100), 'a replaced configuration keeps its place')
  t.equal(element(first.body, 'IsTruncated'), 'true')
  t.equal(element(first.body, 'ContinuationToken'), '')
  const token = element(first.body, 'NextContinuationToken') ?? ''
  t.match(token, /^\+\/\+\/.+=$/, 'the token must be percent-encoded')

  await send(emulator, remove('ID-99'))
  await send(emulator, remove('ID-100'))
  const second = await send(emulator, { target: `/?inventory&continuation-token=${encodeURIComponent(token)}` })
  t.strictSame(idsOf(second), ids.slice(101))
  t.equal(element(second.body, 'IsTruncated'), 'false')
  t.equal(element(second.body, 'ContinuationToken'), token)
  t.equal(element(second.body, 'NextContinuationToken'), undefined)

  t.strictSame(
    errorOf(await send(emulator, { target: `/?inventory&continuation-token=${token}` })), [400, 'InvalidArgument'],
    'a plus that is not encoded is a blank')
  const elsewhere = bucketHost.replace('examplebucket', 'reports')
  t.strictSame(
    errorOf(await send(emulator, {
      host: elsewhere, target: `/?inventory&continuation-token=${encodeURIComponent(token)}`
    })), [400, 'InvalidArgument'], 'the token of another bucket')
})

t.test('PUT returns 400 when the bucket has 1,000 configurations', async t => {
  const emulator = await startForTest(t)
  for (let index = 0; index < 1000; index++) await send(emulator, toPut(`n${index}`))
  t.equal(emulator.configurations(bucketName).length, 1000)
  t.strictSame(errorOf(await send(emulator, toPut('one-more'))), [400, 'InventoryFull'])
  t.equal((await send(emulator, toPut('n0'))).status, 200, 'a configuration can still be replaced')
  await send(emulator, remove('n500'))
  t.equal((await send(emulator, toPut('one-more'))).status, 200)
})

t.test('emulator serves bucket hosts of every domain and rejects other hosts', async t => {
  const emulator = await startForTest(t)
  const served = [
    `${bucketName}.cos.ap-guangzhou.tencentcos.cn`, `${bucketName}.cos-internal.ap-guangzhou.tencentcos.cn`,
    `${bucketName}.cos-dualstack.ap-guangzhou.myqcloud.com`, bucketHost.toUpperCase(), `${bucketHost}:80`
  ]
  for (const host of served) t.equal((await send(emulator, { ...list, host })).status, 200, host)
  const rejectedHosts: Record<string, [number, string]> = {
    'examplebucket.cos.ap-guangzhou.myqcloud.com': [400, 'InvalidBucketName'],
    [`${bucketName}.cos.guangzhou.myqcloud.com`]: [400, 'InvalidRegionName'],
    [`${bucketName}.cos.accelerate.myqcloud.com`]: [400, 'ActionAccelerateNotSupported'],
    [`${bucketName}.cos-website.ap-guangzhou.myqcloud.com`]: [400, 'InvalidArgument'],
    'cos.guangzhou.myqcloud.com': [400, 'InvalidRegionName'],
    'cos.ap-guangzhou.myqcloud.com': [400, 'InvalidArgument'],
    'service.cos.myqcloud.com': [400, 'InvalidArgument'],
    '127.0.0.1:9000': [400, 'InvalidArgument'],
    '': [400, 'InvalidArgument']
  }
  for (const [host, expected] of Object.entries(rejectedHosts)) {
    t.strictSame(errorOf(await send(emulator, { ...list, host })), expected, host)
  }
  const deletion = await send(emulator, { ...remove('a'), host: 'service.cos.myqcloud.com' })
  t.strictSame(errorOf(deletion), [400, 'InvalidArgument'])
  const elsewhere = await send(emulator, { ...list, host: bucketHost.replace('-guangzhou', '-tokyo') })
  t.strictSame(errorOf(elsewhere), [404, 'NoSuchBucket'])
})

t.test('target in absolute form takes precedence over Host', async t => {
  const emulator = await startForTest(t)
  const response = await send(emulator, {
    ...list,
    tamper: request => {
      request.target = `http://${bucketHost}/?inventory`
      request.headers['Host'] = `127.0.0.1:${emulator.port}`
    }
  })
  t.equal(response.status, 200)
  const { target, host } = emulator.requests[0] ?? {}
  t.strictSame([target, host], [`http://${bucketHost}/?inventory`, bucketHost])
  const bare = await send(emulator, { target: '/', tamper: request => { request.target = `http://${bucketHost}` } })
  t.match([bare.status, bare.body], [200, /^<ListBucketResult>/])
})

t.test('request returns 400 when Host or an x-cos header occurs twice', async t => {
  const emulator = await startForTest(t)
  const response = await send(emulator, { ...list, headers: { 'x-cos-note': ['a', 'b'] } })
  t.strictSame(errorOf(response), [400, 'InvalidRequest'])
  const host = `Host: ${bucketHost}\r\n`
  const twoHosts = await exchange(emulator, `GET /?inventory HTTP/1.1\r\n${host}${host}Connection: close\r\n\r\n`)
  t.match(twoHosts, /<Code>InvalidRequest</)
  t.equal((await send(emulator, { ...list, headers: { Accept: ['a', 'b'] } })).status, 200)
})

t.test('HEAD returns the region of a bucket, or 404', async t => {
  const emulator = await startForTest(t)
  const { status, headers } = await send(emulator, { method: 'HEAD', target: '/' })
  t.strictSame([status, headers['x-cos-bucket-region']], [200, 'ap-guangzhou'])
  const absent = await send(emulator, { method: 'HEAD', target: '/', host: bucketHost.replace('example', 'absent') })
  t.strictSame([absent.status, absent.body], [404, ''])
})

t.test('a key of an account has access to its own buckets only', async t => {
  const keyOf = (appId: string) => ({ secretId: `AKID${appId}`, secretKey: `key${appId}`, appId })
  const [one, two] = [keyOf('1250000000'), keyOf('1260000000')]
  const names = [bucketName, 'logs-1260000000'] as const
  const emulator = await startForTest(t, { credentials: [one, two], buckets: names.map(name => ({ name, region: 'ap-guangzhou' })) })
  const hostOf = (name: string) => `${name}.cos.ap-guangzhou.myqcloud.com`
  for (const [credential, own, other] of [[one, ...names], [two, names[1], names[0]]] as const) {
    t.equal((await send(emulator, { target: '/?inventory', host: hostOf(own), credential })).status, 200)
    for (const target of ['/?inventory', '/?inventory&id=a', '/', '/key']) {
      t.strictSame(errorOf(await send(emulator, { target, host: hostOf(other), credential })), [403, 'AccessDenied'], target)
    }
    const { body } = await send(emulator, { target: '/', host: 'service.cos.myqcloud.com', credential })
    t.strictSame([...body.matchAll(/<Name>(.*?)<\/Name>/g)].map(([, name]) => name), [own])
  }
})

t.test('GET Service lists the buckets in pages', async t => {
  const emulator = await startForTest(t)
  const host = 'service.cos.myqcloud.com'
  const page = async (target: string, ofHost = host) => {
    const { body } = await send(emulator, { target, host: ofHost })
    const found = [...body.matchAll(/<Name>([^<]*)<\/Name><Location>([^<]*)/g)]
    const names = found.map(([, name, region]) => [name, region])
    return { names, isTruncated: element(body, 'IsTruncated'), next: element(body, 'NextMarker') }
  }
  const all = [
    [bucketName, 'ap-guangzhou'], ['logs-1250000000', 'ap-shanghai'], ['reports-1250000000', 'ap-guangzhou']
  ]
  t.strictSame(await page('/'), { names: all, isTruncated: 'false', next: '' })
  t.strictSame(await page('/?max-keys=2'), { names: all.slice(0, 2), isTruncated: 'true', next: 'logs-1250000000' })
  t.strictSame((await page('/?max-keys=2000&marker=logs-1250000000')).names, all.slice(2))
  t.strictSame((await page('/?region=ap-shanghai')).names, [all[1]])
  t.strictSame((await page('/', 'cos.ap-shanghai.tencentcos.cn')).names, [all[1]])
  for (const target of ['/?max-keys=0', '/?max-keys=2001', '/?max-keys=x', '/?tagkey=a']) {
    t.strictSame(errorOf(await send(emulator, { target, host })), [400, 'InvalidArgument'], target)
  }
})

t.test('malformed HTTP returns 400 and closes the connection', async t => {
  const emulator = await startForTest(t)
  t.match(await exchange(emulator, 'what is this\r\n\r\n'), /^HTTP\/1\.1 400 Bad Request\r\n[^]*<Code>BadRequest</)
  t.match(await exchange(emulator, 'GET / HTTP/1.1\r\n\r\n'), /<Code>InvalidArgument</, 'no Host')
  const disconnected = await open(emulator)
  disconnected.write(`GET /?inventory HTTP/1.1\r\nHost: ${bucketHost}\r\n`)
  disconnected.resetAndDestroy()
  t.equal((await send(emulator, list)).status, 200)
  t.equal(emulator.connections, 4)
})

t.test('journal keeps the last 10,000 requests', async t => {
  const emulator = await startForTest(t)
  emulator.requests.push(...Array.from({ length: 10_000 }, (_, index) => toJournalEntry(index)))
  await send(emulator, list)
  t.equal(emulator.requests.length, 10_000)
  t.equal(emulator.requests[0]?.target, '1')
  t.equal(emulator.requests.at(-1)?.target, '/?inventory')
})

function toJournalEntry (index: number): Emulator['requests'][number] {
  return { method: 'GET', target: String(index), host: '', headers: {}, body: '', operation: 'Unknown', status: 0 }
}

t.test('reset removes everything except keys and buckets', async t => {
  const emulator = await startForTest(t)
  await send(emulator, toPut('a'))
  await send(emulator, toJob('once'))
  emulator.addFault({ kind: 'hang' })
  emulator.reset()
  t.strictSame(emulator.requests, [])
  t.strictSame(emulator.configurations(bucketName), [])
  t.strictSame(emulator.faults(), [])
  t.equal((await send(emulator, toJob('once'))).status, 200)
})

t.test('close ends idle connections and connections with a partial request', async t => {
  const emulator = await startForTest(t)
  const idle = await open(emulator)
  const half = await open(emulator)
  half.write('GET /?inven')
  const both = Promise.all([ended(idle), ended(half)])
  await emulator.close()
  t.strictSame(await both, [undefined, undefined])
  await t.resolves(emulator.close(), 'a second close does nothing')
})

t.test('address has brackets when the host is an IPv6 address', async t => {
  const emulator = await startForTest(t, { host: '::1' })
  t.equal(emulator.address, `[::1]:${emulator.port}`)
})

t.test('README lists exactly the error codes of the emulator with their status', async t => {
  const readme = readFileSync(new URL('../../src/emulator/README.md', import.meta.url), 'utf8')
  const rows = [...readme.matchAll(/^\| (\d{3}) \| `(\w+)` \|/gm)].map(([, status, code]) => `${code} ${status}`)
  t.strictSame(rows.sort(), Object.entries(cosErrors).map(([code, [status]]) => `${code} ${status}`).sort())
})
