/**
 * Structured inputs of a given size for each place of a request. All generators are pure: place, size and seed
 * determine the request.
 */
import { createRandom } from '../faults/load.ts'

/** A request without its `Authorization` header. */
export interface Request {
  method: string
  target: string
  headers: ReadonlyArray<readonly [name: string, value: string]>
  body: string
}

/** A kind of input. */
export interface Kind {
  /** The name in the output, such as `query: equal names`. */
  place: string
  /** @param bytes approximate size of the generated text */
  make (bytes: number, random: () => number): Request
}

/** Sizes in bytes. Node rejects a head of more than 16 KiB; such inputs test that path. */
export const sizes = {
  head: { short: [15_000], full: [1_000, 4_000, 8_000, 15_000, 64_000, 256_000] },
  body: { short: [250_000], full: [1_000, 16_000, 64_000, 250_000] },
  set: { short: [250_000], full: [16_000, 250_000, 1_000_000] }
}

const bucket = 'examplebucket-1250000000'
const collection = `/buckets/${bucket}/inventories`
const stored = `${collection}/stored`

type Random = () => number

const pick = <T>(random: Random, values: readonly T[]): T => values[Math.floor(random() * values.length)] as T

/** Returns as many copies of a unit as fit, at least one. */
const many = (unit: string, bytes: number): string => unit.repeat(Math.max(1, Math.floor(bytes / unit.length)))

/** Returns different items up to a size. */
function list (bytes: number, item: (index: number) => string, separator = ','): string {
  const items: string[] = []
  for (let length = 0, index = 0; length < bytes; index++) {
    const text = item(index)
    items.push(text)
    length += text.length + separator.length
  }
  return items.join(separator)
}

type Text = (bytes: number, random: Random) => string

const methods = ['GET', 'HEAD', 'PUT', 'POST', 'PATCH', 'DELETE', 'OPTIONS']

/** Returns a valid body for methods that need one. */
const bodyOf = (method: string): string => ({ PUT: valid, POST: validJob, PATCH: '{"IsEnabled":false}' })[method] ?? ''

const request = (method: string, target: string, headers: Request['headers'] = [], body = bodyOf(method)): Request =>
  ({ method, target, headers: [...headers, ...body === '' ? [] : [typeOf(method)]], body })

const typeOf = (method: string): readonly [string, string] =>
  ['Content-Type', method === 'PATCH' ? 'application/merge-patch+json' : 'application/json']

const member = {
  IsEnabled: true,
  IncludedObjectVersions: 'All',
  Schedule: { Frequency: 'Daily' },
  Destination: { COSBucketDestination: { Format: 'CSV', Bucket: `qcs::cos:ap-guangzhou::${bucket}` } }
}
const valid = JSON.stringify(member)
const { IsEnabled: _, Schedule: __, ...jobMember } = member
const validJob = JSON.stringify(jobMember)

const queryTexts: Record<string, Text> = {
  'equal names': bytes => many('a=1&', bytes),
  'equal known names': bytes => many('region=ap-guangzhou&', bytes),
  'different names': bytes => list(bytes, index => `n${index}=1`, '&'),
  'integer names': bytes => list(bytes, String, '&'),
  'one long name': bytes => many('n', bytes),
  'one long value': bytes => `region=${many('v', bytes)}`,
  'hyphens in a value': bytes => `region=${many('a-', bytes)}`,
  'long token': bytes => `continuation-token=${many('+', bytes)}`,
  escapes: bytes => `region=${many('%41', bytes)}`,
  'escapes of multi-byte text': bytes => `region=${many('%F0%9F%98%80', bytes)}`,
  'malformed escapes': bytes => `region=${many('%', bytes)}&${many('%zz', bytes / 2)}`,
  ampersands: bytes => many('&', bytes),
  'equals signs': bytes => many('=', bytes),
  semicolons: bytes => many('a=1;', bytes),
  'question marks': bytes => many('?', bytes),
  'number signs': bytes => many('#', bytes),
  'plus signs': bytes => `a=${many('+', bytes)}`,
  brackets: bytes => `a${many('[a]', bytes)}=1`,
  'list brackets': bytes => many('a[]=1&', bytes),
  'prototype names': bytes => many('__proto__=1&constructor=1&', bytes),
  'any characters': (bytes, random) => list(bytes, () => pick(random, [...'a1=&;%+[].-_~?/:@!$\'()*,', '%00', '%C3', 'region']), '')
}

const pathTexts: Record<string, Text> = {
  'many segments': bytes => many('/a', bytes),
  'one long segment': bytes => `/${many('a', bytes)}`,
  hyphens: bytes => `/${many('a-', bytes)}`,
  digits: bytes => `/a-${many('1', bytes)}`,
  'escaped slashes': bytes => `/${many('%2F', bytes)}`,
  escapes: bytes => `/${many('%41', bytes)}`,
  'malformed escapes': bytes => `/${many('%', bytes)}`,
  'escapes of half a character': bytes => `/${many('%C3', bytes)}`,
  slashes: bytes => many('/', bytes),
  dots: bytes => `/${many('.', bytes)}`,
  'dot segments': bytes => many('/..', bytes),
  'escaped dot segments': bytes => many('/%2e%2e', bytes),
  backslashes: bytes => many('/..%5c', bytes),
  zeros: bytes => `/${many('%00', bytes)}`,
  semicolons: bytes => `/${many(';a', bytes)}`
}

const pathPlaces: ReadonlyArray<readonly [name: string, prefix: string]> = [
  ['bucket', '/buckets'], ['id', collection], ['unknown route', '/other'], ['static files', '/docs/static'], ['root', ''],
  ['OpenAPI document', '/openapi.json']
]

const tag = (index: number): string => `"${index.toString(36)}"`
const base64 = (text: string): string => Buffer.from(text).toString('base64url')

const headerTexts: Record<string, [name: string, text: Text]> = {
  'Accept list': ['Accept', bytes => list(bytes, index => `a/${index};q=0.1`)],
  'Accept with x-ndjson': ['Accept', bytes => many('application/x-ndjson;q=0,', bytes)],
  'Accept with blanks': ['Accept', bytes => many(`application/x-ndjson${many(' ', 100)};`, bytes)],
  'Accept-Encoding list': ['Accept-Encoding', bytes => list(bytes, index => `c${index};q=0.5`)],
  'Content-Type parameters': ['Content-Type', bytes => `application/json;${list(bytes, index => `p${index}=1`, ';')}`],
  'Content-Type blanks': ['Content-Type', bytes => `application/json${many(' ', bytes)};charset`],
  'Content-Type quotes': ['Content-Type', bytes => `application/json;a="${many('\\"', bytes)}`],
  'Content-Type semicolons': ['Content-Type', bytes => `application/json${many(';', bytes)}`],
  'Content-Encoding list': ['Content-Encoding', bytes => many('gzip,', bytes)],
  'If-Match tags': ['If-Match', bytes => list(bytes, tag)],
  'If-None-Match tags': ['If-None-Match', bytes => list(bytes, index => `W/${tag(index)}`)],
  'If-Match blanks and commas': ['If-Match', bytes => `"a"${many(' ,', bytes)}x`],
  'If-Match blanks': ['If-Match', bytes => `"a"${many(' ', bytes)}x`],
  'If-Match tags without end': ['If-Match', bytes => `${list(bytes, tag, ' , ')},"`],
  'If-None-Match quotes': ['If-None-Match', bytes => `${many('"', bytes)}x`],
  'If-None-Match stars': ['If-None-Match', bytes => many('*,', bytes)],
  'If-Match commas': ['If-Match', bytes => `${many(',', bytes)}"`],
  'If-Match one long tag': ['If-Match', bytes => `"${many('a', bytes)}`],
  traceparent: ['traceparent', bytes => `01-${many('1', 32)}-${many('2', 16)}-01-${many('-', bytes)}`],
  'tracestate members': ['tracestate', bytes => list(bytes, index => `k${index}=1`)],
  'tracestate blanks': ['tracestate', bytes => `${many(' \t,', bytes)}a`],
  baggage: ['baggage', bytes => list(bytes, index => `k${index}=1;p`)],
  'x-request-id': ['x-request-id', bytes => many('r', bytes)],
  'X-Forwarded-For': ['X-Forwarded-For', bytes => many('127.0.0.1,', bytes)],
  'X-Forwarded-For different': ['X-Forwarded-For', bytes => list(bytes, index => `10.0.${index >> 8 & 255}.${index & 255}`)],
  'X-Forwarded-For IPv6': ['X-Forwarded-For', bytes => many('::1%a , ', bytes)],
  'X-Forwarded-For commas': ['X-Forwarded-For', bytes => many(',', bytes)],
  'X-Forwarded-Prefix': ['X-Forwarded-Prefix', bytes => many('/a', bytes)],
  'X-Forwarded-Prefix dots': ['X-Forwarded-Prefix', bytes => many('/a/.', bytes)],
  'X-Forwarded-Host': ['X-Forwarded-Host', bytes => many('a.', bytes)],
  'X-Forwarded-Proto': ['X-Forwarded-Proto', bytes => many('https,', bytes)],
  Forwarded: ['Forwarded', bytes => many('for=127.0.0.1;proto=https,', bytes)],
  Expect: ['Expect', bytes => many('100-continue,', bytes)],
  'Transfer-Encoding': ['Transfer-Encoding', bytes => `${many('gzip,', bytes)}chunked`],
  Connection: ['Connection', bytes => `${many('keep-alive,a,', bytes)}close`],
  Host: ['Host', bytes => many('h.', bytes)],
  Cookie: ['Cookie', bytes => list(bytes, index => `c${index}=1`, '; ')],
  Range: ['Range', bytes => `bytes=${list(bytes, index => `${index}-${index + 1}`)}`],
  'Range blanks': ['Range', bytes => `bytes=${many(' ', bytes)}x`],
  Origin: ['Origin', bytes => `http://${many('a.', bytes)}`],
  'Access-Control-Request-Headers': ['Access-Control-Request-Headers', bytes => list(bytes, index => `h${index}`)],
  'If-Modified-Since': ['If-Modified-Since', bytes => many('Mon, ', bytes)],
  'Content-Length': ['Content-Length', bytes => many('0', bytes)],
  Upgrade: ['Upgrade', bytes => list(bytes, index => `p/${index}`)],
  unknown: ['X-Unknown', bytes => many('\xff', bytes)]
}

/** These values replace the credential of other inputs. */
const authorizations: Record<string, Text> = {
  'long token': bytes => `Bearer ${many('a', bytes)}`,
  blanks: bytes => `Bearer${many(' ', bytes)}`,
  'blanks and a colon': bytes => `Bearer${many(' ', bytes)}:`,
  padding: bytes => `Bearer a${many('=', bytes)}:`,
  'big JWT header': bytes => `Bearer ${base64(`{"alg":"RS256","x":"${many('x', bytes * 0.7)}"}`)}.e30.c2ln`,
  'nested JWT header': bytes => `Bearer ${base64(`{"alg":${many('[', bytes * 0.7)}`)}.e30.c2ln`,
  dots: bytes => `Bearer ${many('a.', bytes)}`,
  Basic: bytes => `Basic ${many('YTpi', bytes)}`,
  commas: bytes => many('Bearer ,', bytes)
}

const headerTargets: ReadonlyArray<readonly [method: string, target: string]> = [
  ['GET', stored], ['HEAD', stored], ['PUT', `${stored}?dry-run=true`], ['PATCH', `${stored}?dry-run=true`],
  ['DELETE', `${collection}/none`], ['POST', `${stored}?dry-run=true`], ['PUT', `${collection}?dry-run=true`],
  ['GET', collection], ['OPTIONS', stored], ['GET', '/openapi.json'], ['GET', '/openapi.yaml'],
  ['GET', '/docs/static/swagger-ui.css'], ['GET', '/livez'], ['GET', '/metrics'], ['GET', '/other']
]

const setOf = (text: string): string => `{"InventoryConfigurations":[${text}]}`

/** Returns a request with a valid body to a target that reads many headers. */
function withHeaders (random: Random, headers: Request['headers']): Request {
  const [method, target] = pick(random, headerTargets)
  const isSet = method === 'PUT' && target.startsWith(`${collection}?`)
  return request(method, target, headers, isSet ? setOf('') : bodyOf(method))
}

/** Kinds for query, path, header values and header counts. */
export const headKinds: Kind[] = [
  ...Object.entries(queryTexts).map(([name, text]): Kind => ({
    place: `query: ${name}`,
    make (bytes, random) {
      const path = pick(random, [stored, collection, '/other', '/openapi.json', '/livez', '/docs/static/index.html', '/docs'])
      return request(pick(random, methods), `${path}?${text(bytes, random)}`)
    }
  })),
  ...pathPlaces.flatMap(([place, prefix]) => Object.entries(pathTexts).map(([name, text]): Kind => ({
    place: `path, ${place}: ${name}`,
    make: (bytes, random) => request(pick(random, methods), prefix + text(bytes, random))
  }))),
  ...Object.entries(headerTexts).map(([name, [header, text]]): Kind => ({
    place: `header: ${name}`,
    make: (bytes, random) => withHeaders(random, [[header, text(bytes, random)]])
  })),
  ...Object.entries(authorizations).map(([name, text]): Kind => ({
    place: `header: Authorization, ${name}`,
    make: (bytes, random) => withHeaders(random, [['Authorization', text(bytes, random)]])
  })),
  ...Object.entries({
    'different names': (index: number) => `X-${index}`,
    'one name': () => 'X-A',
    ...Object.fromEntries(['If-Match', 'Cookie', 'X-Forwarded-For', '__proto__', 'x-request-id', 'traceparent', 'Host']
      .map(name => [name, () => name]))
  }).map(([name, nameOf]): Kind => ({
    place: `header count: ${name}`,
    make: (bytes, random) =>
      withHeaders(random, Array.from({ length: Math.ceil(bytes / 8) }, (_, index) => [nameOf(index), '1']))
  }))
]

/** JSON values of about this many bytes. */
const values: Record<string, Text> = {
  'nested lists': bytes => '['.repeat(bytes / 2) + ']'.repeat(bytes / 2),
  'nested lists without end': bytes => many('[', bytes),
  'nested objects': bytes => `${many('{"a":', bytes)}1${'}'.repeat(Math.max(1, Math.floor(bytes / 5)))}`,
  'lists and objects in turn': bytes => {
    const depth = Math.max(1, Math.floor(bytes / 8))
    return `${'[{"a":'.repeat(depth)}1${'}]'.repeat(depth)}`
  },
  'list of nulls': bytes => `[${list(bytes, () => 'null')}]`,
  'list of numbers': bytes => `[${list(bytes, () => '1')}]`,
  'list of different numbers': bytes => `[${list(bytes, String)}]`,
  'list of booleans': bytes => `[${list(bytes, () => 'true')}]`,
  'list of empty texts': bytes => `[${list(bytes, () => '""')}]`,
  'list of equal texts': bytes => `[${list(bytes, () => '"a"')}]`,
  'list of different texts': bytes => `[${list(bytes, tag)}]`,
  'list of empty lists': bytes => `[${list(bytes, () => '[]')}]`,
  'list of empty objects': bytes => `[${list(bytes, () => '{}')}]`,
  'list of one-member objects': bytes => `[${list(bytes, () => '{"a":1}')}]`,
  'list of objects with bad names': bytes => `[${list(bytes, () => '{"/~":null}')}]`,
  'list of mixed values': (bytes, random) =>
    `[${list(bytes, () => pick(random, ['null', '1', '""', '[]', '{}', 'true', '1e400', '"\\u0000"', '{"a":[1,2]}', '"x"']))}]`,
  'list of tags': bytes => `[${list(bytes, index => `{"Key":"k${index}","Value":"v"}`)}]`,
  'list of empty tags': bytes => `[${list(bytes, () => '{"Key":"","Value":""}')}]`,
  'list of fields': bytes => `[${list(bytes, index => `"x-cos-meta-${index}"`)}]`,
  'list of destinations': bytes => `[${list(bytes, index => `"qcs::cos:ap-guangzhou::b-${index}"`)}]`,
  'list of resource prefixes': bytes => `"${many('qcs:', bytes)}"`,
  members: bytes => `{${list(bytes, index => `"m${index}":1`)}}`,
  'members with texts': bytes => `{${list(bytes, index => `"m${index}":"${index}"`)}}`,
  'members with nulls': bytes => `{${list(bytes, index => `"m${index}":null`)}}`,
  'equal members': bytes => `{${list(bytes, () => '"m":1')}}`,
  'integer members': bytes => `{${list(bytes, index => `"${index}":1`)}}`,
  'sparse integer members': bytes => `{${list(bytes, index => `"${index * 99_991 % 4_294_967_291}":1`)}}`,
  'members with escaped names': bytes => `{${list(bytes, index => `"~/${index}":1`)}}`,
  'prototype members': bytes => `{${list(bytes, index => `"m${index}":{"__proto__":1}`)}}`,
  'nested prototypes': bytes => `${many('{"__proto__":', bytes)}1${'}'.repeat(Math.max(1, Math.floor(bytes / 13)))}`,
  'long text': bytes => `"${many('a', bytes)}"`,
  'text of blanks': bytes => `"${many(' ', bytes)}x"`,
  'text of hyphens and digits': bytes => `"${many('a-1', bytes)}!"`,
  'text of zeros': bytes => `"${many('\\u0000', bytes)}"`,
  'text of lone surrogates': bytes => `"${many('\\ud800', bytes)}"`,
  'text of ampersands': bytes => `"${many('&', bytes)}"`,
  'text of less-than signs': bytes => `"${many('<', bytes)}"`,
  'text of CRs': bytes => `"${many('\\r', bytes)}"`,
  'text of escaped letters': bytes => `"${many('\\u4e2d', bytes)}"`,
  'text of emoji': bytes => `"${many('\u{1F600}', bytes / 2)}"`,
  'long number': bytes => many('9', bytes),
  'long fraction': bytes => `0.${many('3', bytes)}`,
  'long exponent': bytes => `1e${many('9', bytes)}`,
  'numbers of 300 digits': bytes => `[${list(bytes, () => many('7', 300))}]`,
  'numbers with exponents': bytes => `[${list(bytes, () => '1e-300')}]`,
  'one long name': bytes => `{"${many('n', bytes)}":1}`,
  'long name of slashes': bytes => `{"${many('/~', bytes)}":null}`,
  'long name of a list of numbers': bytes => `{"${many('n', bytes / 2)}":[${list(bytes / 2, () => '1')}]}`,
  'long name of a list of nulls': bytes => `{"${many('n', bytes / 2)}":[${list(bytes / 2, () => 'null')}]}`,
  'long name of a list of empty objects': bytes => `{"${many('n', bytes / 2)}":[${list(bytes / 2, () => '{}')}]}`,
  'long name of members': bytes => `{"${many('n', bytes / 2)}":{${list(bytes / 2, index => `"m${index}":null`)}}}`,
  'long name of slashes of members': bytes => `{"${many('~', bytes / 2)}":{${list(bytes / 2, index => `"m${index}":null`)}}}`,
  'long name of prototypes': bytes => `{"${many('~', bytes / 2)}":{${list(bytes / 2, index => `"${index}":{"__proto__":1}`)}}}`,
  'long names at each level': bytes => {
    const name = many('n', bytes / 40)
    return `${`{"${name}":`.repeat(18)}[${list(bytes / 2, () => 'null')}]${'}'.repeat(18)}`
  },
  'any tree': (bytes, random) => treeOf(bytes, random, 0)
}

/** A random JSON value. Objects and lists divide their size among their members. */
function treeOf (bytes: number, random: Random, depth: number): string {
  const parts = Math.ceil(random() ** 3 * 200)
  const inner = () => treeOf((bytes / parts) * 2 * random() - 8, random, depth + 1)
  const name = () => pick(random, ['a', `m${Math.floor(random() * 1000)}`, '__proto__', '~/', '7', '\\u0000', many('n', bytes / 20 + 1)])
  if (bytes > 16 && depth < 30) {
    const isList = random() < 0.5
    const text = Array.from({ length: parts }, () => isList ? inner() : `"${name()}":${inner()}`).join()
    return isList ? `[${text}]` : `{${text}}`
  }
  return pick(random, ['null', 'true', '1', '-0', '1e400', '0.1', '""', '"a"', '"\\ud800"', '"&<>\\r"', '[]', '{}', many('9', 300)])
}

const hole = '"@"'

/** Returns a configuration with a change that contains a hole for a value. */
const withHole = (change: object): string => JSON.stringify({ ...member, ...change })
const destinationWith = (change: object): object =>
  ({ Destination: { COSBucketDestination: { ...member.Destination.COSBucketDestination, ...change } } })

/** Configurations with a hole for a value. */
const holes: Record<string, string> = {
  body: hole,
  'unknown member': withHole({ Unknown: '@' }),
  'unknown member of Filter': withHole({ Filter: { Unknown: '@' } }),
  'unknown member of the destination': withHole(destinationWith({ Unknown: '@' })),
  Filter: withHole({ Filter: '@' }),
  'Filter.Prefix': withHole({ Filter: { Prefix: '@' } }),
  'Filter.Tag': withHole({ Filter: { Tag: '@' } }),
  'Filter.And': withHole({ Filter: { And: '@' } }),
  'Filter.And.Tag': withHole({ Filter: { And: { Tag: '@' } } }),
  'Filter.StorageClass': withHole({ Filter: { StorageClass: '@' } }),
  OptionalFields: withHole({ OptionalFields: '@' }),
  'OptionalFields.Field': withHole({ OptionalFields: { Field: '@' } }),
  Destination: withHole({ Destination: '@' }),
  'Destination.Bucket': withHole(destinationWith({ Bucket: '@' })),
  'Destination.Prefix': withHole(destinationWith({ Prefix: '@' })),
  'Destination.Encryption': withHole(destinationWith({ Encryption: '@' })),
  IsEnabled: withHole({ IsEnabled: '@' }),
  Schedule: withHole({ Schedule: '@' }),
  'Schedule.MonthlyDate': withHole({ Schedule: { Frequency: 'Monthly', MonthlyDate: '@' } }),
  Id: withHole({ Id: '@' })
}

const flags = ['', 'allow-unknown=true', 'dry-run=true', 'allow-unknown=true&dry-run=true']

/** Puts a text into a hole. The replacement is a function, because `$` has a meaning in a replacement text. */
const fillHole = (text: string, value: string): string => text.replace(hole, () => value)

function bodyKind (
  method: string, path: string, holeName: string, valueName: string, wrap = (text: string) => text
): Kind {
  const isJob = method === 'POST'
  const text = (holes[holeName] as string).replace(isJob ? '"IsEnabled":true,' : '', '')
    .replace(isJob ? '"Schedule":{"Frequency":"Daily"},' : '', '')
  return {
    place: `${path === collection ? 'desired set' : method}, ${holeName}: ${valueName}`,
    make: (bytes, random) => request(method, `${path}?${pick(random, flags)}`, [],
      wrap(fillHole(text, (values[valueName] as Text)(bytes, random))))
  }
}

const [holeNames, valueNames] = [Object.keys(holes), Object.keys(values)]
const wrapInSet = (text: string): string => setOf(text.replace('{', '{"Id":"stored",'))

/** Kinds for the bodies of PUT, POST, PATCH of a large stored configuration, and PUT of a desired set. */
export const bodyKinds: Kind[] = holeNames.flatMap(holeName => valueNames.flatMap(valueName => [
  bodyKind('PUT', `${collection}/put`, holeName, valueName),
  bodyKind('POST', `${collection}/post`, holeName, valueName),
  bodyKind('PATCH', stored, holeName, valueName)
]))

/** Kinds for a desired set: a value in one configuration, and a value in each of many. */
export const setKinds: Kind[] = [
  ...holeNames.flatMap(holeName => valueNames.map(valueName =>
    bodyKind('PUT', collection, holeName, valueName, holeName === 'body' ? setOf : wrapInSet))),
  ...holeNames.flatMap(holeName => valueNames.map((valueName): Kind => ({
    place: `desired set, each ${holeName}: ${valueName}`,
    make: (bytes, random) => request('PUT', `${collection}?${pick(random, flags)}`, [], setOf(list(bytes, index =>
      fillHole((holes[holeName] as string), (values[valueName] as Text)(600, random)).replace('{', `{"Id":"s${index}",`))))
  }))),
  {
    place: 'desired set: plain values',
    make: (bytes, random) => request('PUT', `${collection}?${pick(random, flags)}`, [],
      setOf(list(bytes, () => pick(random, ['1', '{}', 'null', '[]', '{"Id":"a"}']))))
  },
  ...valueNames.map((valueName): Kind => ({
    place: `desired set, whole: ${valueName}`,
    make: (bytes, random) => request('PUT', `${collection}?${pick(random, flags)}`, [], (values[valueName] as Text)(bytes, random))
  }))
]

/** Large configurations that COS can store. PATCH and other inputs use one of them. */
export const storedConfigurations: Record<string, string> = {
  tags: fillHole(withHole({ Filter: { Tag: '@' }, OptionalFields: ['Tag'] }), (values['list of tags'] as Text)(40_000, Math.random)),
  'unknown members': fillHole(holes['unknown member'] as string, (values['members with texts'] as Text)(60_000, Math.random)),
  'a list of texts': fillHole(holes['unknown member'] as string, (values['list of different texts'] as Text)(25_000, Math.random)),
  'a long prefix': fillHole(holes['Filter.Prefix'] as string, (values['text of ampersands'] as Text)(40_000, Math.random)),
  fields: fillHole(holes['OptionalFields.Field'] as string, (values['list of fields'] as Text)(60_000, Math.random))
}

const inHole = (method: string, holeName: string, valueName: string, bytes: number): Request => {
  const path = method === 'PATCH' ? stored : `${collection}/named`
  const text = fillHole(holes[holeName] as string, (values[valueName] as Text)(bytes, Math.random))
  return request(method, `${path}?allow-unknown=true&dry-run=true`, [], text)
}

/** Inputs that blocked the event loop for seconds or used all memory. */
export const counterexamples: Record<string, Request> = {
  'query of equal names': request('GET', `/livez?${many('a=1&', 15_000)}`),
  'query of equal names in brackets': request('GET', `/livez?${many('a[]=1&', 15_000)}`),
  'PUT of a long name with a list of numbers': inHole('PUT', 'body', 'long name of a list of numbers', 250_000),
  'PUT of a long name with a list of nulls': inHole('PUT', 'body', 'long name of a list of nulls', 250_000),
  'PUT of a long name with members': inHole('PUT', 'body', 'long name of members', 250_000),
  'PUT of long names at each level': inHole('PUT', 'body', 'long names at each level', 250_000),
  'set with a text of less-than signs': request('PUT', collection, [], setOf(
    fillHole(holes['Filter.StorageClass'] as string, (values['text of less-than signs'] as Text)(1_000_000, Math.random))
      .replace('{', '{"Id":"a",'))),
  'PATCH of a list of numbers': inHole('PATCH', 'body', 'list of numbers', 250_000),
  'PATCH of many members': inHole('PATCH', 'body', 'members', 250_000),
  'PATCH of members with escaped names': inHole('PATCH', 'body', 'members with escaped names', 250_000),
  'PATCH of a long name with a list of numbers': inHole('PATCH', 'body', 'long name of a list of numbers', 250_000),
  'PATCH of a long name with a list of nulls': inHole('PATCH', 'body', 'long name of a list of nulls', 250_000),
  'PATCH of a long name with prototypes': inHole('PATCH', 'body', 'long name of prototypes', 250_000),
  'PATCH of long names at each level': inHole('PATCH', 'body', 'long names at each level', 250_000)
}

/** Paths of requests that are sent in one packet. */
export const pipelinedPaths = [
  '/livez', '/readyz', '/metrics', '/openapi.json', '/openapi.yaml', '/docs', '/docs/static/swagger-ui-bundle.js', '/docs/json',
  '/other', '/%', stored, collection
]

/** Returns as many minimal requests as fit, and a last one that closes the connection. */
export function pipelineOf (path: string, bytes: number, authorization: string | undefined): Buffer {
  const key = authorization === undefined ? '' : `Authorization: ${authorization}\r\n`
  const minimal = (more = '') => `GET ${path} HTTP/1.1\r\nHost: a\r\n${key}${more}\r\n`
  return Buffer.from(many(minimal(), bytes) + minimal('Connection: close\r\n'))
}

/** Returns the bytes of a request, with Content-Length 0 when it has no body. */
export function bytesOf ({ method, target, headers, body }: Request, authorization: string | undefined): Buffer {
  const has = (name: string) => headers.some(([each]) => each.toLowerCase() === name)
  const lines = [
    ...has('host') ? [] : ['Host: localhost'],
    ...has('connection') ? [] : ['Connection: close'],
    ...authorization === undefined || has('authorization') ? [] : [`Authorization: ${authorization}`],
    ...has('content-length') || has('transfer-encoding') ? [] : [`Content-Length: ${Buffer.byteLength(body)}`],
    ...headers.map(([name, value]) => `${name}: ${value}`)
  ]
  const head = Buffer.from(`${method} ${target} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`, 'latin1')
  return Buffer.concat([head, Buffer.from(has('transfer-encoding') ? '0\r\n\r\n' : body)])
}

/** Returns the input of a kind for this size and seed. Kinds use different numbers of one seed. */
export function inputOf ({ place, make }: Kind, bytes: number, seed: number): Request {
  const ofPlace = [...place].reduce((sum, character) => Math.imul(sum, 31) + (character.codePointAt(0) as number), seed)
  return make(bytes, createRandom(ofPlace))
}
