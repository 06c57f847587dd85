import { readFileSync } from 'node:fs'
import { Ajv2020 } from 'ajv/dist/2020.js'
import t from 'tap'
import { placeOfError } from '../../src/http/body/json-error.ts'
import { toServiceError } from '../../src/http/errors/problem-replies.ts'
import { as, callersFile, everything, withKey } from '../callers-file.ts'
import { at, bucket, configuration, start } from '../start.ts'
import type { Answer } from '../start.ts'

const document = JSON.parse(readFileSync(new URL('../../openapi/openapi.json', import.meta.url), 'utf8'))
const collection = `/buckets/${bucket}/inventories`
const { IsEnabled: _, Schedule: __, ...job } = configuration
const discovering = { COS_REGION_DISCOVERY: 'true' }
const preview = (id: string, query = '') => `${at(id)}/preview${query}`
const xmlOf = (id: string) => new RegExp(`^<InventoryConfiguration><Id>${id}</Id>.*</InventoryConfiguration>$`)

t.test('POST of a preview returns the XML of a configuration or job and sends nothing', async t => {
  const { call, emulator, audits } = await start(t, { environment: { READ_ONLY: 'true' } })
  for (const [body, method] of [[configuration, 'PUT'], [job, 'POST']] as const) {
    const { status, headers, text } = await call('POST', preview('a'), body)
    t.strictSame([status, headers['content-type']], [200, 'application/xml'])
    t.match(text, xmlOf('a'))
    t.equal(text, (await call(method, at('a', '?dry-run=true'), body)).text, 'dry-run=true returns the same')
  }
  t.match((await call('POST', preview('a', '?allow-unknown=true'), { ...job, Colour: 'red' })).text, /<Colour>red<\/Colour>/)
  t.strictSame(emulator.requests, [])
  t.strictSame(audits(), [], 'a preview is no change')
})

t.test('POST of a preview returns 400 with the issues of the form that the body has', async t => {
  const { call } = await start(t)
  const issuesOf = async (body: unknown, id = 'a') => {
    const { status, json } = await call('POST', preview(id), body)
    t.equal(status, 400)
    return json.errors.map(({ pointer, detail }: { pointer: string, detail: string }) => `${pointer} ${detail}`)
  }
  t.strictSame(await issuesOf({ IsEnabled: true }), ['/IncludedObjectVersions is required', '/Destination is required', '/Schedule is required'])
  t.strictSame(await issuesOf({ ...configuration, Schedule: undefined }), ['/Schedule is required'])
  t.strictSame(await issuesOf({}), ['/IncludedObjectVersions is required', '/Destination is required'])
  t.strictSame(await issuesOf('null'), [' must be an object'])
  t.match(await issuesOf({ ...job, Id: 'b' }), [/^\/Id must equal/])
  t.strictSame(await issuesOf({ ...job, Colour: 'red' }), ['/Colour is not known here; allow-unknown=true sends it to COS nevertheless'])
  t.match((await call('POST', preview('a'), job, { 'if-match': '*' })).json, { status: 400, errors: [{ pointer: '/if-match' }] })
  t.equal((await call('GET', preview('a'))).status, 405)
})

t.test('POST of a preview checks permissions, destinations and preflight', async t => {
  const allow = [{ actions: ['cos:PutBucketInventory'], buckets: [bucket], destinations: ['reports-*'] }]
  const allowed = (action: string) => [{ actions: [action], buckets: [bucket], destinations: ['*'] }]
  const { environment } = callersFile(t, [
    withKey('writer', allow), withKey('reader', allowed('cos:GetBucketInventory')),
    withKey('starter', allowed('cos:PostBucketInventory')), withKey('admin', everything)
  ])
  const { call } = await start(t, { environment: { ...environment, ...discovering } })
  t.match((await call('POST', preview('a'), configuration, as('reader'))).json, { code: 'CallerNotAllowed', detail: /Put/ })
  t.match((await call('POST', preview('a'), configuration, as('starter'))).json, { code: 'CallerNotAllowed', detail: /Put/ })
  t.equal((await call('POST', preview('a'), job, as('starter'))).status, 200)
  t.match((await call('POST', preview('a'), job, as('writer'))).json, { code: 'CallerNotAllowed', detail: /Post/ })
  t.match((await call('POST', preview('a'), configuration, as('writer'))).json, { code: 'CallerNotAllowed', detail: /examplebucket/ })
  const warned = await call('POST', preview('a', '?preflight=warn'), { ...configuration, Filter: undefined }, as('admin'))
  t.match(JSON.parse(String(warned.headers['preflight-warnings'])), [{ code: 'ReportOfReports' }])
  t.equal((await call('POST', preview('a', '?preflight=enforce'), { ...configuration, Filter: undefined }, as('admin'))).status, 400)
})

t.test('flags are accepted in any letter case', async t => {
  const { call, emulator } = await start(t)
  for (const value of ['true', 'True', 'TRUE']) {
    t.equal((await call('PUT', at('a', `?dry-run=${value}`), configuration)).status, 200, value)
    t.match(await call('PUT', `${collection}?dry-run=${value}&prune=${value}`, { InventoryConfigurations: [] }), { status: 200 })
    t.match((await call('GET', `${collection}?all=${value}&continuation-token=x`)).json, { errors: [{ pointer: '/continuation-token' }] })
    t.equal((await call('PUT', at('a', `?dry-run=true&allow-unknown=${value}`), { ...configuration, Colour: 'red' })).status, 200)
  }
  t.equal((await call('PUT', at('a', '?dry-run=False'), configuration)).status, 204)
  t.match((await call('PUT', at('a', '?dry-run=yes'), configuration)).json.errors, [{ pointer: '/dry-run', detail: /"true" or "false"/ }])
  t.match((await call('GET', `${collection}?all=1`)).json.errors, [{ pointer: '/all' }])
  t.equal(emulator.requests.filter(({ method }) => method === 'PUT').length, 1)
})

t.test('PATCH takes application/json as a merge patch', async t => {
  const { call } = await start(t)
  await call('PUT', at('a'), configuration)
  const { status, headers, json } = await call('PATCH', at('a'), { IsEnabled: false, Filter: null })
  t.match([status, headers['accept-patch'], json.IsEnabled, json.Filter], [200, 'application/json, application/merge-patch+json', false, undefined])
})

t.test('a problem has outcome "unknown" exactly when the change may have been made', async t => {
  const { call, emulator } = await start(t)
  await call('PUT', at('a'), configuration)
  const reset = { kind: 'reset', times: 1, match: { operation: 'PutBucketInventory' } } as const
  for (const [method, path, body] of [['PUT', at('a'), configuration], ['PATCH', at('a'), { IsEnabled: false }], ['DELETE', at('a'), undefined], ['POST', at('b'), job]] as const) {
    emulator.addFault({ ...reset, match: { operation: { PUT: 'PutBucketInventory', PATCH: 'PutBucketInventory', DELETE: 'DeleteBucketInventory', POST: 'PostBucketInventory' }[method] } })
    t.match((await call(method, path, body)).json, { code: 'UpstreamUnreachable', outcome: 'unknown' }, method)
  }
  emulator.addFault(reset)
  const set = await call('PUT', collection, { InventoryConfigurations: [{ ...configuration, Id: 'c' }] })
  t.match([set.status, set.json.Failed], [207, [{ Id: 'c', problem: { outcome: 'unknown' } }]])
  emulator.addFault({ kind: 'reset', times: 1, match: { operation: 'GetBucketInventory' } })
  for (const [method, path, body] of [['GET', at('a'), undefined], ['PUT', at('a'), {}], ['POST', at('once', '?region=ap-beijing'), job]] as const) {
    const { status, json } = await call(method, path, body)
    t.ok(status >= 400)
    t.notHas(json, { outcome: 'unknown' }, `${method} ${path}`)
  }
})

t.test('an error of the service itself has an unknown outcome when a change was sent', async t => {
  t.equal(toServiceError(new Error('x'), true).mayHaveTakenEffect, true)
  t.equal(toServiceError(new Error('x')).mayHaveTakenEffect, false)
})

t.test('Proxy-Status has the code of the problem, also in responses to HEAD', async t => {
  const { call } = await start(t)
  const named = ({ headers }: Answer) => headers['proxy-status']
  t.equal(named(await call('HEAD', at('a'))), 'cos-inventory-proxy; details="InventoryConfigurationNotFoundError"')
  t.equal(named(await call('HEAD', at('a', '?region=ap-beijing'))), 'cos-inventory-proxy; details="NoSuchBucket"')
  t.equal(named(await call('GET', '/nope')), 'cos-inventory-proxy; details="RouteNotFound"')
  t.equal(named(await call('GET', collection)), undefined)
})

t.test('a page links to the next one relative to its own URL', async t => {
  const { call, url } = await start(t)
  const InventoryConfigurations = Array.from({ length: 101 }, (_, index) => ({ ...configuration, Id: `id-${index}` }))
  t.equal((await call('PUT', collection, { InventoryConfigurations })).status, 200)
  for (const path of [`${collection}?region=ap-guangzhou`, `${collection}/?region=ap-guangzhou`]) {
    const first = await call('GET', path)
    const [, target = ''] = /^<(\?[^>]+)>; rel="next"$/.exec(String(first.headers['link'])) ?? []
    const next = new URL(target, `${url}${path}`)
    t.equal(next.searchParams.get('region'), 'ap-guangzhou')
    const second = await call('GET', `${next.pathname}${next.search}`)
    t.match([second.status, second.json.InventoryConfigurations.length, second.headers['link']], [200, 1, undefined])
    t.equal((await call('HEAD', path)).headers['link'], first.headers['link'])
  }
  t.equal((await call('GET', `${collection}?all=true`)).headers['link'], undefined)
})

t.test('the collection has the same response with a slash at its end', async t => {
  const { call } = await start(t)
  const [plain, slash] = [await call('GET', collection), await call('GET', `${collection}/`)]
  t.strictSame([slash.status, slash.text], [200, plain.text])
  t.equal((await call('HEAD', `${collection}/`)).status, 200)
  t.equal((await call('PUT', `${collection}/`, configuration)).status, 400, 'a change with an empty id is rejected')
})

t.test('GET of the root redirects to Swagger UI when the client accepts HTML', async t => {
  const { call } = await start(t)
  const { status, headers } = await call('GET', '/', undefined, { accept: 'text/html,application/xhtml+xml,*/*;q=0.8' })
  t.strictSame([status, headers['location'], headers['vary']], [302, 'docs/', 'accept'])
  for (const accept of ['*/*', 'application/json', '']) {
    t.match(await call('GET', '/', undefined, { accept }), { status: 404, json: { code: 'RouteNotFound' } }, accept)
  }
  t.equal((await call('GET', '/')).status, 404)
})

t.test('the detail of a validation problem has the first issue and the number of others', async t => {
  const { call } = await start(t)
  const detailOf = async (body: unknown, query = '') => (await call('PUT', at('a', query), body)).json.detail as string
  t.equal(await detailOf({ ...configuration, Schedule: { Frequency: 'Monthly' } }),
    'body /Schedule/MonthlyDate is required. Correct the request and send it again.')
  t.match(await detailOf({}), /^body \/IncludedObjectVersions is required, and 3 more\. Correct the request and send it again\.$/)
  t.match(await detailOf(undefined), /^body must be an object; nothing was sent\. /)
  t.match(await detailOf(configuration, '?colour=red'), /^query \/colour is not known here\. /)
})

t.test('an issue asks for the known name when only the letter case differs', async t => {
  const { call } = await start(t)
  const issuesOf = async (method: string, body: unknown, query = '') => (await call(method, at('a', query), body)).json.errors
  const detail = (name: string) => `is not known here; did you mean ${name}?`
  t.match(await issuesOf('PUT', { ...configuration, isEnabled: true }), [{ pointer: '/isEnabled', detail: detail('IsEnabled') }])
  t.match(await issuesOf('PUT', { ...configuration, Filter: { prefix: 'a' } }), [{ pointer: '/Filter/prefix', detail: detail('Prefix') }])
  t.match(await issuesOf('PUT', configuration, '?Dry-Run=true'), [{ pointer: '/Dry-Run', detail: detail('dry-run') }])
  t.match(await issuesOf('POST', { ...job, isenabled: true }), [{ detail: /allow-unknown/ }], 'no name that is not allowed')
})

t.test('the detail of a syntax error has its place', async t => {
  const { call } = await start(t)
  const detailOf = async (body: string | Buffer) => (await call('PUT', at('a'), body)).json.detail as string
  t.equal(await detailOf('{"a":True}'), 'The body is not valid JSON: there is an error in line 1, column 6. Correct it and send it again.')
  t.match(await detailOf('{\r\n  "a": 1,\n}'), /line 3, column 1\./)
  t.match(await detailOf('{"a":1} // comment'), /line 1, column 9\./)
  t.match(await detailOf('[1'), /line 1, column 3\./)
  t.equal(await detailOf(Buffer.from([0x22, 0xFF, 0x22])), 'The body is not valid UTF-8. Correct it and send it again.')
  t.equal(await placeOfError('[]'), '', 'an error that the parser does not find')
  t.equal(await placeOfError('['.repeat(200_000)), '', 'a text that nests too deep')
})

t.test('GET returns what the document has for PUT, and PUT accepts more', async t => {
  const ajv = new Ajv2020({ strict: false })
  ajv.addSchema(document, 'document')
  const isValid = (name: string, value: unknown) => ajv.validate({ $ref: `document#/components/schemas/${name}` }, value)
  const { call } = await start(t)
  const spellings = {
    ...configuration,
    IsEnabled: 'True',
    OptionalFields: ['Size', 'Tag'],
    Filter: { And: { Prefix: 'a', Tag: [{ Key: 'b', Value: 'c' }] } },
    Destination: { COSBucketDestination: { ...configuration.Destination.COSBucketDestination, Encryption: { SSECOS: '' } } }
  }
  for (const body of [configuration, spellings]) {
    t.equal((await call('PUT', at('a'), body)).status, 204)
    const { json } = await call('GET', at('a'))
    for (const name of ['InventoryConfiguration', 'InventoryConfigurationInput', 'DesiredConfiguration']) t.ok(isValid(name, json), name)
  }
  t.notOk(isValid('InventoryConfigurationInput', spellings), 'the document has the canonical form only')
  t.ok(isValid('InventoryJobInput', job))
  t.notOk(isValid('InventoryJobInput', configuration))
  for (const patch of [{ Filter: null }, { Schedule: { MonthlyDate: null } }, { OptionalFields: { Field: ['Size'] } }, {}]) {
    t.ok(isValid('InventoryConfigurationPatch', patch), JSON.stringify(patch))
  }
  for (const patch of [{ Schedule: null }, { IsEnabled: 'True' }, { Colour: 'red' }]) {
    t.notOk(isValid('InventoryConfigurationPatch', patch), JSON.stringify(patch))
  }
})

t.test('every header that is sent is in the document, or secures all responses', async t => {
  const { call } = await start(t)
  const common = [
    // RFC 9110 and 9112, and src/http/context/security-headers.ts.
    'date', 'connection', 'keep-alive', 'content-length', 'content-type', 'cache-control', 'transfer-encoding',
    ...Object.keys((await call('GET', '/livez')).headers).filter(name => /policy|^x-(content|dns|download|frame|permitted|xss)|origin-agent/.test(name))
  ]
  const resolve = (value: { $ref?: string }) => value.$ref === undefined
    ? value
    : value.$ref.split('/').slice(1).reduce((node: any, key) => node[key], document)
  const item = '/buckets/{bucket}/inventories/{id}'
  const calls = [
    ['PUT', item, at('a'), configuration], ['GET', item, at('a')], ['HEAD', item, at('a')], ['HEAD', item, at('b')],
    ['PATCH', item, at('a'), { IsEnabled: false }], ['POST', item, at('c'), job],
    ['PUT', item, at('a', '?preflight=warn'), { ...configuration, Filter: undefined }],
    ['DELETE', item, at('a')], ['GET', item, at('a')], ['PUT', item, at('a'), {}], ['PUT', item, at('a', '?region=ap-beijing'), configuration],
    ['POST', `${item}/preview`, preview('a'), job], ['GET', '/buckets/{bucket}/inventories', collection],
    ['PUT', '/buckets/{bucket}/inventories', collection, { InventoryConfigurations: [] }],
    ['GET', '/livez', '/livez'], ['GET', '/metrics', '/metrics'], ['GET', '/openapi.json', '/openapi.json']
  ] as const
  for (const [method, path, target, body] of calls) {
    const { status, headers } = await call(method, target, body)
    const { responses } = document.paths[path][method.toLowerCase()]
    const described = Object.keys(resolve(responses[status] ?? responses.default).headers ?? {})
    const known = [...common, ...described.map(name => name.toLowerCase())]
    t.strictSame(Object.keys(headers).filter(name => !known.includes(name)), [], `${method} ${target} ${status}`)
  }
})
