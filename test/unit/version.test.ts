import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { apply as mergePatch } from 'tiny-merge-patch'
import { differencesOf, escapePointer } from '../../src/changes/differences.ts'
import { canonicalForm, etagOf, failedPrecondition } from '../../src/changes/version.ts'
import type { Preconditions } from '../../src/changes/version.ts'
import { fromConfigurationXml, normalize, toConfigurationXml } from '../../src/cos/xml/inventory-xml.ts'
import { runsOf } from '../runs.ts'

const numRuns = runsOf(400)
const read = (xml: string) => fromConfigurationXml(xml)
const etagOfXml = (xml: string) => etagOf(read(xml))

/** An element of the model; unknown elements and containers have children. */
interface Element {
  name: string
  kind: 'text' | 'boolean' | 'integer' | 'container' | 'marker' | 'unknown'
  text: string
  children: Element[]
}

// Known children of each element; any other name is an unknown element there.
const known: Record<string, string[]> = {
  InventoryConfiguration: [
    'Id', 'IsEnabled', 'IncludedObjectVersions', 'Filter', 'OptionalFields', 'Schedule', 'Destination'
  ],
  Filter: ['And', 'Prefix', 'Tag', 'StorageClass', 'Period'],
  And: ['Prefix', 'Tag', 'StorageClass'],
  Tag: ['Key', 'Value'],
  Period: ['StartTime', 'EndTime'],
  OptionalFields: ['Field'],
  Schedule: ['Frequency', 'MonthlyDate'],
  Destination: ['COSBucketDestination'],
  COSBucketDestination: ['Format', 'AccountId', 'Bucket', 'Prefix', 'Encryption', 'SSE-COS'],
  Encryption: ['SSE-COS', 'SSECOS'],
  SSECOS: []
}

const leaf = (name: string, kind: Element['kind'], text: string): Element => ({ name, kind, text, children: [] })
const container = (name: string, children: Element[], kind: Element['kind'] = 'container'): Element =>
  ({ name, kind, text: '', children })

const hostileTexts = [
  'a&b<c>"d\'e', ' lead and trail ', '00123', '1', '1e5', 'true', 'False', '0x1F', ']]>', '&amp;lt;', '__proto__', '\t', '\r', 'a\r\nb',
  '日本/😀', '', '#text', '&#13;', '\u0085\u2028', ' ', '\n', 'constructor', '-0', '{}', '[]', 'null', '<!-- -->', '<![CDATA['
]
const xmlChar = fc.oneof(
  fc.constantFrom(...'\t\n\r &<>"\'#;[]!-?/=:'),
  fc.integer({ min: 0x20, max: 0xD7FF }).map(code => String.fromCodePoint(code)),
  fc.integer({ min: 0xE000, max: 0xFFFD }).map(code => String.fromCodePoint(code)),
  fc.integer({ min: 0x10000, max: 0x10FFFF }).map(code => String.fromCodePoint(code))
)
const text = fc.oneof(fc.constantFrom(...hostileTexts), fc.string({ unit: xmlChar, maxLength: 12 }))
const name = fc.constantFrom(
  'Zero', 'New', 'new', 'x-cos', '_', 'Ünïcode', '__proto__', 'constructor', 'toString', 'hasOwnProperty', 'Prefix', 'Tag', 'Field',
  'Frequency', 'Id', 'And', 'Filter', 'SSE-COS', 'Encryption', 'Period'
)
const { unknown } = fc.letrec<{ unknown: Element }>(tie => ({
  unknown: fc.oneof({ maxDepth: 2, withCrossShrink: true },
    fc.tuple(name, text).map(([name, text]) => leaf(name, 'unknown', text)),
    fc.tuple(name, fc.array(tie('unknown'), { minLength: 1, maxLength: 3 }))
      .map(([name, children]) => container(name, children, 'unknown')))
}))
/** Returns unknown elements for a place, some of them twice. */
const unknownIn = (place: string) => fc.oneof(
  { weight: 3, arbitrary: fc.constant([]) },
  { weight: 1, arbitrary: fc.array(unknown, { maxLength: 2 }) },
  { weight: 1, arbitrary: fc.array(unknown, { minLength: 1, maxLength: 2 }).map(some => [...some, ...some]) }
).map(elements => elements.filter(({ name }) => known[place]?.includes(name) !== true))

const textIn = (name: string, arbitrary: fc.Arbitrary<string> = text) =>
  arbitrary.map(text => [leaf(name, 'text', text)])
const integerIn = (name: string) => fc.nat().map(value => [leaf(name, 'integer', String(value))])
const maybe = (arbitrary: fc.Arbitrary<Element[]>) => fc.oneof(fc.constant<Element[]>([]), arbitrary)
/** Returns a container with these contents, or nothing when all are empty. */
const containing = (name: string, ...contents: Array<fc.Arbitrary<Element[]>>): fc.Arbitrary<Element[]> =>
  fc.tuple(...contents, unknownIn(name)).map(lists => lists.flat())
    .map(children => children.length === 0 ? [] : [container(name, children)])

const tags = fc.array(containing('Tag', textIn('Key'), textIn('Value')), { maxLength: 3 }).map(lists => lists.flat())
const fields = fc.array(fc.constantFrom('Size', 'ETag', 'size', 'x-cos-meta-*', ''), { minLength: 1, maxLength: 3 })
  .map(names => names.map(name => leaf('Field', 'text', name)))
const encryption = unknownIn('SSECOS').map(children => [container('SSECOS', children, 'marker')])
const models = containing('InventoryConfiguration',
  textIn('Id', fc.constantFrom('a', 'daily-report', '1')),
  maybe(fc.constantFrom('true', 'false').map(value => [leaf('IsEnabled', 'boolean', value)])),
  maybe(textIn('IncludedObjectVersions')),
  maybe(containing('Filter', maybe(textIn('Prefix')), tags, maybe(textIn('StorageClass')),
    maybe(containing('Period', maybe(integerIn('StartTime')), maybe(integerIn('EndTime')))), containing('And'))),
  maybe(containing('OptionalFields', fields)),
  maybe(containing('Schedule', textIn('Frequency'), maybe(integerIn('MonthlyDate')))),
  containing('Destination', containing('COSBucketDestination', textIn('Bucket'), textIn('Format'),
    maybe(textIn('AccountId', text.filter(each => each.trim() !== ''))), maybe(textIn('Prefix')), maybe(containing('Encryption', maybe(encryption)))))
).map(([root]) => root as Element)

/** Returns deterministic random choices for a seed. */
function chances (seed: number) {
  let state = seed
  const below = (limit: number) => {
    state = (state + 0x6D2B79F5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % limit
  }
  return {
    below,
    flip: () => below(2) === 1,
    shuffled: <T>(list: T[]) => list
      .map(each => ({ each, at: below(1e9) }))
      .sort((a, b) => a.at - b.at)
      .map(({ each }) => each)
  }
}

/** Returns one of the many documents for a model, written without code of the service. */
function rendered (model: Element, seed: number): string {
  const { below, flip, shuffled } = chances(seed)
  const oneOf = (...choices: string[]) => choices[below(choices.length)] as string
  const prefix = below(8) === 0 ? 'c:' : ''
  const isCompact = flip()
  const layout = () => isCompact ? '' : oneOf('', '\n  ', '\t', ' ', '\r\n', '<!-- <Filter/> & -->', '<?target data?>')
  const blanks = () => oneOf('', '', ' ', '\n\t')

  function characters (text: string): string {
    let xml = ''
    for (const char of text) {
      const reference = oneOf(`&#${char.codePointAt(0)};`, `&#x${char.codePointAt(0)?.toString(16)};`)
      const plain = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&apos;' }[char] ?? char
      // Parsers read any end of line as LF (XML 1.0, section 2.11).
      const choices = char === '\r' ? [reference] : [plain, plain, plain, reference, `<![CDATA[${char}]]>`, `${plain}<!-- -->`]
      xml += oneOf(...choices)
    }
    return xml
  }

  function element (name: string, content: string): string {
    const attribute = below(10) === 0 ? ' a="b &lt; c"' : ''
    return content === '' && flip() ? `<${prefix}${name}${attribute}/>` : `<${prefix}${name}${attribute}>${content}</${prefix}${name}>`
  }

  function withChildren (name: string, elements: string[]): string {
    return element(name, shuffled(elements).map(xml => layout() + xml).join('') + (elements.length > 0 ? layout() : ''))
  }

  function spelled (text: string): string {
    return blanks() + oneOf(text, text.toUpperCase(), text[0]?.toUpperCase() + text.slice(1)) + blanks()
  }

  function ofFilter (children: Element[]): string[] {
    const beside: string[] = []
    const within: string[] = []
    for (const name of ['Prefix', 'Tag', 'StorageClass']) {
      const conditions = children.filter(each => each.name === name)
      const place = flip() ? beside : within
      place.push(...conditions.map(one))
      // Equal conditions in both places count once.
      if (name !== 'Tag' && below(4) === 0) (place === beside ? within : beside).push(...conditions.map(one))
    }
    for (const each of children) {
      if (each.name === 'And') within.push(...each.children.map(one))
      else if (known['And']?.includes(each.name) !== true) beside.push(one(each))
    }
    if (!children.some(({ name }) => name === 'Period') && below(4) === 0) beside.push(element('Period', layout()))
    return within.length > 0 || below(4) === 0 ? [...beside, withChildren('And', within)] : beside
  }

  function marker (name: string, children: Element[]): string {
    return children.length > 0 ? withChildren(name, children.map(one)) : element(name, blanks())
  }

  function ofPlace (children: Element[]): string[] {
    const others = children.filter(({ name }) => name !== 'Encryption').map(one)
    const encryptions = children.filter(({ name }) => name === 'Encryption')
    if (encryptions.length === 0) return below(4) === 0 ? [...others, element('Encryption', blanks())] : others
    return [...others, ...encryptions.flatMap(({ children }) => {
      const unknown = children.filter(({ kind }) => kind !== 'marker').map(one)
      const markers = children.filter(({ kind }) => kind === 'marker')
      if (markers.length > 0 && flip()) {
        const direct = markers.map(each => marker('SSE-COS', each.children))
        return unknown.length > 0 || flip() ? [...direct, withChildren('Encryption', unknown)] : direct
      }
      return [withChildren('Encryption', [...unknown, ...markers.map(each => marker(oneOf('SSE-COS', 'SSECOS'), each.children))])]
    })]
  }

  function one ({ name, kind, text, children }: Element): string {
    if (kind === 'unknown') return children.length > 0 ? withChildren(name, children.map(one)) : element(name, characters(text))
    if (kind === 'text') return element(name, characters(text))
    if (kind === 'boolean') return element(name, spelled(text))
    if (kind === 'integer') return element(name, blanks() + text + blanks())
    if (name === 'Filter') return withChildren(name, ofFilter(children))
    return withChildren(name, name === 'COSBucketDestination' ? ofPlace(children) : children.map(one))
  }

  const empty = ['Filter', 'OptionalFields', 'Schedule']
    .filter(name => !model.children.some(each => each.name === name) && below(3) === 0)
    .map(name => oneOf(element(name, blanks()), ...name === 'Filter' ? [withChildren(name, [element('And', '')])] : []))
  const root = withChildren(model.name, [...model.children.map(one), ...empty])
  const namespace = prefix === '' ? oneOf('', ' xmlns="http://www.qcloud.com/document/product/436/7751"') : ' xmlns:c="urn:c"'
  return oneOf('', '<?xml version="1.0" encoding="utf-8"?>\n', '\uFEFF\n', "<?xml version='1.0' encoding='UTF-8' ?>") +
    root.replace(model.name, `${model.name}${namespace}`) + blanks()
}

/** Returns a copy of the model with one change, or undefined when there is no place for it. */
function mutated (model: Element, change: string, seed: number): Element | undefined {
  const { below } = chances(seed)
  const copy = structuredClone(model)
  const places: Array<{ parent: Element, each: Element }> = []
  const walk = (parent: Element) => {
    for (const each of parent.children) {
      places.push({ parent, each })
      walk(each)
    }
  }
  walk(copy)
  const isRequired = ({ parent, each }: { parent: Element, each: Element }) => each.kind !== 'unknown' && (
    ['Id', 'Key', 'Value', 'Frequency', 'Bucket', 'Format', 'COSBucketDestination'].includes(each.name) ||
    (each.name === 'Field' && parent.children.filter(({ name }) => name === 'Field').length === 1))
  const repeatable = ({ name, kind }: Element) => kind === 'unknown' || name === 'Tag' || name === 'Field'
  const fitting = places.filter(({ parent, each }) =>
    change === 'text'
      ? each.children.length === 0 && each.kind !== 'marker'
      : change === 'remove'
        ? !isRequired({ parent, each })
        : change === 'repeat' ? repeatable(each) : each.children.length > 0)
  const found = fitting[below(Math.max(1, fitting.length))]
  if (found === undefined) return undefined
  const { parent, each } = found
  if (change === 'text') {
    if (each.kind === 'boolean') each.text = each.text === 'true' ? 'false' : 'true'
    else if (each.kind === 'integer') each.text = String(Number(each.text) + 1)
    else each.text += [' ', 'x', '\r', '0', '&'][below(5)]
  } else if (change === 'remove') parent.children = parent.children.filter(other => other !== each)
  else if (change === 'repeat') parent.children.push(each)
  else if (change === 'add') each.children.push(leaf('Added', 'unknown', ['', 'x'][below(2)] as string))
  else each.children.push(container('Added', [leaf('Inner', 'unknown', '')], 'unknown'))
  return copy
}

t.test('etagOf returns the ETag of earlier versions for a stored document', async t => {
  const place = '<COSBucketDestination><Format>CSV</Format><Bucket>qcs::cos:ap-guangzhou::reports-1250000000</Bucket>' +
    '<Prefix>daily/</Prefix><Encryption><SSE-COS></SSE-COS></Encryption></COSBucketDestination>'
  const document = (more: string) => '<InventoryConfiguration><Id>daily</Id><IsEnabled>true</IsEnabled>' +
    `<IncludedObjectVersions>All</IncludedObjectVersions>${more}<Schedule><Frequency>Weekly</Frequency></Schedule>` +
    `<Destination>${place}</Destination></InventoryConfiguration>`
  // Replicas of two versions run during a rollout. Change a tag only with a line in CHANGELOG.md.
  t.equal(etagOfXml(document('')), '"6fQeuYSRt79j9aYb7EmNxn1waYgX6moCNwibVEWNJXM"')
  t.equal(etagOfXml(document('<Filter><And><Prefix>a/</Prefix><Tag><Key>k</Key><Value>v</Value></Tag></And>' +
    '<Period><StartTime>1768688761</StartTime></Period></Filter><OptionalFields><Field>Size</Field></OptionalFields>')), '"p0NKml49yj7WobT-blnG4UkrK4_dnbWF5fMYhCRE-eI"')
  t.equal(etagOfXml(document('<New><Inner>true</Inner></New>')), '"jg92MzHIl3lxqXxxcdgJg0Hoc-NEM1ppJ8gYQ_M4ZXY"')
})

t.test('etagOf returns the same ETag when two documents have the same canonical form', async t => {
  t.doesNotThrow(() => {
    fc.assert(fc.property(models, fc.integer(), fc.integer(), (model, one, other) => {
      const [a, b] = [rendered(model, one), rendered(model, other)]
      assert.equal(etagOfXml(a), etagOfXml(b), `${a}\n${b}`)
      assert.match(etagOfXml(a), /^"[\w-]{43}"$/)
      const configuration = read(a)
      assert.equal(etagOfXml(toConfigurationXml(configuration.Id, configuration)), etagOfXml(a), 'also when it is sent back')
    }), { numRuns })
  })
})

t.test('etagOf returns different ETags when one value, element or repetition differs', async t => {
  const changes = ['text', 'remove', 'repeat', 'add', 'add inner']
  const counts = new Map(changes.map(change => [change, 0]))
  t.doesNotThrow(() => {
    fc.assert(fc.property(models, fc.constantFrom(...changes), fc.integer(), fc.integer(), fc.integer(),
      (model, change, where, one, other) => {
        const changed = mutated(model, change, where)
        if (changed === undefined) return
        counts.set(change, Number(counts.get(change)) + 1)
        const [a, b] = [rendered(model, one), rendered(changed, other)]
        assert.notEqual(etagOfXml(a), etagOfXml(b), `${change}\n${a}\n${b}`)
        const [from, to] = [fromConfigurationXml(a), fromConfigurationXml(b)]
        assert.ok(differencesOf(from, to).length > 0)
      }), { numRuns: 2 * numRuns })
  })
  for (const [change, count] of counts) t.ok(count > 20, `${change} was tested`)
})

t.test('etagOf returns different ETags when documents are similar but not the same', async t => {
  const inConfiguration = (xml: string) => `<InventoryConfiguration><Id>a</Id>${xml}</InventoryConfiguration>`
  const inDestination = (xml: string) =>
    `<Destination><COSBucketDestination><Bucket>b</Bucket><Format>CSV</Format>${xml}</COSBucketDestination></Destination>`
  const tag = (key: string, value: string) => `<Tag><Key>${key}</Key><Value>${value}</Value></Tag>`
  const pairs = {
    'values of tags swapped': [`<Filter>${tag('a', '1')}${tag('b', '2')}</Filter>`, `<Filter>${tag('a', '2')}${tag('b', '1')}</Filter>`],
    'key and value swapped': [`<Filter>${tag('a', 'b')}</Filter>`, `<Filter>${tag('b', 'a')}</Filter>`],
    'inside and outside of And': ['<Filter><New/></Filter>', '<Filter><And><New/></And></Filter>'],
    'in another parent': ['<Filter><New/></Filter>', '<New/>'],
    'grouped otherwise': ['<A><B/></A><A><C/></A>', '<A><B/><C/></A>'],
    'names that look like text': ['<A><B>C</B></A>', '<A>{"B":"C"}</A>'],
    'a list that looks like text': ['<A>b</A><A>c</A>', '<A>["b","c"]</A>'],
    'the same without quotes': ['<A>b</A><A>c</A>', '<A>[b,c]</A>'],
    'two and a comma': ['<A>b</A><A>c</A>', '<A>b","c</A>'],
    'another two': ['<A>b,c</A><A>d</A>', '<A>b</A><A>c,d</A>'],
    'another spelling': ['<IncludedObjectVersions>All</IncludedObjectVersions>', '<IncludedObjectVersions>all</IncludedObjectVersions>'],
    'another spelling of a name': ['<New/>', '<new/>'],
    'an unknown boolean': ['<New>true</New>', '<New>True</New>'],
    'an unknown number': ['<New>1</New>', '<New>01</New>'],
    'an empty text': ['<Filter><Prefix/></Filter>', '<Filter/>'],
    'an unknown empty element': ['<New/>', ''],
    encryption: [inDestination('<SSE-COS/>'), inDestination('<Encryption/>')],
    'the text of a marker': [inDestination('<SSE-COS/>'), inDestination('<SSE-COS>1</SSE-COS>')]
  }
  for (const [name, [a = '', b = '']] of Object.entries(pairs)) {
    t.not(etagOfXml(inConfiguration(a)), etagOfXml(inConfiguration(b)), name)
  }
})

const optional = { noNullPrototype: true, requiredKeys: [] }
const elementName = fc.constantFrom('New', 'Newer', 'x', '__proto__', 'constructor', 'toString', 'Ünï', 'SSE-COS', 'Tag')
const { value: newValue } = fc.letrec<{ value: unknown, single: unknown }>(tie => ({
  single: fc.oneof({ maxDepth: 3, withCrossShrink: true },
    text, fc.boolean(), fc.maxSafeInteger(), fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e15, max: 1e15 }),
    fc.dictionary(elementName, tie('value'), { maxKeys: 3, noNullPrototype: true })),
  value: fc.oneof({ maxDepth: 3 }, tie('single'), fc.array(tie('single'), { minLength: 1, maxLength: 3 }))
}))
/** Adds unknown members before and after the members of these objects. */
function withNew<T extends object> (objects: fc.Arbitrary<T>, ...reserved: string[]): fc.Arbitrary<object> {
  const some = fc.oneof({ weight: 2, arbitrary: fc.constant({}) }, {
    weight: 1,
    arbitrary: fc.dictionary(elementName.filter(name => !reserved.includes(name)), newValue,
      { maxKeys: 2, noNullPrototype: true })
  })
  return fc.tuple(some, objects, some).map(([before, object, after]) => ({ ...before, ...object, ...after }))
}
const conditions = {
  Prefix: text,
  Tag: fc.array(fc.record({ Key: text, Value: text }, { noNullPrototype: true }), { maxLength: 3 }),
  StorageClass: fc.oneof(text, fc.array(text, { minLength: 1, maxLength: 3 }))
}
const periods = withNew(fc.record({ StartTime: fc.maxSafeInteger().map(Math.abs), EndTime: fc.nat() }, optional))
const fieldList = fc.uniqueArray(fc.constantFrom('Size', 'ETag', 'Tag', 'x-cos-meta-*'))
const inputs = withNew(fc.record({
  Id: fc.constant('daily-report'),
  IsEnabled: fc.oneof(fc.boolean(), fc.constantFrom('true', 'True', 'FALSE', 'fAlSe')),
  IncludedObjectVersions: fc.constantFrom('All', 'Current'),
  Filter: fc.oneof(
    withNew(fc.record({ ...conditions, Period: periods }, optional), 'Tag'),
    withNew(fc.record({ And: withNew(fc.record(conditions, optional), 'Tag'), Period: periods }, optional), 'Tag'),
    withNew(fc.record({ Prefix: text, And: withNew(fc.record({}), 'Tag') }, optional), 'Tag')
  ),
  OptionalFields: fc.oneof(fieldList, withNew(fc.record({ Field: fieldList }, optional))),
  Schedule: withNew(fc.oneof(fc.constant({ Frequency: 'Daily' }), fc.record({
    Frequency: fc.constant('Monthly'), MonthlyDate: fc.integer({ min: 1, max: 31 })
  }, { noNullPrototype: true }))),
  Destination: withNew(fc.record({
    COSBucketDestination: withNew(fc.record({
      Bucket: fc.constant('qcs::cos:ap-guangzhou::examplebucket-1250000000'),
      Format: fc.constant('CSV'),
      AccountId: fc.constantFrom('100000000001', '007'),
      Prefix: text,
      Encryption: withNew(fc.record({ SSECOS: fc.oneof(fc.constant(''), withNew(fc.constant({}))) }, optional))
    }, { noNullPrototype: true, requiredKeys: ['Bucket', 'Format'] }))
  }, { noNullPrototype: true }))
}, { noNullPrototype: true, requiredKeys: ['IsEnabled', 'IncludedObjectVersions', 'Schedule', 'Destination'] }))

t.test('normalize returns the configuration that is read back from its XML', async t => {
  t.doesNotThrow(() => {
    fc.assert(fc.property(inputs, input => {
      const before = structuredClone(input)
      let stored
      try {
        stored = read(toConfigurationXml('daily-report', input))
      } catch (error) {
        assert.equal((error as Error).name, 'XmlError')
        assert.throws(() => normalize('daily-report', input), { code: 'ValidationFailed' })
        return
      }
      assert.deepEqual(normalize('daily-report', input), stored)
      assert.equal(etagOf(normalize('daily-report', input)), etagOf(stored))
      assert.deepEqual(normalize('daily-report', stored), stored, 'a configuration that was read is already normal')
      assert.deepEqual(input, before)
    }), { numRuns: 2 * numRuns })
  })
})

t.test('differencesOf returns pointers to all differences, none when values are equal', async t => {
  const json = fc.jsonValue({ maxDepth: 4 }) as fc.Arbitrary<unknown>
  const key = fc.constantFrom('a', 'b', 'a/b', 'm~n', '~1', '', '__proto__', 'constructor', '0')
  const objects = fc.letrec<{ object: unknown }>(tie => ({
    object: fc.dictionary(key, fc.oneof({ maxDepth: 3 }, json, tie('object')), { maxKeys: 4, noNullPrototype: true })
  })).object
  const at = (document: unknown, pointer: string) => pointer.split('/').slice(1).reduce<unknown>((value, token) => {
    const name = token.replaceAll('~1', '/').replaceAll('~0', '~')
    return typeof value === 'object' && value !== null && Object.hasOwn(value, name) ? value[name as keyof typeof value] : undefined
  }, document)
  const check = (a: unknown, b: unknown) => {
    const differences = differencesOf(a, b)
    assert.equal(differences.length === 0, canonicalForm(a) === canonicalForm(b))
    for (const difference of differences) {
      assert.deepEqual(at(a, difference.pointer), difference.from)
      assert.deepEqual(at(b, difference.pointer), difference.to)
      assert.notDeepEqual(difference.from, difference.to)
      assert.equal('from' in difference, difference.from !== undefined)
      assert.equal('to' in difference, difference.to !== undefined)
    }
    assert.equal(new Set(differences.map(({ pointer }) => pointer)).size, differences.length)
  }
  t.doesNotThrow(() => { fc.assert(fc.property(objects, objects, check), { numRuns }) })
  t.doesNotThrow(() => { fc.assert(fc.property(json, json, check), { numRuns }) })
  t.doesNotThrow(() => {
    fc.assert(fc.property(objects, value => { check(value, structuredClone(value)) }), { numRuns })
  })
  t.strictSame(differencesOf({ a: { 'x/y~z': 1 }, gone: [1], list: [1, 2] }, { list: [2, 1], a: { 'x/y~z': 2 }, come: '' }), [
    { pointer: '/a/x~1y~0z', from: 1, to: 2 }, { pointer: '/gone', from: [1] }, { pointer: '/come', to: '' }
  ])
  t.strictSame(differencesOf({ toString: 'a' }, {}), [{ pointer: '/toString', from: 'a' }], 'inherited properties are not members')
  t.strictSame(differencesOf({}, { Filter: {} }), [{ pointer: '/Filter', to: {} }])
  t.strictSame(differencesOf([1, 1, 2], [1, 2, 2]), [{ pointer: '', from: [1, 1, 2], to: [1, 2, 2] }], 'the number of equal items counts')
  t.equal(escapePointer('~1/~0'), '~01~1~00')
  t.equal(escapePointer('/'.repeat(1_000_000)), `${'~1'.repeat(500)}…`)
})

t.test('failedPrecondition follows RFC 9110 for every pair of conditions', async t => {
  const [etag, other] = ['"a"', '"b"']
  type Tags = Preconditions['ifMatch']
  const cases: Array<[Tags, Tags, string | undefined, string | undefined]> = [
    [undefined, undefined, etag, undefined], [undefined, undefined, undefined, undefined],
    ['*', undefined, etag, undefined], ['*', undefined, undefined, 'if-match'],
    [[etag], undefined, etag, undefined], [[other], undefined, etag, 'if-match'], [[other, etag], undefined, etag, undefined],
    [['W/"a"'], undefined, etag, 'if-match'], [[etag], undefined, undefined, 'if-match'], [[], undefined, etag, 'if-match'],
    [undefined, '*', etag, 'if-none-match'], [undefined, '*', undefined, undefined],
    [undefined, [etag], etag, 'if-none-match'], [undefined, [other], etag, undefined],
    [undefined, [other, etag], etag, 'if-none-match'], [undefined, [etag], undefined, undefined], [undefined, [], etag, undefined],
    [[etag], [etag], etag, 'if-none-match'], [[other], [etag], etag, 'if-match'], [[etag], [other], etag, undefined],
    ['*', '*', etag, 'if-none-match'], ['*', '*', undefined, 'if-match']
  ]
  for (const [ifMatch, ifNoneMatch, present, failed] of cases) {
    const request = JSON.stringify({ ifMatch, ifNoneMatch, present })
    t.equal(failedPrecondition({ ifMatch, ifNoneMatch }, present), failed, request)
  }
})

type Json = string | number | boolean | null | Json[] | { [name: string]: Json }

/** Applies a merge patch as RFC 7396, section 2, defines it. */
function reference (target: Json | undefined, patch: Json): Json {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch
  const isObject = typeof target === 'object' && target !== null && !Array.isArray(target)
  const members = new Map<string, Json>(isObject ? Object.entries(target) : [])
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) members.delete(name)
    else members.set(name, reference(members.get(name), value))
  }
  return Object.fromEntries(members)
}

t.test('merge patch follows RFC 7396', async t => {
  // The cases are those of appendix A.
  const cases: Array<[Json, Json, Json]> = [
    [{ a: 'b' }, { a: 'c' }, { a: 'c' }],
    [{ a: 'b' }, { b: 'c' }, { a: 'b', b: 'c' }],
    [{ a: 'b' }, { a: null }, {}],
    [{ a: 'b', b: 'c' }, { a: null }, { b: 'c' }],
    [{ a: ['b'] }, { a: 'c' }, { a: 'c' }],
    [{ a: 'c' }, { a: ['b'] }, { a: ['b'] }],
    [{ a: { b: 'c' } }, { a: { b: 'd', c: null } }, { a: { b: 'd' } }],
    [{ a: [{ b: 'c' }] }, { a: [1] }, { a: [1] }],
    [['a', 'b'], ['c', 'd'], ['c', 'd']],
    [{ a: 'b' }, ['c'], ['c']],
    [{ a: 'foo' }, null, null],
    [{ a: 'foo' }, 'bar', 'bar'],
    [{ e: null }, { a: 1 }, { e: null, a: 1 }],
    [[1, 2], { a: 'b', c: null }, { a: 'b' }],
    [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }]
  ]
  for (const [target, patch, result] of cases) {
    t.strictSame(mergePatch(target, patch), result, `${JSON.stringify(target)} ${JSON.stringify(patch)}`)
    t.strictSame(reference(target, patch), result)
  }
  const { json } = fc.letrec<{ json: Json }>(tie => ({
    json: fc.oneof({ maxDepth: 4, withCrossShrink: true },
      fc.constantFrom<Json>(null, true, 0, 1, 'a', ''),
      fc.array(tie('json'), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom('a', 'b', 'c', 'constructor', 'toString', 'a/b', ''), tie('json'), { maxKeys: 4, noNullPrototype: true }))
  }))
  t.doesNotThrow(() => {
    fc.assert(fc.property(json, json, (target, patch) => {
      const [targetBefore, patchBefore] = [structuredClone(target), structuredClone(patch)]
      assert.deepEqual(mergePatch(target, patch), reference(target, patch))
      assert.deepEqual([target, patch], [targetBefore, patchBefore], 'neither is modified')
    }), { numRuns: 2 * numRuns })
  })
  const inherited = JSON.parse('{"__proto__":{"a":"b"},"x":{"__proto__":"y","z":1}}') as object
  t.equal(JSON.stringify(mergePatch(inherited, { x: { z: 2 } })), '{"__proto__":{"a":"b"},"x":{"__proto__":"y","z":2}}',
    'members named like inherited properties are kept')
})
