import { once } from 'node:events'
import { connect } from 'node:net'
import { createInterface } from 'node:readline'
import { mock } from 'node:test'
import t from 'tap'
import { Agent } from 'undici'
import type { Emulator } from '../../src/emulator/server.ts'
import { as, callersFile, everything, withKey } from '../callers-file.ts'
import { startGated } from '../doubles/gate.ts'
import { attemptMs, controlTime, longTimeouts } from '../doubles/time.ts'
import { at, bucket, configuration, otherBucket, start, until } from '../start.ts'
import type { Answer, Test } from '../start.ts'

const collection = `/buckets/${bucket}/inventories`
const otherCollection = `/buckets/${otherBucket}/inventories`
const { COSBucketDestination: destination } = configuration.Destination
const nothing = { Created: [], Updated: [], Deleted: [], Unchanged: [], Unmanaged: [], Failed: [] }
const [list, put, remove] = ['ListBucketInventory', 'PutBucketInventory', 'DeleteBucketInventory'] as const

const item = (id: string, change: object = {}) => ({ ...configuration, Id: id, ...change })
const setOf = (...items: unknown[]) => ({ InventoryConfigurations: items })
const idsUpTo = (count: number, prefix = 'id') => Array.from({ length: count }, (_, index) => `${prefix}-${index}`)
const itemsUpTo = (count: number, change: object = {}) => idsUpTo(count).map(id => item(id, change))
const idsOf = ({ json }: Answer): string[] => json.InventoryConfigurations.map(({ Id }: { Id: string }) => Id)
/** Sorts an outcome by id and pointer, because a response has the order of completion. */
const sorted = ({ json }: Answer) => {
  const byId = (one: { Id: string }, other: { Id: string }) => one.Id < other.Id ? -1 : 1
  const lists = ['Created', 'Deleted', 'Unchanged', 'Unmanaged'].map(name => [name, [...json[name]].sort()])
  const Updated = json.Updated.map(({ Id, Changes }: { Id: string, Changes: Array<{ pointer: string }> }) =>
    ({ Id, Changes: [...Changes].sort((one, other) => one.pointer < other.pointer ? -1 : 1) })).sort(byId)
  return { ...json, ...Object.fromEntries(lists), Updated, Failed: [...json.Failed].sort(byId) }
}
const countsOf = ({ status, json: { Created, Updated, Deleted, Failed } }: Answer) =>
  ({ status, Created: Created.length, Updated: Updated.length, Deleted: Deleted.length, Failed: Failed.length })
/** Returns the operations that COS received, and clears them. */
const sentTo = ({ requests }: Emulator) => requests.splice(0).map(({ operation }) => operation)
const idsSent = ({ requests }: Emulator, operation: string) => requests
  .filter(each => each.operation === operation).map(({ target }) => new URL(target, 'http://x').searchParams.get('id'))

t.test('PUT of a set creates, updates, prunes and reports every configuration', async t => {
  const { call, emulator } = await start(t)
  const present = [
    item('same'), item('other'), item('extra'),
    item('changed', { Filter: { Prefix: 'a', Tag: [{ Key: 'k', Value: '1' }] }, OptionalFields: { Field: ['Size', 'Tag'] } })
  ]
  const first = await call('PUT', collection, setOf(...present))
  t.match(first, { status: 200, headers: { 'x-cos-request-id': /.+/ } })
  t.strictSame(sorted(first), { ...nothing, Created: ['changed', 'extra', 'other', 'same'] })
  t.strictSame(sentTo(emulator), [list, put, put, put, put])

  const changed = item('changed', {
    IsEnabled: 'FALSE',
    Filter: { Tag: [{ Key: 'k', Value: '2' }] },
    OptionalFields: { Field: ['Tag', 'Size', 'ETag'] },
    Schedule: { Frequency: 'Monthly', MonthlyDate: 3 }
  })
  const desired = setOf(item('new'), item('same'), changed)
  const expected = {
    ...nothing,
    Created: ['new'],
    Updated: [{
      Id: 'changed',
      Changes: [
        { pointer: '/Filter/Prefix', from: 'a' },
        { pointer: '/Filter/Tag', from: [{ Key: 'k', Value: '1' }], to: [{ Key: 'k', Value: '2' }] },
        { pointer: '/IsEnabled', from: true, to: false },
        { pointer: '/OptionalFields/Field', from: ['Size', 'Tag'], to: ['Tag', 'Size', 'ETag'] },
        { pointer: '/Schedule/Frequency', from: 'Daily', to: 'Monthly' },
        { pointer: '/Schedule/MonthlyDate', to: 3 }
      ]
    }],
    Unchanged: ['same'],
    Unmanaged: ['extra', 'other']
  }
  const stored = emulator.configurations(bucket)
  const plan = await call('PUT', `${collection}?dry-run=true`, desired)
  t.equal(plan.status, 200)
  t.match(plan.headers, { 'content-type': /^application\/json/, 'x-cos-request-id': /.+/ })
  t.strictSame(sorted(plan), expected)
  t.strictSame([sentTo(emulator), emulator.configurations(bucket)], [[list], stored], 'a dry run changes nothing')
  const applied = await call('PUT', `${collection}?prune=false&dry-run=false`, desired)
  t.equal(applied.status, 200)
  t.strictSame(sorted(applied), expected)
  t.strictSame(sentTo(emulator), [list, put, put])
  const configurations = (await call('GET', `${collection}?all=true`)).json.InventoryConfigurations
  t.strictSame(configurations.sort((one: { Id: string }, other: { Id: string }) => one.Id < other.Id ? -1 : 1),
    [{ ...changed, IsEnabled: false }, item('extra'), item('new'), item('other'), item('same')])
  sentTo(emulator)
  for (const query of ['', '?dry-run=true']) {
    t.strictSame(sorted(await call('PUT', collection + query, desired)),
      { ...nothing, Unchanged: ['changed', 'new', 'same'], Unmanaged: ['extra', 'other'] })
    t.strictSame(sentTo(emulator), [list])
  }

  const pruned = { ...nothing, Unchanged: ['changed', 'new', 'same'], Deleted: ['extra', 'other'] }
  t.strictSame(sorted(await call('PUT', `${collection}?prune=true&dry-run=true`, desired)), pruned)
  t.strictSame(sorted(await call('PUT', `${collection}?prune=true`, desired)), pruned)
  t.strictSame(sentTo(emulator), [list, list, remove, remove])
  const ids = ['changed', 'new', 'same']
  t.strictSame(idsOf(await call('GET', collection)).sort(), ids)
  t.strictSame(sorted(await call('PUT', collection, setOf())), { ...nothing, Unmanaged: ids })
  t.strictSame(sorted(await call('PUT', `${collection}?prune=true`, setOf())), { ...nothing, Deleted: ids }, 'an empty set empties the bucket')
  t.strictSame(emulator.configurations(bucket), [])
  t.strictSame((await call('PUT', `${otherCollection}?region=ap-shanghai`, setOf(item('a', {
    Destination: { COSBucketDestination: { ...destination, Bucket: `qcs::cos:ap-shanghai::${otherBucket}` } }
  })))).json, { ...nothing, Created: ['a'] })
})

t.test('PUT of a set reports Unchanged when only the spelling differs', async t => {
  const { call, emulator } = await start(t)
  const tags = [{ Key: 'a', Value: '1' }, { Key: 'b', Value: '2' }]
  await call('PUT', collection, setOf(item('a', {
    OptionalFields: { Field: ['Size', 'Tag'] }, Filter: { Prefix: 'p', Tag: tags, StorageClass: 'STANDARD' }
  })))
  sentTo(emulator)
  const spelled = {
    Destination: { COSBucketDestination: { Encryption: { SSECOS: '' }, Prefix: 'list1', Bucket: destination.Bucket, AccountId: destination.AccountId, Format: 'CSV' } },
    Schedule: { Frequency: 'Daily' },
    OptionalFields: ['Tag', 'Size'],
    Filter: { And: { StorageClass: 'STANDARD', Tag: [...tags].reverse(), Prefix: 'p' } },
    IncludedObjectVersions: 'All',
    IsEnabled: 'TRUE',
    Id: 'a'
  }
  t.strictSame((await call('PUT', collection, setOf(spelled))).json, { ...nothing, Unchanged: ['a'] })
  t.strictSame(sentTo(emulator), [list])
  const more = { ...spelled, Filter: { And: { ...spelled.Filter.And, Tag: [...tags, tags[0]] } } }
  t.match((await call('PUT', `${collection}?dry-run=true`, setOf(more))).json,
    { Updated: [{ Id: 'a', Changes: [{ pointer: '/Filter/Tag', from: tags, to: [...tags, tags[0]] }] }] }, 'a duplicate tag is a change')
})

t.test('PUT of a set reports Unchanged for the response of GET with all=true', async t => {
  const { call, emulator } = await start(t)
  await call('PUT', collection, setOf(...itemsUpTo(101)))
  const all = (await call('GET', `${collection}?all=true`)).json
  t.equal(all.IsTruncated, false)
  sentTo(emulator)
  t.strictSame(sorted(await call('PUT', `${collection}?prune=true`, all)), { ...nothing, Unchanged: idsUpTo(101).sort() })
  t.strictSame(sentTo(emulator), [list, list])
  const page = (await call('GET', collection)).json
  sentTo(emulator)
  const rejected = await call('PUT', `${collection}?prune=true`, page)
  t.match(rejected, { status: 400, json: { code: 'ValidationFailed' } })
  t.strictSame(rejected.json.errors.map(({ pointer }: { pointer: string }) => pointer).sort(), ['/IsTruncated', '/NextContinuationToken'])

  await call('PUT', at('id-0', '?allow-unknown=true'), {
    ...configuration, Colour: 'red', Deep: { Items: ['b', 'a'] }, Schedule: { Frequency: 'Daily', Hour: '04' }, Filter: { Prefix: 'p', Size: '1' }
  })
  const unknown = (await call('GET', `${collection}?all=true`)).json
  sentTo(emulator)
  const issues = (await call('PUT', collection, unknown)).json.errors
  const place = unknown.InventoryConfigurations.findIndex(({ Id }: { Id: string }) => Id === 'id-0')
  t.strictSame(issues.map(({ pointer }: { pointer: string }) => pointer).sort(),
    ['Colour', 'Deep', 'Filter/Size', 'Schedule/Hour'].map(each => `/InventoryConfigurations/${place}/${each}`))
  t.strictSame(sentTo(emulator), [])
  t.strictSame(sorted(await call('PUT', `${collection}?allow-unknown=true`, unknown)), { ...nothing, Unchanged: idsUpTo(101).sort() })
  const { Deep: _, ...without } = unknown.InventoryConfigurations[place]
  const changed = await call('PUT', `${collection}?allow-unknown=true`, setOf({ ...without, Colour: 'blue' }))
  t.strictSame(sorted(changed).Updated, [{
    Id: 'id-0',
    Changes: [{ pointer: '/Colour', from: 'red', to: 'blue' }, { pointer: '/Deep', from: { Items: ['b', 'a'] } }]
  }])
  t.strictSame((await call('GET', at('id-0'))).json, { ...without, Colour: 'blue' })
})

t.test('PUT of a set handles a bucket with 1,000 configurations', async t => {
  const running = await start(t)
  const { call, emulator, audits } = running
  const thousand = setOf(...itemsUpTo(1000))
  const tenPages = Array(10).fill(list)

  await t.test('PUT returns 207 when 100 changes fail, and the next PUT sends only those', async t => {
    for (let index = 0; index < 50; index++) {
      emulator.addFault({ kind: 'error', status: 500, code: 'InternalError', match: { operation: put }, times: 1 })
      emulator.addFault({ kind: 'error', status: 503, code: 'SlowDown', match: { operation: put }, times: 1 })
    }
    const response = await call('PUT', collection, thousand, { 'x-request-id': 'of-the-set' })
    t.equal(response.status, 207)
    const { Created, Failed, ...others } = response.json
    t.strictSame(others, { Updated: [], Deleted: [], Unchanged: [], Unmanaged: [] })
    const rejected = emulator.requests.filter(({ status }) => status >= 500)
    t.equal(rejected.length, 100)
    const failed = Failed.map(({ Id }: { Id: string }) => Id)
    t.strictSame([...failed].sort(), rejected.map(({ target }) => new URL(target, 'http://x').searchParams.get('id')).sort())
    t.strictSame([...Created, ...failed].sort(), idsUpTo(1000).sort())
    for (const { Id, problem } of Failed) {
      const isThrottled = problem.code === 'SlowDown'
      t.match(problem, {
        type: 'about:blank',
        title: isThrottled ? 'Service Unavailable' : 'Bad Gateway',
        status: isThrottled ? 503 : 502,
        code: /^(SlowDown|InternalError)$/,
        detail: /COS returned/,
        instance: `${collection}/${Id}`,
        requestId: 'of-the-set',
        cosRequestId: /.+/,
        cosTraceId: /.+/
      })
    }
    t.equal(new Set(Failed.map(({ problem }: { problem: { cosRequestId: string } }) => problem.cosRequestId)).size, 100)
    t.equal(emulator.configurations(bucket).length, 900)
    // After a single attempt, a 500 does not tell whether the change was made.
    const outcomes = audits().map(({ outcome }) => outcome)
    t.strictSame([outcomes.filter(each => each === 'success').length, outcomes.length], [900, 1000])

    emulator.requests.length = 0
    const again = await call('PUT', collection, thousand)
    t.equal(again.status, 200)
    t.strictSame(again.json.Created.sort(), [...failed].sort())
    t.strictSame([again.json.Unchanged.length, again.json.Failed], [900, []])
    t.strictSame(idsSent(emulator, put).sort(), [...failed].sort())
    t.equal(emulator.requests.length, 9 + 100)
    t.equal(audits().length, 1100, 'an unchanged configuration has no record')
  })

  await t.test('PUT sends ten LIST calls and no change when the set is unchanged', async t => {
    sentTo(emulator)
    for (const query of ['?dry-run=true', '?prune=true']) {
      t.strictSame(sorted(await call('PUT', collection + query, thousand)), { ...nothing, Unchanged: idsUpTo(1000).sort() })
      t.strictSame(sentTo(emulator), tenPages)
    }
    t.equal(audits().length, 1100)
  })

  await t.test('PUT returns 400 when the bucket would exceed 1,000 configurations', async t => {
    const more = [item('one-more'), ...thousand.InventoryConfigurations.slice(1)]
    for (const [query, desired] of [['', setOf(item('one-more'))], ['?prune=false', setOf(...more)], ['?dry-run=true', setOf(...more)]] as const) {
      const response = await call('PUT', collection + query, desired)
      t.match(response, { status: 400, json: { code: 'ValidationFailed' } })
      t.match(response.json.errors, [{ in: 'body', pointer: '/InventoryConfigurations', detail: /at most 1000.*prune=true/ }])
      t.equal(response.json.errors.length, 1)
      t.strictSame(sentTo(emulator), tenPages)
    }
    t.match(audits().slice(1100), Array(2).fill({ id: null, outcome: 'failure', status: 400, code: 'ValidationFailed', action: 'cos:PutBucketInventory' }))
    t.equal(audits().length, 1102)
    const tooLarge = await call('PUT', `${collection}?dry-run=true`, setOf(...itemsUpTo(1001)))
    t.match(tooLarge, { status: 400, json: { code: 'ValidationFailed', errors: [{ in: 'body', pointer: '/InventoryConfigurations' }] } })
    t.equal(tooLarge.json.errors.length, 1)
    t.strictSame(sentTo(emulator), [])
  })

  await t.test('PUT fills the bucket up to 1,000 configurations before it deletes any', async t => {
    // The set keeps 990 configurations, changes one of them and replaces 10.
    const desired = setOf(...idsUpTo(10, 'new').map(id => item(id)), item('id-10', { IsEnabled: false }),
      ...thousand.InventoryConfigurations.slice(11))
    const full = await call('PUT', `${collection}?prune=true`, desired)
    t.strictSame(countsOf(full), { status: 200, Created: 10, Updated: 1, Deleted: 10, Failed: 0 })
    t.strictSame(sentTo(emulator), [...tenPages, put, ...Array(10).fill(remove), ...Array(10).fill(put)])
    t.equal(emulator.configurations(bucket).length, 1000)

    // The bucket has capacity for 10, so 10 are created before the first is deleted.
    await call('PUT', `${collection}?prune=true`, setOf(...thousand.InventoryConfigurations.slice(10)))
    emulator.requests.length = 0
    const swapped = await call('PUT', `${collection}?prune=true`,
      setOf(...idsUpTo(25, 'swap').map(id => item(id)), ...thousand.InventoryConfigurations.slice(40)))
    t.strictSame(countsOf(swapped), { status: 200, Created: 25, Updated: 0, Deleted: 30, Failed: 0 })
    t.strictSame(sentTo(emulator).slice(10),
      [...Array(10).fill(put), ...Array(30).fill(remove), ...Array(15).fill(put)])
  })
})

t.test('PUT of a set returns 400 with a pointer for every issue and sends nothing', async t => {
  const { call, emulator, audits } = await start(t)
  const issuesOf = async (body: unknown, query = '') => {
    const response = await call('PUT', collection + query, body)
    t.match(response, { status: 400, headers: { 'content-type': 'application/problem+json' }, json: { code: 'ValidationFailed' } })
    return response.json.errors.map((issue: { in: string, pointer: string }) => `${issue.in} ${issue.pointer}`).sort()
  }
  const inItems = (...pointers: string[]) => pointers.map(each => `body /InventoryConfigurations/${each}`).sort()
  const { Id: _, ...nameless } = item('a')
  const cases: Array<[unknown, string[]]> = [
    [undefined, ['body ']],
    ['null', ['body ']],
    [[], ['body ']],
    ['"text"', ['body ']],
    [{}, ['body /InventoryConfigurations']],
    [setOf(item('a')).InventoryConfigurations, ['body ']],
    [{ InventoryConfigurations: {} }, ['body /InventoryConfigurations']],
    [{ InventoryConfigurations: null }, ['body /InventoryConfigurations']],
    [{ InventoryConfigurations: 'a' }, ['body /InventoryConfigurations']],
    [{ InventoryConfigurations: 1, IsTruncated: true }, ['body /InventoryConfigurations', 'body /IsTruncated']],
    [{ ...setOf(item('a')), IsTruncated: true }, ['body /IsTruncated']],
    [{ ...setOf(item('a')), Colour: 'red' }, ['body /Colour']],
    [setOf(null, [], 'a', 1), inItems('0', '1', '2', '3')],
    [setOf(nameless), inItems('0/Id')],
    [setOf(item('a'), nameless, item('b'), nameless), inItems('1/Id', '3/Id')],
    [setOf({ ...nameless, Id: 1 }, { ...nameless, Id: null }, item('..'), item(''), item('a b'), item('a'.repeat(129))),
      inItems('0/Id', '1/Id', '2/Id', '3/Id', '4/Id', '5/Id')],
    [setOf(item('a'), item('b'), item('a'), item('a')), inItems('2/Id', '3/Id')],
    [setOf(item('a', { Colour: 'red', Schedule: { Frequency: 'Daily', Hour: '4' } })), inItems('0/Colour', '0/Schedule/Hour')],
    [setOf(item('a'), item('b'), item('c'), item('d', { Schedule: { Frequency: 'Hourly' } })), inItems('3/Schedule/Frequency')],
    [setOf(
      item('a', { OptionalFields: ['Nope', 'Size', 'Size'], Filter: { And: { Prefix: 'a' }, Prefix: 'b' } }),
      item('a', { OptionalFields: 'Size', Destination: { COSBucketDestination: { ...destination, Encryption: { SSECOS: { x: 1 } } } } }),
      { Id: 'b' }
    ), inItems('0/OptionalFields', '0/OptionalFields/0', '0/Filter/Prefix', '1/Id', '1/OptionalFields',
      '1/Destination/COSBucketDestination/Encryption/SSECOS/x', '2/IsEnabled', '2/IncludedObjectVersions', '2/Schedule', '2/Destination')]
  ]
  for (const [body, pointers] of cases) {
    for (const query of ['', '?dry-run=true']) t.strictSame(await issuesOf(body, query), pointers, JSON.stringify(body))
  }
  t.match((await call('PUT', collection, setOf(item('a'), item('a')))).json.errors,
    [{ pointer: '/InventoryConfigurations/1/Id', detail: /\/InventoryConfigurations\/0\/Id/ }], 'the issue names both places')
  t.strictSame(await issuesOf({ ...setOf(item('a')), Colour: 'red' }, '?allow-unknown=true'), ['body /Colour'])
  t.strictSame(await issuesOf(setOf(item('a', { 'a b': '1', Fine: '1', Deep: { List: [[1]], None: null } })), '?allow-unknown=true'),
    inItems('0/a b', '0/Deep/List', '0/Deep/None'))
  t.strictSame(await issuesOf(setOf(item('a', { Filter: { StorageClass: ['A', 'B'] } }))), inItems('0/Filter/StorageClass'))
  t.strictSame(await issuesOf(setOf(item('a', { Schedule: {} })), '?prune=yes&dry-run=1&all=true'),
    ['query /all', 'query /dry-run', 'query /prune', ...inItems('0/Schedule/Frequency')].sort())
  t.strictSame((await call('PUT', collection, setOf(item('a')), { 'if-match': '*', 'if-none-match': '*' })).json.errors
    .map(({ in: place, pointer }: { in: string, pointer: string }) => `${place} ${pointer}`), ['header /if-match', 'header /if-none-match'])
  for (const contentType of ['application/merge-patch+json', 'text/plain']) {
    t.equal((await call('PUT', collection, setOf(), { 'content-type': contentType })).status, 415)
  }
  t.strictSame([emulator.requests.length, emulator.configurations(bucket).length], [0, 0])
  t.ok(audits().every(({ id, outcome, action }) => id === null && outcome === 'failure' && action === 'cos:PutBucketInventory'))
  t.equal(audits().length, cases.length + 8, 'each rejected set has a record, a dry run has none')

  const several = setOf(item('a', { Filter: { StorageClass: ['A', 'B'] }, Colour: 'red' }))
  t.strictSame((await call('PUT', `${collection}?allow-unknown=true`, several)).json, { ...nothing, Created: ['a'] })
  t.match((await call('GET', at('a'))).json, { Filter: { StorageClass: ['A', 'B'] }, Colour: 'red' })
})

t.test('PUT of a set returns 413 above 1 MiB and 400 when the body is full of issues', async t => {
  const { call, emulator } = await start(t)
  const usual = JSON.stringify(setOf(...itemsUpTo(1000, { Filter: { Prefix: 'p'.repeat(450) } })))
  t.ok(usual.length > 700 * 1024 && usual.length < 1024 * 1024)
  t.equal((await call('PUT', `${collection}?dry-run=true`, usual)).json.Created.length, 1000)
  sentTo(emulator)
  const most = JSON.stringify(setOf()).padEnd(1024 * 1024)
  t.equal((await call('PUT', collection, most)).status, 200)
  t.match(await call('PUT', collection, `${most} `), { status: 413, json: { code: 'PayloadTooLarge' } })
  t.equal((await call('PUT', at('a'), JSON.stringify(configuration).padEnd(256 * 1024 + 1))).status, 413, 'the limit for one configuration is lower')
  sentTo(emulator)
  const bodies = {
    'empty objects': `{"InventoryConfigurations":[${'{},'.repeat(349_000)}{}]}`,
    nulls: `{"InventoryConfigurations":[${'null,'.repeat(200_000)}null]}`,
    'a thousand empty objects': `{"InventoryConfigurations":[${'{},'.repeat(999)}{}]}`,
    'half a million values of a wrong type': JSON.stringify(setOf(item('a', { OptionalFields: Array(500_000).fill(1) }))),
    'unknown members': `{"InventoryConfigurations":[{${Array.from({ length: 100_000 }, (_, index) => `"${index}":1`).join()}}]}`,
    'unknown members of the set': `{${Array.from({ length: 90_000 }, (_, index) => `"u${index}":1`).join()}}`,
    'nested lists': `{"InventoryConfigurations":[{"Deep":${'['.repeat(500_000)}${']'.repeat(500_000)}}]}`
  }
  for (const [name, body] of Object.entries(bodies)) {
    const response = await call('PUT', `${collection}?allow-unknown=${name.startsWith('unknown')}`, body)
    t.match(response, { status: 400, json: { code: 'ValidationFailed' } }, name)
    t.ok(response.json.errors.length <= 1000)
  }
  t.strictSame(sentTo(emulator), [])
})

t.test('at most eight changes of a set are in flight at once', async t => {
  const { gate, call, emulator } = await startGated(t)
  await call('PUT', collection, setOf(...itemsUpTo(20), ...idsUpTo(20, 'old').map(id => item(id))))
  gate.holds = ({ method }) => method !== 'GET'
  const response = settled(call('PUT', `${collection}?prune=true`,
    setOf(...itemsUpTo(20, { IsEnabled: false }), ...idsUpTo(20, 'new').map(id => item(id)))))
  for (let remaining = 60; remaining > 0; remaining--) {
    // Each kind has 20 changes, and the next kind begins when all have ended.
    const ofKind = (remaining - 1) % 20 + 1
    await until(() => gate.held.length >= Math.min(8, ofKind))
    // Another change would have arrived by the end of this exchange.
    if (ofKind >= 8 || remaining % 20 === 1) await call('GET', at('id-0'))
    t.equal(gate.held.length, Math.min(8, ofKind))
    gate.held.shift()?.()
  }
  t.equal((await response.value).status, 200)
  const sent = sentTo(emulator).filter(each => each !== 'GetBucketInventory').slice(41)
  t.strictSame(sent, [list, ...Array(40).fill(put), ...Array(20).fill(remove)])
})

t.test('sets of one bucket are applied in sequence, sets of another in parallel', async t => {
  const { gate, call, emulator } = await startGated(t)
  gate.holds = ({ method, url }) => method === 'PUT' && url?.endsWith('id=first') === true
  const first = settled(call('PUT', collection, setOf(item('first'), item('both'))))
  await until(() => gate.held.length === 1)
  const second = settled(call('PUT', `${collection}?prune=true`, setOf(item('both'), item('second'))))
  const elsewhere = await call('PUT', otherCollection, setOf(item('other', {
    Destination: { COSBucketDestination: { ...destination, Bucket: `qcs::cos:ap-shanghai::${otherBucket}` } }
  })))
  t.strictSame(elsewhere.json, { ...nothing, Created: ['other'] })
  t.strictSame((await call('PUT', `${collection}?dry-run=true`, setOf())).json, { ...nothing, Unmanaged: ['both'] }, 'a dry run does not wait')
  t.equal((await call('PUT', at('alone'), configuration)).status, 204, 'a change of another configuration does not wait')
  const third = settled(call('PUT', at('first'), { ...configuration, IsEnabled: false }))
  await call('GET', at('alone'))
  t.strictSame([first.isOver(), second.isOver(), third.isOver()], [false, false, false])
  t.equal(emulator.requests.filter(({ operation, host }) => operation === list && host.startsWith(bucket)).length, 2, 'the second set has not begun')
  gate.open()
  t.strictSame(sorted(await first.value), { ...nothing, Created: ['both', 'first'] })
  t.strictSame(sorted(await second.value), { ...nothing, Unchanged: ['both'], Created: ['second'], Deleted: ['alone', 'first'] })
  t.equal((await third.value).status, 204)
})

t.test('PUT of a set returns 503 when the queue of its bucket is full', async t => {
  const { gate, call, emulator, audits } = await startGated(t, { COS_QUEUE_LIMIT: '0' })
  gate.holds = ({ method }) => method === 'PUT'
  const first = settled(call('PUT', collection, setOf(item('a'))))
  await until(() => gate.held.length === 1)
  const second = await call('PUT', collection, setOf(item('b')))
  t.match(second, { status: 503, headers: { 'retry-after': '1' }, json: { code: 'Overloaded' } })
  t.match(audits(), [{ id: null, outcome: 'failure', status: 503, code: 'Overloaded' }])
  gate.open()
  t.strictSame((await first.value).json, { ...nothing, Created: ['a'] })
  t.strictSame(sentTo(emulator), [list, put])
})

t.test('PUT of a set streams each outcome at once when Accept is x-ndjson', async t => {
  const { gate, call, emulator, audits, url } = await startGated(t)
  const stream = (query: string, body: object) => follow(t, url, collection + query, body,
    { accept: 'application/json;q=0.1, application/x-ndjson', 'x-request-id': 'of-the-set' })
  await call('PUT', collection, setOf(item('same'), item('changed'), item('extra')))
  const desired = setOf(item('same'), item('changed', { IsEnabled: false }), item('new'), item('bad'))
  const plan = await stream('?dry-run=true&prune=true', desired)
  t.equal(plan.status, 200)
  t.match(plan.headers, { 'content-type': 'application/x-ndjson', 'x-cos-request-id': /.+/ })
  const changes = [{ pointer: '/IsEnabled', from: true, to: false }]
  t.strictSame(await plan.rest(), [
    { Id: 'same', Outcome: 'Unchanged' }, { Id: 'changed', Outcome: 'Updated', Changes: changes },
    { Id: 'new', Outcome: 'Created' }, { Id: 'bad', Outcome: 'Created' }, { Id: 'extra', Outcome: 'Deleted' }
  ])
  t.match(await (await stream('?dry-run=true', setOf())).rest(), Array(3).fill({ Outcome: 'Unmanaged' }))

  gate.holds = ({ method, url: target }) => method === 'PUT' && target?.endsWith('id=bad') !== true
  const { headers, next } = await stream('?prune=true', desired)
  t.match(headers, {
    'content-type': 'application/x-ndjson',
    'x-accel-buffering': 'no',
    'x-cos-request-id': /.+/,
    'x-request-id': 'of-the-set',
    'x-content-type-options': 'nosniff'
  })
  t.strictSame(await next(), { Id: 'same', Outcome: 'Unchanged' })
  await until(() => gate.held.length === 1)
  t.equal(audits().length, 3, 'no change has ended yet')
  gate.held.shift()?.()
  t.strictSame(await next(), { Id: 'changed', Outcome: 'Updated', Changes: changes })
  t.strictSame(await next(), { Id: 'bad', Outcome: 'Created' })
  gate.open()
  t.strictSame(await next(), { Id: 'new', Outcome: 'Created' })
  t.strictSame(await next(), { Id: 'extra', Outcome: 'Deleted' })
  t.equal(await next(), undefined)
  t.strictSame(audits().slice(3).map(({ id, outcome }) => [id, outcome]),
    ['changed', 'bad', 'new', 'extra'].map(id => [id, 'success']), 'each change has a record, the set has none')

  sentTo(emulator)
  t.strictSame(await (await stream('', desired)).rest(), ['same', 'changed', 'new', 'bad'].map(id => ({ Id: id, Outcome: 'Unchanged' })))
  t.strictSame(sentTo(emulator), [list])
  emulator.addFault({ kind: 'error', status: 400, code: 'InvalidArgument', match: { operation: put }, times: 1 })
  const failing = await stream('', setOf(item('worse')))
  t.equal(failing.status, 200, 'the status is sent before the outcome is known')
  const instance = `${collection}/worse`
  const problem = { status: 400, code: 'InvalidArgument', instance, requestId: 'of-the-set', cosRequestId: /.+/ }
  const lines = await failing.rest()
  t.match(lines.filter(({ Outcome }) => Outcome !== 'Unmanaged'), [{ Id: 'worse', Outcome: 'Failed', problem }])
  t.equal(lines.length, 5)
})

t.test('PUT of a set returns problem+json, not x-ndjson, when the set is rejected', async t => {
  const { call, emulator } = await start(t)
  const ndjson = { accept: 'application/x-ndjson' }
  const problem = { headers: { 'content-type': 'application/problem+json' } }
  t.match(await call('PUT', collection, {}, ndjson), { ...problem, status: 400, json: { code: 'ValidationFailed' } })
  emulator.addFault({ kind: 'error', status: 403, code: 'AccessDenied', times: 2 })
  for (const query of ['', '?dry-run=true']) {
    t.match(await call('PUT', collection + query, setOf(item('a')), ndjson), { ...problem, status: 403, json: { code: 'AccessDenied' } })
  }
  t.equal((await call('PUT', collection, setOf(), { accept: '*/*' })).headers['content-type'], 'application/json; charset=utf-8')
})

t.test('changes in flight finish and no change begins when the caller disconnects', async t => {
  const ndjson = 'application/x-ndjson'
  for (const [accept, ...present] of [['application/json'], [ndjson], [ndjson, 'there-already']]) {
    const { gate, call, emulator, audits, logs, service, url } = await startGated(t)
    for (const id of present) await call('PUT', at(id), configuration)
    sentTo(emulator)
    gate.holds = ({ method }) => method === 'PUT'
    const body = JSON.stringify(setOf(...present.map(id => item(id)), ...itemsUpTo(50)))
    const socket = connect(Number(new URL(url).port), '127.0.0.1')
    socket.write(`PUT ${collection} HTTP/1.1\r\nhost: x\r\naccept: ${accept}\r\ncontent-type: application/json\r\n` +
      `content-length: ${body.length}\r\n\r\n${body}`)
    await until(() => gate.held.length === 8)
    socket.destroy()
    await until(() => logs().includes('caller disconnected'))
    gate.open()
    t.equal(await service.stop(), true)
    t.strictSame(sentTo(emulator), [list, ...Array(8).fill(put)], `${accept}`)
    t.strictSame(audits().slice(present.length).map(({ id, outcome, status }) => [id, outcome, status]).sort(),
      idsUpTo(8).map(id => [id, 'success', 204]))
    const errorLines = logs().split('\n').filter(line => /"level":(50|60)|InternalError/.test(line))
    t.strictSame(errorLines, [], 'a disconnect logs no error')
  }
})

t.test('changes in flight finish and the others fail with 503 during shutdown', async t => {
  for (const accept of ['application/json', 'application/x-ndjson']) {
    const { gate, call, emulator, audits, service, url } = await startGated(t, { SHUTDOWN_GRACE_MS: '60000' })
    gate.holds = ({ method }) => method === 'PUT'
    const desired = setOf(...itemsUpTo(50))
    const response = settled(accept === 'application/json'
      ? call('PUT', collection, desired).then(({ status, json }) => ({ status, outcome: json }))
      : follow(t, url, collection, desired, { accept })
        .then(async ({ status, rest }) => ({ status, outcome: grouped(await rest()) })))
    await until(() => gate.held.length === 8)
    // The service closes idle connections only when it stops.
    const idle = connect(Number(new URL(url).port), '127.0.0.1')
    idle.write('GET /livez HTTP/1.1\r\nhost: x\r\n\r\n')
    await once(idle, 'data')
    const stopped = settled(service.stop())
    await once(idle, 'close')
    t.strictSame([response.isOver(), stopped.isOver()], [false, false])
    gate.open()
    const { status, outcome: { Created, Failed } } = await response.value
    t.equal(await stopped.value, true)
    t.equal(status, accept === 'application/json' ? 207 : 200)
    t.strictSame(Created.sort(), idsUpTo(8))
    t.strictSame(Failed.map(({ Id }: { Id: string }) => Id).sort(), idsUpTo(50).slice(8).sort())
    for (const { problem } of Failed) t.match(problem, { status: 503, code: 'ShuttingDown', detail: /Nothing was sent to COS for this change; send the set again/ })
    t.strictSame(sentTo(emulator), [list, ...Array(8).fill(put)])
    t.strictSame(audits().map(({ id, outcome }) => [id, outcome]).sort(), idsUpTo(8).map(id => [id, 'success']))
  }
})

t.test('each change in flight is audited as unknown when the service is cut off', async t => {
  const { gate, call, audits, service } = await startGated(t)
  gate.holds = ({ method }) => method === 'PUT'
  const response = call('PUT', collection, setOf(...itemsUpTo(20)))
  await until(() => gate.held.length === 8)
  service.cut()
  t.match(audits(), idsUpTo(8).map(id => ({ id, action: 'cos:PutBucketInventory', destinations: [bucket], outcome: 'unknown', status: undefined })))
  t.equal(audits().length, 8)
  gate.open()
  t.equal((await response).status, 200)
  t.strictSame(audits().slice(8).map(({ id }) => id).filter(id => idsUpTo(8).includes(String(id))), idsUpTo(8), 'each outcome is recorded later')
})

t.test('PUT of a set returns the same error as GET when LIST fails', async t => {
  const time = controlTime(t)
  const { call, emulator, audits } = await start(t, { environment: longTimeouts })
  const faults = [
    { kind: 'error', status: 500, code: 'InternalError' }, { kind: 'error', status: 503, code: 'SlowDown' },
    { kind: 'error', status: 403, code: 'AccessDenied' }, { kind: 'error', status: 403, code: 'InvalidAccessKeyId' },
    { kind: 'error', status: 404, code: 'NoSuchBucket' }, { kind: 'garbage' }, { kind: 'reset' }, { kind: 'hang' }
  ] as const
  for (const [index, fault] of faults.entries()) {
    emulator.addFault({ ...fault, times: 3 })
    const responseTo = async (...request: Parameters<typeof call>) => {
      const before = emulator.requests.length
      const response = call(...request)
      if (fault.kind === 'hang') {
        await until(() => emulator.requests.length > before)
        time.expire(attemptMs)
      }
      return await response
    }
    const [read, applied, planned] = [
      await responseTo('GET', collection),
      await responseTo('PUT', collection, setOf(item('a'))),
      await responseTo('PUT', `${collection}?dry-run=true`, setOf(item('a')))
    ]
    for (const { status, json, headers } of [applied, planned]) {
      const { code, detail, cosCode } = read.json
      t.strictSame([status, json.code, json.detail, json.cosCode], [read.status, code, detail, cosCode])
      t.equal(headers['retry-after'], read.headers['retry-after'])
    }
    t.match(audits(), { length: index + 1 })
    t.match(audits().at(-1), { id: null, outcome: 'failure', status: read.status, code: read.json.code })
  }
  t.notOk(emulator.requests.some(({ operation }) => operation === put))
  emulator.addFault({ kind: 'error', status: 404, code: 'InventoryConfigurationNotFoundError', match: { operation: list }, times: 1 })
  t.strictSame((await call('PUT', collection, setOf(item('a')))).json, { ...nothing, Created: ['a'] }, 'an empty bucket is no failure')
})

t.test('PUT of a set returns 207 with each error of COS when some changes fail', async t => {
  const time = controlTime(t)
  const { call, emulator, audits, logs } = await start(t, { environment: longTimeouts })
  await call('PUT', collection, setOf(item('gone'), item('kept')))
  emulator.addFault({ kind: 'hang', match: { operation: put }, times: 1 })
  emulator.addFault({ kind: 'error', status: 403, code: 'SignatureDoesNotMatch', match: { operation: put }, times: 1 })
  emulator.addFault({ kind: 'reset', after: 'effect', match: { operation: put }, times: 1 })
  emulator.addFault({ kind: 'error', status: 403, code: 'AccessDenied', match: { operation: remove }, times: 1 })
  const before = audits().length
  const response = call('PUT', `${collection}?prune=true`, setOf(item('kept'), ...itemsUpTo(6)))
  // The service sends DELETE after every other change has ended.
  await until(() => audits().length === before + 5)
  time.expire(attemptMs)
  const { status, json } = await response
  t.equal(status, 207)
  t.strictSame([json.Created.length, json.Unchanged, json.Deleted], [3, ['kept'], []])
  const byCode = (code: string) =>
    json.Failed.find(({ problem }: { problem: { code: string } }) => problem.code === code)
  t.match(byCode('UpstreamTimeout').problem, { status: 504, detail: /Read the configuration, or send the same request again/ })
  t.match(byCode('UpstreamCredentialsRejected').problem, { status: 502, cosCode: 'SignatureDoesNotMatch', cosRequestId: /.+/ })
  t.match(byCode('UpstreamUnreachable').problem, { status: 502 })
  t.match(byCode('AccessDenied'), { Id: 'gone', problem: { status: 403, instance: `${collection}/gone` } })
  t.equal(json.Failed.length, 4)
  const lines = audits().slice(before)
  t.equal(lines.length, 7)
  const line = (code: string) => lines.find(({ id }) => id === byCode(code).Id)
  t.match([line('UpstreamTimeout'), line('UpstreamCredentialsRejected'), line('UpstreamUnreachable')],
    [{ outcome: 'unknown' }, { outcome: 'failure' }, { outcome: 'unknown' }])
  t.match(line('AccessDenied'), { outcome: 'failure', action: 'cos:DeleteBucketInventory' })
  t.match(logs(), /"level":40.*"code":"UpstreamTimeout"/, 'the log contains errors that the caller did not cause')
  const again = await call('PUT', `${collection}?prune=true`, setOf(item('kept'), ...itemsUpTo(6)))
  t.equal(again.status, 200)
  t.strictSame([again.json.Created.length, again.json.Deleted], [2, ['gone']], 'one failed change had been made')
})

t.test('no change of a set begins when only the last of twenty deadlines remains', async t => {
  const { gate, call, emulator, audits } = await startGated(t)
  const now = performance.now.bind(performance)
  let ahead = 0
  const clock = mock.method(performance, 'now', () => now() + ahead)
  t.teardown(() => { clock.mock.restore() })
  gate.holds = ({ method }) => method === 'PUT'
  const response = settled(call('PUT', collection, setOf(...itemsUpTo(30))))
  await until(() => gate.held.length === 8)
  // Of 20 times 15 s, a little more than one deadline remains.
  ahead = 284_000
  for (const pass of gate.held.splice(0)) pass()
  await until(() => gate.held.length === 8)
  ahead = 286_000
  t.equal(response.isOver(), false)
  gate.open()
  const { status, json } = await response.value
  t.equal(status, 207)
  t.strictSame(json.Created, idsUpTo(16), 'a change that has begun keeps its whole deadline')
  t.match(json.Failed, idsUpTo(30).slice(16).map(Id => ({ Id, problem: { code: 'UpstreamTimeout', detail: /passed before this change started/ } })))
  t.equal(json.Failed.length, 14)
  t.equal(audits().length, 16)
  t.strictSame(sentTo(emulator), [list, ...Array(16).fill(put)])
})

t.test('PUT of a set returns 403 when permission for an action or destination is missing', async t => {
  const [get, write, erase] = ['cos:GetBucketInventory', 'cos:PutBucketInventory', 'cos:DeleteBucketInventory']
  const on = (...actions: string[]) => [{ actions, buckets: [bucket], destinations: [bucket, 'reports-1250000000'] }]
  const { environment } = callersFile(t, [
    withKey('reader', on(get)), withKey('writer', on(write)), withKey('editor', on(get, write)), withKey('owner', on(get, write, erase)),
    withKey('eraser', on(write, erase)), withKey('admin', everything, { rateLimitPerMinute: 4 })
  ])
  const { call, emulator, audits } = await start(t, { environment })
  const desired = setOf(item('a'))
  const cases: Array<[string, string, string | undefined]> = [
    ['reader', '', write], ['writer', '', get], ['editor', '', undefined], ['editor', 'prune=false', undefined], ['editor', 'prune=true', erase],
    ['eraser', 'prune=true', get], ['owner', 'prune=true', undefined]
  ]
  for (const [name, query, missing] of cases) {
    for (const dryRun of ['true', 'false']) {
      sentTo(emulator)
      const before = audits().length
      const response = await call('PUT', `${collection}?${query}&dry-run=${dryRun}`.replace('?&', '?'), desired, as(name))
      if (missing === undefined) t.equal(response.status, 200, `${name} ${query}`)
      else t.match(response, { status: 403, json: { code: 'CallerNotAllowed', detail: `${name} may not do ${missing} on ${bucket}. Ask the operator for the permission.` } })
      t.equal(emulator.requests.length > 0, missing === undefined)
      if (missing !== undefined && dryRun === 'false') t.match(audits().slice(before), [{ caller: name, id: null, outcome: 'denied', action: write }])
    }
  }
  t.match(await call('PUT', otherCollection, desired, as('owner')), { status: 403 })
  t.match(await call('PUT', collection, desired), { status: 401 })
  sentTo(emulator)
  const to = (name: string) => ({ Destination: { COSBucketDestination: { ...destination, Bucket: `qcs::cos:ap-guangzhou::${name}` } } })
  const wrong = setOf(item('a'), item('b', to('reports-1250000000')), item('c', to('stranger-1250000000')))
  for (const query of ['', '?dry-run=true']) {
    t.match(await call('PUT', collection + query, wrong, as('owner')), { status: 403, json: { code: 'CallerNotAllowed', detail: /stranger-1250000000/ } })
  }
  const smuggled = setOf(item('a'), item('c', { Other: { Bucket: 'qcs::cos:ap-guangzhou::stranger-1250000000' } }))
  t.match(await call('PUT', `${collection}?allow-unknown=true`, smuggled, as('owner')), { status: 403, json: { detail: /stranger/ } })
  t.strictSame(sentTo(emulator), [])

  const before = audits().length
  await call('PUT', `${collection}?prune=true`, setOf(item('b', to('reports-1250000000')), item('c')), { ...as('owner'), 'x-request-id': 'of-the-set' })
  t.match(audits().slice(before).sort((one, other) => String(one.id) < String(other.id) ? -1 : 1), [
    { id: 'a', action: erase, outcome: 'success', status: 204, caller: 'owner', bucket, region: 'ap-guangzhou', requestId: 'of-the-set', cosRequestId: /.+/ },
    { id: 'b', action: write, destinations: ['reports-1250000000'], outcome: 'success', status: 204, requestId: 'of-the-set', cosRequestId: /.+/ },
    { id: 'c', action: write, destinations: [bucket], outcome: 'success', status: 204, requestId: 'of-the-set', cosRequestId: /.+/ }
  ])
  t.strictSame(audits().slice(before).find(({ id }) => id === 'a')?.destinations, [])
  t.equal(audits().length, before + 3)
  await call('PUT', collection, setOf(item('c')), as('owner'))
  t.equal(audits().length, before + 3, 'an unchanged set has no record')

  const many = setOf(...itemsUpTo(20))
  const limited = []
  for (let count = 0; count < 5; count++) limited.push(await call('PUT', collection, many, as('admin')))
  t.strictSame(limited.map(({ status, headers }) => [status, headers['ratelimit-remaining']]), [[200, '3'], [200, '2'], [200, '1'], [200, '0'], [429, '0']])
})

t.test('PUT of a set returns 403 when READ_ONLY is true, and 200 for a dry run', async t => {
  const { call, emulator, audits } = await start(t, { environment: { READ_ONLY: 'true' } })
  t.match(await call('PUT', collection, setOf(item('a'))), { status: 403, json: { code: 'ReadOnly' } })
  t.match(audits(), [{ id: null, outcome: 'denied', code: 'ReadOnly' }])
  t.strictSame(emulator.requests, [])
  t.strictSame((await call('PUT', `${collection}?dry-run=true&prune=true`, setOf(item('a')))).json, { ...nothing, Created: ['a'] })
  t.equal(audits().length, 1)
})

/** A line of a response in application/x-ndjson. */
interface Line {
  Id: string
  Outcome: string
  problem?: object
}

/** Sends a set and returns the lines of the response one by one as they arrive. */
async function follow (t: Test, origin: string, path: string, body: object, headers: Record<string, string>) {
  const agent = new Agent({ pipelining: 0 })
  t.teardown(() => agent.destroy())
  const response = await agent.request({
    origin, path, method: 'PUT', headers: { ...headers, 'content-type': 'application/json' }, body: JSON.stringify(body)
  })
  const lines = createInterface({ input: response.body })[Symbol.asyncIterator]()
  const next = async () => {
    const { value } = await lines.next() as { value?: string }
    return value === undefined ? undefined : JSON.parse(value) as Line
  }
  const rest = async () => {
    const all: Line[] = []
    for (let line = await next(); line !== undefined; line = await next()) all.push(line)
    return all
  }
  return { status: response.statusCode, headers: response.headers, next, rest }
}

/** Groups the lines into created and failed configurations. */
function grouped (lines: Line[]): { Created: string[], Failed: Line[] } {
  return {
    Created: lines.filter(({ Outcome }) => Outcome === 'Created').map(({ Id }) => Id),
    Failed: lines.filter(({ Outcome }) => Outcome === 'Failed')
  }
}

/** Returns the promise with a function that tells whether it is settled. */
function settled<T> (value: Promise<T>): { value: Promise<T>, isOver: () => boolean } {
  let isOver = false
  const end = () => { isOver = true }
  value.then(end, end)
  return { value, isOver: () => isOver }
}
