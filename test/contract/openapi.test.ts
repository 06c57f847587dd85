import { readFileSync } from 'node:fs'
import { Type } from '@sinclair/typebox'
import { Ajv2020 } from 'ajv/dist/2020.js'
import t from 'tap'
import { parse } from 'yaml'
import { problemMediaType } from '../../src/contract/problem.ts'
import { refTo } from '../../src/contract/schema.ts'
import { problemTable } from '../../src/errors.ts'
import { errorReference } from '../../src/http/errors/error-reference.ts'
import { createParameters } from '../../src/http/openapi/operations.ts'
import { cosProblems } from '../../src/problem-table-of-cos.ts'
import { startTestService } from '../start.ts'
import type { Answer } from '../start.ts'
import { variablesRead } from '../variables-read.ts'

interface Media {
  schema?: object
  example?: unknown
  examples?: Record<string, { value: unknown }>
}
interface Parameter { name: string, in: string, schema: object }
interface Reference { $ref: string }
interface Header { description: string, example?: unknown, schema?: object, content?: object }
interface Response { description: string, headers?: Record<string, Reference>, content?: Record<string, Media> }
interface Operation {
  operationId: string
  summary?: string
  tags: string[]
  parameters?: Array<Parameter | Reference>
  requestBody?: { content: Record<string, Media> }
  responses: Record<string, Response | Reference>
}
interface OpenApi {
  openapi: string
  info: { description: string }
  servers: Array<{ url: string }>
  tags: Array<{ name: string }>
  paths: Record<string, Record<string, Operation>>
  components: {
    headers: Record<string, Header>
    parameters: Record<string, Parameter>
    responses: Record<string, Response>
    schemas: Record<string, { examples?: unknown[], anyOf?: Array<{ enum?: string[] }> }>
  }
}
/** An example and the JSON pointer of its schema. */
interface Example { at: string, schema: string, value: unknown }

// These tests do not call COS.
const { service, call } = await startTestService(t, '127.0.0.1:1')
const document = (await call('GET', '/openapi.json')).json as OpenApi
const operations = Object.entries(document.paths).flatMap(([path, byMethod]) =>
  Object.entries(byMethod).map(([method, { parameters = [], responses, ...operation }]) => ({
    name: `${method.toUpperCase()} ${path}`,
    method,
    ...operation,
    parameters: parameters.map(each => resolve<Parameter>(each)),
    responses: Object.fromEntries(Object.entries(responses).map(([status, each]) => [status, resolve<Response>(each)]))
  })))

/** Returns the object that a reference names, or the object itself. */
function resolve<T extends object> (value: T | Reference): T {
  if (!('$ref' in value)) return value
  return value.$ref.split('/').slice(1).reduce<unknown>((node, key) => (node as Record<string, unknown>)[key], document) as T
}

t.test('GET returns the committed OpenAPI document byte for byte', async t => {
  for (const [name, type] of [['openapi.json', 'application/json'], ['openapi.yaml', 'application/yaml']]) {
    const { status, headers, text } = await call('GET', `/${name}`)
    t.strictSame([status, headers['content-type']], [200, `${type}; charset=utf-8`])
    t.ok(readRepositoryFile(`openapi/${name}`) === text, `/${name}`)
  }
})

t.test('GET returns the document compressed, and 304 when If-None-Match matches', async t => {
  const gzip = { 'accept-encoding': 'br, GZIP;q=0.5' }
  for (const path of ['/openapi.json', '/openapi.yaml', '/docs/json', '/docs/yaml']) {
    const { headers, text } = await call('GET', path)
    t.match(headers, { etag: /^"[\w-]{43}"$/, vary: 'accept-encoding' }, path)
    const compressed = await fetch(`${service.url}${path}`, { headers: gzip })
    t.strictSame([compressed.headers.get('content-encoding'), await compressed.text() === text], ['gzip', true])
    t.ok(Number(compressed.headers.get('content-length')) < text.length / 5)
    const etag = String(headers['etag'])
    t.not(compressed.headers.get('etag'), etag, 'each coding has its own tag')
    for (const named of [etag, `W/${etag}`, `"a", ${etag}`, '*']) {
      const { status, text: none } = await call('GET', path, undefined, { 'if-none-match': named })
      t.strictSame([status, none], [304, ''], named)
    }
    t.equal((await fetch(`${service.url}${path}`, { headers: { 'if-none-match': etag, ...gzip } })).status, 200)
    for (const coding of ['gzip;q=0', 'gzip;q=0.0', 'identity', 'x-gzip']) {
      t.equal((await call('GET', path, undefined, { 'accept-encoding': coding })).headers['content-encoding'], undefined)
    }
  }
})

t.test('JSON and YAML contain the same OpenAPI 3.1 document', async t => {
  t.match(document.openapi, /^3\.1\./)
  t.strictSame(parse((await call('GET', '/openapi.yaml')).text), document)
})

t.test('every operation has a unique id, a summary and an explained tag', async t => {
  const ids = operations.map(({ operationId }) => operationId)
  t.strictSame(ids.filter((id, index) => !/^[a-z][A-Za-z]+$/.test(id) || ids.indexOf(id) !== index), [])
  const explained = document.tags.map(({ name }) => name)
  t.strictSame(operations.filter(({ tags }) => tags.length === 0 || !tags.every(tag => explained.includes(tag))), [])
  t.strictSame(operations.filter(({ summary = '' }) => summary === ''), [])
})

t.test('every response of an operation has a description', async t => {
  for (const { name, responses } of operations) {
    const descriptions = Object.values(responses).map(({ description }) => description)
    t.ok(descriptions.length > 1 && descriptions.every(each => each !== '' && each !== 'Default Response'), name)
  }
})

t.test('operations share their problems, which have no body for HEAD', async t => {
  for (const { name, method, responses } of operations) {
    const problems = Object.entries(responses).filter(([status]) => status === 'default' || Number(status) >= 400)
    t.ok(problems.length > 1 && Object.hasOwn(responses, 'default'), name)
    for (const [status, { content = {}, headers = {} }] of problems) {
      t.strictSame(Object.keys(content), method === 'head' ? [] : [problemMediaType], `${name} ${status}`)
      t.ok(Object.hasOwn(headers, 'Proxy-Status'), 'the code is a header')
    }
  }
  const inlined = Object.values(document.paths).flatMap(byMethod => Object.values(byMethod)).flatMap(({ responses }) =>
    Object.entries(responses).filter(([status, each]) => !/^2|^304/.test(status) && !('$ref' in each)))
  t.strictSame(inlined, [])
})

t.test('the introduction has a table of all codes, and ProblemCode lists them', async t => {
  const rows = [...document.info.description.matchAll(/^\| (\d{3}) \| `(\w+)` \|/gm)].map(([, status, code = '']) => [code, Number(status)])
  const codes = Object.entries({ ...problemTable, ...cosProblems }).map(([code, { status }]) => [code, status])
  t.strictSame(rows, codes)
  t.strictSame(document.components.schemas['ProblemCode']?.anyOf?.[0]?.enum, codes.map(([code]) => code))
})

t.test('parameters are those of the path first, and headers are spelled as in RFCs', async t => {
  const order = ['path', 'query', 'header']
  for (const { name, parameters } of operations) {
    const places = parameters.map(each => order.indexOf(each.in))
    t.strictSame(places, [...places].sort(), name)
    t.strictSame(parameters.filter(each => each.in === 'header' && !/^([A-Z][a-z]+-?)+$/.test(each.name)), [])
  }
})

t.test('two shared parameters with one name stop the generation', async t => {
  const parameter = (type: string) => ({ parameters: [{ name: 'a-b', in: 'query', schema: { type } }], responses: {} }) as never
  const paths = { '/a': { get: parameter('string'), put: parameter('string') }, '/b': { get: parameter('integer'), put: parameter('integer') } }
  t.throws(() => createParameters(paths), { message: 'two shared parameters have the name ABParameter' })
})

t.test('every header has an example or a schema of its content', async t => {
  for (const [name, { description, example, schema, content }] of Object.entries(document.components.headers)) {
    t.ok(description !== '' && (content !== undefined || (schema !== undefined && example !== undefined)), name)
  }
})

t.test('every pattern compiles with and without the flag u, and is portable', async t => {
  const patterns = [...findPatterns(document)]
  t.ok(patterns.length > 10)
  for (const pattern of patterns) {
    for (const flag of ['', 'u']) t.doesNotThrow(() => new RegExp(pattern, flag), `${pattern} ${flag}`)
    t.notMatch(pattern, /\(\?|\\u|\\p|\\[1-9]|\\k/, 'no lookaround, \\u, \\p and references')
  }
})

t.test('the document has the canonical form of configurations only', async t => {
  const {
    Filter: filter, OptionalFields: fields, InventoryConfigurationInput: input, InventoryConfigurationPatch: patch,
    Destination: destination
  } = document.components.schemas as Record<string, any>
  t.strictSame(Object.keys(filter.properties), ['Prefix', 'Tag', 'StorageClass', 'Period'])
  t.match(fields, { type: 'object', properties: { Field: { items: { $ref: '#/components/schemas/Field' } } } })
  t.match(input.properties, { IsEnabled: { type: 'boolean' }, Schedule: { $ref: '#/components/schemas/Schedule' } })
  t.equal(destination.properties.COSBucketDestination.properties.Encryption.properties.SSECOS.type, 'object')
  t.match(patch.properties.Filter.anyOf, [{ type: 'object', properties: { Prefix: { type: ['string', 'null'] } } }, { type: 'null' }])
  t.equal(patch.required, undefined)
})

t.test('PATCH takes both media types, and only previews return XML', async t => {
  const patch = operations.find(({ operationId }) => operationId === 'patchInventory')
  t.strictSame(Object.keys(patch?.requestBody?.content ?? {}), ['application/json', 'application/merge-patch+json'])
  const xml = operations.filter(({ responses }) =>
    Object.values(responses).some(({ content = {} }) => Object.hasOwn(content, 'application/xml')))
  t.strictSame(xml.map(({ operationId }) => operationId), ['previewInventory'])
})

t.test('every example in the document is valid against its schema', async t => {
  const ajv = new Ajv2020({ strict: false, allErrors: true })
  ajv.addSchema(document, 'document')
  const examples = [...findExamples(document)]
  for (const { at, schema, value } of examples) {
    const validate = ajv.compile({ $ref: `document#${schema}` })
    t.strictSame(validate(value) ? [] : validate.errors, [], at)
  }

  // Readers copy examples. Lists show the examples of their items.
  for (const name of ['InventoryConfigurationInput', 'InventoryJobInput', 'InventoryConfigurationPatch', 'SetOutcome', 'Report', 'Problem']) {
    t.ok(examples.some(({ schema }) => schema === `/components/schemas/${name}`), name)
  }
  t.ok(examples.some(({ value }) => value === 'examplebucket-1250000000'), 'parameters have examples')
})

t.test('every schema in the document is a valid JSON schema', async t => {
  const ajv = new Ajv2020({ strict: false })
  const parameters = operations.flatMap(({ parameters }) => parameters.map(({ schema }) => schema))
  const schemas = [...Object.values(document.components.schemas), ...parameters]
  t.ok(parameters.length > 10)
  for (const schema of schemas) t.ok(ajv.validateSchema(schema), { errors: ajv.errors })
})

t.test('docs/errors.md contains the codes and statuses of the error table', async t => {
  const rows = [...readRepositoryFile('docs/errors.md').matchAll(/^\| *(\d{3}) *\| *`([A-Za-z]+)` *\|/gm)]
    .map(([, status, code = '']) => ({ code, status: Number(status) }))
  const ours = rows.filter(({ code }) => !Object.hasOwn(cosProblems, code))
  const table = Object.entries(problemTable).map(([code, { status }]) => ({ code, status }))
  t.strictSame(ours.sort(byCode), table.sort(byCode))
  const cos: Record<string, { status: number }> = cosProblems
  t.strictSame(rows.filter(({ code, status }) => (cos[code]?.status ?? status) !== status), [])
})

t.test('docs/errors.md is what `npm run docs` prints', async t => {
  t.ok(readRepositoryFile('docs/errors.md') === errorReference(), 'docs/errors.md is current; if not, run `npm run docs`')
})

t.test('docs/configuration.md lists exactly the variables that the service reads', async t => {
  const listed = [...readRepositoryFile('docs/configuration.md').matchAll(/^\| *((?:`[A-Z][A-Z0-9_]*`[, ]*)+)\|/gm)]
    .flatMap(([, names = '']) => names.match(/[A-Z][A-Z0-9_]*/g) ?? [])
  t.strictSame(listed.sort(), [...variablesRead()].sort())
})

t.test('the document contains exactly the routes of the service', async t => {
  const documented = operations.map(({ name }) => name.replaceAll(/\{(\w+)\}/g, ':$1'))
  const collection = '/buckets/:bucket/inventories'
  // The root redirects to Swagger UI, and the collection may have a slash.
  const hidden = ['/', `${collection}/`]
  const served = readRoutes(service.app.printRoutes({ commonPrefix: false }))
    .filter(({ path }) => !isDocsPath(path) && !hidden.includes(path))
  // Nearly every GET has a HEAD. Only those that check for existence are documented.
  const isHead = (route: string) => route.startsWith('HEAD ')
  const routes = served.flatMap(({ methods, path }) => methods.map(method => `${method} ${path}`))
  t.strictSame(documented.filter(route => !isHead(route)).sort(), routes.filter(route => !isHead(route)).sort())
  const item = `${collection}/:id`
  t.strictSame(documented.filter(isHead), [`HEAD ${collection}`, `HEAD ${item}`, `HEAD ${item}/reports/latest`, `HEAD ${item}/reports/:date`])
})

t.test('a bucket route has at most six onRequest hooks', async t => {
  const routes = service.app.printRoutes({ commonPrefix: false, includeHooks: true })
  const counts = [...routes.matchAll(/\(onRequest\) (\[.*\])/g)].map(([, hooks = '']) => (JSON.parse(hooks) as string[]).length)
  t.ok(counts.length > 0)
  t.ok(Math.max(...counts) <= 6, `${Math.max(...counts)} hooks`)
})

t.test('GET of /docs returns 302 with a relative Location', async t => {
  for (const [path, to] of [
    ['/docs', 'docs/'],
    ['/docs?deep=link', 'docs/'],
    ['/docs/static/index.html', '../']
  ] as const) {
    const { status, headers } = await call('GET', path)
    t.strictSame([status, headers['location']], [302, to], path)
  }
})

t.test('Swagger UI names no other host, and its policy allows none', async t => {
  for (const path of ['/docs/', '/docs/static/swagger-initializer.js', '/docs/json']) {
    const { status, headers } = await call('GET', path)
    t.equal(status, 200)
    const policy = readPolicy(String(headers['content-security-policy']))
    t.strictSame(policy['default-src'], ["'none'"])
    t.strictSame(policy['script-src'], ["'self'"])
    t.strictSame(policy['connect-src'], ["'self'"])
    t.strictSame(policy['frame-ancestors'], ["'none'"])
    const sources = Object.values(policy).flat()
    t.strictSame(sources.filter(each => !["'none'", "'self'", "'unsafe-inline'", 'data:'].includes(each)), [])
  }
  for (const path of ['/docs/', '/docs/static/swagger-initializer.js']) {
    const { text } = await call('GET', path)
    const code = text.replaceAll(/^\s*\/\/.*$/gm, '')
    t.strictSame(code.match(/(https?:|["'(=])\/\/[^\s"')]+/g), null, path)
  }
})

t.test('GET returns 404 when Swagger UI has no such file', async t => {
  for (const path of ['/docs/nothing', '/docs/static/nothing.js', '/docs/static/%2e%2e/package.json']) {
    const { status, json } = await call('GET', path)
    t.strictSame([status, json.code], [404, 'RouteNotFound'], path)
  }
})

t.test('the document names the path of the service when X-Forwarded-Prefix is set', async t => {
  for (const [prefix, url] of [['/cos', '/cos'], ['/a/b.c/', '/a/b.c'], ['/~x_1-2', '/~x_1-2']] as const) {
    t.strictSame(await serversWith(prefix), [[url], [url], [url]], prefix)
  }
})

t.test('X-Forwarded-Prefix is ignored when it is not a plain path', async t => {
  for (const prefix of [
    '//evil.example', '/\\evil.example', 'https://evil.example', 'javascript:alert(1)', 'evil.example', '/a"><script>',
    '/a//evil.example', '/../x', '/a/..', '/./a', '/a b', '/a?b', '/a#b', '/a, /b', '/%2e%2e', '/', '', '/a'.repeat(99)
  ]) {
    t.strictSame(await serversWith(prefix), [['.'], ['.'], ['..']], JSON.stringify(prefix))
  }
})

/** Returns the server URLs of the three forms of the document. */
async function serversWith (prefix: string): Promise<string[][]> {
  const [json, yaml, docs] = await Promise.all(['/openapi.json', '/openapi.yaml', '/docs/json'].map(path =>
    call('GET', path, undefined, { 'x-forwarded-prefix': prefix }))) as [Answer, Answer, Answer]
  // Parsing the whole YAML document is slow.
  const servers = /^servers:\n(?: .*\n)+/m.exec(yaml.text)?.[0] ?? ''
  return [json.json, parse(servers), docs.json].map((document: OpenApi) => document.servers.map(({ url }) => url))
}

function readRepositoryFile (path: string): string {
  return readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')
}

/** Yields every example: schemas have `examples` inside, media types and parameters beside the schema. */
function * findExamples (node: unknown, pointer = ''): Generator<Example> {
  if (typeof node !== 'object' || node === null) return
  const { example, examples, schema } = node as { example?: unknown, examples?: object, schema?: object }
  const ownSchema = schema === undefined ? pointer : `${pointer}/schema`
  if (example !== undefined) yield { at: `${pointer}/example`, schema: ownSchema, value: example }
  for (const [key, each] of Object.entries(examples ?? {})) {
    const value = schema === undefined ? each : (each as { value: unknown }).value
    yield { at: `${pointer}/examples/${key}`, schema: ownSchema, value }
  }
  for (const [key, child] of Object.entries(node)) {
    if (key === 'example' || key === 'examples') continue
    yield * findExamples(child, `${pointer}/${encodeURIComponent(key.replaceAll('~', '~0').replaceAll('/', '~1'))}`)
  }
}

/** Yields every pattern of a schema. */
function * findPatterns (node: unknown): Generator<string> {
  if (typeof node !== 'object' || node === null) return
  for (const [key, child] of Object.entries(node)) {
    if (key === 'pattern' && typeof child === 'string') yield child
    else yield * findPatterns(child)
  }
}

/** Reads the routes from the tree that Fastify prints, in which a line continues the path of its parent. */
function readRoutes (tree: string): Array<{ methods: string[], path: string }> {
  const branches: string[] = []
  return tree.split('\n').flatMap(line => {
    const [, indent = '', part = '', methods] = /^([│ ]*)[├└]── (\S+)(?: \((.+)\))?$/.exec(line) ?? []
    const depth = indent.length / 4
    branches.splice(depth, Infinity, part)
    return methods === undefined ? [] : [{ methods: methods.split(', '), path: branches.join('') }]
  })
}

function isDocsPath (path: string): boolean {
  return path === '/docs' || path.startsWith('/docs/')
}

function readPolicy (header: string): Record<string, string[]> {
  return Object.fromEntries(header.split(';').map(directive => {
    const [name = '', ...sources] = directive.trim().split(' ')
    return [name, sources]
  }))
}

function byCode (one: { code: string }, other: { code: string }): number {
  return one.code < other.code ? -1 : 1
}

t.test('refTo throws when the schema has no $id', async t => {
  t.equal(refTo(Type.Object({}, { $id: 'Named' }))['$ref'], 'Named#')
  t.throws(() => refTo(Type.Object({})), { message: /\$id/ })
})
