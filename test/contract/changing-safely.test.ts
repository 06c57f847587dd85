import assert from 'node:assert/strict'
import { connect } from 'node:net'
import t from 'tap'
import type { Emulator } from '../../src/emulator/server.ts'
import { as, callersFile, everything, withKey } from '../callers-file.ts'
import { startGated } from '../doubles/gate.ts'
import { attemptMs, controlTime, longTimeouts } from '../doubles/time.ts'
import { send, toDestination, toDocument, toPut } from '../emulator/client.ts'
import { at, bucket, configuration, secrets, start, startTestService, until } from '../start.ts'
import type { Answer, Running } from '../start.ts'

const { COSBucketDestination: destination } = configuration.Destination
const collection = `/buckets/${bucket}/inventories`
const mergePatch = { 'content-type': 'application/merge-patch+json' }
const unknownToo = '?allow-unknown=true'
const never = '"never"'
const weekly = { Schedule: { Frequency: 'Weekly' } }
const [reader, writer] = ['cos:GetBucketInventory', 'cos:PutBucketInventory']
const conflict = { kind: 'error', status: 409, code: 'InvalidBucketState', match: { operation: 'PutBucketInventory' } } as const

/** Sends a merge patch. */
const patch = ({ call }: Pick<Running, 'call'>, id: string, body: unknown, { query = '', ...headers }: Record<string, string> = {}) =>
  call('PATCH', at(id, query), body, { ...mergePatch, ...headers })
const tagOf = ({ headers }: Answer): string => headers['etag'] as string
const pointersOf = ({ json }: Answer): string[] => json.errors.map(({ pointer }: { pointer: string }) => pointer).sort()
/** Returns the methods that COS received, and clears them. */
const sentTo = ({ requests }: Emulator): string => requests.splice(0).map(({ method }) => method).join(' ')
/** Returns the document that COS stores. */
const storedBy = (emulator: Emulator, id: string): string | undefined =>
  emulator.configurations(bucket).find(xml => xml.includes(`<Id>${id}</Id>`))

/** Writes a document to the emulator directly. */
async function seed (emulator: Emulator, id: string, xml: string): Promise<void> {
  const { headers, ...put } = toPut(id, xml)
  const token = { 'x-cos-security-token': secrets.token }
  const { status, body } = await send(emulator, { ...put, headers: { ...headers, ...token }, credential: secrets })
  assert.equal(status, 200, body)
  emulator.requests.pop()
}

t.test('GET, HEAD, PUT and PATCH return one ETag for all forms of a configuration', async t => {
  const { call, emulator } = await start(t)
  const first = await call('PUT', at('a'), configuration)
  t.match(tagOf(first), /^"[\w-]{43}"$/, 'a strong tag in quotes')
  const { Destination, Schedule, OptionalFields, Filter, ...rest } = configuration
  const spellings = [
    { Schedule, Destination, OptionalFields, Filter, ...rest, Id: 'a' },
    { ...configuration, IsEnabled: 'True' },
    { ...configuration, OptionalFields: ['ETag', 'Size'] },
    { ...configuration, Filter: { Prefix: 'myPrefix', Tag: [], Period: {} } },
    { ...configuration, Destination: { COSBucketDestination: { ...destination, Encryption: { SSECOS: '' } } } }
  ]
  sentTo(emulator)
  for (const spelling of spellings) {
    t.equal(tagOf(await call('PUT', at('a'), spelling)), tagOf(first), JSON.stringify(spelling))
    for (const method of ['GET', 'HEAD']) t.equal(tagOf(await call(method, at('a'))), tagOf(first))
    t.equal(tagOf(await patch({ call }, 'a', {})), tagOf(first))
    t.equal(tagOf(await patch({ call }, 'a', spelling)), tagOf(first))
    t.equal(sentTo(emulator), 'PUT GET GET GET GET', 'a patch without a change is not written')
  }
  t.equal(tagOf(await call('PUT', at('a'), { ...configuration, Filter: { And: { Prefix: 'myPrefix' } } })), tagOf(first))
  await seed(emulator, 'a', toDocument('a', {
    IsEnabled: '<IsEnabled>TRUE</IsEnabled>',
    OptionalFields: '',
    Filter: '<OptionalFields><Field>ETag</Field><Field>Size</Field></OptionalFields><Filter><And><Prefix>my&#80;refix</Prefix></And></Filter>',
    Destination: toDestination({
      Bucket: `<Bucket>${destination.Bucket}</Bucket>`, Encryption: '<Encryption><SSECOS/></Encryption>'
    })
  }))
  t.equal(tagOf(await call('GET', at('a'))), tagOf(first), 'the stored form does not matter')

  const tags = new Set([tagOf(first)])
  const different = [
    { IsEnabled: false }, { Filter: { Prefix: 'myPrefix ' } }, { Filter: { Prefix: 'myPrefix', StorageClass: 'STANDARD' } },
    { Filter: { Prefix: 'myPrefix' }, New: '1' }, { New: ['1', '1'] }, { New: '01' }, { New: { Inner: '1' } },
    { OptionalFields: { Field: ['Size'] } }, { Schedule: { Frequency: 'Monthly', MonthlyDate: 1 } },
    { Schedule: { Frequency: 'Monthly', MonthlyDate: 2 } }
  ]
  for (const change of different) {
    const put = await call('PUT', at('a', unknownToo), { ...configuration, ...change })
    t.equal(tagOf(await call('GET', at('a'))), tagOf(put), 'GET returns the tag of the PUT before it')
    tags.add(tagOf(put))
  }
  t.equal(tags.size, 1 + different.length)
  t.equal(tagOf(await call('GET', collection)), undefined)
})

t.test('GET and HEAD return 304 when If-None-Match matches the ETag', async t => {
  const { call, emulator } = await start(t)
  const etag = tagOf(await call('PUT', at('a'), configuration))
  const unchanged = [etag, `W/${etag}`, `${never}, ${etag}`, `"x" ,W/"y",W/${etag}`, '*', ' * ']
  const changed = [never, `W/${never}`, `"${etag.slice(1, -1)}W/"`, `"${etag.slice(1, -2)}"`, '""', `"a", ${never}`, `,"a", ,${never} ,`]
  for (const method of ['GET', 'HEAD']) {
    for (const tag of unchanged) {
      const response = await call(method, at('a'), undefined, { 'if-none-match': tag })
      t.match(response, { status: 304, text: '', headers: { etag, 'x-request-id': /.+/, 'x-cos-request-id': /.+/ } }, `${method} ${tag}`)
      t.equal(response.headers['content-type'], undefined)
    }
    for (const tag of changed) {
      const response = await call(method, at('a'), undefined, { 'if-none-match': tag })
      t.match(response, { status: 200, headers: { etag } }, `${method} ${tag}`)
      if (method === 'GET') t.strictSame(response.json, { Id: 'a', ...configuration })
    }
    t.equal((await call(method, at('a'), undefined, { 'if-match': never })).status, 200, 'reads ignore If-Match')
    t.equal((await call(method, at('b'), undefined, { 'if-none-match': '*' })).status, 404)
  }
  await call('PUT', at('a'), { ...configuration, IsEnabled: false })
  t.equal((await call('GET', at('a'), undefined, { 'if-none-match': etag })).status, 200)
  t.notMatch(sentTo(emulator), /[^GETPU ]/)
})

t.test('PUT, PATCH, DELETE and GET return 400 when a precondition is malformed', async t => {
  const { call, emulator } = await start(t)
  const malformed = ['abc', '"abc', 'abc"', "'abc'", '"a" "b"', '*, "a"', 'w/"a"', 'W/ "a"', '"a b"', '', ',', '**']
  for (const tag of malformed) {
    for (const [name, pointer] of [['if-match', '/if-match'], ['if-none-match', '/if-none-match']] as const) {
      for (const [method, body] of [['PUT', configuration], ['DELETE', undefined]] as const) {
        const { status, json } = await call(method, at('a'), body, { [name]: tag })
        t.match([status, json.errors], [400, [{ in: 'header', pointer, detail: /double quotes/ }]], `${name}: ${tag}`)
      }
      t.match(await patch({ call }, 'a', {}, { [name]: tag }), { status: 400, json: { errors: [{ in: 'header', pointer }] } })
    }
    t.equal((await call('GET', at('a'), undefined, { 'if-none-match': tag })).status, 400)
    t.equal((await call('HEAD', at('a'), undefined, { 'if-none-match': tag })).status, 400)
  }
  const all = await call('PUT', at('a', '?region=nowhere&colour=red'), { ...configuration, IsEnabled: 'perhaps', Id: 'b' },
    { 'if-match': 'abc', 'if-none-match': 'def' })
  t.strictSame(all.json.errors.map(({ in: part, pointer }: { in: string, pointer: string }) => `${part} ${pointer}`).sort(),
    ['body /Id', 'body /IsEnabled', 'header /if-match', 'header /if-none-match', 'query /colour', 'query /region'])
  t.equal(sentTo(emulator), '')
})

t.test('PUT, PATCH and DELETE return 412 and write nothing when a precondition fails', async t => {
  const { call, emulator } = await start(t)
  const disabled = { ...configuration, IsEnabled: false }
  const failed = { status: 412, json: { code: 'PreconditionFailed', cosRequestId: /.+/ } }
  const put = (body: unknown, headers: Record<string, string>) => call('PUT', at('a'), body, headers)
  const remove = (headers: Record<string, string>) => call('DELETE', at('a'), undefined, headers)

  for (const tag of [never, '*']) {
    t.match(await put(configuration, { 'if-match': tag }), failed)
    t.match(await remove({ 'if-match': tag }), failed)
    t.match(await patch({ call }, 'a', {}, { 'if-match': tag }), { ...failed, json: { detail: /no configuration with this id/ } })
  }
  t.equal(sentTo(emulator), 'GET GET GET GET GET GET')
  t.match(await patch({ call }, 'a', {}), { status: 404, json: { code: 'InventoryConfigurationNotFoundError' } })
  t.match(await patch({ call }, 'a', {}, { 'if-none-match': never }), { status: 404 })
  t.equal(sentTo(emulator), 'GET GET')
  t.strictSame(emulator.configurations(bucket), [])

  const created = await put(configuration, { 'if-none-match': '*' })
  t.match(created, { status: 204, headers: { etag: /^".+"$/ } })
  t.equal(sentTo(emulator), 'GET PUT')
  const etag = tagOf(created)
  t.match(await put(disabled, { 'if-none-match': '*' }), { ...failed, json: { detail: /The stored configuration matches If-None-Match/ } })
  t.match(await put(disabled, { 'if-none-match': `${never}, W/${etag}` }), failed)
  t.match(await put(disabled, { 'if-match': never }), { ...failed, json: { detail: /read the configuration again/ } })
  t.match(await put(disabled, { 'if-match': `W/${etag}` }), failed, 'If-Match compares strongly')
  t.match(await put(disabled, { 'if-match': etag, 'if-none-match': etag }), failed)
  t.match(await remove({ 'if-match': never }), failed)
  t.match(await remove({ 'if-none-match': '*' }), failed)
  t.match(await patch({ call }, 'a', weekly, { 'if-match': never }), failed)
  t.match(await patch({ call }, 'a', weekly, { 'if-none-match': etag }), failed)
  t.equal(sentTo(emulator), 'GET GET GET GET GET GET GET GET GET')
  t.equal(tagOf(await call('GET', at('a'))), etag, 'the configuration is unchanged')
  sentTo(emulator)

  const second = await put(disabled, { 'if-match': etag })
  t.match(second, { status: 204 })
  t.not(tagOf(second), etag)
  t.match(await put(configuration, { 'if-match': etag }), failed, 'the tag is outdated')
  t.match(await put(disabled, { 'if-match': '*' }), { status: 204, headers: { etag: tagOf(second) } })
  t.match(await put(disabled, { 'if-none-match': never }), { status: 204 })
  t.equal(sentTo(emulator), 'GET PUT GET GET PUT GET PUT')
  const third = await patch({ call }, 'a', weekly, { 'if-match': `${never},${tagOf(second)}` })
  t.match(third, { status: 200, json: { ...disabled, ...weekly } })
  t.match(await patch({ call }, 'a', { IsEnabled: true }, { 'if-match': tagOf(second) }), failed)
  t.match(await remove({ 'if-match': tagOf(second) }), failed)
  t.equal(sentTo(emulator), 'GET PUT GET GET')
  t.match(await remove({ 'if-match': tagOf(third) }), { status: 204, text: '' })
  t.equal(sentTo(emulator), 'GET DELETE')
  t.match(await remove({ 'if-none-match': '*' }), { status: 204 })
  await put(configuration, {})
  t.match(await remove({ 'if-match': '*' }), { status: 204 })
  t.match(await remove({}), { status: 204 })
  t.equal(sentTo(emulator), 'GET DELETE PUT GET DELETE DELETE', 'a DELETE without a precondition does not read')
  emulator.addFault({ kind: 'error', status: 403, code: 'AccessDenied', match: { operation: 'GetBucketInventory' } })
  t.match(await put(configuration, { 'if-none-match': '*' }), { status: 403, json: { code: 'AccessDenied' } }, 'an unreadable configuration is not a missing one')
  t.match(await patch({ call }, 'a', {}, { 'if-match': '*' }), { status: 403 })
  t.equal(sentTo(emulator), 'GET GET')
  t.strictSame(emulator.configurations(bucket), [])
})

t.test('POST and PUT of a set return 400 when a precondition is given', async t => {
  const { call, emulator } = await start(t)
  const { IsEnabled: _, Schedule: __, ...job } = configuration
  for (const query of ['', '?dry-run=true']) {
    for (const [method, path, body] of [['POST', at('a'), job], ['PUT', collection, { InventoryConfigurations: [] }]] as const) {
      const both = await call(method, path + query, body, { 'if-match': '*', 'if-none-match': 'anything' })
      t.match([both.status, both.json.errors], [400, [{ in: 'header', pointer: '/if-match' }, { in: 'header', pointer: '/if-none-match' }]])
      t.equal((await call(method, path + query, body, { 'if-none-match': '*' })).status, 400)
    }
  }
  t.equal(sentTo(emulator), '')
})

t.test('PUT and PATCH with dry-run=true check preconditions and write nothing', async t => {
  const running = await start(t)
  const { call, emulator } = running
  const etag = tagOf(await call('PUT', at('a'), configuration))
  const before = storedBy(emulator, 'a')
  sentTo(emulator)
  const changed = { ...configuration, IsEnabled: false }
  const dryPut = (headers: Record<string, string>, id = 'a') => call('PUT', at(id, '?dry-run=true'), changed, headers)
  const dryPatch = (headers: Record<string, string>, id = 'a') =>
    patch(running, id, { IsEnabled: false }, { query: '?dry-run=true', ...headers })
  t.match(await dryPut({ 'if-none-match': '*' }), { status: 412 })
  t.match(await dryPut({ 'if-match': never }), { status: 412 })
  t.match(await dryPut({ 'if-match': '*' }, 'b'), { status: 412 })
  t.match(await dryPatch({ 'if-match': never }), { status: 412 })
  t.match(await dryPatch({ 'if-match': '*' }, 'b'), { status: 412 })
  t.match(await dryPatch({}, 'b'), { status: 404 })
  t.equal(sentTo(emulator), 'GET GET GET GET GET GET')
  const xml = { status: 200, headers: { 'content-type': 'application/xml' }, text: /<IsEnabled>false/ }
  t.match(await dryPut({ 'if-match': etag }), xml)
  t.match(await dryPut({ 'if-none-match': '*' }, 'b'), xml)
  t.match(await dryPatch({ 'if-match': etag }), xml)
  t.match(await dryPatch({}), xml)
  t.equal(sentTo(emulator), 'GET GET GET GET')
  t.match(await dryPut({}), xml)
  t.equal(sentTo(emulator), '', 'PUT without a precondition does not read')
  t.equal(storedBy(emulator, 'a'), before)
})

t.test('PATCH changes the named members with one read and at most one write', async t => {
  const running = await start(t)
  const { call, emulator } = running
  const tag = { Key: 'age', Value: '18' }
  const full = {
    ...configuration,
    Filter: { Prefix: 'p', Tag: [tag], StorageClass: 'STANDARD', Period: { StartTime: 1, EndTime: 2 } },
    OptionalFields: { Field: ['Size', 'Tag'] }
  }
  const { Encryption, ...unencrypted } = destination
  const monthly = { Frequency: 'Monthly', MonthlyDate: 31 }
  const withoutAccount = { Format: 'CSV', Bucket: destination.Bucket, Prefix: 'é & <x> ', Encryption }
  const { Filter: _, ...unfiltered } = full
  const { Filter: { Tag: __, ...untagged } } = full
  const place = (COSBucketDestination: object) => ({ Destination: { COSBucketDestination } })
  const cases: Array<[patch: object, result: object]> = [
    [{ IsEnabled: false }, { ...full, IsEnabled: false }],
    [{ IsEnabled: 'False' }, { ...full, IsEnabled: false }],
    [{ Id: 'a', ...weekly }, { ...full, ...weekly }],
    [{ Schedule: monthly }, { ...full, Schedule: monthly }],
    [{ Filter: null }, unfiltered],
    [{ Filter: { Tag: null, Period: { EndTime: null } } },
      { ...full, Filter: { ...untagged, Period: { StartTime: 1 } } }],
    [{ Filter: { Tag: [] } }, { ...full, Filter: untagged }],
    [{ Filter: { Period: null, Prefix: '' } }, { ...full, Filter: { Prefix: '', Tag: [tag], StorageClass: 'STANDARD' } }],
    [{ Filter: { Tag: [tag, { Key: 'b', Value: '' }] } }, { ...full, Filter: { ...full.Filter, Tag: [tag, { Key: 'b', Value: '' }] } }],
    [{ OptionalFields: ['Tag', 'ETag'] }, { ...full, OptionalFields: { Field: ['Tag', 'ETag'] } }],
    [{ OptionalFields: { Field: ['Tag'] } }, { ...full, OptionalFields: { Field: ['Tag'] } }],
    [place({ Encryption: null }), { ...full, ...place(unencrypted) }],
    [place({ Encryption: { SSECOS: null } }), { ...full, ...place(unencrypted) }],
    [place({ Prefix: 'é & <x> ', AccountId: null }), { ...full, ...place(withoutAccount) }]
  ]
  for (const [body, result] of cases) {
    await call('PUT', at('a'), full)
    sentTo(emulator)
    const preview = await patch(running, 'a', body, { query: '?dry-run=true' })
    const response = await patch(running, 'a', body)
    t.match(response, { status: 200, headers: { 'content-type': /^application\/json/, 'x-cos-request-id': /.+/ } }, JSON.stringify(body))
    t.strictSame(response.json, { Id: 'a', ...result })
    t.equal(preview.text, emulator.requests.at(-1)?.body, 'a dry run returns the bytes that are sent')
    t.equal(sentTo(emulator), 'GET GET PUT')
    const read = await call('GET', at('a'))
    t.strictSame([read.json, tagOf(read)], [response.json, tagOf(response)])
    sentTo(emulator)
    const again = await patch(running, 'a', body)
    t.match(again, { status: 200, headers: { etag: tagOf(response), 'x-cos-request-id': /.+/ } })
    t.strictSame(again.json, response.json)
    t.equal(sentTo(emulator), 'GET', 'a patch without a change is not written')
  }
  await call('PUT', at('a'), full)
  sentTo(emulator)
  const etag = tagOf(await call('GET', at('a')))
  const noChanges = [
    {}, full, { IsEnabled: 'TRUE' }, { Absent: null, Filter: { Absent: null } }, { OptionalFields: ['Tag', 'Size'] }, { Filter: {} },
    { Filter: { Tag: [{ Value: '18', Key: 'age' }] } }, { Schedule: { MonthlyDate: null } }, place({ Encryption: { SSECOS: '' } })
  ]
  for (const body of noChanges) {
    t.match(await patch(running, 'a', body), { status: 200, headers: { etag }, json: { Id: 'a', ...full } }, JSON.stringify(body))
  }
  t.equal(sentTo(emulator), Array(1 + noChanges.length).fill('GET').join(' '))
})

const unknownDocument = '<InventoryConfiguration><Id>a</Id><First>1</First><IsEnabled>true</IsEnabled><New><Deep>x</Deep><Deep> y </Deep>' +
  '<Other>&amp;&#13;</Other></New><IncludedObjectVersions>All</IncludedObjectVersions><Filter><Odd></Odd><And><Prefix>p</Prefix><Tag>' +
  '<Key>k</Key><Value>1</Value></Tag><Inner>i</Inner></And><Late>l</Late></Filter><OptionalFields><Field>Tag</Field><More>m</More></OptionalFields>' +
  '<Schedule><Frequency>Daily</Frequency><Hour>04</Hour></Schedule><Between>b</Between><Destination><COSBucketDestination><Format>CSV</Format>' +
  `<Bucket>${destination.Bucket}</Bucket><Storage>s</Storage><Encryption><SSE-COS></SSE-COS><Key>k</Key></Encryption></COSBucketDestination>` +
  '<Last>1</Last><Last>2</Last></Destination><__proto__><polluted>yes</polluted></__proto__><constructor>c</constructor></InventoryConfiguration>'

t.test('PATCH keeps unknown elements in their places', async t => {
  const running = await start(t)
  const { emulator } = running
  const cases: Array<[patch: object, from: string, to: string, query?: string]> = [
    [{ IsEnabled: false }, '<IsEnabled>true', '<IsEnabled>false'],
    [weekly, 'Daily', 'Weekly'],
    [{ Filter: { Prefix: null } }, '<Prefix>p</Prefix>', ''],
    [{ Filter: { Tag: [{ Key: 'k', Value: '2' }] } }, '<Value>1', '<Value>2'],
    [{ Filter: null }, /<Filter>.*<\/Filter>/.exec(unknownDocument)?.[0] as string, ''],
    [{ New: null }, /<New>.*<\/New>/.exec(unknownDocument)?.[0] as string, ''],
    [{ First: null }, '<First>1</First>', ''],
    [{ constructor: null, toString: null }, '<constructor>c</constructor>', ''],
    [{ Filter: { And: null } }, '<Inner>i</Inner>', ''],
    [{ Destination: { Last: null } }, '<Last>1</Last><Last>2</Last>', ''],
    [{ New: { Deep: 'z' } }, '<Deep>x</Deep><Deep> y </Deep>', '<Deep>z</Deep>', unknownToo],
    [{ New: { Other: null } }, '<Other>&amp;&#13;</Other>', '', unknownToo],
    [{ Destination: { Last: ['1', '3'] } }, '<Last>2', '<Last>3', unknownToo],
    [{ Schedule: { Hour: 4, Minute: true } }, '<Hour>04</Hour>', '<Hour>4</Hour><Minute>true</Minute>', unknownToo]
  ]
  for (const [body, from, to, query = ''] of cases) {
    await seed(emulator, 'a', unknownDocument)
    t.match(await patch(running, 'a', body, { query }), { status: 200 }, JSON.stringify(body))
    t.equal(sentTo(emulator), 'GET PUT')
    t.equal(storedBy(emulator, 'a'), unknownDocument.replace(from, to))
  }
  t.equal(({} as Record<string, unknown>)['polluted'], undefined)
})

t.test('PATCH returns 400 when it adds or changes unknown elements unasked', async t => {
  const running = await start(t)
  const { emulator } = running
  await seed(emulator, 'a', unknownDocument)
  const cases: Array<[patch: object, pointers: string[]]> = [
    [{ Colour: 'red' }, ['/Colour']],
    [{ New: 'other' }, ['/New']],
    [{ New: { Deep: null } }, ['/New']],
    [{ New: { Deep: ['x', ' y ', 'z'] } }, ['/New']],
    [{ First: '1 ', Schedule: { Hour: '05' }, Filter: { Odd: 'o', And: { Inner: 'j' } } }, ['/Filter/And/Inner', '/Filter/Odd', '/First', '/Schedule/Hour']],
    [{ toString: 't', constructor: 'd', Destination: { Last: ['1', '1'] } }, ['/Destination/Last', '/constructor', '/toString']]
  ]
  for (const [body, pointers] of cases) {
    const rejected = await patch(running, 'a', body)
    t.match(rejected, { status: 400, json: { code: 'ValidationFailed', errors: [{ in: 'body', detail: /allow-unknown=true/ }] } })
    t.strictSame(pointersOf(rejected), pointers)
    t.equal((await patch(running, 'a', body, { query: '?dry-run=true' })).status, 400)
    t.equal(sentTo(emulator), 'GET GET')
    t.equal(storedBy(emulator, 'a'), unknownDocument)
    t.equal((await patch(running, 'a', body, { query: `${unknownToo}&dry-run=true` })).status, 200)
    sentTo(emulator)
  }
  t.equal((await patch(running, 'a', { New: { Deep: ['x', ' y '] }, First: '1' })).status, 200, 'a stored value is not new')
  t.equal((await patch(running, 'a', { New: { Deep: [' y ', 'x'] } })).status, 200, 'the order does not matter')
  t.equal(sentTo(emulator), 'GET GET')
})

t.test('PATCH returns 400 with every issue when the merged configuration is invalid', async t => {
  const running = await start(t)
  const { call, emulator } = running
  await call('PUT', at('a'), configuration)
  const before = storedBy(emulator, 'a')
  sentTo(emulator)
  const cases: Array<[patch: unknown, pointers: string[], query?: string]> = [
    [{ IsEnabled: 'perhaps', Colour: 'red', Schedule: { Frequency: 'Hourly' }, Destination: { COSBucketDestination: { Format: 'PDF', Bucket: null } } },
      ['/Colour', '/Destination/COSBucketDestination/Bucket', '/Destination/COSBucketDestination/Format', '/IsEnabled', '/Schedule/Frequency']],
    [{ IsEnabled: null, IncludedObjectVersions: null, Schedule: null, Destination: null }, ['/Destination', '/IncludedObjectVersions', '/IsEnabled', '/Schedule']],
    [{ Schedule: { Frequency: 'Monthly' } }, ['/Schedule/MonthlyDate']],
    [{ Schedule: { MonthlyDate: 1 } }, ['/Schedule/MonthlyDate']],
    [{ OptionalFields: { Field: ['Size', null] } }, ['/OptionalFields/Field/1']],
    [{ OptionalFields: ['size'] }, ['/OptionalFields/0']],
    [{ Filter: { Tag: [{ Key: 'a', Value: null }] } }, ['/Filter/Tag/0/Value']],
    [{ Filter: { And: { Prefix: 'q' } } }, ['/Filter/Prefix']],
    [{ Filter: { Prefix: 'a\u0000' } }, ['/Filter/Prefix']],
    [{ Destination: 'qcs::cos:ap-guangzhou::examplebucket-1250000000' }, ['/Destination']],
    [{ Id: 5 }, ['/Id']],
    [{ New: ['a', null], Newer: { '1st': 'x' }, Newest: [] }, ['/New/1', '/Newer/1st', '/Newest'], unknownToo]
  ]
  for (const [body, pointers, query = ''] of cases) {
    const rejected = await patch(running, 'a', body, { query })
    t.match(rejected, { status: 400, json: { code: 'ValidationFailed' } }, JSON.stringify(body))
    t.strictSame(pointersOf(rejected), pointers)
    t.equal(sentTo(emulator), 'GET')
  }
  t.equal(storedBy(emulator, 'a'), before)

  const mismatch = await patch(running, 'a', { Id: 'b' }, { 'if-match': 'abc' })
  t.match(mismatch.json.errors, [{ in: 'header', pointer: '/if-match' }, { in: 'body', pointer: '/Id' }])
  t.equal((await patch(running, 'a', { Id: 'A' })).status, 400)
  t.equal(sentTo(emulator), '', 'an invalid patch is rejected before the read')
})

t.test('PATCH returns 400 or 415 without a read when the body is no merge patch', async t => {
  const running = await start(t)
  const { call, emulator } = running
  for (const body of ['[]', '[{"IsEnabled":false}]', '"text"', '1', 'true', 'null']) {
    t.match(await patch(running, 'a', body), { status: 400, json: { code: 'ValidationFailed', errors: [{ in: 'body', pointer: '' }] } }, body)
  }
  t.match(await patch(running, 'a', ''), { status: 400, json: { errors: [{ in: 'body', pointer: '' }] } })
  t.match(await patch(running, 'a', '{"a":'), { status: 400, json: { code: 'MalformedJSON' } })

  const detail = /PUT/
  t.match((await patch(running, 'a', '{"__proto__":{"polluted":"yes"}}')).json.errors, [{ pointer: '/__proto__', detail }])
  t.match((await patch(running, 'a', '{"__proto__":null}')).json.errors, [{ pointer: '/__proto__', detail }])
  t.match((await patch(running, 'a', '{"Filter":{"a/b":[{"__proto__":1}]}}', { query: unknownToo })).json.errors,
    [{ pointer: '/Filter/a~1b/0/__proto__', detail }])
  t.equal(({} as Record<string, unknown>)['polluted'], undefined)

  const deep = { objects: ['{"a":', '}'], arrays: ['{"a":[', ']}'] } as const
  for (const [name, [left, right]] of Object.entries(deep)) {
    for (const depth of [30, 2_000]) {
      const { status, json } = await patch(running, 'a', `${left.repeat(depth)}1${right.repeat(depth)}`, { query: unknownToo })
      t.match([status, json.errors], [400, [{ detail: /nested too deep/ }]], `${depth} ${name}`)
      t.equal(json.errors[0].pointer.split('/').length, 22)
    }
  }
  t.equal((await call('GET', '/livez')).status, 200)

  for (const type of ['application/json; charset=latin1', 'application/json-patch+json', 'text/plain', 'application/merge-patch+json; charset=latin1']) {
    const response = await call('PATCH', at('a'), '{}', { 'content-type': type })
    t.match(response, { status: 415, headers: { 'accept-patch': 'application/json, application/merge-patch+json' }, json: { code: 'UnsupportedMediaType', detail: /merge-patch/ } })
  }
  t.match(await call('PUT', at('a'), configuration, mergePatch), { status: 415, json: { detail: /application\/json/ } })
  t.match(await call('PUT', collection, { InventoryConfigurations: [] }, mergePatch), { status: 415 })
  t.equal(sentTo(emulator), '')
  await call('PUT', at('a'), configuration)
  const { status } = await call('PATCH', at('a'), '{}', { 'content-type': 'Application/Merge-Patch+JSON; charset=utf-8' })
  t.equal(status, 200)
})

t.test('PATCH returns 200 when stored values that PUT rejects stay unchanged', async t => {
  const running = await start(t)
  const { call, emulator } = running
  const unsupported = toDocument('odd', {
    OptionalFields: '<OptionalFields><Field>size</Field><Field>ETag</Field></OptionalFields>',
    Destination: toDestination({ Format: '<Format>ORC</Format>' })
  })
  await seed(emulator, 'odd', unsupported)
  const { json } = await call('GET', at('odd'))
  t.strictSame(pointersOf(await call('PUT', at('odd'), json)), ['/Destination/COSBucketDestination/Format', '/OptionalFields/Field/0'])
  sentTo(emulator)
  t.match(await patch(running, 'odd', { IsEnabled: false }), { status: 200, json: { ...json, IsEnabled: false } })
  t.equal(storedBy(emulator, 'odd'), unsupported.replace('<IsEnabled>true', '<IsEnabled>false'))
  t.match(await patch(running, 'odd', { OptionalFields: { Field: ['size', 'ETag', 'Crc64'] } }), { status: 200 })
  t.equal(sentTo(emulator), 'GET PUT GET PUT')
  const to = (Format: string) => ({ Destination: { COSBucketDestination: { Format } } })
  t.strictSame(pointersOf(await patch(running, 'odd', { ...to('Parquet'), Schedule: { Frequency: 'Hourly' } })),
    ['/Destination/COSBucketDestination/Format', '/Schedule/Frequency'], 'a different unsupported value is rejected')
  t.strictSame(pointersOf(await patch(running, 'odd', { OptionalFields: { Field: ['size', 'etag'] } })), ['/OptionalFields/Field/1'])
  t.match(await patch(running, 'odd', { OptionalFields: { Field: ['Crc64', 'size'] } }), { status: 200 }, 'the position of a stored value does not matter')
  await call('PUT', at('a'), configuration)
  t.strictSame(pointersOf(await patch(running, 'a', to('ORC'))), ['/Destination/COSBucketDestination/Format'])
  await seed(emulator, 'month', toDocument('month', {
    Schedule: '<Schedule><Frequency>Monthly</Frequency><MonthlyDate>007</MonthlyDate></Schedule>'
  }))
  t.match(await patch(running, 'month', { IsEnabled: false }), { status: 200, json: { Schedule: { MonthlyDate: '007' } } })
  t.match((await patch(running, 'month', weekly)).json.errors, [{ pointer: '/Schedule/MonthlyDate', detail: /only allowed with Frequency Monthly/ }],
    'a stored value is rejected when another change makes it invalid')
  t.match(await patch(running, 'odd', { ...to('CSV'), OptionalFields: null }), { status: 200 })
  t.equal((await call('PUT', at('odd'), (await call('GET', at('odd'))).json)).status, 204, 'PUT accepts the fixed configuration')
})

t.test('PATCH returns 403 when READ_ONLY is true, and 200 for a dry run', async t => {
  const running = await start(t, { environment: { READ_ONLY: 'true' } })
  const { emulator } = running
  await seed(emulator, 'a', toDocument('a'))
  t.match(await patch(running, 'a', { IsEnabled: false }), { status: 403, json: { code: 'ReadOnly' } })
  t.equal(sentTo(emulator), '')
  const { status, text } = await patch(running, 'a', { IsEnabled: false }, { query: '?dry-run=true' })
  t.strictSame([status, text], [200, toDocument('a').replace('<IsEnabled>true', '<IsEnabled>false')])
  t.equal(sentTo(emulator), 'GET')
  t.equal(storedBy(emulator, 'a'), toDocument('a'))
})

t.test('PATCH is retried once when COS reports a conflicting change', async t => {
  const running = await start(t)
  const { call, emulator } = running
  await call('PUT', at('a'), configuration)
  sentTo(emulator)
  emulator.addFault({ ...conflict, times: 1 })
  t.match(await patch(running, 'a', weekly), { status: 200, json: { ...configuration, ...weekly } })
  t.equal(sentTo(emulator), 'GET PUT GET PUT')
  emulator.addFault({ ...conflict, status: 412, code: 'PreconditionFailed', times: 1 })
  t.match(await patch(running, 'a', { IsEnabled: false }), { status: 200, json: { IsEnabled: false, ...weekly } })
  t.equal(sentTo(emulator), 'GET PUT GET PUT')

  const before = storedBy(emulator, 'a')
  emulator.addFault({ ...conflict, times: 2 })
  t.match(await patch(running, 'a', { IsEnabled: true }), { status: 409, json: { code: 'InvalidBucketState' } })
  t.equal(sentTo(emulator), 'GET PUT GET PUT', 'there is no second retry')
  emulator.addFault({ ...conflict, status: 400, code: 'InvalidArgument', times: 1 })
  t.match(await patch(running, 'a', { IsEnabled: true }), { status: 400, json: { code: 'InvalidArgument' } })
  t.equal(sentTo(emulator), 'GET PUT', 'another error causes no retry')
  emulator.addFault({ ...conflict, times: 1 })
  t.match(await call('PUT', at('a'), configuration), { status: 409 }, 'PUT does not depend on a read, so it is not retried')
  t.equal(sentTo(emulator), 'PUT')
  t.equal(storedBy(emulator, 'a'), before)
  emulator.addFault({ ...conflict, after: 'effect', times: 1 })
  t.match(await patch(running, 'a', { IsEnabled: true }), { status: 200, json: { IsEnabled: true } })
  t.equal(sentTo(emulator), 'GET PUT GET', 'a change that was made is not written again')
})

t.test('PATCH returns 409 with an unknown outcome when a retried write conflicts', async t => {
  const running = await start(t, { environment: { COS_MAX_ATTEMPTS: '2' } })
  const { call, emulator, audits } = running
  const etag = tagOf(await call('PUT', at('a'), configuration))
  emulator.addFault({ kind: 'reset', after: 'effect', times: 1, match: { operation: 'PutBucketInventory' } })
  emulator.addFault({ ...conflict, times: 1 })
  const patched = await patch(running, 'a', weekly, { 'if-match': etag })
  t.match(patched, { status: 409, json: { code: 'InvalidBucketState', detail: /is not known/ } })
  t.match(audits().at(-1), { outcome: 'unknown', status: 409 })
  t.match(storedBy(emulator, 'a'), 'Weekly')
})

t.test('PATCH reads the configuration again when it retries after a conflict', async t => {
  const running = await startGated(t)
  const { call, emulator, gate } = running
  const original = tagOf(await call('PUT', at('a'), configuration))
  const disabled = toDocument('a', { IsEnabled: '<IsEnabled>false</IsEnabled>' })
  const patchMeanwhile = async (headers: Record<string, string>) => {
    emulator.addFault({ ...conflict, times: 1 })
    gate.holds = ({ method }) => method === 'PUT'
    const patched = patch(running, 'a', weekly, headers)
    await until(() => gate.held.length === 1)
    emulator.clearFaults()
    await seed(emulator, 'a', disabled)
    emulator.addFault({ ...conflict, times: 1 })
    sentTo(emulator)
    gate.open()
    return await patched
  }
  t.match(await patchMeanwhile({ 'if-match': original }), { status: 412, json: { code: 'PreconditionFailed' } })
  t.equal(sentTo(emulator), 'PUT GET')
  t.equal(storedBy(emulator, 'a'), disabled)
  await call('PUT', at('a'), configuration)
  t.match(await patchMeanwhile({}), { status: 200, json: { IsEnabled: false, ...weekly } })
  t.equal(sentTo(emulator), 'PUT GET PUT')
  t.equal(storedBy(emulator, 'a'), disabled.replace('Daily', 'Weekly'))
})

t.test('PATCH loses no change when 50 patches are sent at once', async t => {
  const running = await start(t)
  const { call, emulator } = running
  await call('PUT', at('a'), configuration)
  sentTo(emulator)
  emulator.addFault({ kind: 'latency', ms: 2 })
  const names = Array.from({ length: 50 }, (_, index) => `New${index}`)
  const responses = await Promise.all(names.map(name => patch(running, 'a', { [name]: name }, { query: unknownToo })))
  t.strictSame(responses.map(({ status }) => status), names.map(() => 200))
  t.equal(sentTo(emulator), names.map(() => 'GET PUT').join(' '), 'each patch reads the result of the one before')
  const { json } = await call('GET', at('a'))
  t.strictSame(json, { Id: 'a', ...configuration, ...Object.fromEntries(names.map(name => [name, name])) })
  t.equal(new Set(responses.map(tagOf)).size, 50)

  const etag = tagOf(await call('GET', at('a')))
  sentTo(emulator)
  const conditional = await Promise.all(names.map(name =>
    patch(running, 'a', { Winner: name }, { query: unknownToo, 'if-match': etag })))
  t.strictSame(conditional.map(({ status }) => status).sort(), [200, ...Array(49).fill(412)])
  t.equal(sentTo(emulator).replaceAll('GET ', '').replaceAll(' GET', ''), 'PUT')
  const winner = conditional.findIndex(({ status }) => status === 200)
  t.equal((await call('GET', at('a'))).json.Winner, names[winner])
})

t.test('changes of one configuration never overlap, changes of another do not wait', async t => {
  const running = await startGated(t)
  const { call, emulator, gate } = running
  await Promise.all(['a', 'b'].map(id => call('PUT', at(id), configuration)))
  sentTo(emulator)
  gate.overlaps.length = 0
  emulator.addFault({ kind: 'latency', ms: 3 })
  const rounds = Array.from({ length: 8 }, (_, round) => [
    call('PUT', at('a'), { ...configuration, Filter: { Prefix: String(round) } }),
    patch(running, 'a', { Schedule: { Frequency: round % 2 === 0 ? 'Weekly' : 'Daily' } }),
    call('PUT', at('a'), configuration, { 'if-match': '*' }),
    call('DELETE', at('a')),
    call('DELETE', at('a'), undefined, { 'if-match': '*' })
  ])
  const statuses = (await Promise.all(rounds.flat())).map(({ status }) => status)
  t.notOk(statuses.some(status => ![200, 204, 404, 412].includes(status)))
  t.strictSame(gate.overlaps, [])
  emulator.clearFaults()

  await call('PUT', at('a'), configuration)
  gate.holds = ({ url }) => url?.endsWith('id=a') === true
  const first = patch(running, 'a', weekly)
  await until(() => gate.held.length === 1)
  const second = call('PUT', at('a'), configuration)
  sentTo(emulator)
  t.match(await patch(running, 'b', weekly), { status: 200 })
  t.match(await call('DELETE', at('b')), { status: 204 })
  t.equal(sentTo(emulator), 'GET PUT DELETE')
  t.equal(gate.held.length, 1, 'the changes of the first configuration still wait')
  gate.open()
  t.match([(await first).status, (await second).status], [200, 204])
  t.equal(sentTo(emulator), 'GET PUT PUT')
  const read = patch(running, 'a', weekly)
  gate.holds = ({ method }) => method === 'PUT'
  await until(() => gate.held.length === 1)
  t.match(await call('GET', at('a')), { status: 200 }, 'GET does not wait')
  t.match(await patch(running, 'a', {}, { query: '?dry-run=true' }), { status: 200 }, 'a dry run does not wait')
  gate.open()
  await read
})

t.test('PATCH overwrites the change of another replica made after its read', async t => {
  const running = await startGated(t)
  const { call, emulator, gate } = running
  const other = await startTestService(t, emulator.address)
  const etag = tagOf(await call('PUT', at('a'), configuration))
  gate.holds = ({ method }) => method === 'PUT'
  const here = patch(running, 'a', weekly, { 'if-match': etag })
  await until(() => gate.held.length === 1)
  t.match(await patch(other, 'a', { IsEnabled: false }), { status: 200, json: { IsEnabled: false } })
  gate.open()
  t.match(await here, { status: 200 })
  t.strictSame((await call('GET', at('a'))).json, { Id: 'a', ...configuration, ...weekly }, 'the change of the other replica is lost')
  t.match(await patch(other, 'a', {}, { 'if-match': etag }), { status: 412 }, 'a change made before the read is detected')
})

t.test('PUT, PATCH and DELETE return 503 and send nothing when the queue is full', async t => {
  const running = await startGated(t, { COS_QUEUE_LIMIT: '0' })
  const { call, emulator, gate, audits } = running
  await Promise.all(['a', 'b'].map(id => call('PUT', at(id), configuration)))
  gate.holds = ({ method, url }) => method === 'PUT' && url?.endsWith('id=a') === true
  const first = call('PUT', at('a'), { ...configuration, IsEnabled: false })
  await until(() => gate.held.length === 1)
  sentTo(emulator)
  const overloaded = { status: 503, headers: { 'retry-after': '1' }, json: { code: 'Overloaded', detail: /Nothing was sent/ } }
  t.match(await call('PUT', at('a'), configuration), overloaded)
  t.match(audits().at(-1), { id: 'a', outcome: 'failure', status: 503, code: 'Overloaded' })
  t.match(await call('DELETE', at('a')), overloaded)
  t.match(await patch(running, 'a', weekly), overloaded)
  t.equal(sentTo(emulator), '')
  t.match(await patch(running, 'b', weekly), { status: 200 })
  t.match(await call('GET', at('a')), { status: 200 })
  gate.open()
  t.match(await first, { status: 204 })
  t.equal(sentTo(emulator), 'GET PUT GET PUT')
})

t.test('PUT returns 504 when COS never responds, and the next PUT gets the lock', async t => {
  const time = controlTime(t)
  const { call, emulator } = await start(t, { environment: longTimeouts })
  emulator.addFault({ kind: 'hang', times: 1 })
  const first = call('PUT', at('a'), configuration)
  await until(() => emulator.requests.length === 1)
  const second = call('PUT', at('a'), { ...configuration, IsEnabled: false })
  t.match(await call('PUT', at('b'), configuration), { status: 204 })
  time.expire(attemptMs)
  t.match(await first, { status: 504, json: { code: 'UpstreamTimeout' } })
  t.match(await second, { status: 204 })
  t.match(storedBy(emulator, 'a'), '<IsEnabled>false')
})

t.test('PUT returns 503 when too little time remains after the wait for the lock', async t => {
  const time = controlTime(t)
  // A change must start while at least half of the deadline remains.
  const { call, emulator, audits } = await start(t, { environment: { COS_TIMEOUT_MS: '600000', COS_DEADLINE_MS: '600000' } })
  emulator.addFault({ kind: 'hang', times: 1 })
  const first = call('PUT', at('a'), configuration)
  await until(() => emulator.requests.length === 1)
  const second = call('PUT', at('a'), configuration)
  await until(() => time.waiting(300_000) === 1)
  time.expire(300_000)
  t.match(await second, { status: 503, json: { code: 'Overloaded' } })
  t.match(audits().map(({ outcome }) => outcome), ['failure'])
  time.expire(600_000)
  t.match(await first, { status: 504 })
  t.equal(sentTo(emulator), 'PUT')
})

t.test('DELETE is not sent when its caller disconnects while it waits for the lock', async t => {
  const { call, emulator, gate, url, logs, audits } = await startGated(t)
  gate.holds = ({ method }) => method === 'PUT'
  const first = call('PUT', at('a'), configuration)
  await until(() => gate.held.length === 1)
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  socket.write(`DELETE ${at('a')} HTTP/1.1\r\nHost: x\r\nX-Request-Id: leaving\r\n\r\n`)
  // The request has arrived after several exchanges.
  for (let exchanges = 0; exchanges < 5; exchanges++) await call('GET', at('a'))
  sentTo(emulator)
  socket.destroy()
  await until(() => logs().includes('caller disconnected'))
  const last = call('PUT', at('a'), { ...configuration, IsEnabled: false })
  gate.open()
  t.match([(await first).status, (await last).status], [204, 204])
  t.equal(sentTo(emulator), 'PUT PUT')
  t.match(audits().find(({ requestId }) => requestId === 'leaving'), { action: 'cos:DeleteBucketInventory', outcome: 'failure', code: 'CallerLeft' })
})

t.test('PATCH returns 403 without permission to read, to write or for the destination', async t => {
  const foreign = 'reports-1999999999'
  const { environment } = callersFile(t, [
    withKey('admin', everything),
    withKey('reader', [{ actions: [reader], buckets: ['*'], destinations: ['*'] }]),
    withKey('writer', [{ actions: [writer], buckets: ['*'], destinations: ['*'] }]),
    withKey('both', [{ actions: [reader, writer], buckets: ['*'] }]),
    withKey('split', [
      { actions: [reader], buckets: ['*'], destinations: ['*'] }, { actions: [writer], buckets: ['*'], destinations: [] }
    ])
  ])
  const running = await start(t, { environment })
  const { call, emulator, audits } = running
  const to = (name: string) => ({ Destination: { COSBucketDestination: { ...destination, Bucket: `qcs::cos:ap-guangzhou::${name}` } } })
  await call('PUT', at('a'), { ...configuration, ...to(foreign) }, as('admin'))
  const before = storedBy(emulator, 'a')
  sentTo(emulator)
  const patchAs = (name: string, body: object, query = '') => patch(running, 'a', body, { ...as(name), query })
  t.match(await patchAs('reader', {}), { status: 403, json: { code: 'CallerNotAllowed', detail: /PutBucketInventory/ } })
  t.match(await patchAs('writer', {}), { status: 403, json: { code: 'CallerNotAllowed', detail: /GetBucketInventory/ } })
  t.equal(sentTo(emulator), '')

  for (const name of ['both', 'split']) {
    for (const [body, query] of [[{ IsEnabled: false }, ''], [{}, ''], [{ IsEnabled: false }, '?dry-run=true']] as const) {
      const rejected = await patchAs(name, body, query)
      t.match(rejected, { status: 403, json: { code: 'CallerNotAllowed', detail: /reports-1999999999/ } })
      t.equal(sentTo(emulator), 'GET', 'the unchanged destination is checked too')
    }
    t.match(audits().at(-1), { caller: name, outcome: 'denied', status: 403, destinations: [foreign] })
  }
  t.equal(storedBy(emulator, 'a'), before)
  t.equal((await patchAs('both', to('other-1999999998'))).status, 403)
  t.equal(sentTo(emulator), '', 'a destination in the patch is rejected before the read')
  t.match(await patchAs('both', { Extra: 'qcs::cos:ap-guangzhou::other-1999999998' }, unknownToo), { status: 403 })

  const { length } = audits()
  const moved = await patchAs('both', to('reports-1250000000'))
  t.match(moved, { status: 200 })
  const line = { caller: 'both', action: writer, id: 'a', bucket, region: 'ap-guangzhou' }
  t.match(audits().at(-1), {
    ...line, outcome: 'success', status: 200, destinations: ['reports-1250000000'], cosRequestId: moved.headers['x-cos-request-id']
  })
  await patchAs('both', { IsEnabled: false })
  t.match(audits().at(-1), { ...line, outcome: 'success', status: 200, destinations: ['reports-1250000000'] }, 'the record names the destination of the result')
  await patch(running, 'a', { IsEnabled: true }, { ...as('both'), 'if-match': never })
  t.match(audits().at(-1), { ...line, outcome: 'failure', status: 412, code: 'PreconditionFailed', cosRequestId: /.+/ })
  await patchAs('both', { Colour: 'red' })
  t.match(audits().at(-1), { ...line, outcome: 'failure', status: 400, code: 'ValidationFailed' })
  emulator.addFault({ kind: 'reset', times: 1, match: { operation: 'PutBucketInventory' } })
  await patchAs('both', { IsEnabled: true })
  t.match(audits().at(-1), { ...line, outcome: 'unknown', status: 502, destinations: ['reports-1250000000'] })
  t.equal(audits().length, length + 5, 'each change has one record')
  await patchAs('both', { IsEnabled: true }, '?dry-run=true')
  t.equal(audits().length, length + 5, 'a dry run has no record')
})
