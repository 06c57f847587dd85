/** Configurations as COS may return them: in any order and form, with unknown elements, values and attributes. */
import fc from 'fast-check'

/** An element of a generated document. */
export interface Node {
  name: string
  attributes: string
  children: Node[] | string
}

const attributes = fc.constantFrom('', '', '', ' a="1"', ' b="x &lt; &#10;&quot;y&quot;"', ' xmlns:n="urn:n" n:c="d"')
const texts = fc.constantFrom('', 'a', ' lead and trail ', 'a&b<c>', '日本/😀', '00123', 'true', ']]>', 'a\rb', '__proto__')

const node = (name: string, children: fc.Arbitrary<Node[] | string>): fc.Arbitrary<Node> =>
  fc.record({ name: fc.constant(name), attributes, children })
const leaf = (name: string, text: fc.Arbitrary<string>): fc.Arbitrary<Node> => node(name, text)
const unknown: fc.Arbitrary<Node> = fc.oneof(
  fc.constantFrom('New', 'n:Other', '__proto__').chain(name => leaf(name, texts)),
  node('Deep', fc.array(leaf('Inner', texts), { minLength: 1, maxLength: 2 }))
)

/** Returns an element with its children in any order; each part has none, one or several children. */
function container (name: string, ...parts: Array<fc.Arbitrary<Node | Node[]>>): fc.Arbitrary<Node> {
  const all = fc.tuple(...parts, fc.array(unknown, { maxLength: 1 })).map(each => each.flat())
  return node(name, all.chain(children => fc.shuffledSubarray(children, { minLength: children.length })))
}

const maybe = (part: fc.Arbitrary<Node | Node[]>): fc.Arbitrary<Node | Node[]> =>
  fc.oneof(part, fc.constant<Node[]>([]))
const several = (part: fc.Arbitrary<Node>, minLength = 0): fc.Arbitrary<Node[]> =>
  fc.array(part, { minLength, maxLength: 3 })

const prefix = leaf('Prefix', texts)
const tag = container('Tag', leaf('Key', texts), leaf('Value', texts))
const storageClass = leaf('StorageClass', fc.constantFrom('STANDARD', 'ARCHIVE'))
const conditions = [maybe(prefix), several(tag), several(storageClass)]
const epochSeconds = fc.constantFrom('0', '1687276800', '1689868800', '-1', '')
const period = container('Period', maybe(leaf('StartTime', epochSeconds)), maybe(leaf('EndTime', epochSeconds)))
const marker = (name: string) => leaf(name, fc.constantFrom('', ' ', '111', 'true'))
const field = leaf('Field', fc.constantFrom('Size', 'SIZE', 'Etag', 'IsMultipartUpload', 'Tag', 'x-cos-meta-*', 'NewColumn'))

const filter = fc.oneof(
  container('Filter', ...conditions, maybe(period)),
  container('Filter', maybe(container('And', ...conditions)), maybe(period)),
  container('Filter', several(tag), container('And', maybe(prefix))),
  container('Filter', maybe(period), node('And', fc.constant([])))
)
const encryption = fc.oneof(
  container('Encryption', marker('SSE-COS')),
  container('Encryption', marker('SSECOS')),
  container('Encryption'),
  marker('SSE-COS')
)
const destination = container('Destination', container('COSBucketDestination',
  leaf('Bucket', fc.constantFrom('qcs::cos:ap-guangzhou::examplebucket-1250000000',
    'qcs::cos:ap-guangzhou:uid/1250000000:reports-1250000000')),
  leaf('Format', fc.constantFrom('CSV', 'ORC', 'Parquet', 'csv')),
  maybe(leaf('AccountId', fc.constantFrom('100000000001', '', 'owner'))),
  maybe(prefix),
  maybe(encryption)))
const schedule = container('Schedule',
  leaf('Frequency', fc.constantFrom('Daily', 'Weekly', 'Monthly', 'Hourly')), maybe(leaf('MonthlyDate', fc.constantFrom('1', '31', '', '007', '99'))))

/** Generates the InventoryConfiguration of an id. */
export const wireDocuments = (id: string): fc.Arbitrary<Node> => container('InventoryConfiguration',
  leaf('Id', fc.constant(id)),
  leaf('IsEnabled', fc.constantFrom('true', 'false', 'True')),
  leaf('IncludedObjectVersions', fc.constantFrom('All', 'Current', 'No')),
  maybe(filter),
  maybe(container('OptionalFields', several(field, 1))),
  schedule,
  destination)

const escaped = (text: string): string =>
  text.replace(/[&<>\r]/g, char => `&#${char.charCodeAt(0)};`)

/** Returns the XML of a generated element. */
export function toXml ({ name, attributes, children }: Node): string {
  const content = typeof children === 'string' ? escaped(children) : children.map(toXml).join('')
  return `<${name}${attributes}>${content}</${name}>`
}
