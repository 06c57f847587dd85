/** Changes of a stored configuration must keep the form of all other elements. */
import assert from 'node:assert/strict'
import { Value } from '@sinclair/typebox/value'
import fc from 'fast-check'
import t from 'tap'
import { apply as mergePatch } from 'tiny-merge-patch'
import { InventoryConfigurationSchema } from '../../src/contract/inventory.ts'
import { fromConfigurationXml, normalize, toChangedXml, toConfigurationXml } from '../../src/cos/xml/inventory-xml.ts'
import { canonicalForm } from '../../src/cos/xml/json.ts'
import { configurationExtent, parseText, XmlError } from '../../src/cos/xml/parser.ts'
import type { XmlElement } from '../../src/cos/xml/parser.ts'
import { growsLinearly } from '../growth.ts'
import { runsOf } from '../runs.ts'
import { toXml, wireDocuments } from '../wire-documents.ts'

const numRuns = runsOf(1000)
const read = (xml: string) => fromConfigurationXml(xml)
const documents = wireDocuments('a').map(toXml)

/** Patches of one member each, with the paths of the elements of that member. */
const patches: Array<[patch: object, ...paths: string[]]> = [
  [{ IsEnabled: false }, 'IsEnabled'],
  [{ IncludedObjectVersions: 'Current' }, 'IncludedObjectVersions'],
  [{ Schedule: { Frequency: 'Weekly' } }, 'Schedule/Frequency'],
  [{ Schedule: { MonthlyDate: 5 } }, 'Schedule/MonthlyDate'],
  [{ Schedule: { MonthlyDate: null } }, 'Schedule/MonthlyDate'],
  [{ Filter: { Prefix: 'new' } }, 'Filter/Prefix', 'Filter/And/Prefix'],
  [{ Filter: { Prefix: null } }, 'Filter/Prefix', 'Filter/And/Prefix'],
  [{ Filter: { Period: { StartTime: 5 } } }, 'Filter/Period/StartTime'],
  [{ Filter: { Period: null } }, 'Filter/Period'],
  [{ Filter: { StorageClass: null } }, 'Filter/StorageClass', 'Filter/And/StorageClass'],
  [{ Filter: { Tag: null } }, 'Filter/Tag', 'Filter/And/Tag'],
  [{ Filter: null }, 'Filter'],
  [{ OptionalFields: { Field: ['Tag', 'Size'] } }, 'OptionalFields/Field'],
  [{ OptionalFields: null }, 'OptionalFields'],
  [{ Destination: { COSBucketDestination: { Prefix: 'new' } } }, 'Destination/COSBucketDestination/Prefix'],
  [{ Destination: { COSBucketDestination: { AccountId: null } } }, 'Destination/COSBucketDestination/AccountId'],
  [{ Destination: { COSBucketDestination: { Encryption: { SSECOS: null } } } }, 'Destination/COSBucketDestination/Encryption/SSE-COS',
    'Destination/COSBucketDestination/Encryption/SSECOS', 'Destination/COSBucketDestination/SSE-COS'],
  [{ New: 'new' }, 'New'],
  [{ Deep: { Added: 'new' } }, 'Deep/Added'],
  [{ Deep: null }, 'Deep']
]

/** Returns an element without the elements at a path and without containers that become empty. */
function without (element: XmlElement, [name, ...rest]: string[]): XmlElement {
  const children = element.children.flatMap(child => {
    if (child.name !== name) return [child]
    if (rest.length === 0) return []
    const reduced = without(child, rest)
    return isEmpty(reduced) ? [] : [reduced]
  })
  return { ...element, children }
}

function isEmpty ({ name, children, text }: XmlElement): boolean {
  const mayBeAbsent = ['Filter', 'And', 'Period', 'StartTime', 'EndTime', 'OptionalFields', 'Encryption', 'Deep'].includes(name)
  return mayBeAbsent && text.trim() === '' && children.every(isEmpty)
}

function otherElements (xml: string, paths: string[]): XmlElement {
  return paths.map(path => path.split('/')).reduce(without, parseText(xml, configurationExtent))
}

t.test('toChangedXml changes only the elements of the patched member', async t => {
  let changed = 0
  t.doesNotThrow(() => {
    fc.assert(fc.property(documents, fc.constantFrom(...patches), (xml, [patch, ...paths]) => {
      let before
      try {
        before = read(xml)
      } catch (error) {
        assert.ok(error instanceof XmlError)
        return
      }
      const patched = mergePatch(before, patch) as object
      let after
      try {
        after = normalize('a', patched)
      } catch (error) {
        assert.ok(error instanceof XmlError)
        return
      }
      const written = toChangedXml('a', patched, xml)
      assert.equal(canonicalForm(read(written)), canonicalForm(after))
      assert.deepEqual(otherElements(written, paths), otherElements(xml, paths), written)
      if (canonicalForm(after) === canonicalForm(before)) {
        assert.deepEqual(otherElements(written, []), otherElements(xml, []))
      } else changed += 1
    }), { numRuns })
  })
  t.ok(changed > numRuns / 2, `${changed} of ${numRuns} change something`)
})

t.test('toChangedXml writes any configuration over a stored document', async t => {
  t.doesNotThrow(() => {
    fc.assert(fc.property(documents, documents, (xml, other) => {
      let next
      try {
        read(xml)
        next = read(other)
      } catch (error) {
        assert.ok(error instanceof XmlError)
        return
      }
      assert.equal(canonicalForm(read(toChangedXml('a', next, xml))), canonicalForm(next))
    }), { numRuns })
  })
})

t.test('stored configurations match the schema of GET and survive conversion to JSON', async t => {
  let rejected = 0
  t.doesNotThrow(() => {
    fc.assert(fc.property(documents, xml => {
      let configuration
      try {
        configuration = read(xml)
      } catch (error) {
        assert.ok(error instanceof XmlError)
        rejected += 1
        return
      }
      assert.deepEqual([...Value.Errors(InventoryConfigurationSchema, configuration)], [])
      const again = read(toConfigurationXml('a', JSON.parse(JSON.stringify(configuration)) as object))
      assert.equal(canonicalForm(again), canonicalForm(configuration))
    }), { numRuns })
  })
  t.comment(`${rejected} of ${numRuns} were rejected`)
  t.ok(rejected < numRuns / 5)
})

t.test('toChangedXml takes linear time', async t => {
  const elements = (count: number, text: string) => Array.from({ length: count }, (_, index) => `<N${index}>${text}</N${index}>`).join('')
  const stored = (count: number, text: string) => `<InventoryConfiguration><Id>a</Id>${elements(count, text)}</InventoryConfiguration>`
  t.ok(growsLinearly(count => {
    const xml = stored(count, 'x')
    return toChangedXml('a', read(stored(count, 'y')), xml)
  }, 1_000))
})

t.test('toChangedXml writes canonical form when a document has a namespace prefix', async t => {
  const xml = '<c:InventoryConfiguration xmlns:c="urn:c"><c:Id>a</c:Id><c:IsEnabled>true</c:IsEnabled></c:InventoryConfiguration>'
  t.equal(toChangedXml('a', { IsEnabled: false, Filter: { Prefix: 'p' } }, xml),
    '<InventoryConfiguration><Id>a</Id><IsEnabled>false</IsEnabled><Filter><Prefix>p</Prefix></Filter></InventoryConfiguration>')
})

t.test('toChangedXml adds new members in the form of the stored document', async t => {
  const inConfiguration = (xml: string) => `<InventoryConfiguration><Id>a</Id><IsEnabled>true</IsEnabled>${xml}</InventoryConfiguration>`
  const tag = { Key: 'k', Value: 'v' }
  const tagXml = '<Tag><Key>k</Key><Value>v</Value></Tag>'
  const period = '<Period><StartTime>1</StartTime></Period>'
  const marked = (xml: string) => `<Destination><COSBucketDestination><Bucket>b</Bucket><Format>CSV</Format>${xml}</COSBucketDestination></Destination>`
  const encrypted = (SSECOS: unknown) => ({ Destination: { COSBucketDestination: { Encryption: { SSECOS } } } })
  const cases: Array<[stored: string, patch: object, written: string]> = [
    ['<Filter><And><Prefix>p</Prefix></And></Filter>', { Filter: { Prefix: 'q' } }, '<Filter><And><Prefix>q</Prefix></And></Filter>'],
    [`<Filter><And></And>${period}</Filter>`, { Filter: { Prefix: 'q' } }, `<Filter><And><Prefix>q</Prefix></And>${period}</Filter>`],
    ['<Filter><And><Prefix>p</Prefix></And></Filter>', { Filter: { StorageClass: 's' } },
      '<Filter><And><Prefix>p</Prefix><StorageClass>s</StorageClass></And></Filter>'],
    [`<Filter><Prefix>p</Prefix>${period}</Filter>`, { Filter: { Prefix: 'q' } }, `<Filter><Prefix>q</Prefix>${period}</Filter>`],
    [`<Filter><Prefix>p</Prefix>${period}</Filter>`, { Filter: { Tag: [tag] } },
      `<Filter><And><Prefix>p</Prefix>${tagXml}</And>${period}</Filter>`],
    [`<Filter>${tagXml}</Filter>`, { Filter: { Prefix: 'q' } }, `<Filter><Prefix>q</Prefix>${tagXml}</Filter>`],
    [`<Filter><And a="1">${tagXml}</And></Filter>`, { Filter: { Tag: [tag, { Key: 'l', Value: '' }] } },
      `<Filter><And a="1">${tagXml}<Tag><Key>l</Key><Value></Value></Tag></And></Filter>`],
    ['', { Filter: { Prefix: 'q' }, Schedule: { Frequency: 'Daily' } },
      '<Filter><Prefix>q</Prefix></Filter><Schedule><Frequency>Daily</Frequency></Schedule>'],
    ['', { Destination: { COSBucketDestination: { Bucket: 'b', Format: 'CSV' } } },
      '<Destination><COSBucketDestination><Format>CSV</Format><Bucket>b</Bucket></COSBucketDestination></Destination>'],
    ['<New n="1">x</New>', { OptionalFields: { Field: ['Size'] }, Newer: 'y' },
      '<OptionalFields><Field>Size</Field></OptionalFields><New n="1">x</New><Newer>y</Newer>'],
    ['<New n="1">x</New>', { New: { Deep: 'z' } }, '<New n="1"><Deep>z</Deep></New>'],
    ['<New n="1"><Deep>z</Deep></New>', { New: 'x' }, '<New n="1">x</New>'],
    [marked('<Encryption><SSECOS>1</SSECOS></Encryption>'), encrypted('2'), marked('<Encryption><SSECOS>2</SSECOS></Encryption>')],
    [marked('<SSE-COS>1</SSE-COS>'), encrypted({ '#text': '2' }), marked('<Encryption><SSE-COS>2</SSE-COS></Encryption>')],
    [marked('<Encryption><SSE-KMS/></Encryption>'), encrypted({}), marked('<Encryption><SSE-COS></SSE-COS><SSE-KMS></SSE-KMS></Encryption>')],
    [marked(''), encrypted({}), marked('<Encryption><SSE-COS></SSE-COS></Encryption>')]
  ]
  for (const [stored, patch, written] of cases) {
    const xml = inConfiguration(stored)
    t.equal(toChangedXml('a', mergePatch(read(xml), patch) as object, xml), inConfiguration(written), `${stored} ${JSON.stringify(patch)}`)
  }
})
