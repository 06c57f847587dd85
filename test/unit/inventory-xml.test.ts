import assert from 'node:assert/strict'
import { XMLValidator } from 'fast-xml-parser'
import fc from 'fast-check'
import t from 'tap'
import type { InventoryPage } from '../../src/contract/inventory.ts'
import { createDocumentReader, etagOf } from '../../src/cos/xml/cos-document.ts'
import {
  fromConfigurationXml, fromJobXml, fromListXml, normalize, toConfigurationXml
} from '../../src/cos/xml/inventory-xml.ts'
import { escapeText } from '../../src/cos/xml/mapping.ts'
import { configurationExtent, parseXml } from '../../src/cos/xml/parser.ts'
import { CancelSource } from '../../src/concurrency/cancel-signal.ts'
import type { CancelSignal } from '../../src/concurrency/cancel-signal.ts'
import { pageToJson } from '../../src/http/json-responses.ts'
import { runsOf } from '../runs.ts'
import { configuration } from '../start.ts'

const bytes = (xml: string) => Buffer.from(xml)
const read = (xml: string) => fromConfigurationXml(xml) as unknown as Record<string, unknown>
const readPage = async (page: Buffer) =>
  JSON.parse(await pageToJson(await createDocumentReader().page(page, new CancelSource()))) as InventoryPage
const inConfiguration = (xml: string) => `<InventoryConfiguration><Id>a</Id>${xml}</InventoryConfiguration>`

/** Texts that parsers and builders often change. */
const hostileTexts = [
  'a&b<c>"d\'e', ' lead and trail ', '00123', '1e5', 'true', '0x1F', ']]>', '&amp;lt;', '__proto__', '\t', 'a\r\nb', '日本/😀', '',
  '#text', '@_a', '<!DOCTYPE x>', '&#13;', '\u0085\u2028', ' ', '\n', 'constructor', '%s', '-0', '1.0'
]

// The characters that XML 1.0 allows.
const xmlChar = fc.oneof(
  fc.constantFrom(...'\t\n\r &<>"\'#;[]!-?/=:'),
  fc.integer({ min: 0x20, max: 0xD7FF }).map(code => String.fromCodePoint(code)),
  fc.integer({ min: 0xE000, max: 0xFFFD }).map(code => String.fromCodePoint(code)),
  fc.integer({ min: 0x10000, max: 0x10FFFF }).map(code => String.fromCodePoint(code))
)
const text = fc.oneof(fc.constantFrom(...hostileTexts), fc.string({ unit: xmlChar, maxLength: 30 }))
const plain = { noNullPrototype: true }
const optional = { ...plain, requiredKeys: [] }
const flatFilter = fc.record({
  Prefix: text,
  Tag: fc.array(fc.record({ Key: text, Value: text }, plain), { minLength: 1, maxLength: 3 }),
  StorageClass: text,
  Period: fc.record({ StartTime: fc.nat(), EndTime: fc.nat() }, optional)
    .filter(period => Object.keys(period).length > 0)
}, optional).filter(filter => Object.keys(filter).length > 0)
const configurations = fc.record({
  Id: fc.stringMatching(/^[A-Za-z0-9._-]{1,20}$/),
  IsEnabled: fc.boolean(),
  IncludedObjectVersions: fc.constantFrom('All', 'Current'),
  Filter: flatFilter,
  OptionalFields: fc.record({ Field: fc.uniqueArray(fc.constantFrom('Size', 'ETag', 'Tag', 'x-cos-meta-*'), { minLength: 1 }) }, plain),
  Schedule: fc.oneof(
    fc.record({ Frequency: fc.constantFrom('Daily', 'Weekly') }, plain),
    fc.record({ Frequency: fc.constant('Monthly'), MonthlyDate: fc.integer({ min: 1, max: 31 }) }, plain)
  ),
  Destination: fc.record({
    COSBucketDestination: fc.record({
      Bucket: text,
      Format: fc.constant('CSV'),
      AccountId: fc.stringMatching(/^[0-9]{1,12}$/),
      Prefix: text,
      Encryption: fc.constant({ SSECOS: {} })
    }, { ...plain, requiredKeys: ['Bucket', 'Format'] })
  }, plain)
}, {
  ...plain,
  requiredKeys: ['Id', 'IsEnabled', 'IncludedObjectVersions', 'Schedule', 'Destination']
})

const elementName = fc.stringMatching(/^[A-Z_a-z][A-Za-z0-9._-]{0,8}$/).map(name => `Z${name}`)
const { unknownValue } = fc.letrec<{ unknownValue: unknown }>(tie => ({
  unknownValue: fc.oneof({ maxDepth: 3, withCrossShrink: true },
    text,
    fc.dictionary(elementName, tie('unknownValue'), { minKeys: 1, maxKeys: 3, noNullPrototype: true }),
    fc.array(fc.oneof(text, fc.dictionary(elementName, text, { minKeys: 1, maxKeys: 2, noNullPrototype: true })),
      { minLength: 2, maxLength: 3 }))
}))
const unknowns = fc.dictionary(fc.oneof(elementName, fc.constantFrom('__proto__', 'constructor', 'toString')), unknownValue,
  { maxKeys: 3, noNullPrototype: true })

t.test('configuration is the same when it is written to XML and read back', async t => {
  t.doesNotThrow(() => {
    fc.assert(fc.property(configurations, configuration => {
      assert.deepEqual(read(toConfigurationXml(configuration.Id, configuration)), configuration)
    }), { numRuns: runsOf(300) })
  })
})

t.test('unknown elements are kept at every level when XML is written and read back', async t => {
  t.doesNotThrow(() => {
    fc.assert(fc.property(configurations, unknowns, unknowns, unknowns, (configuration, ...added) => {
      const [top, inSchedule, inDestination] = added
      const { COSBucketDestination: destination } = configuration.Destination
      const input = {
        ...configuration,
        ...top,
        Schedule: { ...configuration.Schedule, ...inSchedule },
        Destination: { COSBucketDestination: { ...destination, ...inDestination } }
      }
      const output = read(toConfigurationXml(configuration.Id, input))
      assert.deepEqual(sorted(output), sorted(input))
    }), { numRuns: runsOf(300) })
  })
})

/** Sorts members, because the canonical order is that of COS and not that of the caller. */
function sorted (value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null) return value
  return Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1).map(([name, each]) => [name, sorted(each)])
}

t.test('escapeText adds no elements for any text', async t => {
  t.doesNotThrow(() => {
    fc.assert(fc.property(text, value => {
      const { children } = parseXml(bytes(`<a><b>${escapeText(value)}</b></a>`), configurationExtent)
      return children.length === 1 && children[0]?.children.length === 0 && children[0].text === value
    }), { numRuns: runsOf(500) })
  })
})

t.test('toConfigurationXml returns the canonical form of COS', async t => {
  t.equal(toConfigurationXml('list1', configuration), '<InventoryConfiguration><Id>list1</Id><IsEnabled>true</IsEnabled>' +
    '<IncludedObjectVersions>All</IncludedObjectVersions><Filter><Prefix>myPrefix</Prefix></Filter><OptionalFields>' +
    '<Field>Size</Field><Field>ETag</Field></OptionalFields><Schedule><Frequency>Daily</Frequency></Schedule><Destination>' +
    '<COSBucketDestination><Format>CSV</Format><AccountId>100000000001</AccountId>' +
    '<Bucket>qcs::cos:ap-guangzhou::examplebucket-1250000000</Bucket><Prefix>list1</Prefix><Encryption><SSE-COS></SSE-COS>' +
    '</Encryption></COSBucketDestination></Destination></InventoryConfiguration>')

  const filter = (value: object) => toConfigurationXml('a', { Filter: value })
    .replace('<InventoryConfiguration><Id>a</Id>', '').replace('</InventoryConfiguration>', '')
  const period = { StartTime: 1, EndTime: 2 }
  const periodXml = '<Period><StartTime>1</StartTime><EndTime>2</EndTime></Period>'
  const tag = { Key: 'k', Value: 'v' }
  const tagXml = '<Tag><Key>k</Key><Value>v</Value></Tag>'
  t.equal(filter({ Period: period, Prefix: 'p' }), `<Filter><Prefix>p</Prefix>${periodXml}</Filter>`)
  t.equal(filter({ Prefix: 'p', Tag: [tag, tag], Period: period }),
    `<Filter><And><Prefix>p</Prefix>${tagXml}${tagXml}</And>${periodXml}</Filter>`)
  t.equal(filter({ StorageClass: 's' }), '<Filter><And><StorageClass>s</StorageClass></And></Filter>')
  t.equal(filter({ StorageClass: ['s', 't'] }),
    '<Filter><And><StorageClass>s</StorageClass><StorageClass>t</StorageClass></And></Filter>')
  t.equal(filter({ And: { Prefix: 'p' } }), '<Filter><Prefix>p</Prefix></Filter>')
  t.equal(filter({ And: { Prefix: 'p', Tag: [tag] } }), `<Filter><And><Prefix>p</Prefix>${tagXml}</And></Filter>`)
  t.equal(filter({ And: {}, Prefix: 'p' }), '<Filter><Prefix>p</Prefix></Filter>')
  t.equal(filter({ Prefix: 'p', And: { New: 'n' } }), '<Filter><And><Prefix>p</Prefix><New>n</New></And></Filter>')
  t.equal(filter({ Prefix: 'p', New: 'n' }), '<Filter><Prefix>p</Prefix><New>n</New></Filter>')
  t.equal(filter({ New: 'n', Prefix: 'p', Tag: [tag] }), `<Filter><New>n</New><And><Prefix>p</Prefix>${tagXml}</And></Filter>`)
})

t.test('toConfigurationXml omits empty containers and writes COS names for SDK names', async t => {
  const xml = toConfigurationXml('a', {
    Id: 'ignored',
    IsEnabled: 'True',
    Filter: { Tag: [], Period: {} },
    OptionalFields: [],
    Destination: { COSBucketDestination: { Prefix: '', Encryption: {} } }
  })
  t.equal(xml, '<InventoryConfiguration><Id>a</Id><IsEnabled>true</IsEnabled><Destination><COSBucketDestination><Prefix></Prefix>' +
    '</COSBucketDestination></Destination></InventoryConfiguration>')
  t.match(toConfigurationXml('a', { OptionalFields: ['Size'] }), '<OptionalFields><Field>Size</Field></OptionalFields>')
  t.match(toConfigurationXml('a', { Destination: { COSBucketDestination: { Encryption: { SSECOS: '' } } } }),
    '<Encryption><SSE-COS></SSE-COS></Encryption>')
})

t.test('toConfigurationXml writes unknown elements at the place of their members', async t => {
  const written = toConfigurationXml('a', { First: 1, Id: 'a', New: { Deep: [true, 'x'] }, Newer: '', Schedule: { Odd: 'o', Frequency: 'Daily' } })
  t.equal(written, '<InventoryConfiguration><Id>a</Id><First>1</First><New><Deep>true</Deep><Deep>x</Deep></New><Newer></Newer>' +
    '<Schedule><Odd>o</Odd><Frequency>Daily</Frequency></Schedule></InventoryConfiguration>')
})

t.test('fromConfigurationXml returns the same configuration for every variant of COS', async t => {
  const plain = read(toConfigurationXml('a', configuration))
  const body = toConfigurationXml('a', configuration)
  const variants = {
    prolog: `<?xml version="1.0" encoding="utf-8"?>\n${body}`,
    'single-quoted prolog': `<?xml version='1.0' encoding='utf-8' ?>${body}`,
    'BOM and blank lines': `\uFEFF\n\n${body}\n\n`,
    namespace: body.replace('<InventoryConfiguration>', '<InventoryConfiguration xmlns="http://www.qcloud.com/document/product/436/7751">'),
    'namespace prefix': body.replaceAll('<', '<c:').replaceAll('<c:/', '</c:').replace('<c:InventoryConfiguration>', '<c:InventoryConfiguration xmlns:c="urn:c">'),
    'white space': body.replaceAll('><', '>\n\t<').replace(/<SSE-COS>\s*<\/SSE-COS>/, '<SSE-COS> </SSE-COS>'),
    comments: body.replaceAll('><', '><!-- <a> & --><'),
    'processing instruction': body.replace('<Id>', '<?target data?><Id>'),
    True: body.replace('>true<', '> True <'),
    TRUE: body.replace('>true<', '>TRUE<'),
    'Filter/And/Prefix': body.replace(/<Filter>(.*)<\/Filter>/, '<Filter><And>$1</And></Filter>'),
    'Prefix in both places': body.replace(/<Filter>(.*)<\/Filter>/, '<Filter>$1<And>$1</And></Filter>'),
    'self-closing SSE-COS': body.replace('<SSE-COS></SSE-COS>', '<SSE-COS/>'),
    SSECOS: body.replaceAll('SSE-COS', 'SSECOS'),
    'direct SSE-COS': body.replace('<Encryption><SSE-COS></SSE-COS></Encryption>', '<SSE-COS/>'),
    CDATA: body.replace('myPrefix', '<![CDATA[my]]>Pre<![CDATA[fix]]>'),
    references: body.replace('myPrefix', '&#109;y&#x00000050;refi&#0000000120;'),
    'declared US-ASCII': `<?xml version="1.0" encoding="US-ASCII" standalone='yes'?>${body}`,
    'declared Latin-1, but ASCII': `<?xml version="1.0" encoding="ISO-8859-1"?>${body}`,
    'XML 1.1': `<?xml version="1.1"?>${body}`,
    attributes: body.replace('<Id>', '<Id type="a&lt;b">')
  }
  for (const [name, xml] of Object.entries(variants)) t.strictSame(read(xml), plain, name)

  t.doesNotThrow(() => {
    fc.assert(fc.property(configurations, configuration => {
      const canonical = toConfigurationXml(configuration.Id, configuration)
      const elements = /^<InventoryConfiguration>(.*)<\/InventoryConfiguration>$/s.exec(canonical)?.[1] ?? ''
      const reordered = parseXml(bytes(canonical), configurationExtent).children.reverse().map(({ name }) =>
        new RegExp(`<${name}>.*?</${name}>`, 's').exec(elements)?.[0] ?? '')
      assert.deepEqual(sorted(read(`<InventoryConfiguration>${reordered.join('\n')}</InventoryConfiguration>`)), sorted(configuration))
    }))
  }, 'the order of elements does not matter')
})

t.test('fromConfigurationXml keeps unknown elements and values', async t => {
  t.strictSame(read(inConfiguration('<New>x</New><New>y</New><Deep><A> 1 </A><B><C/></B></Deep><IncludedObjectVersions>No</IncludedObjectVersions>')),
    { Id: 'a', New: ['x', 'y'], Deep: { A: ' 1 ', B: { C: '' } }, IncludedObjectVersions: 'No' })
  t.strictSame(read(inConfiguration('<Filter><And><Prefix>p</Prefix><New>n</New></And><Prefix>p</Prefix></Filter>')),
    { Id: 'a', Filter: { Prefix: 'p', And: { New: 'n' } } })
  t.strictSame(read(inConfiguration('<Filter><And><Tag><Key>a</Key><Value>1</Value></Tag></And><Tag><Key>b</Key><Value>2</Value></Tag></Filter>')),
    { Id: 'a', Filter: { Tag: [{ Key: 'a', Value: '1' }, { Key: 'b', Value: '2' }] } })
  t.strictSame(read(inConfiguration('<Filter><And><StorageClass>A</StorageClass><StorageClass>B</StorageClass></And></Filter>')),
    { Id: 'a', Filter: { StorageClass: ['A', 'B'] } })
  t.strictSame(read(inConfiguration('<OptionalFields><Field>SIZE</Field></OptionalFields>')), { Id: 'a', OptionalFields: { Field: ['SIZE'] } })
  t.strictSame(read(inConfiguration('<Schedule><Frequency>Hourly</Frequency><MonthlyDate> 007 </MonthlyDate></Schedule>')),
    { Id: 'a', Schedule: { Frequency: 'Hourly', MonthlyDate: 7 } })
  const inDestination = (xml: string) => read(inConfiguration('<Destination><COSBucketDestination><Bucket>b</Bucket><Format>CSV</Format>' +
    `${xml}</COSBucketDestination></Destination>`))
  const destination = (others: object) => ({ Id: 'a', Destination: { COSBucketDestination: { Bucket: 'b', Format: 'CSV', ...others } } })
  t.strictSame(inDestination('<Encryption><SSE-KMS><KeyId>k</KeyId></SSE-KMS></Encryption><SSE-COS><Mode>m</Mode></SSE-COS>'),
    destination({ Encryption: { 'SSE-KMS': { KeyId: 'k' }, SSECOS: { Mode: 'm' } } }))
  for (const encryption of ['<Encryption><SSE-COS>111</SSE-COS></Encryption>', '<SSE-COS>111</SSE-COS>', '<Encryption><SSECOS>111</SSECOS></Encryption>']) {
    const once = inDestination(encryption)
    t.strictSame(once, destination({ Encryption: { SSECOS: { '#text': '111' } } }), encryption)
    t.match(toConfigurationXml('a', once), '<Encryption><SSE-COS>111</SSE-COS></Encryption>')
    t.strictSame(normalize('a', once), once)
    t.strictSame(normalize('a', destination({ Encryption: { SSECOS: '111' } })), once, 'a text becomes a marker with this text')
  }
  const strange = { Destination: { COSBucketDestination: { Bucket: 'b', Format: 'CSV', Encryption: { SSECOS: {}, New: 'n' } } } }
  t.match(toConfigurationXml('a', strange), '<Encryption><SSE-COS></SSE-COS><New>n</New></Encryption>')
})

t.test('normalize throws ValidationFailed only for structural errors', async t => {
  const failing = Object.defineProperty({}, 'Filter', { enumerable: true, get () { throw new Error('inner') } })
  t.throws(() => normalize('a', failing), { message: 'inner' })
  t.throws(() => normalize('a', { Schedule: { MonthlyDate: 1 } }), { code: 'ValidationFailed' })
})

t.test('fromConfigurationXml throws XmlError when the structure is not as documented', async t => {
  const inDestination = (xml: string) => `<Destination><COSBucketDestination>${xml}</COSBucketDestination></Destination>`
  const whole = '<Bucket>b</Bucket><Format>CSV</Format>'
  for (const xml of [
    '<IsEnabled>maybe</IsEnabled>', '<IsEnabled/>', '<Schedule><Frequency>Monthly</Frequency><MonthlyDate>first</MonthlyDate></Schedule>',
    '<Filter><Period><StartTime>99999999999999999999</StartTime></Period></Filter>', '<Filter><Period><StartTime>1e3</StartTime></Period></Filter>',
    '<IncludedObjectVersions><All/></IncludedObjectVersions>', '<Schedule><Frequency>x</Frequency></Schedule>'.repeat(2),
    '<Schedule><MonthlyDate>1</MonthlyDate></Schedule>', '<Filter><Prefix>a</Prefix></Filter>'.repeat(2), '<Filter><And><New/></And><And><New/></And></Filter>',
    '<Filter><Prefix>a</Prefix><And><Prefix>b</Prefix></And></Filter>', '<Filter><Tag><Key>a</Key></Tag></Filter>', '<OptionalFields><New>x</New></OptionalFields>',
    '<OptionalFields><Field><a/></Field></OptionalFields>', inDestination('<Bucket>b</Bucket>'), inDestination(whole).repeat(2),
    inDestination(`${whole}<Encryption><SSECOS/></Encryption><SSE-COS>direct</SSE-COS>`), inDestination(`${whole}<SSE-COS/><SSE-COS/>`),
    '<Destination><Other>b</Other></Destination>', '<Id>a</Id>'
  ]) t.throws(() => read(inConfiguration(xml)), { name: 'XmlError' }, xml)
})

t.test('fromConfigurationXml omits empty containers', async t => {
  t.strictSame(read(inConfiguration('<Filter></Filter><OptionalFields/><Schedule> </Schedule><Destination><COSBucketDestination>' +
    '<Encryption/></COSBucketDestination></Destination>')), { Id: 'a' })
  t.strictSame(read(inConfiguration('<Filter><Period><StartTime/><EndTime> </EndTime></Period></Filter><Destination><COSBucketDestination>' +
    '<AccountId></AccountId></COSBucketDestination></Destination><Schedule><MonthlyDate/></Schedule>')), { Id: 'a' }, 'numbers and accounts too')
  t.strictSame(read(inConfiguration('<Filter><And></And></Filter>')), { Id: 'a' })
  const tags = ['<Tag><Key>a</Key><Value>1</Value></Tag>', '<Tag><Key>b</Key><Value>2</Value></Tag>']
  const inBothPlaces = `<Filter>${tags.join('')}<And>${tags.toReversed().join('')}</And></Filter>`
  t.strictSame(read(inConfiguration(inBothPlaces)), read(inConfiguration(`<Filter>${tags.join('')}</Filter>`)), 'equal tags in both places are one')
  t.strictSame(read(inConfiguration('<Filter><And/><Period/></Filter>')), { Id: 'a' })
  t.strictSame(read(inConfiguration('<Filter><Prefix></Prefix></Filter>')), { Id: 'a', Filter: { Prefix: '' } }, 'an empty text is kept')
})

t.test('element names of Object.prototype are read and written like other names', async t => {
  const json = read(inConfiguration('<__proto__><polluted>yes</polluted></__proto__><constructor>c</constructor><hasOwnProperty>h</hasOwnProperty>'))
  t.equal(JSON.stringify(json), '{"Id":"a","__proto__":{"polluted":"yes"},"constructor":"c","hasOwnProperty":"h"}')
  t.equal(({} as Record<string, unknown>)['polluted'], undefined)
  t.match(toConfigurationXml('a', json), '<__proto__><polluted>yes</polluted></__proto__><constructor>c</constructor>')
  const filter = read(inConfiguration('<Filter><And><__proto__>x</__proto__></And><toString>y</toString></Filter>'))
  t.equal(JSON.stringify(filter), '{"Id":"a","Filter":{"And":{"__proto__":"x"},"toString":"y"}}')
})

t.test('page has configurations, and a continuation token only when it is truncated', async t => {
  const page = (xml: string) => readPage(bytes(`<ListInventoryConfigurationResult>${xml}</ListInventoryConfigurationResult>`))
  const one = inConfiguration('')
  t.strictSame(await page('<IsTruncated>false</IsTruncated><ContinuationToken/>'), { InventoryConfigurations: [], IsTruncated: false })
  t.strictSame(await page(`${one}<IsTruncated>True</IsTruncated><ContinuationToken>x</ContinuationToken><NextContinuationToken>a+/=</NextContinuationToken><New>n</New>`),
    { InventoryConfigurations: [{ Id: 'a' }], IsTruncated: true, New: 'n', NextContinuationToken: 'a+/=' })
  t.strictSame(await page(`<IsTruncated>false</IsTruncated>${one}${one}<NextContinuationToken>a</NextContinuationToken>`),
    { InventoryConfigurations: [{ Id: 'a' }, { Id: 'a' }], IsTruncated: false })
  t.strictSame(await page(`<IsTruncated>false</IsTruncated><InventoryConfiguration/>${one}<InventoryConfiguration> </InventoryConfiguration>`),
    { InventoryConfigurations: [{ Id: 'a' }], IsTruncated: false }, 'an empty element is skipped')
  t.strictSame(await readPage(bytes('<ListInventoryConfigurationsResult><IsTruncated>false</IsTruncated></ListInventoryConfigurationsResult>')),
    { InventoryConfigurations: [], IsTruncated: false })
  for (const xml of ['', one, '<IsTruncated>true</IsTruncated>', '<IsTruncated>true</IsTruncated><NextContinuationToken/>', '<IsTruncated>x</IsTruncated>',
    '<IsTruncated>false</IsTruncated><InventoryConfigurations/>',
    '<IsTruncated>true</IsTruncated><IsTruncated>false</IsTruncated>', '<IsTruncated>false</IsTruncated><InventoryConfiguration><IsEnabled>true</IsEnabled></InventoryConfiguration>',
    '<IsTruncated>false</IsTruncated><InventoryConfiguration/><InventoryConfiguration>text</InventoryConfiguration>']) {
    await t.rejects(page(xml), { name: 'XmlError' }, xml)
  }
})

t.test('fromListXml returns the original XML of each configuration', async t => {
  const documents = ['', '<New a="<">日本\u{1F600}</New>', '<Filter><And/></Filter>'].map(xml =>
    inConfiguration(xml.replace('"<"', '"&lt;"')).replace('<InventoryConfiguration>', '<InventoryConfiguration b = "c" >'))
    .concat('<x:InventoryConfiguration><Id>b</Id></x:InventoryConfiguration>', inConfiguration(`<X>${'y'.repeat(40_000)}</X>`))
  const page = `<!-- <InventoryConfiguration> --><x:ListInventoryConfigurationResult xmlns:x="urn:x">${documents.join('\n')}<IsTruncated>false</IsTruncated></x:ListInventoryConfigurationResult>`
  const { stored } = await fromListXml(page)
  t.strictSame(stored.map(({ xml }) => xml), documents)
  t.strictSame(stored.map(({ configuration }) => configuration), documents.map(read))
})

t.test('page is rejected when it contains too much markup', async t => {
  const inPage = (xml: string) => bytes(`<ListInventoryConfigurationResult>${xml}<IsTruncated>false</IsTruncated></ListInventoryConfigurationResult>`)
  const piece = inConfiguration('<a></a>'.repeat(7_900))
  t.equal((await readPage(inPage(piece.repeat(30)))).InventoryConfigurations.length, 30)
  const tooMuch = { message: 'the document has too much markup' }
  await t.rejects(readPage(inPage(piece.repeat(40))), tooMuch)
  await t.rejects(readPage(inPage(inConfiguration('<a></a>'.repeat(8_100)))), tooMuch, 'one configuration')
  await t.rejects(readPage(inPage(piece + '<a></a>'.repeat(600))), tooMuch, 'outside the configurations')
  await t.rejects(readPage(inPage(inConfiguration('').repeat(1_001))), { message: 'the document has too many configurations' })
  const long = 'x'.repeat(300_000)
  await t.rejects(readPage(inPage(inConfiguration(`<a>${long}</a><b>${long}</b>`))), { message: 'the document is too long' })
  const attributes = (count: number) => inConfiguration(`<a ${Array.from({ length: count }, (_, index) => `b${index} = "c"`).join(' ')}/>`)
  t.equal(read(attributes(990))['Id'], 'a')
  t.throws(() => read(attributes(1_010)), tooMuch)
})

t.test('document reader returns the same object for the same document within its limit', async t => {
  const { document: readDocument } = createDocumentReader()
  const document = (id: string, prefix = 'p') => bytes(toConfigurationXml(id, { ...configuration, Filter: { Prefix: prefix } }))
  const first = readDocument(document('a'))
  t.equal(first.xml, document('a').toString())
  t.strictSame(first.configuration, read(first.xml))
  t.equal(first.json(), JSON.stringify(first.configuration))
  t.equal(first.json(), JSON.stringify(first.configuration), 'also at the second call')
  t.equal(first.etag(), etagOf(first.configuration))
  t.equal(first.etag(), etagOf(first.configuration))
  t.equal(readDocument(document('a')), first, 'the same object')
  t.not(readDocument(document('b')).etag(), first.etag())
  const isFrozen = (value: unknown): boolean => typeof value !== 'object' || value === null ||
    (Object.isFrozen(value) && Object.values(value).every(isFrozen))
  t.ok(isFrozen(first.configuration), 'a request cannot change the shared object')
  const large = document('a', 'x'.repeat(40_000))
  t.not(readDocument(large), readDocument(large), 'a large document is not cached')
  for (let index = 0; index < 40; index++) readDocument(document(String(index), 'x'.repeat(30_000)))
  t.equal(readDocument(document('a')), first)
  for (let index = 0; index < 60; index++) readDocument(document(String(index), 'y'.repeat(30_000)))
  t.not(readDocument(document('a')), first)
})

t.test('document reader returns the same object for the same page', async t => {
  const reader = createDocumentReader()
  const page = (...ids: string[]) => bytes('<ListInventoryConfigurationResult>' +
    ids.map(id => toConfigurationXml(id, configuration)).join('') + '<IsTruncated>false</IsTruncated></ListInventoryConfigurationResult>')
  const first = await reader.page(page('a', 'b'), new CancelSource())
  t.equal(await reader.page(page('a', 'b'), new CancelSource()), first)
  t.not(await reader.page(page('b', 'a'), new CancelSource()), first)
  const large = page(...Array.from({ length: 1_000 }, (_, index) => String(index)))
  t.not(await reader.page(large, new CancelSource()), await reader.page(large, new CancelSource()), 'a large page is not cached')
})

t.test('pages are read in alternation, in order of arrival, up to four at once', async t => {
  const reader = createDocumentReader()
  const page = (id: string, count: number) => bytes('<ListInventoryConfigurationResult>' +
    Array.from({ length: count }, (_, index) => toConfigurationXml(`${id}-${index}`, configuration)).join('') +
    '<IsTruncated>false</IsTruncated></ListInventoryConfigurationResult>')
  const order: string[] = []
  const reading = (name: string, bytes: Buffer, caller: CancelSignal = new CancelSource()) =>
    reader.page(bytes, caller).then(
      ({ documents: { length } }) => order.push(`${name} ${length}`),
      (error: Error) => order.push(`${name} ${error.name}`))
  await Promise.all([reading('large', page('a', 1_000)), reading('malformed', bytes('<a/>')), reading('small', page('b', 1))])
  t.strictSame(order, ['malformed XmlError', 'small 1', 'large 1000'], 'a small page does not wait for the end of a large page')

  order.length = 0
  let iterations = 0
  const count = () => {
    iterations += 1
    next = setImmediate(count)
  }
  let next = setImmediate(count)
  const begun = new Set<number>()
  await Promise.all(Array.from({ length: 30 }, (_, index) =>
    reading(String(index), page(`b${index}`, 1), checkedBy(() => { begun.add(index) }))))
  clearImmediate(next)
  t.strictSame([...begun], Array.from({ length: 30 }, (_, index) => index), 'first come, first served')
  t.strictSame(new Set(order), new Set(Array.from({ length: 30 }, (_, index) => `${index} 1`)))
  t.ok(iterations >= 30, `${iterations} event-loop iterations`)

  order.length = 0
  let over: number | undefined
  const fifth = checkedBy(() => { over ??= order.length })
  await Promise.all(['e', 'f', 'g', 'h'].map(name => reading(name, page(name, 1_000))).concat(reading('i', page('i', 1), fifth)))
  t.ok(Number(over) > 0, 'the fifth page begins after one of four is done')

  order.length = 0
  const impatient = new CancelSource()
  const pagesOf = ['k', 'l', 'm', 'n', 'o'].map(name => reading(name, page(name, 1_000)))
  const leftAlready = reading('impatient', page('p', 1), impatient)
  impatient.cancel()
  await Promise.all([...pagesOf, leftAlready])
  t.equal(order[0], 'impatient UpstreamError', 'a queued page is dropped when its caller disconnects')
  t.strictSame(new Set(order.slice(1)), new Set(['k 1000', 'l 1000', 'm 1000', 'n 1000', 'o 1000']))

  order.length = 0
  let checks = 0
  await reading('third', page('j', 1_000), checkedBy(() => ++checks > 2))
  t.strictSame([order, checks], [['third UpstreamError'], 3], 'reading stops when the caller has disconnected')

  order.length = 0
  const [leaving, gone] = [new CancelSource(), new CancelSource()]
  gone.cancel()
  const left = reading('leaving', page('c', 1_000), leaving)
  setImmediate(() => { leaving.cancel() })
  await Promise.all([left, reading('gone', page('d', 1), gone), reading('small', page('q', 1))])
  t.strictSame(order.sort(), ['gone UpstreamError', 'leaving UpstreamError', 'small 1'])
})

/** Returns the signal of a caller and runs the callback each time the reader checks it. */
function checkedBy (hasDisconnected: () => boolean | void): CancelSignal {
  return {
    get aborted () { return hasDisconnected() === true },
    addEventListener () {},
    removeEventListener () {}
  }
}

t.test('event loop runs between parts of a large page', async t => {
  const rich = inConfiguration(`<OptionalFields>${'<Field>x-cos-meta-something</Field>'.repeat(250)}</OptionalFields>`)
  const inPage = (xml: string) => `<ListInventoryConfigurationResult>${xml}</ListInventoryConfigurationResult>`
  const page = inPage(`${rich.repeat(100)}<IsTruncated>false</IsTruncated>`)
  let iterations = 0
  const count = () => {
    iterations += 1
    next = setImmediate(count)
  }
  let next = setImmediate(count)
  const { InventoryConfigurations: items } = await readPage(bytes(page))
  clearImmediate(next)
  t.equal(items.length, 100)
  t.ok(iterations > 1, `${iterations} event-loop iterations`)
})

t.test('fromJobXml returns the job of a POST response', async t => {
  t.strictSame(fromJobXml(bytes('<PostInventoryResult><JobId>NTE0==</JobId></PostInventoryResult>')), { JobId: 'NTE0==' })
  t.throws(() => fromJobXml(bytes('<html/>')), { name: 'XmlError' })
})

t.test('XML reader throws XmlError when the input is not one well-formed document', async t => {
  const whole = toConfigurationXml('a', configuration)
  const documents: Record<string, string | Buffer> = {
    empty: '',
    blank: ' \n',
    text: 'no XML',
    HTML: '<!DOCTYPE html><html><body><p>Sign in<br></body></html>',
    XHTML: '<html><body>Sign in</body></html>',
    'another root': '<Error><Code>x</Code></Error>',
    'no Id': '<InventoryConfiguration></InventoryConfiguration>',
    'two roots': whole + whole,
    'a second root': `${whole}<a/>`,
    'text after the root': `${whole}x`,
    'text after a self-closing root': '<InventoryConfiguration/>x',
    'text before the root': `x${whole}`,
    'a reference after the root': `${whole}&amp;`,
    'text among elements': inConfiguration('text'),
    'text in a container': inConfiguration('<Schedule>Daily</Schedule>'),
    mismatched: '<InventoryConfiguration><Id>a</InventoryConfiguration></Id>',
    'undefined entity': inConfiguration('<X>&nbsp;</X>'),
    'bare ampersand': inConfiguration('<X>a & b</X>'),
    'reference without end': inConfiguration('<X>&amp</X>'),
    'reference to NUL': inConfiguration('<X>&#0;</X>'),
    'reference to a surrogate': inConfiguration('<X>&#xD800;</X>'),
    'reference beyond Unicode': inConfiguration('<X>&#x110000;</X>'),
    'not a number': inConfiguration('<X>&#x;</X>'),
    'control character': inConfiguration('<X>\u0001</X>'),
    'invalid UTF-8': Buffer.concat([bytes('<InventoryConfiguration><Id>a'), Buffer.from([0xFF]), bytes('</Id></InventoryConfiguration>')]),
    DOCTYPE: `<!DOCTYPE InventoryConfiguration>${whole}`,
    'internal entity': `<!DOCTYPE a [<!ENTITY x "y">]>${inConfiguration('<X>&x;</X>')}`,
    'external entity': `<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>${inConfiguration('<X>&x;</X>')}`,
    'invalid name': inConfiguration('<1/>'),
    'unclosed comment': `${whole}<!-- `,
    'unclosed CDATA': '<InventoryConfiguration><Id><![CDATA[a</Id></InventoryConfiguration>',
    'repeated attribute': inConfiguration('<X a="1" a="2"/>'),
    'text beside an element': inConfiguration('<X>a<Y/></X>'),
    'a second XML declaration': inConfiguration('<?xml version="1.0"?>'),
    'an XML declaration after the root': `${whole}<?xml version="1.0"?>`,
    'an XML declaration after a comment': `<!-- a --><?xml version="1.0"?>${whole}`,
    'an XML declaration without version': `<?xml encoding="utf-8"?>${whole}`,
    'two dashes in a comment': inConfiguration('<!-- a -- b -->'),
    'a comment that ends with three dashes': inConfiguration('<!-- a --->'),
    ']]> in text': inConfiguration('<X>]]></X>'),
    'an attribute with <': inConfiguration('<X a="<"/>'),
    'an attribute without quotes': inConfiguration('<X a=b/>'),
    'attributes without a blank': inConfiguration('<X a="b"c="d"/>'),
    'a closing tag with an attribute': inConfiguration('<X></X a="b">'),
    'GBK bytes': Buffer.concat([bytes(`<?xml version="1.0" encoding="GBK"?>${inConfiguration('<X>')}`), Buffer.from([0xC4, 0xE3])]),
    'a declared encoding that is not UTF-8': `<?xml version="1.0" encoding="GB2312"?>${inConfiguration('<X>é</X>')}`,
    'declared Latin-1': `<?xml version="1.0" encoding="ISO-8859-1"?>${inConfiguration('<X>é</X>')}`,
    'declared UTF-16': `<?xml version="1.0" encoding="UTF-16"?>${whole}`,
    'a blank that XML does not know before the root': `\u00A0${whole}`
  }
  for (const [name, document] of Object.entries(documents)) {
    t.throws(() => createDocumentReader().document(Buffer.from(document)), { name: 'XmlError' }, name)
  }
  for (let length = 0; length < whole.length; length += 1) {
    t.throws(() => read(whole.slice(0, length)), { name: 'XmlError' }, `truncated after ${length}`)
  }
})

t.test('fromConfigurationXml returns or throws XmlError when a document is damaged', async t => {
  const whole = toConfigurationXml('a', configuration)
  t.doesNotThrow(() => {
    fc.assert(fc.property(fc.nat({ max: whole.length }), fc.nat({ max: 20 }), text, (from, length, inserted) => {
      try {
        read(whole.slice(0, from) + inserted + whole.slice(from + length))
        return true
      } catch (error) {
        return (error as Error).name === 'XmlError'
      }
    }), { numRuns: runsOf(1000) })
  })
})

t.test('parseXml accepts no document that another validator rejects', async t => {
  const whole = toConfigurationXml('a', configuration)
  const texts = fc.oneof(
    fc.constant(whole), fc.constant(`<?xml version='1.0' encoding='utf-8' ?>\n${whole.replace('>', ' xmlns = "http://....">')}`)
  )
  const damages = fc.constantFrom('<', '>', '/', '&', '"', "'", '<a>', '</a>', '<a/>', '<Id>', '</Id>', 'x', ' ', '=', '<!-- -->', '<![CDATA[',
    ']]>', '<?a?>', '&amp;', ' b="c"', '\r\n', '<x:y>', '</x:y>', '<1>', '</1>', '<é></é>')
  let accepted = 0
  const numRuns = runsOf(10_000)
  const changes = fc.array(fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.nat(4), damages), { maxLength: 2 })
  fc.assert(fc.property(texts, changes, (text, made) => {
    let damaged = text
    for (const [place, length, put] of made) {
      const at = Math.floor(place * damaged.length)
      damaged = damaged.slice(0, at) + put + damaged.slice(at + length)
    }
    try {
      parseXml(bytes(damaged), configurationExtent)
    } catch {
      return
    }
    accepted += 1
    assert.equal(XMLValidator.validate(damaged.trim()), true, damaged)
  }), { numRuns })
  t.ok(accepted > numRuns / 10, `${accepted} of ${numRuns} are well-formed`)
})

t.test('fromConfigurationXml reads a text of 500,000 characters', async t => {
  const long = 'x'.repeat(500_000)
  t.equal(read(inConfiguration(`<X>${long}</X>`))['X'], long)
})

t.test('reader throws XmlError when a document would exhaust time or memory', async t => {
  const lol = Array.from({ length: 10 }, (_, level) => `<!ENTITY l${level + 1} "${`&l${level};`.repeat(10)}">`)
  const documents = {
    'billion laughs': `<!DOCTYPE a [<!ENTITY l0 "lol">${lol.join('')}]><InventoryConfiguration>&l9;</InventoryConfiguration>`,
    'a deep document': '<a>'.repeat(200_000) + '</a>'.repeat(200_000),
    'an unclosed deep document': '<a>'.repeat(200_000),
    'millions of elements': `<a>${'<b/>'.repeat(2_000_000)}</a>`,
    'millions of attributes': `<a ${'x="" '.repeat(1_000_000)}/>`,
    'millions of ampersands': `<a>${'&'.repeat(4_000_000)}</a>`,
    'megabytes of text': inConfiguration(`<X>${'x'.repeat(4_000_000)}</X>`)
  }
  for (const [name, document] of Object.entries(documents)) {
    t.throws(() => read(document), { name: 'XmlError' }, name)
  }
})
