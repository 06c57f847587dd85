import { truncateSync } from 'node:fs'
import t from 'tap'
import { access } from '../../src/http/access/access.ts'
import { createRateLimiter } from '../../src/http/access/rate-limits.ts'
import { auditResponses, createAuditTrail } from '../../src/http/audit-trail.ts'
import { createLifecycle } from '../../src/http/connections/graceful-shutdown.ts'
import { createBareApp } from '../bare-app.ts'
import { as, callersFile, everything, keyOf, withKey } from '../callers-file.ts'
import type { CallerEntry } from '../callers-file.ts'
import { startIssuer } from '../doubles/issuer.ts'
import { secret } from '../secrets.ts'
import { at, bucket, configuration, otherBucket, start } from '../start.ts'

const [reader, writer] = ['cos:GetBucketInventory', 'cos:PutBucketInventory']
const collection = `/buckets/${bucket}/inventories`

t.test('GET and PUT return 401 with a challenge when the key is missing or wrong', async t => {
  const { environment } = callersFile(t, [withKey('admin', everything)])
  const { call, emulator } = await start(t, { environment })
  const none = await call('GET', collection)
  t.match(none, { status: 401, json: { code: 'Unauthenticated', detail: /Authorization: Bearer/ } })
  t.equal(none.headers['www-authenticate'], 'Bearer realm="cos-inventory-proxy"', 'RFC 6750, section 3: no error code without credentials')
  const wrong = [
    'Bearer wrong', `Basic ${Buffer.from(`admin:${keyOf('admin')}`).toString('base64')}`, keyOf('admin'), 'Bearer', 'Bearer ',
    `Bearer ${keyOf('admin')} `.repeat(2), `Bearer ${keyOf('admin').toUpperCase()}`, `Bearer ${keyOf('admin').slice(0, -1)}`
  ]
  for (const authorization of wrong) {
    const response = await call('PUT', at('a'), configuration, { authorization })
    t.match(response, { status: 401, json: { code: 'Unauthenticated' } })
    t.equal(response.headers['www-authenticate'], 'Bearer realm="cos-inventory-proxy", error="invalid_token"')
    t.notMatch(response.text, keyOf('admin').slice(0, 20))
  }
  t.strictSame(emulator.requests, [])
  t.equal((await call('PUT', at('a'), configuration, as('admin'))).status, 204)
  t.equal((await call('GET', at('a'), undefined, { authorization: `bearer  ${keyOf('admin')}` })).status, 200)
})

t.test('probes and documents return 200 without a key, bucket routes return 401', async t => {
  const { environment } = callersFile(t, [])
  const { call } = await start(t, { environment })
  for (const path of ['/livez', '/readyz', '/openapi.json', '/openapi.yaml', '/docs/', '/docs/json']) {
    t.equal((await call('GET', path)).status, 200, path)
  }
  t.equal((await call('GET', '/nope')).status, 404)
  for (const [method, path] of [
    ['GET', collection], ['GET', at('a')], ['HEAD', at('a')], ['HEAD', collection], ['PUT', at('a')], ['POST', at('a')], ['DELETE', at('a')]
  ] as const) t.equal((await call(method, path)).status, 401, `${method} ${path}`)
})

t.test('PUT and GET return 403 with action and bucket, not whether the bucket exists', async t => {
  const { environment } = callersFile(t, [
    withKey('reader', [{ actions: [reader], buckets: [bucket, 'logs-*-1250000000'], regions: ['ap-guangzhou'] }]),
    withKey('nobody', [])
  ])
  const { call, emulator } = await start(t, { environment })
  t.equal((await call('GET', collection, undefined, as('reader'))).status, 200)
  const before = emulator.requests.length
  const put = await call('PUT', at('a'), configuration, as('reader'))
  t.match(put, { status: 403, json: { code: 'CallerNotAllowed', detail: `reader may not do cos:PutBucketInventory on ${bucket}.` } })
  for (const query of ['', '?region=ap-shanghai']) {
    const details = await Promise.all([otherBucket, 'absent-1250000000'].map(async name => {
      const { status, json } = await call('GET', `/buckets/${name}/inventories${query}`, undefined, as('nobody'))
      return [status, json.detail.replace(name, '')]
    }))
    t.strictSame(details[0], details[1], 'known and absent buckets have the same detail')
  }
  const elsewhere = await call('GET', `${collection}?region=ap-shanghai`, undefined, as('reader'))
  t.match(elsewhere, { status: 403, json: { detail: /in ap-shanghai/ } })
  t.match(await call('PUT', at('a'), 'not json', as('reader')), { status: 403 }, 'authorization precedes the body')
  t.equal(emulator.requests.length, before)
  t.match(await call('GET', `${collection}?region=ap-guangzhou&region=ap-guangzhou`, undefined, as('reader')),
    { status: 400, json: { code: 'ValidationFailed' } })
})

t.test('GET returns 400 for a region-bound caller when the bucket region is unknown', async t => {
  const { environment } = callersFile(t, [withKey('reader', [{ actions: [reader], buckets: ['*'], regions: ['ap-guangzhou'] }])])
  const { call, emulator } = await start(t, { environment: { ...environment, COS_REGION: '' } })
  t.match(await call('GET', collection, undefined, as('reader')), { status: 400, json: { errors: [{ pointer: '/region' }] } })
  t.strictSame(emulator.requests, [])
  t.equal((await call('GET', `${collection}?region=ap-guangzhou`, undefined, as('reader'))).status, 200)
})

t.test('PUT and POST return 403 when no statement allows the destination', async t => {
  const { environment } = callersFile(t, [
    withKey('default', [{ actions: ['cos:*'], buckets: ['*'] }]),
    withKey('bounded', [{ actions: ['cos:*'], buckets: ['*'], destinations: ['reports-1250000000', 'audit-*'] }]),
    withKey('none', [{ actions: ['cos:*'], buckets: ['*'], destinations: [] }]),
    // Neither statement alone allows the action and the destination.
    withKey('split', [
      { actions: [writer], buckets: [bucket], destinations: [] },
      { actions: [reader], buckets: ['*'], destinations: ['*'] }
    ])
  ])
  const { call, emulator } = await start(t, { environment })
  const to = (destination: string, more: object = {}) => ({
    ...configuration,
    Destination: { COSBucketDestination: { Bucket: `qcs::cos:ap-guangzhou::${destination}`, Format: 'CSV', ...more } }
  })
  const cases: Array<[string, string, number]> = [
    ['default', bucket, 204], ['default', 'reports-1250000000', 204], ['default', 'reports-1250000001', 403],
    ['default', 'reports-11250000000', 403],
    ['bounded', 'reports-1250000000', 204], ['bounded', 'audit-of-all-1300000000', 204], ['bounded', bucket, 403],
    ['none', bucket, 403], ['split', bucket, 403]
  ]
  for (const [name, destination, status] of cases) {
    const response = await call('PUT', at('a'), to(destination), as(name))
    t.equal(response.status, status, `${name} to ${destination}`)
    if (status === 403) t.match(response.json, { code: 'CallerNotAllowed', detail: new RegExp(destination) })
    const { IsEnabled: _, Schedule: __, ...job } = to(destination)
    const posted = await call('POST', at(`${name}-${destination}`), job, as(name))
    t.equal(posted.status, status === 204 ? 202 : 403)
    const dry = await call('PUT', at('a', '?dry-run=true'), to(destination), as(name))
    t.equal(dry.status, status === 204 ? 200 : 403, 'a dry run needs the same permissions')
  }
  const sent = emulator.requests.length
  const smuggled = to(bucket, { Other: { Bucket: 'qcs::cos:ap-guangzhou::stranger-1999999999' } })
  t.match(await call('PUT', at('a', '?allow-unknown=true'), smuggled, as('default')),
    { status: 403, json: { detail: /stranger-1999999999/ } })
  t.match(await call('PUT', at('a'), { ...to('reports-1250000001'), Colour: 'red' }, as('default')), { status: 400 })
  t.equal(emulator.requests.length, sent)
})

t.test('PUT returns 403 when text below Encryption names a forbidden destination', async t => {
  const destinations = ['reports-1250000000']
  const { environment } = callersFile(t, [withKey('bounded', [{ actions: ['cos:*'], buckets: ['*'], destinations }])])
  const { call, emulator } = await start(t, { environment })
  const put = (Encryption: object) => call('PUT', at('a', '?allow-unknown=true'), {
    ...configuration,
    Destination: { COSBucketDestination: { Bucket: 'qcs::cos:ap-guangzhou::reports-1250000000', Format: 'CSV', Encryption } }
  }, as('bounded'))
  const stranger = 'stranger-1999999999'
  for (const encryption of [{ Bucket: stranger }, { SSECOS: { Target: { Bucket: stranger } } }]) {
    t.match(await put(encryption), { status: 403, json: { code: 'CallerNotAllowed', detail: new RegExp(stranger) } })
  }
  t.strictSame(emulator.requests, [])
  t.equal((await put({ SSECOS: {} })).status, 204)
})

t.test('DELETE returns 403 ReadOnly after the access checks when READ_ONLY is true', async t => {
  const { environment } = callersFile(t, [withKey('admin', everything), withKey('reader', [{ actions: [reader], buckets: ['*'] }])])
  const { call } = await start(t, { environment: { ...environment, READ_ONLY: 'true' } })
  t.match(await call('DELETE', at('a'), undefined, as('admin')), { status: 403, json: { code: 'ReadOnly' } })
  t.match(await call('DELETE', at('a'), undefined, as('reader')), { status: 403, json: { code: 'CallerNotAllowed' } })
  t.match(await call('DELETE', at('a')), { status: 401 })
})

t.test('access decisions equal those of a naive evaluator for every combination', async t => {
  const buckets = [bucket, otherBucket, 'logs-a-1250000000', 'log-1250000000']
  const regions = ['ap-guangzhou', 'ap-shanghai']
  const actions = ['cos:GetBucketInventory', 'cos:PutBucketInventory', 'cos:DeleteBucketInventory', 'cos:PostBucketInventory']
  const statements: CallerEntry['allow'] = [
    { actions: [reader], buckets: ['logs-*'] },
    { actions: [writer, reader], buckets: ['*-1250000000'], regions: ['ap-shanghai'] },
    { actions: ['cos:*'], buckets: ['log*0', 'x'] },
    { actions: ['cos:DeleteBucketInventory', 'cos:PostBucketInventory'], buckets: [bucket], regions }
  ]
  // Each subset of the statements belongs to one caller.
  const callers = Array.from({ length: 2 ** statements.length }, (_, bits) =>
    withKey(`caller-${bits}`, statements.filter((_, index) => bits & 2 ** index), { rateLimitPerMinute: 0 }))
  const { environment } = callersFile(t, callers)
  const { call, emulator } = await start(t, { environment })

  const matches = (glob: string, name: string): boolean => glob === ''
    ? name === ''
    : glob[0] === '*'
      ? matches(glob.slice(1), name) || (name !== '' && matches(glob, name.slice(1)))
      : glob[0] === name[0] && matches(glob.slice(1), name.slice(1))
  const allows = ({ allow }: CallerEntry, action: string, name: string, region: string) => allow.some(statement =>
    (statement.actions.includes('cos:*') || statement.actions.includes(action)) &&
    statement.buckets.some(glob => matches(glob, name)) &&
    (statement.regions ?? regions).includes(region))
  const { IsEnabled: _, Schedule: __, ...job } = configuration
  const methods = { Get: ['GET', undefined], Put: ['PUT', configuration], Delete: ['DELETE', undefined], Post: ['POST', job] } as const
  let [allowed, denied] = [0, 0]
  for (const caller of callers) {
    for (const action of actions) {
      const [method, body] = methods[action.slice('cos:'.length).replace('BucketInventory', '') as 'Put']
      for (const name of buckets) {
        for (const region of regions) {
          const before = emulator.requests.length
          const { status, json } = await call(method, `/buckets/${name}/inventories/x?region=${region}`, body, as(caller.name))
          const passed = json?.code !== 'CallerNotAllowed'
          if (passed !== allows(caller, action, name, region) || passed !== (emulator.requests.length === before + 1)) {
            t.fail(`${caller.name} ${action} ${name} ${region}: ${status}`)
          }
          if (passed) allowed += 1
          else denied += 1
        }
      }
    }
  }
  t.equal(allowed + denied, 512)
  t.ok(allowed > 100 && denied > 100, `${allowed} allowed, ${denied} denied`)
})

t.test('the start fails with every error when CALLERS_FILE is invalid or unreadable', async t => {
  const { environment } = callersFile(t, [{ ...withKey('a', everything), keys: ['plain-key'] }, withKey('a', [])])
  await t.rejects(start(t, { environment }), { message: /2 errors:\n.*\/callers\/0\/keys\/0.*\n.*\/callers\/1/ })
  await t.rejects(start(t, { environment: { ...environment, CALLERS_FILE: '/nowhere', AUDIT_LOG: '/nowhere/audit' } }),
    { message: /2 errors:\n.*CALLERS_FILE cannot be read: ENOENT\n.*AUDIT_LOG: ENOENT/ })
})

t.test('the start fails when CALLERS_FILE is larger than 16 MiB', async t => {
  const { environment } = callersFile(t, [])
  truncateSync(environment.CALLERS_FILE, 16 * 1024 * 1024 + 1)
  await t.rejects(start(t, { environment }), { message: /CALLERS_FILE cannot be read: larger than 16 MiB/ })
})

t.test('PUT returns 204 when the JWT has the claims of a caller, 401 otherwise', async t => {
  const issuer = await startIssuer(t, { onSecret: secret })
  const { environment } = callersFile(t, [{ name: 'service', jwt: { claims: { sub: 'svc' } }, allow: everything }])
  const { jwksUrl, issuer: iss, audience } = issuer.config
  const { call, service, audits, emulator } = await start(t, {
    environment: { ...environment, JWT_JWKS_URL: jwksUrl, JWT_ISSUER: iss, JWT_AUDIENCE: audience }
  })
  const bearer = async (claims: Record<string, unknown>) => ({ authorization: `Bearer ${await issuer.sign(claims)}` })
  t.equal((await call('PUT', at('a'), configuration, await bearer({ sub: 'svc' }))).status, 204)
  t.equal((await call('PUT', at('a'), configuration, await bearer({ sub: 'other' }))).status, 401)
  emulator.addFault({ kind: 'hang', times: 1 })
  const before = emulator.connections
  const interrupted = call('DELETE', at('a'), undefined, await bearer({ sub: 'svc' })).catch(() => {})
  while (emulator.connections === before) await new Promise(resolve => { setImmediate(resolve) })
  service.cut()
  t.match(audits(), [{ caller: 'service', outcome: 'success' }, { caller: null }, { caller: 'service', id: 'a', outcome: 'unknown' }])
  await emulator.close()
  await interrupted
})

t.test('registration fails when a bucket route names no action', async t => {
  const app = await createBareApp(t)
  const audit = { isWritable: () => true, flush () {}, record () {}, failedWrites: () => 0 }
  const auditTrail = createAuditTrail(audit, createLifecycle())
  const rateLimiter = await createRateLimiter(app, { perMinute: 0, byAddress: false, redis: undefined }, () => 0)
  const options = { auditTrail, callers: { identify: async () => undefined }, rateLimiter, regionOf: () => undefined }
  await app.register(auditResponses, { auditTrail })
  await app.register(access, options)
  t.throws(() => app.get('/buckets/:bucket/acl', async () => 'open'), { message: /acl names no action/ })
})

t.test('the client address is unknown when the socket has no valid address', async t => {
  const app = await createBareApp(t)
  app.get('/', async ({ context }) => context.clientAddress)
  t.equal((await app.inject({ url: '/', remoteAddress: '::1' })).body, '::1')
  t.equal((await app.inject({ url: '/', remoteAddress: 'fe80::1%made-up' })).body, 'fe80::1')
  t.equal((await app.inject({ url: '/', remoteAddress: 'nowhere' })).body, 'unknown')
})
