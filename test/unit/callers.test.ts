import { spawn } from 'node:child_process'
import { createHash, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { pino } from 'pino'
import t from 'tap'
import { createCallers } from '../../src/callers/callers.ts'
import type { PresentedCertificate } from '../../src/callers/callers.ts'
import { parseCallers } from '../../src/callers/callers-file.ts'
import { matchesCertificate, parseSubject } from '../../src/callers/certificate.ts'
import { createJwtVerifier } from '../../src/callers/jwt.ts'
import { createKey } from '../../src/callers/key.ts'
import { ConfigError } from '../../src/config/environment.ts'
import { ServiceError } from '../../src/errors.ts'
import { startIssuer } from '../doubles/issuer.ts'
import { growsLinearly } from '../growth.ts'
import { secret } from '../secrets.ts'

const allow = [{ actions: ['cos:*'], buckets: ['*'] }]
const hashOf = (key: string) => `sha256:${createHash('sha256').update(key).digest('hex')}`
const fileOf = (...callers: object[]) => JSON.stringify({ callers })

async function faultsOf (reading: () => Promise<unknown>): Promise<string[]> {
  try {
    await reading()
    return []
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return error.issues
  }
}

/**
 * Returns the configuration errors of a file with one valid caller changed by these properties; undefined removes one.
 */
function faultsWith (properties: object): Promise<string[]> {
  return faultsOf(() => parseCallers(fileOf({ name: 'a', keys: [], allow, ...properties })))
}

function bearer (key: string, scheme = 'Bearer') {
  return { authorization: `${scheme} ${key}`, certificate: undefined }
}

t.test('parseCallers returns keys, claims, certificate and statements of each caller', async t => {
  const [billing, audit] = await parseCallers(fileOf(
    {
      name: 'billing',
      keys: [hashOf('one'), hashOf('two')],
      jwt: { claims: { sub: 'svc-billing', admin: false, level: 3, groups: ['a'], nothing: null } },
      certificate: { san: 'spiffe://corp/billing' },
      rateLimitPerMinute: 0,
      allow: [{
        actions: ['cos:GetBucketInventory', 'cos:GetBucketInventory'],
        buckets: ['logs-*-1250000000'],
        regions: ['ap-guangzhou'],
        destinations: []
      }]
    },
    { name: 'audit', certificate: { subject: 'CN=audit' }, allow: [{ actions: ['cos:*'], buckets: ['*'] }] }
  ))
  t.match(billing, {
    name: 'billing',
    keys: [createHash('sha256').update('one').digest(), createHash('sha256').update('two').digest()],
    claims: { sub: 'svc-billing', admin: false, level: 3, groups: ['a'], nothing: null },
    certificate: { san: 'spiffe://corp/billing' },
    rateLimitPerMinute: 0
  })
  t.strictSame(billing?.allow[0]?.actions, new Set(['cos:GetBucketInventory']))
  t.strictSame(billing?.allow[0]?.regions, new Set(['ap-guangzhou']))
  t.strictSame(billing?.allow[0]?.destinations, [])
  t.match(audit, {
    name: 'audit', keys: [], claims: undefined, certificate: { subject: 'CN=audit' }, rateLimitPerMinute: undefined
  })
  t.strictSame(audit?.allow[0]?.actions, new Set([
    'cos:GetBucketInventory', 'cos:PutBucketInventory', 'cos:DeleteBucketInventory', 'cos:PostBucketInventory'
  ]))
  t.strictSame([audit?.allow[0]?.regions, audit?.allow[0]?.destinations], [undefined, undefined])
  t.strictSame(await parseCallers('{"callers":[]}'), [])
})

t.test('parseCallers throws when the document is not an object with a callers array', async t => {
  const notJson = ['CALLERS_FILE: the document is not JSON, which has no comments and no trailing commas']
  for (const text of ['', '{', '{"callers":[],}', '// callers\n{"callers":[]}']) {
    t.strictSame(await faultsOf(() => parseCallers(text)), notJson)
  }
  for (const text of ['null', '[]', '1', '"callers"']) {
    t.strictSame(await faultsOf(() => parseCallers(text)), ['CALLERS_FILE: the document must be an object with callers'])
  }
  t.strictSame(await faultsOf(() => parseCallers('{"$schema":"x"}')), [
    'CALLERS_FILE: /callers is required', 'CALLERS_FILE: /$schema is not known here'
  ])
  t.strictSame(await faultsOf(() => parseCallers('{"callers":{}}')), ['CALLERS_FILE: /callers must be an array of callers'])
})

t.test('parseCallers throws one error with its JSON pointer when a property is invalid', async t => {
  const action = 'one of cos:GetBucketInventory, cos:PutBucketInventory, cos:DeleteBucketInventory, ' +
    'cos:PostBucketInventory, cos:*, reports:Read, reports:ReadRows, reports:*'
  const statement = { actions: ['cos:*'], buckets: ['*'] }
  const hash = 'must be sha256: and 64 lower-case hex digits'
  const cases: Array<[object, ...string[]]> = [
    [{ name: undefined }, '/name is required'],
    [{ name: 'a b' }, '/name must be 1 to 64 of A-Z a-z 0-9 . _ -'],
    [{ name: 'a\n' }, '/name must be 1 to 64 of A-Z a-z 0-9 . _ -'],
    [{ keys: null }, '/keys must be an array of key hashes; an empty one accepts no key'],
    [{ keys: [1] }, `/keys/0 ${hash}`],
    [{ keys: ['sha256:ABC'] }, `/keys/0 ${hash}`],
    [{ keys: ['cip_key'] }, `/keys/0 ${hash}; it looks like a key itself: paste its hash (npm run key)`],
    [{ keys: [hashOf('a'), hashOf('b'), hashOf('a')] }, '/keys/2 is the same as /callers/0/keys/0'],
    [{ keys: undefined }, ' needs at least one of keys, jwt and certificate'],
    [{ jwt: 'sub' }, '/jwt must be an object with claims'],
    [{ jwt: {} }, '/jwt/claims is required'],
    [{ jwt: { claims: {} } }, '/jwt/claims must be an object with at least one claim and its required value'],
    [{ jwt: { claims: [] } }, '/jwt/claims must be an object with at least one claim and its required value'],
    [{ certificate: {} }, '/certificate must be an object with exactly one of san and subject'],
    [{ certificate: { san: 'a', subject: 'CN=a' } }, '/certificate must be an object with exactly one of san and subject'],
    [{ certificate: { san: '' } }, '/certificate/san must be one subject alternative name, such as spiffe://corp/billing or URI:spiffe://corp/billing'],
    [{ certificate: { dn: 'CN=a' } }, '/certificate/dn is not known here'],
    [{ certificate: { subject: 1 } }, '/certificate/subject must be all attributes of the subject, such as O=corp, CN=billing'],
    [{ certificate: { subject: 'billing' } }, '/certificate/subject must be attributes such as O=corp, CN=billing'],
    [{ rateLimitPerMinute: -1 }, '/rateLimitPerMinute must be an integer from 0 to 10000000; 0 disables the limit'],
    [{ rateLimitPerMinute: 1.5 }, '/rateLimitPerMinute must be an integer from 0 to 10000000; 0 disables the limit'],
    [{ rateLimitPerMinute: '1' }, '/rateLimitPerMinute must be an integer from 0 to 10000000; 0 disables the limit'],
    [{ rateLimitPerMinute: 10_000_001 }, '/rateLimitPerMinute must be an integer from 0 to 10000000; 0 disables the limit'],
    [{ allow: undefined }, '/allow is required'],
    [{ allow: statement }, '/allow must be an array of statements'],
    [{ allow: ['*'] }, '/allow/0 must be an object with actions and buckets'],
    [{ allow: [{}] }, '/allow/0/actions is required', '/allow/0/buckets is required'],
    [{ allow: [{ ...statement, actions: [] }] }, '/allow/0/actions must be an array of at least one action'],
    [{ allow: [{ ...statement, actions: ['cos:*', 'cos:Get*', 1] }] }, `/allow/0/actions/1 must be ${action}`, `/allow/0/actions/2 must be ${action}`],
    [{ allow: [{ ...statement, buckets: [] }] }, '/allow/0/buckets must be an array of at least one bucket'],
    [{ allow: [{ ...statement, buckets: ['Logs'] }] }, '/allow/0/buckets/0 must be a bucket name with its APPID, in which * matches any characters'],
    [{ allow: [{ ...statement, buckets: '*' }] }, '/allow/0/buckets must be an array of at least one bucket'],
    [{ allow: [{ ...statement, regions: [] }] }, '/allow/0/regions must be an array of at least one region; omit it to allow all regions'],
    [{ allow: [{ ...statement, regions: ['*'] }] }, '/allow/0/regions/0 must be a COS region such as ap-guangzhou'],
    [{ allow: [{ ...statement, destinations: [''] }] }, '/allow/0/destinations/0 must be a bucket name with its APPID, in which * matches any characters'],
    [{ allow: [{ ...statement, destinations: null }] }, '/allow/0/destinations must be an array of buckets; an empty one allows no destination'],
    [{ allow: [{ ...statement, deny: [], 'a/b~c': 1 }] }, '/allow/0/deny is not known here', '/allow/0 has a property that is not known here']
  ]
  for (const [properties, ...faults] of cases) {
    t.strictSame(await faultsWith(properties), faults.map(fault => `CALLERS_FILE: /callers/0${fault}`))
  }
})

t.test('parseCallers reports all errors at once when a file has several', async t => {
  const callers = [
    { name: 'a', keys: [hashOf('k')], allow: [] }, 7, { name: 'a', keys: ['k', hashOf('k')], allow: [{}], extra: 1 }
  ]
  t.strictSame(await faultsOf(() => parseCallers(JSON.stringify({ callers }))), [
    '/callers/1 must be an object with name, allow and one of keys, jwt, certificate',
    '/callers/2/extra is not known here',
    '/callers/2/keys/0 must be sha256: and 64 lower-case hex digits; it looks like a key itself: paste its hash (npm run key)',
    '/callers/2/allow/0/actions is required',
    '/callers/2/allow/0/buckets is required',
    '/callers/2/name is the same as /callers/0/name',
    '/callers/2/keys/1 is the same as /callers/0/keys/0'
  ].map(fault => `CALLERS_FILE: ${fault}`))
})

t.test('configuration errors quote nothing of the file when a key is in any place', async t => {
  const { key } = createKey()
  const jwt = { claims: { sub: 'a' } }
  const valid = { name: 'a', keys: [hashOf('k')], jwt, certificate: { san: 'a' }, rateLimitPerMinute: 1, allow }
  const forms = [key, [key], { [key]: key }]
  const callers = [
    key,
    { ...valid, [key]: 1 },
    ...Object.keys(valid).flatMap(name => forms.map(form => ({ ...valid, [name]: form }))),
    ...['actions', 'buckets', 'regions', 'destinations'].flatMap(name => forms.map(form =>
      ({ ...valid, allow: [{ ...allow[0], [name]: form }] }))),
    { ...valid, certificate: { subject: key } }
  ]
  const places = [...forms, { callers: key }, { callers: [], [key]: 1 }, ...callers.map(each => ({ callers: [each] }))]
  for (const document of [...places.map(each => JSON.stringify(each)), key, `{"${key}"`]) {
    const faults = await faultsOf(() => parseCallers(document))
    t.notMatch(faults.join('\n'), key)
    // A key is also a valid name, so the field `name` accepts it.
    t.equal(faults.length > 0, !document.includes(`"name":"${key}"`))
  }
})

t.test('parseCallers returns callers or throws ConfigError for any document', async t => {
  await t.resolves(async () => {
    await fc.assert(fc.asyncProperty(fc.json(), fc.jsonValue(), async (text, value) => {
      await faultsOf(() => parseCallers(text))
      const callers = [value, { name: value, keys: [value], allow: [value] }]
      await faultsOf(() => parseCallers(JSON.stringify({ callers })))
    }))
  })
})

t.test('identify returns the caller when a bearer key matches one of its key hashes', async t => {
  const callers = await createCallers({
    read: () => fileOf(
      { name: 'billing', keys: [hashOf('one=='), hashOf('two')], allow },
      { name: 'locked', keys: [], allow },
      { name: 'audit', keys: [hashOf('three')], allow }
    ),
    tls: false
  })
  const nameOf = async (authorization: string) =>
    (await callers.identify({ authorization, certificate: undefined }))?.name
  t.equal(await nameOf('Bearer one=='), 'billing')
  t.equal(await nameOf('bearer two'), 'billing')
  t.equal(await nameOf('BEARER   three'), 'audit')
  const others = ['one', 'Three', hashOf('two'), hashOf('two').slice(7), '', ' ', 'tw\u00F6', '"two"', 'two\n']
  for (const other of others) t.equal(await nameOf(`Bearer ${other}`), undefined, other)
  const twice = ['Bearer two three', 'Bearer two,', 'Bearer two, Bearer three', 'Bearer x Bearer two']
  for (const other of [...twice, '', 'two', 'Bearer', 'Bearertwo', 'Bearer\ttwo', ' Bearer two', 'Basic two']) {
    t.equal(await nameOf(other), undefined, other)
  }
  t.equal(await callers.identify({ authorization: undefined, certificate: undefined }), undefined)
})

t.test('identify returns the first caller whose claims match those of a verified token', async t => {
  const issuer = await startIssuer(t, { onSecret: secret })
  const keyLikeToken = 'eyJhbGciOiJFUzI1NiJ9.e30.e30'
  const read = () => fileOf(
    { name: 'by-key', keys: [hashOf(keyLikeToken), hashOf('key')], jwt: { claims: { toString: 1 } }, allow },
    { name: 'admin', jwt: { claims: { sub: 'svc', roles: ['admin', 'user'], org: { id: 1 } } }, allow },
    { name: 'svc', jwt: { claims: { sub: 'svc' } }, allow },
    { name: 'first', jwt: { claims: { level: 3 } }, allow },
    { name: 'second', jwt: { claims: { level: 3, none: null } }, allow }
  )
  const log = pino({ level: 'silent' })
  const verifier = createJwtVerifier(issuer.config, { now: Date.now, steadyNow: Date.now, log })
  const callers = await createCallers({ read, verifier, tls: false })
  const nameOf = async (claims: Record<string, unknown>) =>
    (await callers.identify(bearer(await issuer.sign(claims))))?.name
  t.equal(await nameOf({ sub: 'svc', roles: ['admin', 'user'], org: { id: 1 }, more: true }), 'admin')
  t.equal(await nameOf({ sub: 'svc', roles: ['user', 'admin'], org: { id: 1 } }), 'svc')
  t.equal(await nameOf({ sub: 'svc', roles: ['admin', 'user'], org: { id: '1' } }), 'svc')
  t.equal(await nameOf({ level: 3, none: null }), 'first')
  t.equal(await nameOf({ level: '3' }), undefined)
  t.equal(await nameOf({}), undefined)
  t.equal(await nameOf({ sub: 'svc', exp: 1 }), undefined, 'expired')
  const token = await issuer.sign({ sub: 'svc' })
  t.equal(await (await createCallers({ read, tls: false })).identify(bearer(token)), undefined, 'without a verifier')
  const [header = ''] = token.split('.')
  for (const [verified, text] of [
    [0, keyLikeToken], [0, 'key'], [0, 'x'], [0, 'x.y.z'], [0, `${header}.e30`], [0, 'e30.e30.e30'], [0, 'MQ.e30.e30'],
    [0, `${header}.e30.e30.e30`], [0, `${header}.e~.e30`], [1, `${header}.e30.e30`], [1, `${header}.e30.`]
  ] as const) {
    const seen: string[] = []
    const counting = { verify: async (each: string) => { seen.push(each); return undefined }, start: async () => {} }
    await (await createCallers({ read, verifier: counting, tls: false })).identify(bearer(text))
    t.equal(seen.length, verified, text)
  }
})

t.test('identify rejects with ServiceError when no key set is loaded to verify a token', async t => {
  const issuer = await startIssuer(t, { onSecret: secret })
  await issuer.takeDown()
  const verifier = createJwtVerifier(issuer.config, { now: Date.now, steadyNow: Date.now, log: pino({ level: 'silent' }) })
  const callers = await createCallers({ read: () => fileOf({ name: 'a', keys: [hashOf('key')], allow }), verifier, tls: false })
  await t.rejects(callers.identify(bearer(await issuer.sign())), ServiceError)
  t.match(await callers.identify(bearer('key')), { name: 'a' }, 'keys still identify callers')
})

/** Self-signed with OpenSSL 3: every kind of alternative name, and characters with a special meaning in names. */
const unusual = new X509Certificate(`-----BEGIN CERTIFICATE-----
MIICVzCCAf2gAwIBAgIUC1uP/u9hRVooIzQ1nQnwl+BahXgwCgYIKoZIzj0EAwIw
QDETMBEGA1UECgwKY29ycCwgSW5jLjEXMBUGA1UECwwOI2xlYWQgXCArIHkgw6Qx
EDAOBgNVBAMMB2JpbGxpbmcwHhcNMjYxMTIyMTkzNzAzWhcNMzYxMTE5MTkzNzAz
WjBAMRMwEQYDVQQKDApjb3JwLCBJbmMuMRcwFQYDVQQLDA4jbGVhZCBcICsgeSDD
pDEQMA4GA1UEAwwHYmlsbGluZzBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABKWX
qU1XHS4sToTl8W4KqDZGnU9Io9EX9B3HJvI0/nvju43HEqqKNRqik+xQFu8u/GXX
3TR5S5eNHPxPjXIf5mOjgdQwgdEwga8GA1UdEQSBpzCBpIIJYS5leGFtcGxlhhVz
cGlmZmU6Ly9jb3JwL2JpbGxpbmeGKHNwaWZmZTovL2NvcnAveCwgVVJJOnNwaWZm
ZTovL2NvcnAvYWRtaW6BDm1lQGV4YW1wbGUuY29thwQKAAABhxAgAQ24AAAAAAAA
AAAAAAABoBkGCisGAQQBgjcUAgOgCwwJdXNlckBjb3JwpA8wDTELMAkGA1UEAwwC
enqIAioDMB0GA1UdDgQWBBRdX4kz9AHlsQ404Q4jeYXawseqtTAKBggqhkjOPQQD
AgNIADBFAiEAjpJG5VYY7js4oE8nh3KvK9s+YXc6PDT2Ro3Esp3O5hsCIHgi8ap2
t2DmvBUP1cSyq7Xt4IRKIH6KcRCBRwuodnvt
-----END CERTIFICATE-----`)
/** The same kind of certificate without a subject (SPIFFE X.509-SVID, section 2). */
const nameless = new X509Certificate(`-----BEGIN CERTIFICATE-----
MIIBeDCCAR+gAwIBAgIUJNgiLyvwtybToDyUhMvrTb+65sQwCgYIKoZIzj0EAwIw
ADAgFw0yNjExMjIxOTM4MzhaGA8yMTI2MTAyOTE5MzgzOFowADBZMBMGByqGSM49
AgEGCCqGSM49AwEHA0IABASlAvzzuKoxgfEOayZNTl9WuE7WdzWVZZQn8kko9gWN
72aQQFkUVMu/gX/qygWRP5oUiHaxlrf56/piIUz0b7ijdTBzMB0GA1UdDgQWBBSD
CsuvvbNHKpr0SaS9324hEDdx7DAfBgNVHSMEGDAWgBSDCsuvvbNHKpr0SaS9324h
EDdx7DAPBgNVHRMBAf8EBTADAQH/MCAGA1UdEQQZMBeGFXNwaWZmZTovL2NvcnAv
YmlsbGluZzAKBggqhkjOPQQDAgNHADBEAiADgOvS1LpwLxnK3fKgsSxEi4ili4TD
ojqCqk20kh9PrwIgQt76fDPnniPhLZjTSMawMmUk54SfDin/HNtj49t8wCQ=
-----END CERTIFICATE-----`)

t.test('Node presents subject and alternative names of the test certificates as expected', async t => {
  t.equal(unusual.subject, 'O=corp\\, Inc.\nOU=\\#lead \\\\ \\+ y \u00E4\nCN=billing')
  t.match(unusual.subjectAltName, 'URI:"spiffe://corp/x\\u002c URI:spiffe://corp/admin"')
  // Node 26 returns an empty text.
  t.equal(nameless.subject ?? '', '')
})

t.test('identify returns the caller when an alternative name of its certificate matches', async t => {
  const identify = async (san: string, certificate: PresentedCertificate) => {
    const callers = await createCallers({ read: () => fileOf({ name: 'a', certificate: { san }, allow }), tls: true })
    return (await callers.identify({ authorization: undefined, certificate }))?.name
  }
  const own = [
    'a.example', 'spiffe://corp/billing', 'spiffe://corp/x, URI:spiffe://corp/admin', 'me@example.com', '10.0.0.1',
    '2001:DB8:0:0:0:0:0:1', 'DNS:a.example', 'URI:spiffe://corp/billing', 'email:me@example.com', 'IP Address:10.0.0.1'
  ]
  for (const san of own) t.equal(await identify(san, unusual), 'a', san)
  const others = [
    'spiffe://corp/admin', 'spiffe://corp/x', 'DNS:spiffe://corp/billing', 'spiffe://corp/billin', 'A.example',
    'uri:spiffe://corp/billing', 'URI:URI:spiffe://corp/billing', 'URI:a.example', 'IP:10.0.0.1',
    'user@corp', 'UPN:user@corp', '1.2.3', 'CN=zz', 'billing', '"'
  ]
  for (const san of others) t.equal(await identify(san, unusual), undefined, san)
  t.equal(await identify('spiffe://corp/billing', nameless), 'a')
  t.equal(await identify('a', { subject: 'CN=a', subjectAltName: undefined }), undefined)
  const quoted = 'othername:"UPN:x\\u002c DNS:evil", DNS:"a\\"\\u002c DNS:b", email:c'
  t.equal(await identify('email:c', { subject: '', subjectAltName: quoted }), 'a')
  t.equal(await identify('a", DNS:b', { subject: '', subjectAltName: quoted }), 'a')
  for (const san of ['evil', 'b', 'x', 'a"']) {
    t.equal(await identify(san, { subject: '', subjectAltName: quoted }), undefined, san)
  }
  for (const broken of ['DNS:a,DNS:b', 'DNS:"a", "b", DNS:c', 'DNS:"a"b, DNS:c', ', DNS:c', 'DNS:"c', 'DNS:c"']) {
    t.equal(await identify('c', { subject: '', subjectAltName: broken }), undefined, broken)
  }
})

t.test('matchesCertificate matches a rule only when the type of the name matches', async t => {
  const types = ['DNS', 'URI', 'email', 'IP Address']
  const table: Array<[string, string, string]> = [
    ['spiffe://corp/billing', 'URI', 'spiffe://corp/billing'],
    ['urn:corp:billing', 'URI', 'urn:corp:billing'],
    ['mailto:me@example.com', 'URI', 'mailto:me@example.com'],
    ['me@example.com', 'email', 'me@example.com'],
    ['a.example', 'DNS', 'a.example'],
    ['10.0.0.1', 'IP Address', '10.0.0.1'],
    ['0:0:0:0:0:0:0:1', 'IP Address', '0:0:0:0:0:0:0:1'],
    ['DNS:spiffe://corp/billing', 'DNS', 'spiffe://corp/billing'],
    ['email:a', 'email', 'a'],
    ['URI:me@example.com', 'URI', 'me@example.com'],
    ['IP Address:10.0.0.1', 'IP Address', '10.0.0.1']
  ]
  for (const [san, expected, value] of table) {
    for (const type of types) {
      t.equal(matchesCertificate({ san }, { subject: undefined, subjectAltName: `${type}:${value}` }), type === expected, `${san} ${type}`)
    }
  }
})

t.test('parsers of certificate names take linear time when the input is malicious', async t => {
  const subjects: Array<[string, (size: number) => string]> = [
    ['blanks in a value', size => `CN=x${' '.repeat(size)}x`],
    ['blanks and a lone backslash', size => `CN=${' '.repeat(size)}\\`],
    ['blanks after a value', size => `CN=x${' '.repeat(size)}`],
    ['blanks before a type', size => `${' '.repeat(size)}x`],
    ['blanks after a type', size => `CN${' '.repeat(size)}x`],
    ['a long type', size => 'C'.repeat(size)],
    ['an object identifier', size => '1.1'.repeat(size / 2)],
    ['backslashes', size => `CN=${'\\'.repeat(size)}`],
    ['hex digits', size => `CN=${'\\41'.repeat(size / 2)}\\`],
    ['attributes', size => 'C=x,'.repeat(size / 4)]
  ]
  for (const [title, toText] of subjects) t.ok(growsLinearly(size => parseSubject(toText(size)), 16_384), title)
  const names: Array<[string, (size: number) => string]> = [
    ['a type without value', size => 'x'.repeat(size)],
    ['a value', size => `DNS:${'x'.repeat(size)},`],
    ['an open quote', size => `DNS:"${'x'.repeat(size)}`],
    ['an open quote after text', size => `DNS:${'x'.repeat(size)}"${'\\"'.repeat(size)}`],
    ['quotes', size => `DNS:${'"'.repeat(size)}`],
    ['many names', size => 'DNS:x, '.repeat(size / 8)]
  ]
  const rule = { san: 'b' }
  for (const [title, toText] of names) {
    const match = (size: number) => matchesCertificate(rule, { subject: undefined, subjectAltName: toText(size) })
    t.ok(growsLinearly(match, 16_384), title)
  }
})

t.test('identify returns the caller when all attributes of the subject match', async t => {
  const identify = async (subject: string, presented: string | undefined) => {
    const callers = await createCallers({ read: () => fileOf({ name: 'a', certificate: { subject }, allow }), tls: true })
    const certificate = { subject: presented, subjectAltName: 'DNS:CN=billing' }
    return (await callers.identify({ authorization: undefined, certificate }))?.name
  }
  const same = [
    'O=corp, CN=billing', 'CN=billing,O=corp', ' cn = billing , o = corp ', 'O=corp+CN=billing', 'O=corp\nCN=billing',
    'O=corp, CN=bill\\69ng'
  ]
  for (const subject of same) {
    t.equal(await identify(subject, 'O=corp\nCN=billing'), 'a', subject)
    t.equal(await identify(subject, 'CN=billing + O=corp'), 'a', subject)
  }
  const others = [
    'CN=billing', 'O=corp', 'O=corp, CN=billing, CN=billing', 'O=corp, CN=Billing', 'O=corp\\, CN=billing',
    'OU=corp, CN=billing'
  ]
  for (const subject of others) {
    t.equal(await identify(subject, 'O=corp\nCN=billing'), undefined, subject)
  }
  t.equal(await identify('CN=billing', 'CN=x\\, CN=billing'), undefined)
  t.equal(await identify('CN=billing', 'CN=x\\0ACN=billing'), undefined)
  t.equal(await identify('CN=billing', undefined), undefined)
  t.equal(await identify('CN=billing', 'billing'), undefined)
  const own = 'CN=billing, OU=\\#lead \\\\ \\+ y \\C3\\A4, O=corp\\, Inc.'
  t.equal(await identify(own, unusual.subject), 'a')
  t.equal(await identify('2.5.4.3=billing', '2.5.4.3=billing'), 'a')
})

t.test('parseSubject returns attributes, or undefined when the text has anything else', async t => {
  t.strictSame(parseSubject('CN=a=b, O=\\ x\\ '), ['CN=a=b', 'O= x '])
  t.strictSame(parseSubject('CN=a\\\\, O='), ['CN=a\\', 'O='])
  t.strictSame(parseSubject('CN=a\\\\41'), ['CN=a\\41'])
  t.strictSame(parseSubject('CN=  a\\\\  , O=a\\   , L=  '), ['CN=a\\', 'L=', 'O=a '])
  for (const text of ['', ' ', 'CN', '=a', 'CN=a,,O=b', 'CN=a, b', 'C N=a', 'CN=a\\', '1=a']) {
    t.equal(parseSubject(text), undefined, text)
  }
})

t.test('identify ignores the certificate when the request has an Authorization header', async t => {
  const callers = await createCallers({
    read: () => fileOf(
      { name: 'by-key', keys: [hashOf('key')], allow },
      { name: 'by-certificate', certificate: { subject: 'CN=c' }, allow }
    ),
    tls: true
  })
  const certificate = { subject: 'CN=c', subjectAltName: undefined }
  const nameOf = async (authorization: string | undefined) =>
    (await callers.identify({ authorization, certificate }))?.name
  t.equal(await nameOf('Bearer key'), 'by-key')
  t.equal(await nameOf('Bearer other'), undefined)
  t.equal(await nameOf('Basic a2V5'), undefined)
  t.equal(await nameOf(''), undefined)
  t.equal(await nameOf(undefined), 'by-certificate')
})

t.test('reload replaces the callers, or keeps them when the file is invalid', async t => {
  let file = fileOf({ name: 'old', keys: [hashOf('old')], allow })
  const callers = await createCallers({
    read: () => {
      if (file === '') throw Object.assign(new Error('no such file'), { code: 'ENOENT' })
      return file
    },
    tls: false
  })
  const known = async () => Promise.all(['old', 'new'].map(async key => (await callers.identify(bearer(key)))?.name))
  t.strictSame(await known(), ['old', undefined])
  file = '{'
  t.strictSame((await faultsOf(() => callers.reload())).length, 1)
  file = ''
  t.strictSame(await faultsOf(() => callers.reload()), ['CALLERS_FILE cannot be read: ENOENT'])
  t.strictSame(await known(), ['old', undefined])
  file = fileOf({ name: 'new', keys: [hashOf('new')], allow })
  await callers.reload()
  t.strictSame(await known(), [undefined, 'new'])
  t.strictSame((await faultsOf(() => createCallers({ read: () => '[]', tls: false }))).length, 1)
})

t.test('reload of 10,000 callers lets the event loop run in between', async t => {
  const key = (index: number) => createHash('sha256').update(String(index)).digest('hex')
  const file = fileOf(...Array.from({ length: 10_000 }, (_, index) => ({ name: `c${index}`, keys: [`sha256:${key(index)}`], allow })))
  const callers = await createCallers({ read: () => file, tls: false })
  let iterations = 0
  let hasEnded = false
  const count = () => {
    iterations += 1
    if (!hasEnded) setImmediate(count)
  }
  setImmediate(count)
  await callers.reload()
  hasEnded = true
  t.ok(iterations > 5, `${iterations} iterations`)
  t.match(await callers.identify(bearer('9999')), { name: 'c9999' })
})

t.test('unreachable returns callers that no active method can identify', async t => {
  const read = () => fileOf(
    { name: 'key', keys: [hashOf('key')], jwt: { claims: { sub: 'a' } }, allow },
    { name: 'locked', keys: [], allow },
    { name: 'token', jwt: { claims: { sub: 'a' } }, keys: [], allow },
    { name: 'certificate', certificate: { san: 'a' }, allow },
    { name: 'both', jwt: { claims: { sub: 'a' } }, certificate: { san: 'a' }, allow }
  )
  const verifier = { verify: async () => undefined, start: async () => {} }
  t.strictSame((await createCallers({ read, tls: false })).unreachable(), ['token', 'certificate', 'both'])
  t.strictSame((await createCallers({ read, tls: true })).unreachable(), ['token'])
  t.strictSame((await createCallers({ read, verifier, tls: false })).unreachable(), ['certificate'])
  t.strictSame((await createCallers({ read, verifier, tls: true })).unreachable(), [])
})

t.test('createKey returns a new random key and the hash that identifies it', async t => {
  const [one, two] = [createKey(), createKey()]
  t.match(one.key, /^cip_[\w-]{43}$/)
  t.not(one.key, two.key)
  const callers = await createCallers({ read: () => fileOf({ name: 'a', keys: [one.hash], allow }), tls: false })
  t.match(await callers.identify(bearer(one.key)), { name: 'a' })
  t.equal(await callers.identify(bearer(two.key)), undefined)
})

async function runKey (...args: string[]): Promise<{ code: unknown, output: string, errors: string }> {
  const program = fileURLToPath(new URL('../../src/key.ts', import.meta.url))
  const child = spawn(process.execPath, [...process.execArgv, program, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  const [[code], output, errors] = await Promise.all([once(child, 'close'), text(child.stdout), text(child.stderr)])
  return { code, output, errors }
}

t.test('key command prints a key and a callers file entry that accepts it', async t => {
  const { code, output } = await runKey('--name', 'billing')
  t.equal(code, 0)
  const [key = ''] = /^cip_\S+$/m.exec(output) ?? []
  secret(key)
  const entry = JSON.parse(output.slice(output.indexOf('{')))
  t.strictSame(entry.allow, [{ actions: ['cos:GetBucketInventory'], buckets: ['examplebucket-1250000000'] }])
  const callers = await createCallers({ read: () => fileOf(entry), tls: false })
  t.match(await callers.identify(bearer(key)), { name: 'billing' })
})

t.test('key command exits with 1 and prints usage when its arguments are invalid', async t => {
  await Promise.all([[], ['--name', 'a b'], ['--key', 'x']].map(async args => {
    const { code, output, errors } = await runKey(...args)
    t.strictSame({ code, output }, { code: 1, output: '' })
    t.match(errors, /^Usage: npm run key -- --name .*\n/)
  }))
})
