import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { toCaller } from '../../src/callers/callers-file.ts'
import type { Caller } from '../../src/callers/callers-file.ts'
import { compileGlob } from '../../src/callers/glob.ts'
import { destinationsOf, permits, permitsDestination } from '../../src/callers/permissions.ts'
import type { Call } from '../../src/callers/permissions.ts'
import type { CallersFile } from '../../src/contract/callers.ts'
import { runsOf } from '../runs.ts'

interface Rule {
  actions: string[]
  buckets: string[]
  regions?: string[]
  destinations?: string[]
}

const bucket = 'logs-web-1250000000'
const get: Call = { action: 'cos:GetBucketInventory', bucket, region: 'ap-guangzhou' }
const put: Call = { ...get, action: 'cos:PutBucketInventory' }

function callerWith (...allow: Rule[]): Caller {
  return toCaller({ name: 'a', keys: [], allow: allow as CallersFile['callers'][number]['allow'] })
}

/** A second, literal implementation of the documented rules, to compare with. */
const reference = {
  matches: (pattern: string, name: string): boolean => {
    if (pattern === '') return name === ''
    if (pattern.startsWith('*')) {
      return reference.matches(pattern.slice(1), name) || (name !== '' && reference.matches(pattern, name.slice(1)))
    }
    return name[0] === pattern[0] && reference.matches(pattern.slice(1), name.slice(1))
  },
  permits: (rule: Rule, call: Call): boolean => {
    const [family] = call.action.split(':')
    const isImplied = call.action === 'reports:Read' && rule.actions.includes('reports:ReadRows')
    if (!rule.actions.includes(`${family}:*`) && !rule.actions.includes(call.action) && !isImplied) return false
    if (!rule.buckets.some(pattern => reference.matches(pattern, call.bucket))) return false
    return rule.regions === undefined || call.region === undefined || rule.regions.includes(call.region)
  },
  permitsDestination: (rules: Rule[], call: Call, destination: string): boolean => rules.some(rule => {
    if (!reference.permits(rule, call)) return false
    if (rule.destinations === undefined) return destination.split('-').at(-1) === call.bucket.split('-').at(-1)
    return rule.destinations.some(pattern => reference.matches(pattern, destination))
  })
}

const action = fc.constantFrom(
  'cos:GetBucketInventory', 'cos:PutBucketInventory', 'cos:DeleteBucketInventory', 'cos:PostBucketInventory',
  'reports:Read', 'reports:ReadRows'
)
const region = fc.constantFrom('ap-guangzhou', 'ap-shanghai', 'eu-frankfurt')
const name = fc.constantFrom(
  'logs-1250000000', bucket, 'logs-web-1300000000', 'reports-1250000000', 'reports-1300000000', 'a-1', 'aa-11'
)
const glob = fc.constantFrom(
  '*', '**', 'logs-*', '*-1250000000', 'logs-*-1250000000', 'logs*', '*web*', 'l*s-*0*0', 'reports-1250000000',
  'a*a-1*1', 'logs', 'logs-1250000000', '*1', '*-', 'a-1'
)
const rule: fc.Arbitrary<Rule> = fc.record({
  actions: fc.array(fc.oneof(action, fc.constantFrom('cos:*', 'reports:*')), { minLength: 1, maxLength: 3 }),
  buckets: fc.array(glob, { minLength: 1, maxLength: 3 }),
  regions: fc.array(region, { minLength: 1, maxLength: 2 }),
  destinations: fc.array(glob, { maxLength: 2 })
}, { noNullPrototype: true, requiredKeys: ['actions', 'buckets'] })
const callOf: fc.Arbitrary<Call> = fc.record({
  action, bucket: name, region: fc.option(region, { nil: undefined })
}, { noNullPrototype: true })

t.test('permits and permitsDestination agree with a literal reading of the rules', async t => {
  const counts = { allowed: 0, rejected: 0 }
  const numRuns = runsOf(2000)
  t.doesNotThrow(() => {
    fc.assert(fc.property(fc.array(rule, { maxLength: 3 }), callOf, name, (rules, call, destination) => {
      const caller = callerWith(...rules)
      const allowed = rules.some(each => reference.permits(each, call))
      assert.equal(permits(caller, call), allowed)
      const mayName = reference.permitsDestination(rules, call, destination)
      assert.equal(permitsDestination(caller, call, destination), mayName)
      counts[allowed ? 'allowed' : 'rejected'] += 1
    }), { numRuns })
  })
  t.ok(counts.allowed > numRuns / 10 && counts.rejected > numRuns / 10, 'both results are frequent')
})

t.test('compileGlob agrees with a literal matcher', async t => {
  t.doesNotThrow(() => {
    const letters = (alphabet: string) => fc.string({ unit: fc.constantFrom(...alphabet), maxLength: 9 })
    fc.assert(fc.property(letters('ab*'), letters('ab'), (pattern, text) => {
      assert.equal(compileGlob(pattern)(text), reference.matches(pattern, text))
    }), { numRuns: runsOf(3000) })
  })
})

t.test('compileGlob matches in less than a second when a pattern has 500 stars', async t => {
  const matches = compileGlob(`${'*a'.repeat(500)}*b`)
  const startedAt = process.cpuUsage().user
  t.notOk(matches('a'.repeat(100_000)))
  t.ok(process.cpuUsage().user - startedAt < 1_000_000, 'less than a second of CPU time')
})

t.test('permits returns false when no statement allows the call', async t => {
  t.notOk(permits(callerWith(), get))
  t.notOk(permitsDestination(callerWith(), put, bucket))
  const reader = callerWith({ actions: ['cos:GetBucketInventory'], buckets: [bucket] })
  t.ok(permits(reader, get))
  t.notOk(permits(reader, put))
  t.notOk(permits(reader, { ...get, bucket: `${bucket}0` }))
  t.notOk(permits(reader, { ...get, bucket: `a${bucket}` }))
})

t.test('statement with regions permits a call when the region is unknown', async t => {
  const caller = callerWith({ actions: ['cos:*'], buckets: ['*'], regions: ['ap-guangzhou'] })
  t.ok(permits(caller, get))
  t.notOk(permits(caller, { ...get, region: 'ap-shanghai' }))
  t.ok(permits(caller, { ...get, region: undefined }))
})

t.test('permitsDestination returns true when one statement allows call and destination', async t => {
  const caller = callerWith(
    { actions: ['cos:PutBucketInventory'], buckets: [bucket], destinations: ['reports-1250000000'] },
    { actions: ['cos:PutBucketInventory'], buckets: ['other-1250000000'], destinations: ['*'] },
    { actions: ['cos:PostBucketInventory'], buckets: ['*'] }
  )
  t.ok(permitsDestination(caller, put, 'reports-1250000000'))
  t.notOk(permitsDestination(caller, put, 'evil-1999999999'))
  t.notOk(permitsDestination(caller, put, bucket), 'destinations replace the default')
  t.notOk(permitsDestination(caller, { ...put, action: 'cos:PostBucketInventory' }, 'evil-1999999999'))
  t.ok(permitsDestination(caller, { ...put, action: 'cos:PostBucketInventory' }, 'any-1250000000'))
  t.notOk(permitsDestination(caller, { ...put, action: 'cos:PostBucketInventory' }, 'any-11250000000'))
})

t.test('permitsDestination returns false when the destinations are empty', async t => {
  t.notOk(permitsDestination(callerWith({ actions: ['cos:*'], buckets: ['*'], destinations: [] }), put, bucket))
})

t.test('malformed destination is permitted only when destinations contain *', async t => {
  const allow = (...destinations: string[]) => callerWith({ actions: ['cos:*'], buckets: ['*'], destinations })
  for (const malformed of ['evil-1999999999/x-1250000000', 'qcs::cos:r::evil-1/a:x-1250000000', 'X-1250000000', '']) {
    t.notOk(permitsDestination(allow('*-1250000000', '*x*'), put, malformed), malformed)
    t.notOk(permitsDestination(callerWith({ actions: ['cos:*'], buckets: ['*'] }), put, malformed), malformed)
    t.ok(permitsDestination(allow('*'), put, malformed), malformed)
  }
})

t.test('destinationsOf returns destinations at any place of a body', async t => {
  const declared = (text: unknown) => ({ Destination: { COSBucketDestination: { Bucket: text } } })
  const at = (name: string) => `qcs::cos:ap-guangzhou::${name}`
  t.strictSame(destinationsOf(declared(at('a-1'))), ['a-1'])
  t.strictSame(destinationsOf({ InventoryConfigurations: [declared(at('a-1')), declared(at('b-1')), declared(at('a-1'))] }), ['a-1', 'b-1'])
  t.strictSame(destinationsOf({ ...declared(at('a-1')), New: { Copies: [{ To: at('b-1') }, at('c-1')] } }), ['a-1', 'c-1', 'b-1'])
  t.strictSame(destinationsOf({ a: ` \t\r\n${at('a-1')}\n` }), ['a-1'], 'white space around')
  t.strictSame(destinationsOf({ a: 'QCS::cos:ap-guangzhou:uin/1:a-1' }), ['a-1'], 'letter case and uin')
  t.strictSame(destinationsOf({ a: 'qcs:12:Cos:ap-guangzhou:uin/1:a-1' }), ['a-1'], 'project id')
  t.strictSame(destinationsOf(at('a-1')), ['a-1'], 'the body itself')
})

t.test('destinationsOf returns the whole text when a destination is malformed', async t => {
  const declared = (Bucket: unknown) => destinationsOf({ Destination: { COSBucketDestination: { Bucket } } })
  t.strictSame(declared('a-1'), ['a-1'])
  t.strictSame(declared('b:o:g:u:s:a-1'), ['b:o:g:u:s:a-1'])
  t.strictSame(declared(['a-1', ['b-1']]), ['a-1', 'b-1'])
  t.strictSame(declared(1), [])
  const several = 'qcs::cos:r::evil-1/x:a-1'
  t.strictSame(destinationsOf({ a: [several, 'qcs::cos:r::', 'qcs:::r::a-1'] }), [several, 'qcs::cos:r::', 'qcs:::r::a-1'])
})

t.test('destinationsOf returns any text below Destination unless its element is known', async t => {
  const COSBucketDestination = { Format: 'CSV', AccountId: '1', Prefix: 'p', Encryption: { SSECOS: '111', 'SSE-COS': 'a-1' } }
  t.strictSame(destinationsOf({ Destination: { COSBucketDestination } }), [])
  const hidden = [
    { Other: { Bucket: 'evil-9' } }, { COSBucketDestination: { ...COSBucketDestination, BucketName: 'evil-9' } }, { Prefix: 'evil-9' },
    { COSBucketDestination: { Encryption: { Destination: { Bucket: 'evil-9' } } } }, { COSBucketDestination: [['evil-9']] },
    { COSBucketDestination: { Prefix: { Bucket: 'evil-9' } } }
  ]
  for (const Destination of hidden) t.strictSame(destinationsOf({ Destination }), ['evil-9'], JSON.stringify(Destination))
  for (const body of [{ destination: { Bucket: 'evil-9' } }, { X: { cosbucketdestination: { Prefix: 'evil-9' } } }]) {
    t.strictSame(destinationsOf(body), ['evil-9'], 'any case of the element name')
  }
  for (const before of ['\u0085', '\u200b', 'x']) t.strictSame(destinationsOf({ a: `${before}qcs::cos:r::evil-9` }), [`${before}qcs::cos:r::evil-9`])
})

t.test('destinationsOf returns text below Encryption unless it belongs to a marker', async t => {
  const toBody = (Encryption: unknown) => ({ Destination: { COSBucketDestination: { Format: 'CSV', Encryption } } })
  const evil = 'stranger-1999999999'
  const table: Array<[unknown, string[]]> = [
    [{ SSECOS: '111' }, []],
    [{ 'SSE-COS': evil }, []],
    [{ SSECOS: {} }, []],
    [{ SSECOS: `qcs::cos:ap-guangzhou::${evil}` }, [evil]],
    [evil, [evil]],
    [[evil], [evil]],
    [{ Bucket: evil }, [evil]],
    [{ Other: [{ Bucket: evil }] }, [evil]],
    [{ SSECOS: { Bucket: evil } }, [evil]],
    [{ SSECOS: [evil] }, [evil]],
    [{ ssecos: evil }, [evil]],
    [{ Prefix: evil }, [evil]],
    [{ Encryption: { SSECOS: evil } }, [evil]],
    [{ SSEKMS: { KeyId: 'key' } }, ['key']]
  ]
  for (const [encryption, destinations] of table) {
    t.strictSame(destinationsOf(toBody(encryption)), destinations, JSON.stringify(encryption))
  }
  t.strictSame(destinationsOf({ Destination: { Encryption: { SSECOS: evil } } }), [evil], 'not at the place that COS documents')
  t.strictSame(destinationsOf({ Destination: { constructor: { toString: evil } } }), [evil], 'names of Object.prototype')
})

t.test('destinationsOf returns nothing when a body has no destination', async t => {
  t.strictSame(destinationsOf({ Prefix: 'backup/qcs:1/', Id: 'a-1', Tag: [{ Value: 'qcs:project' }], Bucket: 'a-1', Key: 'qcs::kms:r:uin/1:key/a-1' }), [])
  for (const body of [null, undefined, 1, true, {}, [], 'a-1']) t.strictSame(destinationsOf(body), [])
})

t.test('destinationsOf accepts a body with 200,000 levels', async t => {
  let body: unknown = 'qcs::cos:r::a-1'
  for (let level = 0; level < 200_000; level += 1) body = level % 2 === 0 ? [body] : { a: body }
  t.strictSame(destinationsOf(body), ['a-1'])
})
