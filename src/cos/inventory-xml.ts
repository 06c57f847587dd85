/**
 * The translation between the JSON forms of this service and COS's XML, both ways and pure.
 *
 * One table of elements drives reading and writing (see element-json.ts). The few places where JSON and wire differ,
 * the flat Filter and SSECOS for SSE-COS, are the functions below the public ones.
 */
import type { InventoryConfiguration, InventoryJob, InventoryPage } from '../contract/inventory.ts'
import { nextIteration } from '../event-loop.ts'
import {
  asRead, isObject, mapMembers, mapNames, members, merge, readElement, readMembers, set, writeElement
} from './element-json.ts'
import type { Json, JsonObject, MemberChanges } from './element-json.ts'
import { configurationExtent, cutXml, decodeUtf8, errorExtent, parseText, parseXml, XmlError } from './xml.ts'
import type { Extent, XmlElement } from './xml.ts'

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
 * What GET answers once COS holds what PUT would send: the flat form with JSON's types, whatever form the input has.
 *
 * @param id the configuration's id
 * @param input a body that passed validation
 */
export function normalise (id: string, input: object): InventoryConfiguration {
  const { Id: _, ...rest } = input as JsonObject
  return fromWire(asRead(toWire({ Id: id, ...rest }), inventoryConfiguration)) as unknown as InventoryConfiguration
}

/**
 * Reads the answer of GET.
 *
 * @throws {XmlError} when the bytes are not an InventoryConfiguration
 */
export function fromConfigurationXml (bytes: Uint8Array): InventoryConfiguration {
  return fromConfigurationText(decodeUtf8(bytes))
}

/**
 * The same for bytes that are a text already.
 *
 * @throws {XmlError} as fromConfigurationXml does
 */
export function fromConfigurationText (text: string): InventoryConfiguration {
  return toConfiguration(readMembers(named(parseText(text, configurationExtent), 'InventoryConfiguration'), inventoryConfiguration))
}

/**
 * Reads the answer of LIST.
 *
 * @throws {XmlError} when the bytes are not a ListInventoryConfigurationResult, or say that more follows
 *   without saying how to get it
 */
export function fromListXml (bytes: Uint8Array): InventoryPage {
  return toPage(rootNamed(bytes, wholePageExtent, ...listNames))
}

const listNames = ['ListInventoryConfigurationResult', 'ListInventoryConfigurationsResult']

/** A page that cannot be cut into its configurations, because of comments or prefixes. COS sends none of them. */
const wholePageExtent: Extent = { ...configurationExtent, maxTags: 2 * configurationExtent.maxTags }

/** COS documents no longest Id, and gives it back in URLs. */
const maxIdLength = 1_024

/** For so many milliseconds other requests wait. */
const longestTurnMs = 4

/**
 * One configuration that was cut out of a page; nothing for an empty one, which is none.
 *
 * @throws {XmlError} when it is not well-formed, or has no Id
 */
export function pieceToConfiguration (text: string): InventoryConfiguration | undefined {
  const wire = readElement(parseText(text, configurationExtent), inventoryConfiguration)
  return wire === undefined ? undefined : toConfiguration(wire as JsonObject)
}

/**
 * Reads the answer of LIST as {@link fromListXml} does, but one configuration after another: a page of a hundred would
 * hold the event loop, and with it all other requests, for up to a twentieth of a second.
 *
 * @param toConfiguration reads the pieces
 * @param turn lets others have theirs, and comes back when there is one for this page
 * @throws {XmlError} as fromListXml does
 */
export async function readList (
  bytes: Uint8Array, toConfiguration = pieceToConfiguration, turn: () => Promise<void> = nextIteration
): Promise<InventoryPage> {
  let begunAt = performance.now()
  const cut = cutXml(bytes, 'InventoryConfiguration')
  if (cut === undefined) return fromListXml(bytes)
  const page = toPage(named(cut.rest, ...listNames))
  for (const piece of cut.pieces) {
    if (performance.now() - begunAt > longestTurnMs) {
      await turn()
      begunAt = performance.now()
    }
    const configuration = toConfiguration(piece)
    if (configuration !== undefined) page.InventoryConfigurations.push(configuration)
  }
  // To write it as JSON may take as long again.
  if (performance.now() - begunAt > longestTurnMs / 2) await turn()
  return page
}

function toPage (root: XmlElement): InventoryPage {
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
  return readMembers(rootNamed(bytes, errorExtent, 'PostInventoryResult'), jobResult)
}

function rootNamed (bytes: Uint8Array, extent: Extent, ...names: string[]): XmlElement {
  return named(parseXml(bytes, extent), ...names)
}

function named (root: XmlElement, ...names: string[]): XmlElement {
  if (!names.includes(root.name)) throw new XmlError(`its root element is not ${names[0]}`)
  return root
}

function toConfiguration (wire: JsonObject): InventoryConfiguration {
  const { Id: id } = wire
  if (typeof id !== 'string' || id === '' || id.length > maxIdLength) throw new XmlError('a configuration has no usable Id')
  return fromWire(wire) as unknown as InventoryConfiguration
}

function toWire (configuration: JsonObject): JsonObject {
  return mapMembers(configuration, changesToWire)
}

const changesToWire: MemberChanges = new Map([
  ['Filter', toWireFilter],
  ['OptionalFields', fields => isListOfTexts(fields) ? { Field: fields } : fields],
  ['Destination', inside('COSBucketDestination', toWireDestination)]
])

/** The Node SDK's form; a list of objects would be several elements, which COS is not known to hold. */
function isListOfTexts (value: Json): value is string[] {
  return Array.isArray(value) && value.every(each => typeof each === 'string')
}

function fromWire (configuration: JsonObject): JsonObject {
  return mapMembers(configuration, changesFromWire)
}

const changesFromWire: MemberChanges = new Map([
  ['Filter', fromWireFilter],
  ['Destination', inside('COSBucketDestination', fromWireDestination)]
])

/** JSON's flat conditions become Filter/And when there is a tag or a storage class, or an unknown condition in And. */
function toWireFilter (filter: Json): Json {
  if (!isObject(filter) || Array.isArray(filter['And'])) return filter
  const { And: nested, ...flat } = filter
  const conditionsBeside: JsonObject = {}
  for (const name of Object.keys(flat)) if (isCondition(name)) conditionsBeside[name] = flat[name] as Json
  const all = nested === undefined ? conditionsBeside : { ...conditionsBeside, ...nested as JsonObject }
  const { Prefix: prefix, Tag: tags, ...others } = all
  const hasTags = Array.isArray(tags) && tags.length > 0
  const [name, value] = hasTags || Object.keys(others).length > 0 ? ['And', all] : ['Prefix', prefix]
  const wire: JsonObject = {}
  for (const [member, each] of Object.entries(filter)) {
    if (member !== 'And' && !isCondition(member)) set(wire, member, each)
    else if (value !== undefined) set(wire, name, value)
  }
  return wire
}

function isCondition (name: string): boolean {
  return Object.hasOwn(conditions, name)
}

/** Known conditions of Filter/And move into Filter; unknown ones stay where they are. */
function fromWireFilter (filter: Json): Json {
  if (!isObject(filter)) return filter
  const flat: JsonObject = {}
  for (const [name, value] of Object.entries(filter)) {
    if (name !== 'And' || !isObject(value)) {
      merge(flat, name, value)
      continue
    }
    const unknown: JsonObject = {}
    for (const [condition, each] of Object.entries(value)) {
      if (isCondition(condition)) merge(flat, condition, each)
      else set(unknown, condition, each)
    }
    if (Object.keys(unknown).length > 0) set(flat, 'And', unknown)
  }
  return flat
}

function toWireDestination (destination: JsonObject): JsonObject {
  return mapMembers(destination, encryptionToWire)
}

const encryptionToWire: MemberChanges = new Map([['Encryption', renamed('SSECOS', 'SSE-COS')]])
const encryptionFromWire: MemberChanges = new Map([['Encryption', renamed('SSE-COS', 'SSECOS')]])

function renamed (from: string, to: string): (value: Json) => Json {
  return value => isObject(value) ? mapNames(value, name => name === from ? to : name) : value
}

/** SSE-COS, SSECOS, and SSE-COS without its Encryption around it are one thing. */
function fromWireDestination (destination: JsonObject): JsonObject {
  const { 'SSE-COS': direct, ...rest } = destination
  const named = mapMembers(rest, encryptionFromWire)
  if (direct === undefined) return named
  const { Encryption: encryption = {} } = named
  if (!isObject(encryption)) return { ...named, 'SSE-COS': direct }
  const all = { ...encryption }
  merge(all, 'SSECOS', direct)
  return { ...named, Encryption: all }
}

function inside (name: string, change: (object: JsonObject) => JsonObject): (value: Json) => Json {
  const changes: MemberChanges = new Map([[name, inner => isObject(inner) ? change(inner) : inner]])
  return value => isObject(value) ? mapMembers(value, changes) : value
}
