import assert from 'node:assert/strict'
import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import { at, bucket, start } from '../start.ts'
import type { Answer } from '../start.ts'

/** JSON as GET returns it. */
type Json = string | number | boolean | null | Json[] | { [name: string]: Json }
interface Configuration { [name: string]: Json }

const collection = `/buckets/${bucket}/inventories`
const ids = ['a', 'b', 'c']
const isObject = (value: Json | undefined): value is Configuration =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Applies a merge patch with the algorithm of RFC 7396, section 2. */
function merged (target: Json | undefined, patch: Json): Json {
  if (!isObject(patch)) return patch
  const result: Configuration = isObject(target) ? { ...target } : {}
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete result[name]
    else result[name] = merged(result[name], value)
  }
  return result
}

/** Returns the canonical form, in which lists are sorted because their order does not matter. */
function canonical (value: Json): Json {
  if (Array.isArray(value)) return value.map(canonical).map(each => JSON.stringify(each)).sort()
  if (!isObject(value)) return value
  return Object.fromEntries(Object.entries(value).map(([name, each]): [string, Json] => [name, canonical(each)])
    .sort(([one], [other]) => one < other ? -1 : 1))
}
const same = (one: Json, other: Json) => isDeepStrictEqual(canonical(one), canonical(other))
const keyOf = (value: Json) => JSON.stringify(canonical(value))

/** Returns a configuration as GET returns it, from any form that PUT accepts. */
function normal (id: string, { Id: _, ...input }: Configuration): Configuration {
  const { Filter: filter, OptionalFields: fields, IsEnabled: enabled, Destination: destination, ...rest } = input
  const { Encryption: encryption, ...bucketDestination } = bucketDestinationOf(destination)
  const { And: and = {}, Period: period, Tag: tag, ...flat } = (filter ?? {}) as Configuration
  const { Tag: nestedTag, ...nested } = and as Configuration
  const tags = [tag, nestedTag].find(each => Array.isArray(each) && each.length > 0)
  const names = Array.isArray(fields) ? fields : (fields as { Field?: Json[] } | undefined)?.Field ?? []
  return without({
    ...mapped(rest, asElement),
    Id: id,
    IsEnabled: String(enabled).toLowerCase() === 'true',
    Filter: emptied({
      ...mapped(flat, asElement),
      ...mapped(nested, asElement),
      Tag: tags,
      Period: emptied((period ?? {}) as Configuration)
    }),
    OptionalFields: names.length > 0 ? { Field: names } : undefined,
    Schedule: mapped(rest['Schedule'] as Configuration, (value, name) => name === 'MonthlyDate' ? value : asElement(value)),
    Destination: {
      COSBucketDestination: without({
        ...bucketDestination,
        Encryption: isObject(encryption) && 'SSECOS' in encryption ? { SSECOS: {} } : undefined
      })
    }
  })
}

function bucketDestinationOf (destination: Json | undefined): Configuration {
  return (destination as { COSBucketDestination: Configuration }).COSBucketDestination
}

function mapped (object: Configuration, change: (value: Json, name: string) => Json): Configuration {
  return Object.fromEntries(Object.entries(object).map(([name, value]): [string, Json] => [name, change(value, name)]))
}

function without (object: Record<string, Json | undefined>): Configuration {
  return Object.fromEntries(Object.entries(object).filter((entry): entry is [string, Json] => entry[1] !== undefined))
}

function emptied (object: Record<string, Json | undefined>): Configuration | undefined {
  const rest = without(object)
  return Object.keys(rest).length > 0 ? rest : undefined
}

/** Returns an unknown element as GET reads it: values become text, and a list of one becomes its item. */
function asElement (value: Json): Json {
  if (Array.isArray(value)) return value.length === 1 ? asElement(value[0] as Json) : value.map(asElement)
  if (!isObject(value)) return String(value)
  return Object.keys(value).length === 0 ? '' : mapped(value, asElement)
}

/** Tells whether the service rejects the merged configuration. A patch may keep unknown members. */
function isRejected (result: Configuration, present: Configuration, allowUnknown: boolean): boolean {
  const { IsEnabled: enabled, Schedule: schedule, Filter: filter } = result
  if (enabled === undefined || !isObject(schedule)) return true
  if (!allowUnknown && contradicts(schedule)) return true
  const conditions = ['Prefix', 'Tag', 'StorageClass']
  const has = (object: Json | undefined) => isObject(object) && conditions.some(name => name in object)
  if (isObject(filter) && has(filter) && has(filter['And'])) return true
  const inside = (object: Configuration, name: string) => isObject(object[name]) ? object[name] : {}
  const places: Array<[result: Configuration, present: Configuration, name: string]> = [
    [result, present, 'Colour'], [result, present, 'NewThing'],
    [inside(result, 'Schedule'), inside(present, 'Schedule'), 'Hour'], [inside(result, 'Filter'), inside(present, 'Filter'), 'Size']
  ]
  return !allowUnknown && places.some(([after, before, name]) =>
    after[name] !== undefined && (before[name] === undefined || !same(after[name], before[name])))
}

/** Tells whether Frequency and MonthlyDate conflict. With allow-unknown=true, COS checks this rule. */
function contradicts (schedule: Configuration): boolean {
  return (schedule['Frequency'] === 'Monthly') !== ('MonthlyDate' in schedule)
}

/** Tells whether the emulator rejects the schedule or a filter by tag. */
function isRejectedByCos ({ Filter: filter, OptionalFields: fields, Schedule: schedule }: Configuration): boolean {
  const tags = isObject(filter) && 'Tag' in filter
  return contradicts(schedule as Configuration) || (tags && !(isObject(fields) && (fields['Field'] as Json[]).includes('Tag')))
}

const optional = <T>(values: T[]) => fc.option(fc.constantFrom(...values), { nil: undefined })
const text = ['', 'p', ' p ', 'true', '007', '日本/&<']
const tags = [[{ Key: 'k', Value: '1' }], [{ Key: 'k', Value: '1' }, { Key: 'j', Value: '' }]]
const unknownThing = [
  { Level: '3' }, { Level: '4', Items: ['a', 'b'] }, { Items: ['b', 'a', 'a'], Deep: { On: 'true' } }, ['x', 'y'], ''
]

/** A configuration as GET returns it, without Id. */
const configuration = fc.record({
  IsEnabled: fc.boolean(),
  IncludedObjectVersions: fc.constantFrom('All', 'Current'),
  Schedule: fc.constantFrom<Configuration>(
    { Frequency: 'Daily' }, { Frequency: 'Weekly', Hour: '04' },
    { Frequency: 'Monthly', MonthlyDate: 1 }, { Frequency: 'Monthly', MonthlyDate: 2 }
  ),
  Filter: fc.record({
    Prefix: optional(text),
    Tag: optional(tags),
    StorageClass: optional(['STANDARD', 'ARCHIVE']),
    Period: optional<Configuration>([{ StartTime: 1 }, { StartTime: 1, EndTime: 2 }]),
    Size: optional(['1', '2'])
  }),
  fields: fc.uniqueArray(fc.constantFrom('Size', 'ETag', 'x-cos-meta-a', 'Tag'), { maxLength: 3 }),
  destination: fc.record({
    Prefix: optional(text), AccountId: optional(['1', '2']), Encryption: optional([{ SSECOS: {} }])
  }),
  Colour: optional(['red', 'true', '3']),
  NewThing: optional<Json>(unknownThing)
}).map(({ fields, destination, Filter: filter, ...rest }) => {
  const names = [...new Set(filter.Tag === undefined ? fields : [...fields, 'Tag'])]
  const bucketDestination = without({ Bucket: `qcs::cos:ap-guangzhou::${bucket}`, Format: 'CSV', ...destination })
  return without({
    ...rest,
    Filter: emptied(filter),
    OptionalFields: names.length > 0 ? { Field: names } : undefined,
    Destination: { COSBucketDestination: bucketDestination }
  })
})

/** Returns an equivalent body: spellings of the SDKs, another order, values with the same text. */
function spelled (id: string, configuration: Configuration, ways: boolean[]): Configuration {
  const [capitals, bare, nested, emptyText, reverse, otherTypes, emptyOnes, named] = ways
  const { IsEnabled, Filter: filter, OptionalFields: fields, Destination: destination, Colour, ...rest } = configuration
  const { Prefix, Tag, StorageClass, ...beside } = (filter ?? {}) as Configuration
  const conditions = without({ Prefix, Tag: Tag ?? (emptyOnes === true ? [] : undefined), StorageClass })
  const { Encryption: encryption, ...bucketDestination } = bucketDestinationOf(destination)
  const empty = (value: Json) => emptyOnes === true ? value : undefined
  const body = without({
    Id: named === true ? id : undefined,
    ...rest,
    Colour: otherTypes !== true || Colour === undefined ? Colour : Colour === 'red' ? ['red'] : JSON.parse(String(Colour)) as Json,
    IsEnabled: capitals === true ? String(IsEnabled).replace(/^./, first => first.toUpperCase()) : IsEnabled,
    Filter: filter === undefined ? empty({}) : { ...beside, ...nested === true ? { And: conditions } : conditions },
    OptionalFields: fields === undefined ? empty({ Field: [] }) : bare === true ? (fields as Configuration)['Field'] : fields,
    Destination: {
      COSBucketDestination: without({
        Encryption: encryption === undefined ? empty({}) : { SSECOS: emptyText === true ? '' : {} },
        ...bucketDestination
      })
    }
  })
  return reverse === true ? reversed(body) as Configuration : body
}

function reversed (value: Json): Json {
  if (Array.isArray(value)) return value.map(reversed).reverse()
  if (!isObject(value)) return value
  return Object.fromEntries(Object.entries(mapped(value, reversed)).reverse())
}

const wholePatch = fc.record<Record<string, Json>>({
  Id: fc.constantFrom('a', 'b', null),
  IsEnabled: fc.constantFrom(true, false, 'False', null),
  IncludedObjectVersions: fc.constantFrom('All', 'Current'),
  Schedule: fc.constantFrom<Json>({ Frequency: 'Weekly', MonthlyDate: null }, { Frequency: 'Monthly', MonthlyDate: 3 }, { MonthlyDate: 4 },
    { Hour: '05' }, { Hour: null }, {}, null),
  Filter: fc.constantFrom<Json>(null, {}, { Prefix: 'q' }, { Prefix: null }, { Tag: null }, { Tag: [] }, { Tag: tags[0] as Json }, { StorageClass: null },
    { And: { Prefix: 'n' } }, { And: { Prefix: 'n' }, Prefix: null, Tag: null, StorageClass: null }, { Size: '3' }, { Size: null },
    { Period: { StartTime: 5 } }, { Period: { StartTime: null } }),
  OptionalFields: fc.constantFrom<Json>(null, {}, ['Size'], ['Tag', 'Size'], { Field: ['Tag', 'ETag'] }, { Field: [] }),
  Destination: fc.constantFrom<Json>(...[{ Prefix: null }, { Prefix: 'r' }, { Encryption: null }, { Encryption: { SSECOS: {} } },
    { Encryption: { SSECOS: null } }, { AccountId: '1' }].map(each => ({ COSBucketDestination: each }))),
  Colour: fc.constantFrom(null, 'blue', 'red'),
  NewThing: fc.constantFrom<Json>(null, { Level: '9' }, { Level: null }, { Items: ['z'] }, { Items: null, Level: null }, 'text', ['x', 'y'])
})

/** A patch has at most two members, so it is often valid and often changes nothing. */
const patch = wholePatch.chain(whole => fc.subarray(Object.entries(whole), { maxLength: 2 }))
  .map(members => Object.fromEntries(members))

type Condition = '*' | 'current' | 'other' | undefined
const id = fc.constantFrom(...ids)
const condition = fc.constantFrom<Condition>(...Array<undefined>(5).fill(undefined), '*', 'current', 'other')
const conditions = { ifMatch: condition, ifNoneMatch: condition }
const flag = fc.boolean()
const seldom = fc.constantFrom(false, false, false, true)
const ways = fc.array(fc.boolean(), { minLength: 8, maxLength: 8 })
const items = fc.uniqueArray(fc.record({ id, configuration, ways }), { selector: each => each.id, maxLength: 3 })
const step = fc.oneof(
  fc.record({ kind: fc.constant('PUT' as const), id, configuration, ways, ...conditions, dryRun: seldom }),
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('PATCH' as const), id, patch, allowUnknown: flag, ...conditions, dryRun: seldom }) },
  fc.record({ kind: fc.constant('DELETE' as const), id, ...conditions }),
  fc.record({ kind: fc.constant('GET' as const), id, ifNoneMatch: condition }),
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('apply' as const), items, prune: flag, dryRun: seldom }) }
)

t.test('the service and COS agree with a model after any sequence of requests', async t => {
  const { call, emulator } = await start(t)
  const etags = new Map<string, string>()
  const canonicalForms = new Map<string, string>()
  const seen = new Set<string>()

  /** Checks that equal configurations have the same tag, and different ones different tags. */
  function learn (configuration: Configuration, { headers: { etag } }: Answer): void {
    const key = keyOf(configuration)
    assert.match(String(etag), /^"[^"]+"$/)
    assert.equal(etags.get(key) ?? etag, etag)
    assert.equal(canonicalForms.get(String(etag)) ?? key, key)
    etags.set(key, String(etag))
    canonicalForms.set(String(etag), key)
  }

  async function headersOf (
    model: Map<string, Configuration>, id: string, conditions: { ifMatch?: Condition, ifNoneMatch?: Condition }
  ): Promise<Record<string, string>> {
    const present = model.get(id)
    if (present !== undefined && !etags.has(keyOf(present))) learn(present, await call('GET', at(id)))
    const current = present === undefined ? '"none"' : etags.get(keyOf(present))
    const other = [...canonicalForms.keys()].find(each => each !== current) ?? '"none"'
    const values = { '*': '*', current: `"first", ${current}`, other }
    return Object.fromEntries(Object.entries({ 'if-match': conditions.ifMatch, 'if-none-match': conditions.ifNoneMatch })
      .flatMap(([name, each]) => each === undefined ? [] : [[name, values[each]]]))
  }

  /** Runs a step, checks its status and number of writes, and updates the model. */
  async function take (model: Map<string, Configuration>, each: Step): Promise<void> {
    if (each.kind === 'apply') return await apply(model, each)
    const present = model.get(each.id)
    const [isThere, path] = [present !== undefined, at(each.id)]
    const headers = await headersOf(model, each.id, each)
    const fails = ('ifMatch' in each && each.ifMatch !== undefined && (each.ifMatch === 'other' || !isThere)) ||
      (['*', 'current'].includes(String(each.ifNoneMatch)) && isThere)
    const writes = () => emulator.requests.splice(0).filter(({ method }) => method !== 'GET').length
    writes()
    if (each.kind === 'GET') {
      const response = await call('GET', path, undefined, headers)
      assert.equal(response.status, !isThere ? 404 : fails ? 304 : 200)
      if (present !== undefined) learn(present, response)
      if (response.status === 200) assert.ok(same(response.json, present as Configuration))
    } else if (each.kind === 'DELETE') {
      assert.equal((await call('DELETE', path, undefined, headers)).status, fails ? 412 : 204)
      assert.equal(writes(), fails ? 0 : 1)
      if (!fails) model.delete(each.id)
    } else if (each.kind === 'PUT') {
      const body = spelled(each.id, each.configuration, each.ways)
      const response = await call('PUT', `${path}?allow-unknown=true&dry-run=${each.dryRun}`, body, headers)
      assert.equal(response.status, fails ? 412 : each.dryRun ? 200 : 204)
      assert.equal(writes(), fails || each.dryRun ? 0 : 1)
      if (fails || each.dryRun) return
      model.set(each.id, normal(each.id, each.configuration))
      learn(normal(each.id, each.configuration), response)
    } else {
      const query = `?allow-unknown=${each.allowUnknown}&dry-run=${each.dryRun}`
      const response = await call('PATCH', path + query, each.patch, { ...headers, 'content-type': 'application/merge-patch+json' })
      const sent = writes()
      seen.add(`PATCH ${response.status}`)
      if (typeof each.patch['Id'] === 'string' && each.patch['Id'] !== each.id) {
        assert.deepEqual([response.status, response.json?.code, sent], [400, 'ValidationFailed', 0], 'the patch is rejected before the read')
        return
      }
      if (present === undefined) {
        assert.deepEqual([response.status, sent], [each.ifMatch === undefined ? 404 : 412, 0])
        return
      }
      if (fails) {
        assert.deepEqual([response.status, sent], [412, 0])
        return
      }
      const result = merged(present, each.patch) as Configuration
      if (isRejected(result, present, each.allowUnknown)) {
        assert.deepEqual([response.status, response.json?.code, sent], [400, 'ValidationFailed', 0])
        return
      }
      const next = normal(each.id, result)
      if (!each.allowUnknown && ('Colour' in present || 'NewThing' in present)) seen.add('PATCH beside what is unknown')
      if (each.dryRun) {
        assert.deepEqual([response.status, sent], [200, 0])
      } else if (same(next, present)) {
        seen.add('PATCH of nothing')
        assert.deepEqual([response.status, sent], [200, 0], 'a patch without a change is not written')
        learn(present, response)
      } else if (isRejectedByCos(next)) {
        assert.deepEqual([response.status, response.json?.code, sent], [400, 'InvalidArgument', 1])
      } else {
        assert.deepEqual([response.status, sent], [200, 1])
        assert.ok(same(response.json, next))
        model.set(each.id, next)
        learn(next, response)
      }
    }
  }

  async function apply (
    model: Map<string, Configuration>, { items, prune, dryRun }: Omit<Extract<Step, { kind: 'apply' }>, 'kind'>
  ): Promise<void> {
    const names = ['Created', 'Updated', 'Deleted', 'Unchanged', 'Unmanaged', 'Failed'] as const
    const expected = Object.fromEntries(names.map(name => [name, []])) as unknown as
      Record<typeof names[number], string[]>
    const next = new Map(model)
    for (const { id, configuration } of items) {
      const present = model.get(id)
      const wanted = normal(id, configuration)
      const outcome = present === undefined ? 'Created' : same(present, wanted) ? 'Unchanged' : 'Updated'
      expected[outcome].push(id)
      if (outcome !== 'Unchanged') next.set(id, wanted)
    }
    for (const id of model.keys()) {
      if (items.some(each => each.id === id)) continue
      expected[prune ? 'Deleted' : 'Unmanaged'].push(id)
      if (prune) next.delete(id)
    }
    emulator.requests.length = 0
    const InventoryConfigurations = items
      .map(({ id, configuration, ways }) => ({ ...spelled(id, configuration, ways), Id: id }))
    const query = `?allow-unknown=true&prune=${prune}&dry-run=${dryRun}`
    const { status, json } = await call('PUT', collection + query, { InventoryConfigurations })
    assert.equal(status, 200)
    const outcome = { ...json, Updated: json.Updated.map(({ Id }: { Id: string }) => Id) }
    for (const ids of [...Object.values(outcome), ...Object.values(expected)]) (ids as string[]).sort()
    assert.deepEqual(outcome, expected)
    for (const { Id, Changes } of json.Updated) {
      seen.add('Updated')
      const [before, after] = [model, next].map(each => each.get(Id) as Configuration) as [Configuration, Configuration]
      assert.ok(same(changed(before, Changes), after), 'the changes produce the new configuration')
    }
    const changes = dryRun ? 0 : expected.Created.length + expected.Updated.length + expected.Deleted.length
    assert.deepEqual(emulator.requests.map(({ method }) => method).filter(method => method !== 'GET').length, changes)
    assert.equal(emulator.requests.length, changes + 1)
    if (dryRun) return
    model.clear()
    for (const [id, configuration] of next) model.set(id, configuration)
  }

  async function compare (model: Map<string, Configuration>): Promise<void> {
    const { json } = await call('GET', `${collection}?all=true`)
    const stored = new Map((json.InventoryConfigurations as Configuration[]).map(each => [each['Id'], each]))
    assert.deepEqual([...stored.keys()].sort(), [...model.keys()].sort())
    for (const [id, configuration] of model) {
      assert.deepEqual(canonical(stored.get(id) as Configuration), canonical(configuration))
    }
  }

  const steps = fc.array(step, { minLength: 4, maxLength: 14 })
  await t.resolves(fc.assert(fc.asyncProperty(steps, items, ways, flag, async (steps, items, ways, prune) => {
    emulator.reset()
    const model = new Map<string, Configuration>()
    for (const each of steps) await take(model, each)
    await compare(model)

    // A set that was applied causes no change when it is sent again in another spelling.
    await apply(model, { items, prune, dryRun: false })
    for (const dryRun of [true, false]) {
      await apply(model, { items: items.map(each => ({ ...each, ways })), prune, dryRun })
      assert.ok(emulator.requests.every(({ method }) => method === 'GET'))
    }
    const whole = (await call('GET', `${collection}?all=true`)).json
    emulator.requests.length = 0
    assert.equal((await call('PUT', `${collection}?allow-unknown=true&prune=true`, whole)).json.Unchanged.length, model.size)
    assert.equal(emulator.requests.length, 1)
    await compare(model)
  }), { numRuns: 60 }))
  t.strictSame([...seen].sort(), [
    'PATCH 200', 'PATCH 400', 'PATCH 404', 'PATCH 412', 'PATCH beside what is unknown', 'PATCH of nothing', 'Updated'
  ], 'every case occurred')
})

type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

/** A change as the outcome of a set describes it. */
interface Change {
  pointer: string
  from?: Json
  to?: Json
}

/** Applies the described changes to a configuration. */
function changed (configuration: Configuration, changes: Change[]): Configuration {
  const result = structuredClone(configuration)
  for (const { pointer, from, to } of changes) {
    const names = pointer.split('/').slice(1)
    const last = names.pop() as string
    const parent = names.reduce((object, name) => object[name] as Configuration, result)
    assert.deepEqual(canonical(parent[last] ?? null), canonical(from ?? null))
    if (to === undefined) delete parent[last]
    else parent[last] = to
  }
  return result
}
