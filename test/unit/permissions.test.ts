import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { parseCallers } from '../../src/callers/callers-file.ts'
import type { Caller } from '../../src/callers/callers-file.ts'
import { compileGlob } from '../../src/callers/glob.ts'
import { destinationsOf, permits, permitsDestination } from '../../src/callers/permissions.ts'
import type { Call } from '../../src/callers/permissions.ts'

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
  const [caller] = parseCallers(JSON.stringify({ callers: [{ name: 'a', keys: [], allow }] }))
  if (caller === undefined) throw new Error('a caller was parsed')
  return caller
}

/** The same rules again, in the most literal way: what both say is what the documentation says. */
const literally = {
  fits: (pattern: string, name: string): boolean => {
    if (pattern === '') return name === ''
    if (pattern.startsWith('*')) {
      return literally.fits(pattern.slice(1), name) || (name !== '' && literally.fits(pattern, name.slice(1)))
    }
    return name[0] === pattern[0] && literally.fits(pattern.slice(1), name.slice(1))
  },
  permits: (rule: Rule, call: Call): boolean => {
    if (!rule.actions.includes('cos:*') && !rule.actions.includes(call.action)) return false
    if (!rule.buckets.some(pattern => literally.fits(pattern, call.bucket))) return false
    return rule.regions === undefined || call.region === undefined || rule.regions.includes(call.region)
  },
  permitsDestination: (rules: Rule[], call: Call, destination: string): boolean => rules.some(rule => {
    if (!literally.permits(rule, call)) return false
    if (rule.destinations === undefined) return destination.split('-').at(-1) === call.bucket.split('-').at(-1)
    return rule.destinations.some(pattern => literally.fits(pattern, destination))
  })
}

const action = fc.constantFrom(
  'cos:GetBucketInventory', 'cos:PutBucketInventory', 'cos:DeleteBucketInventory', 'cos:PostBucketInventory'
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
  actions: fc.array(fc.oneof(action, fc.constant('cos:*')), { minLength: 1, maxLength: 3 }),
  buckets: fc.array(glob, { minLength: 1, maxLength: 3 }),
  regions: fc.array(region, { minLength: 1, maxLength: 2 }),
  destinations: fc.array(glob, { maxLength: 2 })
}, { noNullPrototype: true, requiredKeys: ['actions', 'buckets'] })
const callOf: fc.Arbitrary<Call> = fc.record({
  action, bucket: name, region: fc.option(region, { nil: undefined })
}, { noNullPrototype: true })

t.test('calls and destinations are allowed as a literal reading of the rules allows them', async t => {
  const verdicts = { allowed: 0, refused: 0 }
  t.doesNotThrow(() => {
    fc.assert(fc.property(fc.array(rule, { maxLength: 3 }), callOf, name, (rules, call, destination) => {
      const caller = callerWith(...rules)
      const allowed = rules.some(each => literally.permits(each, call))
      assert.equal(permits(caller, call), allowed)
      const mayName = literally.permitsDestination(rules, call, destination)
      assert.equal(permitsDestination(caller, call, destination), mayName)
      verdicts[allowed ? 'allowed' : 'refused'] += 1
    }), { numRuns: 2000 })
  })
  t.ok(verdicts.allowed > 200 && verdicts.refused > 200, 'neither answer is rare')
})

t.test('a glob fits as its letters say', async t => {
  t.doesNotThrow(() => {
    const letters = (alphabet: string) => fc.string({ unit: fc.constantFrom(...alphabet), maxLength: 9 })
    fc.assert(fc.property(letters('ab*'), letters('ab'), (pattern, text) => {
      assert.equal(compileGlob(pattern)(text), literally.fits(pattern, text))
    }), { numRuns: 3000 })
  })
})

t.test('a glob of many stars is as quick as any', async t => {
  const fits = compileGlob(`${'*a'.repeat(500)}*b`)
  const startedAt = process.cpuUsage().user
  t.notOk(fits('a'.repeat(100_000)))
  t.ok(process.cpuUsage().user - startedAt < 1_000_000, 'in less than a second of work')
})

t.test('nothing is allowed that no statement allows', async t => {
  t.notOk(permits(callerWith(), get))
  t.notOk(permitsDestination(callerWith(), put, bucket))
  const reader = callerWith({ actions: ['cos:GetBucketInventory'], buckets: [bucket] })
  t.ok(permits(reader, get))
  t.notOk(permits(reader, put))
  t.notOk(permits(reader, { ...get, bucket: `${bucket}0` }))
  t.notOk(permits(reader, { ...get, bucket: `a${bucket}` }))
})

t.test('a statement bound to regions allows a call whose region nobody knows yet', async t => {
  const caller = callerWith({ actions: ['cos:*'], buckets: ['*'], regions: ['ap-guangzhou'] })
  t.ok(permits(caller, get))
  t.notOk(permits(caller, { ...get, region: 'ap-shanghai' }))
  t.ok(permits(caller, { ...get, region: undefined }))
})

t.test('one statement must allow both the call and its destination', async t => {
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

t.test('an empty list of destinations allows none', async t => {
  t.notOk(permitsDestination(callerWith({ actions: ['cos:*'], buckets: ['*'], destinations: [] }), put, bucket))
})

t.test('what is no bucket name is a destination for those alone who may name any', async t => {
  const allow = (...destinations: string[]) => callerWith({ actions: ['cos:*'], buckets: ['*'], destinations })
  for (const odd of ['evil-1999999999/x-1250000000', 'qcs::cos:r::evil-1/a:x-1250000000', 'X-1250000000', '']) {
    t.notOk(permitsDestination(allow('*-1250000000', '*x*'), put, odd), odd)
    t.notOk(permitsDestination(callerWith({ actions: ['cos:*'], buckets: ['*'] }), put, odd), odd)
    t.ok(permitsDestination(allow('*'), put, odd), odd)
  }
})

t.test('the destinations of a body are found wherever they are', async t => {
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

t.test('what should be a destination and cannot be read as one is named whole', async t => {
  const declared = (Bucket: unknown) => destinationsOf({ Destination: { COSBucketDestination: { Bucket } } })
  t.strictSame(declared('a-1'), ['a-1'])
  t.strictSame(declared('b:o:g:u:s:a-1'), ['b:o:g:u:s:a-1'])
  t.strictSame(declared(['a-1', ['b-1']]), ['a-1', 'b-1'])
  t.strictSame(declared(1), [])
  const several = 'qcs::cos:r::evil-1/x:a-1'
  t.strictSame(destinationsOf({ a: [several, 'qcs::cos:r::', 'qcs:::r::a-1'] }), [several, 'qcs::cos:r::', 'qcs:::r::a-1'])
})

t.test('whatever stands under Destination and is not known to mean something else is one', async t => {
  const COSBucketDestination = { Format: 'CSV', AccountId: '1', Prefix: 'p', Encryption: { SSECOS: '111', 'SSE-COS': 'a-1' } }
  t.strictSame(destinationsOf({ Destination: { COSBucketDestination } }), [])
  const hidden = [
    { Other: { Bucket: 'evil-9' } }, { COSBucketDestination: { ...COSBucketDestination, BucketName: 'evil-9' } }, { Prefix: 'evil-9' },
    { COSBucketDestination: { Encryption: { Destination: { Bucket: 'evil-9' } } } }, { COSBucketDestination: [['evil-9']] },
    { COSBucketDestination: { Prefix: { Bucket: 'evil-9' } } }
  ]
  for (const Destination of hidden) t.strictSame(destinationsOf({ Destination }), ['evil-9'], JSON.stringify(Destination))
  for (const body of [{ destination: { Bucket: 'evil-9' } }, { X: { cosbucketdestination: { Prefix: 'evil-9' } } }]) {
    t.strictSame(destinationsOf(body), ['evil-9'], 'whatever way the element is spelt')
  }
  for (const before of ['\u0085', '\u200b', 'x']) t.strictSame(destinationsOf({ a: `${before}qcs::cos:r::evil-9` }), [`${before}qcs::cos:r::evil-9`])
})

t.test('text below Encryption is a destination unless it is the text of a marker', async t => {
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
  t.strictSame(destinationsOf({ Destination: { Encryption: { SSECOS: evil } } }), [evil], 'not where COS has it')
  t.strictSame(destinationsOf({ Destination: { constructor: { toString: evil } } }), [evil], 'names of JavaScript')
})

t.test('other text is no destination', async t => {
  t.strictSame(destinationsOf({ Prefix: 'backup/qcs:1/', Id: 'a-1', Tag: [{ Value: 'qcs:project' }], Bucket: 'a-1', Key: 'qcs::kms:r:uin/1:key/a-1' }), [])
  for (const body of [null, undefined, 1, true, {}, [], 'a-1']) t.strictSame(destinationsOf(body), [])
})

t.test('a body may nest as deep as it likes', async t => {
  let body: unknown = 'qcs::cos:r::a-1'
  for (let level = 0; level < 200_000; level += 1) body = level % 2 === 0 ? [body] : { a: body }
  t.strictSame(destinationsOf(body), ['a-1'])
})
