import { mock } from 'node:test'
import t from 'tap'
import { nextIteration } from '../../src/concurrency/event-loop.ts'
import { at, bucket, configuration, start, until } from '../start.ts'
import type { Answer, Running } from '../start.ts'

const mergePatch = { 'content-type': 'application/merge-patch+json' }
const unknownToo = '?allow-unknown=true'
const KiB = 1024
const collection = `/buckets/${bucket}/inventories`

/** Returns the body of a PUT with more members as text, because JavaScript objects cannot express all of them. */
const withMembers = (members: string) => `${JSON.stringify(configuration).slice(0, -1)},${members}}`
const list = (length: number, value: string) => `[${Array(length).fill(value).join()}]`
const patch = ({ call }: Running, body: string, query = unknownToo) => call('PATCH', at('a', query), body, mergePatch)
const placesOf = ({ json }: Answer) => json.errors.map(({ pointer, detail }: { pointer: string, detail: string }) => `${pointer} ${detail}`)

t.test('PATCH returns 400 with one issue when a list contains 2,000 lists', async t => {
  const running = await start(t)
  await running.call('PUT', at('a'), configuration)
  const rejected = await patch(running, `{"X":${list(2_000, '[]')}}`)
  t.match(rejected, { status: 400, json: { detail: 'body /X must not contain an array in an array. Correct the request and send it again.' } })
  t.strictSame(placesOf(rejected), ['/X must not contain an array in an array'])
  const both = await patch(running, '{"X":[[],null,[],{"1st":[[],[]]}]}')
  t.strictSame(placesOf(both), [
    '/X must not contain an array in an array', '/X/1 must be a string, number, boolean, object or array',
    '/X/3/1st is not an XML name, so it cannot become an element'
  ])
})

t.test('PUT returns 400 with one issue when an element name is too long', async t => {
  const { call, emulator } = await start(t)
  const long = 'k'.repeat(200 * KiB)
  for (const value of [list(4_000, 'null'), list(4_000, '1'), `{${Array.from({ length: 1_000 }, (_, index) => `"a${index}":null`).join()}}`]) {
    const rejected = await call('PUT', at('a', unknownToo), withMembers(`"${long}":${value}`))
    t.equal(rejected.status, 400)
    t.strictSame(placesOf(rejected), [`/${long.slice(0, 500)}… is a name of more than 255 characters, so it cannot become an element`])
  }
  t.strictSame(emulator.requests, [])
  t.equal((await call('PUT', at('a', unknownToo), withMembers(`"${long.slice(0, 255)}":"x"`))).status, 204)
})

t.test('PUT returns no further issues when their text reaches 256 KiB', async t => {
  const { call } = await start(t)
  // A tilde in the body takes two characters in a pointer.
  const names = Array.from({ length: 400 }, (_, index) => `"${index}${'~'.repeat(600)}":1`)
  const { json, text } = await call('PUT', at('a'), withMembers(names.join()))
  t.equal(json.errors.length, 247)
  t.match(json.detail, /^body \/0(~0)+~?…, and 399 more; errors names the first 247\. Correct the request and send it again\.$/)
  t.ok(json.detail.length < 400)
  t.ok(text.length < 300 * KiB, `${text.length} bytes`)
})

t.test('PUT, POST and PATCH return 400 when the body has more than 5,000 values', async t => {
  const { call, emulator } = await start(t)
  const detail = 'must contain at most 5000 values: objects, lists and everything in them'
  const manyValues = {
    'empty tags': `"Filter":{"Tag":${list(80_000, '{}')}}`,
    'values of a wrong type': `"OptionalFields":${list(120_000, '1')}`,
    'unknown members': Array.from({ length: 20_000 }, (_, index) => `"k${index}":1`).join(),
    'integers as keys': Array.from({ length: 20_000 }, (_, index) => `"${index}":1`).join(),
    'nested lists': `"X":${'['.repeat(120_000)}${']'.repeat(120_000)}`,
    'nested objects': `"Filter":${'{"a":'.repeat(40_000)}1${'}'.repeat(40_000)}`
  }
  for (const [name, members] of Object.entries(manyValues)) {
    for (const query of ['', unknownToo]) {
      for (const method of ['PUT', 'POST', 'PATCH']) {
        const headers = method === 'PATCH' ? mergePatch : {}
        const rejected = await call(method, at('a', query), withMembers(members), headers)
        t.match(rejected, { status: 400, json: { code: 'ValidationFailed', errors: [{ in: 'body', pointer: '', detail }] } }, `${method} ${name}`)
        t.equal(rejected.json.errors.length, 1)
      }
    }
  }
  t.strictSame(emulator.requests, [])
  const texts = { 'a text of commas and brackets': ',[{'.repeat(80_000), 'quotes and backslashes': '\\"[,'.repeat(30_000) }
  for (const [name, text] of Object.entries(texts)) {
    const { status } = await call('PUT', at('a', '?dry-run=true'), { ...configuration, Filter: { Prefix: text } })
    t.equal(status, 200, `${name} is one value`)
  }
})

t.test('PUT of a set returns 400 when the body has too many values', async t => {
  const { call, emulator } = await start(t)
  const inSet = (...items: string[]) => `{"InventoryConfigurations":[${items.join()}]}`
  const cases: Array<[name: string, body: string, pointer: string, detail: RegExp]> = [
    ['in the whole set', inSet(...Array(100).fill(`{"Filter":{"Tag":${list(600, '{}')}}}`)), '', /50000 values/],
    ['in nested lists', inSet(`{"X":${'['.repeat(500_000)}${']'.repeat(500_000)}}`), '', /50000 values/],
    ['in one configuration', inSet('{}', `{"Filter":{"Tag":${list(5_000, '{}')}}}`), '/InventoryConfigurations/1', /5000 values/],
    ['in unknown members of the set', `{${Array.from({ length: 5_001 }, (_, index) => `"u${index}":1`).join()}}`, '', /5000 values/],
    ['in too many configurations', inSet(...Array(1_001).fill('{}')), '/InventoryConfigurations', /must have at most 1000 items/]
  ]
  for (const [name, body, pointer, detail] of cases) {
    const rejected = await call('PUT', collection, body)
    t.match(rejected, { status: 400, json: { code: 'ValidationFailed', errors: [{ in: 'body', pointer, detail }] } }, name)
    t.equal(rejected.json.errors.length, 1)
  }
  for (const body of ['null', '"text"', '1', '[]', '{"InventoryConfigurations":{}}']) t.equal((await call('PUT', collection, body)).status, 400, body)
  const invalid = await call('PUT', collection, inSet(...Array(900).fill(`{"Filter":{"Tag":${list(20, '{}')}}}`)))
  t.match(invalid.json.detail, /^body \/InventoryConfigurations\/0\/Id is required, and at least 10\d\d more; errors names the first 1000\. Correct the request and send it again\.$/, 'the rest is not validated')
  t.strictSame(emulator.requests, [])
})

t.test('PUT of a set yields to the event loop while it validates the configurations', async t => {
  const { call, emulator } = await start(t)
  const items = Array.from({ length: 50 }, (_, index) => ({ ...configuration, Id: `id-${index}` }))
  // Each reading of the clock takes 5 ms, and so does each validation.
  const now = performance.now.bind(performance)
  let readings = 0
  const clock = mock.method(performance, 'now', () => now() + 5 * readings++)
  t.teardown(() => { clock.mock.restore() })
  let iterations = 0
  let isBegun = false
  const parse = JSON.parse
  const parsing = mock.method(JSON, 'parse', (text: string) => {
    isBegun = true
    return parse(text) as unknown
  })
  t.teardown(() => { parsing.mock.restore() })
  const response = call('PUT', `${collection}?dry-run=true`, { InventoryConfigurations: items })
  await until(() => isBegun)
  while (emulator.requests.length === 0) {
    iterations += 1
    await nextIteration()
  }
  t.equal((await response).status, 200)
  t.ok(iterations >= 50, `${iterations} iterations of the event loop`)
})

t.test('PUT, POST and PATCH return 400 when the XML would exceed 256 KiB', async t => {
  const running = await start(t)
  const { call, emulator } = running
  await call('PUT', at('a'), configuration)
  const before = emulator.configurations(bucket)
  emulator.requests.length = 0
  // Each ampersand takes five bytes of XML.
  const tooLarge = { Filter: { Prefix: '&'.repeat(60 * KiB) } }
  const { IsEnabled: _, Schedule: __, ...job } = { ...configuration, ...tooLarge }
  const put = { ...configuration, ...tooLarge }
  const set = { InventoryConfigurations: [{ ...configuration, Id: 'b' }, { ...put, Id: 'c' }, { ...put, Id: 'd' }] }
  const etag = { 'if-match': '"x"' }
  type Case = [method: string, path: string, body: object, headers?: Record<string, string>, pointers?: string[]]
  const cases: Case[] = [
    ['PUT', at('a'), put], ['PUT', at('a', '?dry-run=true'), put], ['PUT', at('a'), put, etag],
    ['PUT', at('a', '?dry-run=true'), put, etag], ['PUT', at('a', '?preflight=enforce'), put],
    ['POST', at('b'), job], ['POST', at('b', '?dry-run=true'), job],
    ...['', '?dry-run=true', '?prune=true'].map(query => ['PUT', collection + query, set, {},
      ['/InventoryConfigurations/1', '/InventoryConfigurations/2']] satisfies Case)
  ]
  const detail = /^becomes 30[78]\d{3} bytes of XML; the maximum is 262144$/
  for (const [method, path, body, headers = {}, pointers = ['']] of cases) {
    const rejected = await call(method, path, body, headers)
    const errors = pointers.map(pointer => ({ in: 'body', pointer, detail }))
    t.match(rejected, { status: 400, json: { code: 'ValidationFailed', errors } }, `${method} ${path}`)
    t.equal(rejected.json.errors.length, pointers.length)
  }
  const million = { InventoryConfigurations: [{ ...configuration, Id: 'b', Filter: { StorageClass: '<'.repeat(1_000_000) } }] }
  t.match((await call('PUT', collection, million)).json.errors, [
    { pointer: '/InventoryConfigurations/0', detail: 'becomes more than 262144 bytes of XML; the maximum is 262144' }
  ])
  t.strictSame(emulator.requests, [])
  for (const query of ['', '?dry-run=true']) {
    t.match(await patch(running, JSON.stringify(tooLarge), query), { status: 400, json: { code: 'ValidationFailed', errors: [{ pointer: '', detail }] } })
  }
  t.strictSame(emulator.requests.map(({ method }) => method), ['GET', 'GET'], 'PATCH reads the stored configuration')
  t.strictSame(emulator.configurations(bucket), before)
  const largest = { ...configuration, Filter: { Prefix: '&'.repeat(51 * KiB) } }
  t.equal((await call('PUT', at('a'), largest)).status, 204)
  t.strictSame((await call('GET', at('a'))).json.Filter, largest.Filter, 'GET returns the largest configuration')
})

t.test('PUT, POST and PATCH never return 5xx when the body is hostile', async t => {
  const { call, emulator, logs } = await start(t)
  await call('PUT', at('a'), configuration)
  const keys = (count: number, key: (index: number) => string) =>
    Array.from({ length: count }, (_, index) => `${JSON.stringify(key(index))}:1`).join()
  const nested = (open: string, close: string, depth: number) => `${open.repeat(depth)}1${close.repeat(depth)}`
  // Members of a configuration, then the status of PUT without and with allow-unknown=true.
  const cases: Record<string, [members: string, closed: number, open: number]> = {
    'lists 120,000 deep': [`"X":${nested('[', ']', 120_000)}`, 400, 400],
    'lists 4,000 deep': [`"X":${nested('[', ']', 4_000)}`, 400, 400],
    'lists deep in a known member': [`"Filter":${nested('[', ']', 4_000)}`, 400, 400],
    'objects 40,000 deep': [`"X":${nested('{"a":', '}', 40_000)}`, 400, 400],
    'objects 4,000 deep': [`"X":${nested('{"a":', '}', 4_000)}`, 400, 400],
    'objects deep in a known member': [`"Filter":${nested('{"And":', '}', 4_000)}`, 400, 400],
    'alternating lists and objects': [`"X":${nested('[{"a":', '}]', 2_000)}`, 400, 400],
    'objects of the greatest depth allowed': [`"X":${nested('{"a":', '}', 20)}`, 400, 204],
    'a key of 200 KiB': [`"${'k'.repeat(200 * KiB)}":1`, 400, 400],
    'a known member below a key of 200 KiB': [`"Filter":{"${'k'.repeat(200 * KiB)}":{"Prefix":1}}`, 400, 400],
    'keys named __proto__': [Array(2_000).fill('"__proto__":{"a":1}').join(), 400, 204],
    '__proto__ in __proto__': [nested('"__proto__":{', '}', 4_000).replace('1', '"a":1'), 400, 400],
    'constructor and prototype': ['"constructor":{"prototype":{"x":1}},"toString":1,"hasOwnProperty":null', 400, 400],
    '20,000 keys': [keys(20_000, index => `k${index}`), 400, 400],
    '4,000 keys': [keys(4_000, index => `k${index}`), 400, 204],
    '4,000 integers as keys': [keys(4_000, String), 400, 400],
    'keys that arrays have': ['"length":1,"0":1,"-1":1,"4294967295":1', 400, 400],
    'a text of 250 KiB': [`"Filter":{"Prefix":"${'x'.repeat(250 * KiB)}"}`, 204, 204],
    'a text of 250 KiB that must be escaped': [`"Filter":{"Prefix":"${'<'.repeat(250 * KiB)}"}`, 400, 400],
    'a text of 250 KiB in an enumeration': [`"IncludedObjectVersions":"${'x'.repeat(250 * KiB)}"`, 400, 400],
    '4,000 metadata fields': [`"OptionalFields":[${keys(4_000, index => `x-cos-meta-${index}`).replaceAll(':1', '')}]`, 204, 204],
    '4,000 equal fields': [`"OptionalFields":${list(4_000, '"Size"')}`, 400, 204],
    '1e999': ['"X":1e999,"Schedule":{"Frequency":"Monthly","MonthlyDate":1e999}', 400, 400],
    '-1e999': ['"X":-1e999', 400, 400],
    'a number of 300 digits': [`"X":${'9'.repeat(300)},"Filter":{"Period":{"StartTime":${'9'.repeat(300)}}}`, 400, 400],
    'a number of 200,000 digits': [`"X":0.${'1'.repeat(200_000)}`, 400, 204],
    'a lone surrogate': ['"Filter":{"Prefix":"\\ud800"}', 400, 400],
    'a lone surrogate in a key': ['"\\udfff":"x"', 400, 400],
    'a lone surrogate as a value': ['"X":"\\ud800\\ud800"', 400, 400],
    'null and empty members': ['"":{},"X":null,"Filter":null,"OptionalFields":{},"Y":[]', 400, 400]
  }
  for (const [name, [members, closed, open]] of Object.entries(cases)) {
    for (const [query, status] of [['', closed], [unknownToo, open]] as const) {
      const responses = [
        await call('PUT', at('a', query), withMembers(members)),
        await call('PATCH', at('a', query), `{${members}}`, mergePatch),
        await call('POST', at('b', query), withMembers(members)),
        await call('PUT', `${collection}?dry-run=true${query.replace('?', '&')}`,
          `{"InventoryConfigurations":[${withMembers(members).slice(0, -1)},"Id":"a"}]}`),
        await call('PUT', `${collection}?dry-run=true`, `{${members}}`)
      ]
      t.equal(responses[0]?.status, status, `PUT with ${name} ${query}`)
      const others = responses.slice(1).map(response => response.status)
      t.ok(others.every(each => each < 500), `${name} ${query}: ${others.join()}`)
      t.ok(responses.every(({ text }) => text.length < 1024 * KiB))
      await call('DELETE', at('b'))
    }
  }
  t.equal((await call('GET', '/livez')).status, 200)
  t.notMatch(logs(), /"level":(50|60)/)
  t.ok(emulator.requests.length > 0)
})
