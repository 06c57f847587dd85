/**
 * The translation between the JSON forms of this service and COS's XML, both ways and pure.
 *
 * One table of elements drives reading and writing. The few places where JSON and wire differ (the flat Filter,
 * SSECOS for SSE-COS) are the functions below `Differences`. What the table does not know is carried along:
 * in the same parent, after the same neighbour, in the same order.
 */
import type { InventoryConfiguration, InventoryJob, InventoryPage } from '../contract/inventory.ts'
import { escapeText, parseXml, XmlError } from './xml.ts'
import type { XmlElement } from './xml.ts'

type Json = string | number | boolean | JsonObject | Json[]
interface JsonObject { [name: string]: Json }

/** How an element's content reads in JSON. */
type Kind = 'text' | 'boolean' | 'integer' | Members
interface Members {
  /** Child elements in the order they are written (canonical form). */
  order: ReadonlyMap<string, Kind>
  /** Children that are an array in JSON even when there is one. */
  lists: ReadonlySet<string>
  /** An empty element of this kind means something, where others are treated as absent. */
  marker: boolean
}

function members (children: Record<string, Kind>, { lists = [] as string[], marker = false } = {}): Members {
  return { order: new Map(Object.entries(children)), lists: new Set(lists), marker }
}

const unknownElement = members({}, { marker: true })
const tag = members({ Key: 'text', Value: 'text' })
const conditions = { Prefix: 'text', Tag: tag, StorageClass: 'text' } as const
const period = members({ StartTime: 'integer', EndTime: 'integer' })
const sseCos = members({}, { marker: true })

// Element names and nesting: COS documents 30625 (PUT), 30623 (GET), 46869 (POST).
const inventoryConfiguration = members({
  Id: 'text',
  IsEnabled: 'boolean',
  IncludedObjectVersions: 'text',
  Filter: members({
    And: members(conditions, { lists: ['Tag'] }),
    ...conditions,
    Period: period
  }, { lists: ['Tag'] }),
  OptionalFields: members({ Field: 'text' }, { lists: ['Field'] }),
  Schedule: members({ Frequency: 'text', MonthlyDate: 'integer' }),
  Destination: members({
    COSBucketDestination: members({
      Format: 'text',
      AccountId: 'text',
      Bucket: 'text',
      Prefix: 'text',
      Encryption: members({ 'SSE-COS': sseCos, SSECOS: sseCos }),
      'SSE-COS': sseCos
    })
  })
})

// COS document 30627.
const listResult = members({
  InventoryConfiguration: inventoryConfiguration,
  IsTruncated: 'boolean',
  ContinuationToken: 'text',
  NextContinuationToken: 'text'
}, { lists: ['InventoryConfiguration'] })

// COS document 46869.
const jobResult = members({ JobId: 'text' })

/**
 * The body of PUT or POST in canonical form: no prolog, no white space, elements in the documented order.
 *
 * @param id the configuration's id, which the body always names
 * @param input a body that passed validation
 */
export function toConfigurationXml (id: string, input: object): string {
  const { Id: _, ...rest } = input as JsonObject
  return writeElement('InventoryConfiguration', toWire({ Id: id, ...rest }), inventoryConfiguration)
}

/**
 * Reads the answer of GET.
 *
 * @throws {XmlError} when the bytes are not an InventoryConfiguration
 */
export function fromConfigurationXml (bytes: Uint8Array): InventoryConfiguration {
  return toConfiguration(readMembers(rootNamed(bytes, 'InventoryConfiguration'), inventoryConfiguration))
}

/**
 * Reads the answer of LIST.
 *
 * @throws {XmlError} when the bytes are not a ListInventoryConfigurationResult, or say that more follows
 *   without saying how to get it
 */
export function fromListXml (bytes: Uint8Array): InventoryPage {
  const root = rootNamed(bytes, 'ListInventoryConfigurationResult', 'ListInventoryConfigurationsResult')
  const {
    InventoryConfiguration: configurations = [],
    IsTruncated: truncated,
    ContinuationToken: _,
    NextContinuationToken: token,
    ...unknown
  } = readMembers(root, listResult)
  if (typeof truncated !== 'boolean') throw new XmlError('it does not say whether it is truncated')
  const page = {
    InventoryConfigurations: (configurations as JsonObject[]).map(toConfiguration),
    IsTruncated: truncated,
    ...unknown
  }
  if (!truncated) return page
  if (typeof token !== 'string' || token === '') throw new XmlError('it is truncated without a token')
  return { ...page, NextContinuationToken: token }
}

/**
 * Reads the answer of POST.
 *
 * @throws {XmlError} when the bytes are not a PostInventoryResult
 */
export function fromJobXml (bytes: Uint8Array): InventoryJob {
  return readMembers(rootNamed(bytes, 'PostInventoryResult'), jobResult)
}

function rootNamed (bytes: Uint8Array, ...names: string[]): XmlElement {
  const root = parseXml(bytes)
  if (!names.includes(root.name)) throw new XmlError(`its root element is not ${names[0]}`)
  return root
}

function toConfiguration (wire: JsonObject): InventoryConfiguration {
  if (typeof wire['Id'] !== 'string') throw new XmlError('a configuration has no Id')
  return fromWire(wire) as unknown as InventoryConfiguration
}

// Reading

function readMembers (element: XmlElement, { order, lists }: Members): JsonObject {
  // In a container white space is layout; other text beside elements has no form in JSON.
  if (element.text.trim() !== '') throw new XmlError(`${element.name} holds text beside elements`)
  const object: JsonObject = {}
  for (const child of element.children) {
    const value = readElement(child, order.get(child.name))
    if (value !== undefined) add(object, child.name, value, lists.has(child.name))
  }
  return object
}

function readElement (element: XmlElement, kind: Kind = unknownElement): Json | undefined {
  if (typeof kind === 'object') {
    if (element.children.length === 0 && element.text.trim() === '') {
      return kind === unknownElement ? element.text : kind.marker ? {} : undefined
    }
    return kind.marker && element.children.length === 0 ? element.text : readMembers(element, kind)
  }
  if (element.children.length > 0) return readMembers(element, unknownElement)
  const text = element.text.trim()
  if (kind === 'boolean' && /^(true|false)$/i.test(text)) return text.toLowerCase() === 'true'
  // Only what writes back to the same text becomes a number: nothing is lost to rounding or leading zeros.
  if (kind === 'integer' && Number.isSafeInteger(Number(text)) && String(Number(text)) === text) return Number(text)
  return element.text
}

function add (object: JsonObject, name: string, value: Json, list: boolean): void {
  const present = Object.hasOwn(object, name) ? object[name] : undefined
  if (present === undefined) set(object, name, list ? [value] : value)
  else if (Array.isArray(present)) present.push(value)
  else set(object, name, [present, value])
}

/** Assignment that makes `__proto__` a property like any other. */
function set (object: JsonObject, name: string, value: Json): void {
  Object.defineProperty(object, name, { value, enumerable: true, configurable: true, writable: true })
}

// Writing

function writeElement (name: string, value: Json, kind: Kind = unknownElement): string {
  if (Array.isArray(value)) return value.map(each => writeElement(name, each, kind)).join('')
  if (typeof value !== 'object') {
    const text = kind === 'boolean' ? String(value).toLowerCase() : String(value)
    return `<${name}>${escapeText(text)}</${name}>`
  }
  const content = writeMembers(value, typeof kind === 'object' ? kind : unknownElement)
  return content === '' && typeof kind === 'object' && !kind.marker ? '' : `<${name}>${content}</${name}>`
}

function writeMembers (object: JsonObject, { order }: Members): string {
  const followers = new Map<string, string>()
  let neighbour = ''
  for (const [name, value] of Object.entries(object)) {
    if (order.has(name)) neighbour = name
    else followers.set(neighbour, (followers.get(neighbour) ?? '') + writeElement(name, value))
  }
  let xml = followers.get('') ?? ''
  for (const [name, kind] of order) {
    const value = Object.hasOwn(object, name) ? object[name] : undefined
    if (value !== undefined) xml += writeElement(name, value, kind) + (followers.get(name) ?? '')
  }
  return xml
}

// Differences

function toWire (configuration: JsonObject): JsonObject {
  return mapMembers(configuration, {
    Filter: toWireFilter,
    OptionalFields: fields => Array.isArray(fields) ? { Field: fields } : fields,
    Destination: destination => inside(destination, 'COSBucketDestination', toWireDestination)
  })
}

function fromWire (configuration: JsonObject): JsonObject {
  return mapMembers(configuration, {
    Filter: fromWireFilter,
    Destination: destination => inside(destination, 'COSBucketDestination', fromWireDestination)
  })
}

/** JSON's flat conditions become Filter/And when there is a tag or a storage class, or an unknown condition in And. */
function toWireFilter (filter: Json): Json {
  if (!isObject(filter)) return filter
  const { And: and = {}, ...flat } = filter
  const inAnd: JsonObject = {}
  const beside: JsonObject = {}
  for (const [name, value] of Object.entries(flat)) {
    const isCondition = Object.hasOwn(conditions, name)
    if (isCondition) set(beside, 'And', inAnd)
    set(isCondition ? inAnd : beside, name, value)
  }
  for (const [name, value] of Object.entries(and)) {
    set(beside, 'And', inAnd)
    set(inAnd, name, value)
  }
  const { Prefix: prefix, Tag: tags, ...others } = inAnd
  const plain = Object.keys(others).length === 0 && (tags === undefined || (Array.isArray(tags) && tags.length === 0))
  if (!plain) return beside
  return mapNames(beside, name => name === 'And' ? 'Prefix' : name, value => value === inAnd ? prefix : value)
}

/** Known conditions of Filter/And move into Filter; unknown ones stay where they are. */
function fromWireFilter (filter: Json): Json | undefined {
  if (!isObject(filter)) return filter
  const flat: JsonObject = {}
  for (const [name, value] of Object.entries(filter)) {
    if (name !== 'And' || !isObject(value)) {
      merge(flat, name, value)
      continue
    }
    const unknown: JsonObject = {}
    for (const [condition, each] of Object.entries(value)) {
      if (Object.hasOwn(conditions, condition)) merge(flat, condition, each)
      else set(unknown, condition, each)
    }
    if (Object.keys(unknown).length > 0) set(flat, 'And', unknown)
  }
  return Object.keys(flat).length === 0 ? undefined : flat
}

/** What is said twice in the same words is one; said twice differently, both are kept. */
function merge (object: JsonObject, name: string, value: Json): void {
  const present = Object.hasOwn(object, name) ? object[name] : undefined
  if (present === undefined) set(object, name, value)
  else if (JSON.stringify(present) !== JSON.stringify(value)) set(object, name, [present, value].flat())
}

function toWireDestination (destination: JsonObject): JsonObject {
  return mapMembers(destination, {
    Encryption: encryption => isObject(encryption)
      ? mapNames(encryption, name => name === 'SSECOS' ? 'SSE-COS' : name, value => value)
      : encryption
  })
}

/** SSE-COS, SSECOS, and SSE-COS without its Encryption around it are one thing. */
function fromWireDestination (destination: JsonObject): JsonObject {
  const { 'SSE-COS': direct, ...rest } = destination
  const named = mapMembers(rest, {
    Encryption: encryption => isObject(encryption)
      ? mapNames(encryption, name => name === 'SSE-COS' ? 'SSECOS' : name, value => value)
      : encryption
  })
  if (direct === undefined) return named
  const { Encryption: encryption = {} } = named
  if (!isObject(encryption)) return { ...named, 'SSE-COS': direct }
  const all = { ...encryption }
  merge(all, 'SSECOS', direct)
  return { ...named, Encryption: all }
}

function isObject (value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && !Array.isArray(value)
}

function inside (value: Json, name: string, change: (object: JsonObject) => JsonObject): Json {
  return isObject(value) ? mapMembers(value, { [name]: inner => isObject(inner) ? change(inner) : inner }) : value
}

/** The same object with some members changed or, where the change gives undefined, left out. Order is kept. */
function mapMembers (object: JsonObject, changes: Record<string, (value: Json) => Json | undefined>): JsonObject {
  return mapNames(object, name => name, (value, name) => {
    const change = Object.hasOwn(changes, name) ? changes[name] : undefined
    return change === undefined ? value : change(value)
  })
}

function mapNames (
  object: JsonObject,
  rename: (name: string) => string,
  change: (value: Json, name: string) => Json | undefined
): JsonObject {
  const mapped: JsonObject = {}
  for (const [name, value] of Object.entries(object)) {
    const changed = change(value, name)
    if (changed !== undefined) merge(mapped, rename(name), changed)
  }
  return mapped
}
