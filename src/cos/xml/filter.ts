/**
 * The conditions of a filter. JSON has them directly in Filter. On the wire they are there or in Filter/And. COS
 * documents both places and returns conditions where they were sent. Some clients read only one of the places.
 */
import { isSame, merge, own, set } from './json.ts'
import type { Json, JsonObject } from './json.ts'
import { members } from './mapping.ts'
import { XmlError } from './parser.ts'

const tag = members({ Key: 'text', Value: 'text' }, { required: ['Key', 'Value'] })
const conditions = { Prefix: 'text', Tag: tag, StorageClass: 'text' } as const
const cardinality = { lists: ['Tag'], repeatable: ['StorageClass'] }

/** Filter on the wire (COS document 30625). */
export const filterElement = members({
  And: members(conditions, cardinality),
  ...conditions,
  Period: members({ StartTime: 'integer', EndTime: 'integer' })
}, cardinality)

/** A stored filter, which shows the place of its conditions. */
export interface StoredFilter {
  /** The filter in its form on the wire; undefined when it is absent or empty. */
  wire: JsonObject | undefined
  /** Whether there is an And, which may be empty. */
  hasAnd: boolean
}

/**
 * Returns a filter with its conditions in And when there is a tag or a storage class, or an unknown condition in And.
 * Otherwise there is only a prefix, which every client but those in Go reads from Filter itself.
 */
export function toWireFilter (filter: JsonObject): JsonObject {
  const { known, unknown } = conditionsOf(filter)
  return needsAnd(known, unknown)
    ? placed(filter, {}, { ...known, ...unknown })
    : placed(filter, known, {})
}

/**
 * Returns a filter with its conditions in the places of the stored filter. New conditions go to And if the stored
 * filter has one, and otherwise to the place that {@link toWireFilter} chooses.
 */
export function toStoredFilter (filter: JsonObject, stored: StoredFilter): JsonObject {
  const { known, unknown } = conditionsOf(filter)
  const storedFilter = stored.wire ?? {}
  const storedAnd = own(storedFilter, 'And') as JsonObject | undefined ?? {}
  const before = conditionsOf(storedFilter)
  const [direct, nested]: [JsonObject, JsonObject] = [{}, { ...unknown }]
  for (const name of Object.keys(known)) {
    const value = known[name] as Json
    const isUnchanged = isSame(value, own(before.known, name))
    const [inFilter, inAnd] = [own(storedFilter, name), own(storedAnd, name)]
    if (isUnchanged && inFilter !== undefined) direct[name] = inFilter
    if (isUnchanged && inAnd !== undefined) nested[name] = inAnd
    if (!isUnchanged && stored.hasAnd) nested[name] = value
    if (!isUnchanged && !stored.hasAnd) direct[name] = value
  }
  // The SDK for JavaScript sends tags beside the prefix.
  const isDirect = !stored.hasAnd && needsAnd(before.known, {})
  return stored.hasAnd || isDirect ? placed(filter, direct, nested) : toWireFilter(filter)
}

/**
 * Returns a filter with its known conditions in Filter itself.
 *
 * @throws {XmlError} when there are two prefixes
 */
export function fromWireFilter (filter: JsonObject): JsonObject {
  const flat: JsonObject = {}
  for (const [name, value] of Object.entries(filter)) {
    if (name !== 'And') {
      merge(flat, name, value)
      continue
    }
    const unknown: JsonObject = {}
    for (const [condition, each] of Object.entries(value as JsonObject)) {
      if (isCondition(condition)) merge(flat, condition, each)
      else set(unknown, condition, each)
    }
    if (Object.keys(unknown).length > 0) set(flat, 'And', unknown)
  }
  if (Array.isArray(own(flat, 'Prefix'))) throw new XmlError('a filter has two prefixes')
  return flat
}

function isCondition (name: string): boolean {
  return Object.hasOwn(conditions, name)
}

/** Returns the conditions in Filter and And, and the unknown members of And. */
function conditionsOf (filter: JsonObject): { known: JsonObject, unknown: JsonObject } {
  const [known, unknown]: [JsonObject, JsonObject] = [{}, {}]
  for (const [name, value] of Object.entries(filter)) {
    if (isCondition(name)) merge(known, name, value)
  }
  for (const [name, value] of Object.entries(own(filter, 'And') ?? {}) as Array<[string, Json]>) {
    if (isCondition(name)) merge(known, name, value)
    else set(unknown, name, value)
  }
  return { known, unknown }
}

function needsAnd ({ Tag: tags, StorageClass: storageClass }: JsonObject, unknown: JsonObject): boolean {
  return (Array.isArray(tags) && tags.length > 0) || storageClass !== undefined || Object.keys(unknown).length > 0
}

/** Returns a filter with these conditions in place of its own. */
function placed (filter: JsonObject, direct: JsonObject, nested: JsonObject): JsonObject {
  const wire: JsonObject = {}
  const placeConditions = () => {
    for (const name of Object.keys(direct)) set(wire, name, direct[name] as Json)
    if (Object.keys(nested).length > 0) set(wire, 'And', nested)
  }
  let isPlaced = false
  for (const [name, value] of Object.entries(filter)) {
    if (name !== 'And' && !isCondition(name)) set(wire, name, value)
    else if (!isPlaced) {
      placeConditions()
      isPlaced = true
    }
  }
  return wire
}
