/**
 * The translation between the JSON forms of this service and COS's XML, in both directions and pure.
 *
 * One table of elements drives reading and writing (see mapping.ts). JSON and wire differ in two places: Filter is flat
 * in JSON (see filter.ts), and SSE-COS is SSECOS.
 */
import type { InventoryConfiguration, InventoryJob } from '../../contract/inventory.ts'
import { ServiceError } from '../../errors.ts'
import { nextIteration } from '../../concurrency/event-loop.ts'
import { filterElement, fromWireFilter, toStoredFilter, toWireFilter } from './filter.ts'
import {
  asRead, isObject, isSame, mapMembers, members, merge, own, readMembers, writeElement
} from './mapping.ts'
import type { Json, JsonObject, MemberChanges } from './mapping.ts'
import {
  configurationExtent, errorExtent, pageExtent, parseInParts, parseText, parseXml, XmlError
} from './parser.ts'
import type { XmlElement } from './parser.ts'
import { rewriteElement } from './rewriting.ts'

// Element names and nesting: COS documents 30625 (PUT), 30623 (GET), 46869 (POST).
const inventoryConfiguration = members({
  Id: 'text',
  IsEnabled: 'boolean',
  IncludedObjectVersions: 'text',
  Filter: filterElement,
  OptionalFields: members({ Field: 'text' }, { lists: ['Field'], required: ['Field'] }),
  Schedule: members({ Frequency: 'text', MonthlyDate: 'integer' }, { required: ['Frequency'] }),
  Destination: members({
    COSBucketDestination: members({
      Format: 'text',
      AccountId: 'identifier',
      Bucket: 'text',
      Prefix: 'text',
      Encryption: members({ 'SSE-COS': 'marker', SSECOS: 'marker' }),
      'SSE-COS': 'marker'
    }, { required: ['Bucket', 'Format'] })
  }, { required: ['COSBucketDestination'] })
})

// COS document 30627.
const listResult = members({ IsTruncated: 'boolean', ContinuationToken: 'identifier', NextContinuationToken: 'identifier' })
const listNames = ['ListInventoryConfigurationResult', 'ListInventoryConfigurationsResult']

// COS document 46869.
const jobResult = members({ JobId: 'text' })

/** COS documents no longest Id, and gives it back in URLs. */
const maxIdLength = 1_024

/** COS returns 100 configurations a page, and a bucket has 1,000 at most (COS document 30625). */
const maxConfigurations = 1_000

/** A configuration that COS stores. */
export interface StoredConfiguration {
  configuration: InventoryConfiguration
  /** The document COS returned, or its part of a page: {@link toChangedXml} keeps its form. */
  xml: string
}

/** A page of configurations. */
export interface StoredPage {
  stored: StoredConfiguration[]
  /** The token of this page, where COS names it. */
  continuationToken: string | undefined
  /** The token of the next page; undefined for the last one. */
  nextContinuationToken: string | undefined
  /** The elements of the page that this service does not know. */
  unknown: object
}

/**
 * Returns the body of PUT or POST in canonical form: no prolog, no white space, elements in the documented order.
 *
 * @param id the configuration's id, which the body always names
 * @param input a body that passed validation
 */
export function toConfigurationXml (id: string, input: object): string {
  return writeElement('InventoryConfiguration', mapMembers(named(id, input), changesToWire), inventoryConfiguration)
}

/**
 * Returns the body of a PUT that changes a stored configuration. What the input leaves as it is keeps the form COS
 * returned it in: where the conditions of the filter are, the spelling of SSE-COS, the order, unknown elements and all
 * attributes. Clients read only the form that they write (Go reads a prefix only from Filter/And).
 *
 * @param id the configuration's id
 * @param input a body that passed validation
 * @param xml the stored configuration
 * @throws {XmlError} when the XML is not an InventoryConfiguration
 * @throws {ServiceError} as {@link normalise} does
 */
export function toChangedXml (id: string, input: object, xml: string): string {
  const root = rootOf(xml)
  // New elements would not be in the namespace of the others.
  if (root.qualifiedName !== root.name) return toConfigurationXml(id, input)
  const next = normalise(id, input) as unknown as JsonObject
  return rewriteElement(root, inventoryConfiguration, mapMembers(next, changesToStored(root)))
}

/**
 * Returns what GET returns once COS stores what PUT would send: the flat form with JSON's types, whatever form the
 * input has.
 *
 * @param id the configuration's id
 * @param input a body that passed validation
 * @throws {ServiceError} ValidationFailed for two values of one element, which unknown members can add
 */
export function normalise (id: string, input: object): InventoryConfiguration {
  try {
    return fromWire(asRead(mapMembers(named(id, input), changesToWire), inventoryConfiguration))
  } catch (error) {
    if (!(error instanceof XmlError)) throw error
    throw new ServiceError('ValidationFailed', 'The configuration contradicts itself. Nothing was sent to COS.',
      { errors: [{ in: 'body', pointer: '', detail: `has no form that COS could return: ${error.message}` }] })
  }
}

/**
 * Reads the response of GET.
 *
 * @throws {XmlError} when the XML is not an InventoryConfiguration that JSON has a form for
 */
export function fromConfigurationXml (xml: string): InventoryConfiguration {
  return toConfiguration(rootOf(xml))
}

/**
 * Reads the response of LIST, one configuration after another with iterations of the event loop in between.
 *
 * @param wait waits for the next iteration
 * @throws {XmlError} when the XML is not a page of configurations that JSON has a form for, or say that more follows
 *   without a token
 */
export async function fromListXml (xml: string, wait: () => Promise<void> = nextIteration): Promise<StoredPage> {
  const stored: StoredConfiguration[] = []
  let others = 0
  const root = await parseInParts(xml, pageExtent, (element, part, size) => {
    if (element.name !== 'InventoryConfiguration') {
      others += size
      if (others > errorExtent.maxElements) throw new XmlError('it holds too much markup')
      return true
    }
    if (size > configurationExtent.maxElements) throw new XmlError('it holds too much markup')
    if (part.length > configurationExtent.maxLength) throw new XmlError('it is too long')
    // An empty element is no configuration.
    if (element.children.length === 0 && element.text.trim() === '') return false
    if (stored.length === maxConfigurations) throw new XmlError('it holds too many configurations')
    stored.push({ configuration: toConfiguration(element), xml: part })
    return false
  }, wait)
  const {
    IsTruncated: isTruncated,
    ContinuationToken: continuationToken,
    NextContinuationToken: next,
    ...unknown
  } = readMembers(checkName(root, ...listNames), listResult)
  if (isTruncated === undefined) throw new XmlError('it does not say whether it is truncated')
  if (isTruncated === true && next === undefined) throw new XmlError('it is truncated without a token')
  // The name of the list in JSON.
  if (Object.hasOwn(unknown, 'InventoryConfigurations')) throw new XmlError('it has a form that is not known')
  return {
    stored,
    continuationToken: continuationToken as string | undefined,
    nextContinuationToken: isTruncated === true ? next as string : undefined,
    unknown
  }
}

/**
 * Reads the response of POST.
 *
 * @throws {XmlError} when the bytes are not a PostInventoryResult
 */
export function fromJobXml (bytes: Uint8Array): InventoryJob {
  return readMembers(checkName(parseXml(bytes, errorExtent), 'PostInventoryResult'), jobResult)
}

function rootOf (xml: string): XmlElement {
  return checkName(parseText(xml, configurationExtent), 'InventoryConfiguration')
}

function checkName (root: XmlElement, ...names: string[]): XmlElement {
  if (!names.includes(root.name)) throw new XmlError(`its root element is not ${names[0]}`)
  return root
}

function toConfiguration (element: XmlElement): InventoryConfiguration {
  const wire = readMembers(element, inventoryConfiguration)
  const { Id: id } = wire
  if (typeof id !== 'string' || id === '' || id.length > maxIdLength) throw new XmlError('a configuration has no usable Id')
  return fromWire(wire)
}

function named (id: string, input: object): JsonObject {
  const { Id: _, ...rest } = input as JsonObject
  return { Id: id, ...rest }
}

const toWireFields = (fields: Json): Json => isListOfTexts(fields) ? { Field: fields } : fields

/** The form of the SDK for Node; a list of objects would be several elements. */
function isListOfTexts (value: Json): value is string[] {
  return Array.isArray(value) && value.every(each => typeof each === 'string')
}

const changesToWire: MemberChanges = new Map([
  ['Filter', filter => toWireFilter(filter as JsonObject)],
  ['OptionalFields', toWireFields],
  ['Destination', inside('COSBucketDestination', toWireDestination)]
])

/** What {@link changesToWire} does, in the form of a stored configuration. */
function changesToStored (root: XmlElement): MemberChanges {
  const { Filter: filter, Destination: destination } = readMembers(root, inventoryConfiguration)
  const hasAnd = childrenOf([root], 'Filter').some(({ children }) => children.some(({ name }) => name === 'And'))
  const stored = isObject(destination) ? own(destination, 'COSBucketDestination') as JsonObject : {}
  return new Map([
    ['Filter', (each: Json) => toStoredFilter(each as JsonObject, { wire: filter as JsonObject | undefined, hasAnd })],
    ['Destination', inside('COSBucketDestination', each => toStoredDestination(each, stored))]
  ])
}

function childrenOf (elements: XmlElement[], name: string): XmlElement[] {
  return elements.flatMap(({ children }) => children.filter(child => child.name === name))
}

function fromWire (wire: JsonObject): InventoryConfiguration {
  return mapMembers(wire, changesFromWire) as unknown as InventoryConfiguration
}

const changesFromWire: MemberChanges = new Map([
  ['Filter', filter => fromWireFilter(filter as JsonObject)],
  ['Destination', inside('COSBucketDestination', fromWireDestination)]
])

function toWireDestination (destination: JsonObject): JsonObject {
  return mapMembers(destination, encryptionToWire)
}

const encryptionToWire: MemberChanges = new Map([['Encryption', renamed('SSECOS', 'SSE-COS')]])

/** Keeps an encryption that is the same, otherwise the spelling SSECOS. SSE-COS outside of Encryption goes into it. */
function toStoredDestination (destination: JsonObject, stored: JsonObject): JsonObject {
  const { Encryption: encryption } = destination
  const before = fromWireDestination(stored)['Encryption']
  if (isSame(encryption, before)) {
    const { Encryption: _, ...rest } = destination
    const { Encryption: nested, 'SSE-COS': direct } = stored
    return { ...rest, ...nested !== undefined && { Encryption: nested }, ...direct !== undefined && { 'SSE-COS': direct } }
  }
  const usesOtherSpelling = isObject(stored['Encryption']) && own(stored['Encryption'], 'SSECOS') !== undefined
  return usesOtherSpelling ? destination : toWireDestination(destination)
}

/**
 * SSE-COS, SSECOS, and SSE-COS outside of Encryption are one thing.
 *
 * @throws {XmlError} when they differ
 */
function fromWireDestination (destination: JsonObject): JsonObject {
  const { 'SSE-COS': direct, ...rest } = destination
  const { Encryption: encryption = {} } = rest
  if (direct === undefined && !isObject(rest['Encryption'])) return rest
  const all: JsonObject = {}
  for (const [name, value] of Object.entries(encryption)) merge(all, name === 'SSE-COS' ? 'SSECOS' : name, value as Json)
  if (direct !== undefined) merge(all, 'SSECOS', direct)
  if (Array.isArray(all['SSECOS'])) throw new XmlError('SSE-COS occurs more than once')
  const mapped: JsonObject = { ...rest }
  mapped['Encryption'] = all
  return mapped
}

function renamed (from: string, to: string): (value: Json) => Json {
  return value => {
    const object = value as JsonObject
    const mapped: JsonObject = {}
    for (const name of Object.keys(object)) merge(mapped, name === from ? to : name, object[name] as Json)
    return mapped
  }
}

function inside (name: string, change: (object: JsonObject) => JsonObject): (value: Json) => Json {
  const changes: MemberChanges = new Map([[name, inner => change(inner as JsonObject)]])
  return value => mapMembers(value as JsonObject, changes)
}
