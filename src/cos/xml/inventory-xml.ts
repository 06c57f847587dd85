/**
 * Translates between the JSON forms of this service and the XML of COS. All functions are pure.
 *
 * One table of elements drives reading and writing (see mapping.ts). JSON and wire differ in two places: Filter is flat
 * in JSON (see filter.ts), and SSE-COS is SSECOS (see destination.ts).
 */
import type { InventoryConfiguration, InventoryJob } from '../../contract/inventory.ts'
import { ServiceError } from '../../errors.ts'
import { nextIteration } from '../../concurrency/event-loop.ts'
import { destinationElement, fromWireDestination, toStoredDestination, toWireDestination } from './destination.ts'
import { filterElement, fromWireFilter, toStoredFilter, toWireFilter } from './filter.ts'
import { mapMembers } from './json.ts'
import type { Json, JsonObject, MemberChanges } from './json.ts'
import { asRead, members, readMembers, writeElement } from './mapping.ts'
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
  Destination: destinationElement
})

// COS document 30627.
const listResult = members({ IsTruncated: 'boolean', ContinuationToken: 'identifier', NextContinuationToken: 'identifier' })
const listNames = ['ListInventoryConfigurationResult', 'ListInventoryConfigurationsResult']

// COS document 46869.
const jobResult = members({ JobId: 'text' })

/** The longest Id that is read. COS documents no limit, and an Id becomes part of URLs. */
const maxIdLength = 1_024

/** The most configurations of a page. COS sends 100, and a bucket has at most 1,000 (COS document 30625). */
const maxConfigurations = 1_000

/** A configuration that COS stores. */
export interface StoredConfiguration {
  configuration: InventoryConfiguration
  /** The document that COS returned, or its part of a page. {@link toChangedXml} keeps its form. */
  xml: string
}

/** A page of configurations. */
export interface StoredPage {
  stored: StoredConfiguration[]
  /** The token of this page if COS names it. */
  continuationToken: string | undefined
  /** The token of the next page; undefined for the last one. */
  nextContinuationToken: string | undefined
  /** Elements of the page that are unknown to this service. */
  unknown: object
}

/**
 * Returns the body of PUT or POST in canonical form: no prolog, no white space, elements in the documented order.
 *
 * @param id the configuration's id, which the body always contains
 * @param input a body that passed validation
 */
export function toConfigurationXml (id: string, input: object): string {
  return writeElement('InventoryConfiguration', mapMembers(named(id, input), changesToWire), inventoryConfiguration)
}

/**
 * Returns the body of a PUT that changes a stored configuration. Unchanged elements keep the form that COS returned.
 * The form is the place of filter conditions, the spelling of SSE-COS, the order, unknown elements and attributes. Some
 * clients read only the form that they write. For example, those in Go read a prefix only from Filter/And.
 *
 * @param id the configuration's id
 * @param input a body that passed validation
 * @param xml the stored configuration
 * @throws {XmlError} when the XML is not an InventoryConfiguration
 * @throws {ServiceError} as {@link normalize} does
 */
export function toChangedXml (id: string, input: object, xml: string): string {
  const root = rootOf(xml)
  // New elements would not be in the namespace of the root.
  if (root.qualifiedName !== root.name) return toConfigurationXml(id, input)
  const next = normalize(id, input) as unknown as JsonObject
  return rewriteElement(root, inventoryConfiguration, mapMembers(next, changesToStored(root)))
}

/**
 * Returns the configuration that GET returns after a PUT of this one, in the flat form with JSON's types.
 *
 * @param id the configuration's id
 * @param input a body that passed validation
 * @throws {ServiceError} ValidationFailed when unknown members give an element a second value
 */
export function normalize (id: string, input: object): InventoryConfiguration {
  try {
    return fromWire(asRead(mapMembers(named(id, input), changesToWire), inventoryConfiguration))
  } catch (error) {
    if (!(error instanceof XmlError)) throw error
    throw new ServiceError('ValidationFailed', 'The configuration contradicts itself. Nothing was sent to COS; correct it.',
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
 * Reads the response of LIST. Iterations of the event loop lie between its configurations.
 *
 * @param wait waits for the next iteration
 * @throws {XmlError} when the XML is not a page of configurations that JSON has a form for, or has no token although it
 *   is truncated
 */
export async function fromListXml (xml: string, wait: () => Promise<void> = nextIteration): Promise<StoredPage> {
  const stored: StoredConfiguration[] = []
  let others = 0
  const root = await parseInParts(xml, pageExtent, (element, part, size) => {
    if (element.name !== 'InventoryConfiguration') {
      others += size
      if (others > errorExtent.maxElements) throw new XmlError('the document has too much markup')
      return true
    }
    if (size > configurationExtent.maxElements) throw new XmlError('the document has too much markup')
    if (part.length > configurationExtent.maxLength) throw new XmlError('the document is too long')
    // An empty element is not a configuration.
    if (element.children.length === 0 && element.text.trim() === '') return false
    if (stored.length === maxConfigurations) throw new XmlError('the document has too many configurations')
    stored.push({ configuration: toConfiguration(element), xml: part })
    return false
  }, wait)
  const {
    IsTruncated: isTruncated,
    ContinuationToken: continuationToken,
    NextContinuationToken: next,
    ...unknown
  } = readMembers(checkName(root, ...listNames), listResult)
  if (isTruncated === undefined) throw new XmlError('IsTruncated is missing')
  if (isTruncated === true && next === undefined) throw new XmlError('the document is truncated without a token')
  // The JSON form uses this name for its own member.
  if (Object.hasOwn(unknown, 'InventoryConfigurations')) throw new XmlError('the document has an unknown form')
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
  if (!names.includes(root.name)) throw new XmlError(`the root element is not ${names[0]}`)
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

/** Tells whether fields have the form of the SDK for Node. A list of objects would be several elements. */
function isListOfTexts (value: Json): value is string[] {
  return Array.isArray(value) && value.every(each => typeof each === 'string')
}

const changesToWire: MemberChanges = new Map([
  ['Filter', filter => toWireFilter(filter as JsonObject)],
  ['OptionalFields', toWireFields],
  ['Destination', destination => toWireDestination(destination as JsonObject)]
])

/** Returns the changes that {@link changesToWire} makes, but in the form of a stored configuration. */
function changesToStored (root: XmlElement): MemberChanges {
  const { Filter: filter, Destination: destination } = readMembers(root, inventoryConfiguration)
  const hasAnd = root.children.some(each => each.name === 'Filter' && each.children.some(({ name }) => name === 'And'))
  return new Map([
    ['Filter', (each: Json) => toStoredFilter(each as JsonObject, { wire: filter as JsonObject | undefined, hasAnd })],
    ['Destination', (each: Json) => toStoredDestination(each as JsonObject, destination as JsonObject | undefined)]
  ])
}

function fromWire (wire: JsonObject): InventoryConfiguration {
  return mapMembers(wire, changesFromWire) as unknown as InventoryConfiguration
}

const changesFromWire: MemberChanges = new Map([
  ['Filter', filter => fromWireFilter(filter as JsonObject)],
  ['Destination', destination => fromWireDestination(destination as JsonObject)]
])
