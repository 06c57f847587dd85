import { renameSync, writeFileSync } from 'node:fs'
import t from 'tap'
import type { Emulator, EmulatorCredential } from '../../src/emulator/server.ts'
import { startMetadataDouble } from '../doubles/metadata.ts'
import { startStsDouble } from '../doubles/sts.ts'
import { secret } from '../secrets.ts'
import { configuration, start, startTestEmulator, startTestService, until } from '../start.ts'
import type { Running, Test } from '../start.ts'

const [east, south] = ['ap-shanghai', 'ap-guangzhou']
const [one, two] = ['1250000000', '1260000000']
const first = `logs-${one}`
const second = `logs-${two}`
const stranger = 'logs-1270000000'
const buckets = [
  { name: first, region: south }, { name: `reports-${one}`, region: south },
  { name: second, region: east }, { name: `reports-${two}`, region: east },
  { name: stranger, region: south }
]
const regions = { COS_BUCKET_REGIONS: `${second}=${east},reports-${two}=${east}` }
const discovering = { COS_REGION_DISCOVERY: 'true', COS_REGION: '', COS_BUCKET_REGIONS: '' }
const noPair = { COS_SECRET_ID: '', COS_SECRET_KEY: '', COS_TOKEN: '' }

let made = 0
/** Makes a permanent key of an account. */
function keyOf (appId: string | undefined): EmulatorCredential {
  made += 1
  return {
    secretId: `AKID${made}account${appId}`,
    secretKey: secret(`secretKeyOfTheAccount${appId}number${made}`),
    ...appId !== undefined && { appId }
  }
}

const at = (bucket: string, rest = '/daily') => `/buckets/${bucket}/inventories${rest}`

/** The files of an operator: a credentials file for each key, and the accounts file. */
function operatorFiles (t: { testdir (files: Record<string, string>): string }) {
  const folder = t.testdir({})
  const replace = (name: string, text: string) => {
    writeFileSync(`${folder}/${name}.new`, text)
    renameSync(`${folder}/${name}.new`, `${folder}/${name}`)
  }
  return {
    path: `${folder}/accounts.json`,
    /** Writes the credentials file of a key and returns its source. */
    keep ({ secretId, secretKey }: EmulatorCredential, name: string) {
      replace(name, JSON.stringify({ secretId, secretKey }))
      return { source: 'file', path: `${folder}/${name}` }
    },
    write (accounts: object) { replace('accounts.json', JSON.stringify({ accounts })) },
    replace
  }
}

/** Starts a service with an account for each of two APPIDs, whose keys differ. */
async function startTwo (t: Test & Parameters<typeof operatorFiles>[0], environment: Record<string, string> = {}) {
  const files = operatorFiles(t)
  const keys = { one: keyOf(one), two: keyOf(two) }
  const accounts = { [one]: files.keep(keys.one, 'one'), [two]: files.keep(keys.two, 'two') }
  files.write(accounts)
  const running = await start(t, {
    credentials: [keys.one, keys.two],
    buckets,
    environment: { ...noPair, ...regions, COS_ACCOUNTS_FILE: files.path, ...environment }
  })
  return { ...running, files, keys, accounts }
}

/** Returns the operations that arrived with a key. */
function sentWith ({ requests }: Emulator, { secretId }: EmulatorCredential): string[] {
  return requests.filter(({ headers }) => headers['authorization']?.includes(`q-ak=${secretId}&`) === true)
    .map(({ operation, host }) => `${operation} ${host.split('.', 1)[0]}`)
}

/** Returns the values of a metric by account. */
async function valuesOf ({ call }: Pick<Running, 'call'>, metric: string): Promise<Record<string, number>> {
  const { text } = await call('GET', '/metrics')
  return Object.fromEntries([...text.matchAll(new RegExp(`^${metric}\\{.*?account="(\\w+)"\\} (.*)$`, 'gm'))]
    .map(([, account = '', value]) => [account, Number(value)]))
}

const reloadsOf = (running: Pick<Running, 'call'>) => valuesOf(running, 'config_last_reload_successful')

t.test('each call uses the key of the account that the bucket belongs to', async t => {
  const { call, emulator, keys } = await startTwo(t)
  for (const bucket of [first, second]) {
    t.equal((await call('PUT', at(bucket), { ...configuration, Destination: destination(bucket) })).status, 204, bucket)
    t.equal((await call('GET', at(bucket))).status, 200)
    t.equal((await call('GET', at(bucket, ''))).status, 200)
  }
  const operations = (name: string) => [`PutBucketInventory ${name}`, `GetBucketInventory ${name}`, `ListBucketInventory ${name}`]
  t.strictSame(sentWith(emulator, keys.one), operations(first))
  t.strictSame(sentWith(emulator, keys.two), operations(second))
})

function destination (bucket: string, name = `reports-${bucket.slice(-10)}`) {
  const { region } = buckets.find(each => each.name === name) ?? { region: south }
  return { COSBucketDestination: { Format: 'CSV', Bucket: `qcs::cos:${region}::${name}` } }
}

t.test('a key is rejected for a bucket of another account', async t => {
  const { call, emulator, files, accounts, service } = await startTwo(t)
  files.write({ [one]: accounts[two] ?? {}, [two]: accounts[two] ?? {} })
  await service.reload()
  await until(async () => (await call('GET', at(first, ''))).status === 403)
  t.match(await call('GET', at(first, '')), { status: 403, json: { code: 'AccessDenied' } })
  t.equal((await call('GET', at(second, ''))).status, 200)
  t.ok(emulator.requests.length > 1)
})

t.test('requests return 404 AccountUnknown before anything is sent', async t => {
  for (const environment of [{}, discovering, { ...discovering, COS_REGION: south }]) {
    const { call, emulator } = await startTwo(t, environment)
    const body = { ...configuration, Destination: destination(stranger, stranger) }
    for (const [method, path, input] of [
      ['GET', at(stranger), undefined], ['GET', at(stranger, ''), undefined], ['PUT', at(stranger), body],
      ['PUT', at(stranger, '/daily?dry-run=true'), body], ['DELETE', at(stranger), undefined],
      ['PUT', at(stranger, '?dry-run=true'), { InventoryConfigurations: [] }], ['GET', at(stranger, '/daily?region=ap-tokyo'), undefined]
    ] as const) {
      t.match(await call(method, path, input), {
        status: 404, json: { code: 'AccountUnknown', detail: /no account for the APPID 1270000000 of logs-1270000000\. Nothing was sent/ }
      }, `${method} ${path}`)
    }
    t.strictSame(emulator.requests, [])
  }
})

t.test('the default account takes the buckets of all other APPIDs', async t => {
  const files = operatorFiles(t)
  const [named, other] = [keyOf(one), keyOf(undefined)]
  files.write({ [one]: files.keep(named, 'one'), default: { source: 'env' } })
  const { call, emulator } = await start(t, {
    credentials: [named, other],
    buckets,
    environment: {
      ...noPair,
      ...regions,
      COS_SECRET_ID: other.secretId,
      COS_SECRET_KEY: other.secretKey,
      COS_ACCOUNTS_FILE: files.path
    }
  })
  for (const bucket of [first, second, stranger]) t.equal((await call('GET', at(bucket, ''))).status, 200)
  t.strictSame(sentWith(emulator, named), [`ListBucketInventory ${first}`])
  t.strictSame(sentWith(emulator, other), [`ListBucketInventory ${second}`, `ListBucketInventory ${stranger}`])
})

t.test('region discovery lists the buckets of each account with its key', async t => {
  const { call, emulator, keys } = await startTwo(t, discovering)
  for (const bucket of [first, second, first, second]) t.equal((await call('GET', at(bucket, ''))).status, 200)
  const expected = (name: string) => ['GetService service', `ListBucketInventory ${name}`, `ListBucketInventory ${name}`]
  t.strictSame([sentWith(emulator, keys.one), sentWith(emulator, keys.two)], [expected(first), expected(second)])
  t.match((await call('GET', at(`absent-${two}`, ''))).json, { status: 404, code: 'NoSuchBucket' })
})

t.test('preflight looks a destination up in the list of its own account', async t => {
  const { call, emulator, keys } = await startTwo(t, discovering)
  const warningsFor = async (name: string) => {
    const body = { ...configuration, Destination: destination(first, name) }
    const { headers } = await call('PUT', at(first, '/daily?preflight=warn&dry-run=true'), body)
    return headers['preflight-warnings'] === undefined ? [] : (JSON.parse(String(headers['preflight-warnings'])) as Array<{ code: string }>).map(({ code }) => code)
  }
  t.strictSame(await warningsFor(`reports-${one}`), [])
  t.strictSame(sentWith(emulator, keys.two), [])
  t.strictSame(await warningsFor(`absent-${two}`), ['DestinationNotFound'])
  t.strictSame(sentWith(emulator, keys.two), ['GetService service'])
  t.strictSame(await warningsFor(`reports-${two}`), ['DestinationInOtherRegion'])
  t.strictSame(await warningsFor(stranger), [], 'an unknown account is not looked up')
})

t.test('reports are read with the key of the account of the destination', async t => {
  const { call, emulator, keys } = await startTwo(t, { REPORTS: 'true' })
  const jobBucket = `reports-${two}`
  const body = { ...configuration, Filter: undefined, Destination: destination(second, jobBucket) }
  t.equal((await call('PUT', at(second), body)).status, 204)
  await emulator.deliverReport({ bucket: second, id: 'daily', count: 3 })
  t.match(await call('GET', at(second, '/daily/reports/latest')), { status: 200 })
  const before = sentWith(emulator, keys.two).length
  // The source belongs to the first account, the named destination to the second one.
  const named = await call('GET', at(first, `/daily/reports/latest?destination=${jobBucket}&region=${east}`))
  t.match(named, { status: 404, json: { code: 'ReportNotFound' } })
  t.ok(sentWith(emulator, keys.two).slice(before).every(each => each.endsWith(jobBucket)))
  t.strictSame(sentWith(emulator, keys.one), [])
  const unknown = await call('GET', at(first, `/daily/reports/latest?destination=${stranger}&region=${south}`))
  t.match(unknown, { status: 404, json: { code: 'AccountUnknown' } })
})

t.test('a rejected key of one account neither renews nor blocks the other', async t => {
  const { call, emulator, files, keys, logs } = await startTwo(t, { COS_MAX_ATTEMPTS: '2' })
  const renewed = keyOf(two)
  emulator.setCredentials([keys.one, renewed])
  t.match((await call('GET', at(second, ''))).json, { code: 'UpstreamCredentialsRejected' })
  const loadsOf = (account: string) => logs().split('\n')
    .filter(line => line.includes(`"account":"${account}"`) && line.includes('credentials for COS')).length
  const loads = loadsOf(one)
  const results: number[] = []
  const load = { isRunning: true }
  const steady = (async () => {
    while (load.isRunning) results.push((await call('GET', at(first, ''))).status)
  })()
  files.keep(renewed, 'two')
  await until(async () => (await call('GET', at(second, ''))).status === 200)
  load.isRunning = false
  await steady
  t.ok(results.length > 0 && results.every(status => status === 200))
  t.equal(loadsOf(one), loads, 'the other account loads nothing')
  t.ok(loadsOf(two) > 1)
})

t.test('metrics, readiness and the start line show each account', async t => {
  const running = await startTwo(t)
  const { call, files, keys, logs } = running
  t.match(logs(), new RegExp(`"credentials":"accounts-file","accounts":\\{"${one}":"file","${two}":"file"\\},"features":\\["accounts-file","connect-to"\\],"msg":"started"`))
  t.strictSame(await valuesOf(running, 'cos_credentials_available'), { [one]: 1, [two]: 1 })
  t.strictSame(await valuesOf(running, 'cos_credentials_expiry_timestamp_seconds'), {})
  t.match((await call('GET', '/readyz?verbose')).json.components, [
    { name: 'credentials', account: one, state: 'ok', readAt: /Z$/ }, { name: 'credentials', account: two, state: 'ok' },
    { name: 'accounts', state: 'ok', readAt: /Z$/ }
  ])
  const { path } = files.keep(keys.two, 'two')
  writeFileSync(path, '{}')
  await until(async () => (await reloadsOf(running))[two] === 0)
  t.equal((await reloadsOf(running))[one], 1, 'the files of each account are watched')
  t.match((await call('GET', '/readyz?verbose')).json.components, [{ state: 'ok' }, { account: two, state: 'outdated' }])
  t.match(logs(), new RegExp(`"level":50[^\\n]*"what":"COS_CREDENTIALS","account":"${two}"[^\\n]*reload failed`))
})

t.test('/readyz returns 503 only when no account has valid credentials', async t => {
  const files = operatorFiles(t)
  const key = keyOf(one)
  const absent = { source: 'file', path: '/nowhere/key' }
  files.write({ [one]: absent, [two]: absent })
  const environment = { ...noPair, ...regions, COS_ACCOUNTS_FILE: files.path }
  const running = await start(t, { credentials: [key], buckets, environment })
  const { call } = running
  const cause = 'the credentials file cannot be read (ENOENT)'
  t.match(await call('GET', '/readyz'), {
    status: 503, json: { code: 'UpstreamCredentialsUnavailable', detail: `account ${one}: ${cause}; account ${two}: ${cause}` }
  })
  t.match(await call('GET', at(first, '')), { status: 503, json: { code: 'UpstreamCredentialsUnavailable' } })
  files.write({ [one]: absent, [two]: absent, 3: absent, 4: absent, 5: absent })
  await running.service.reload()
  await until(async () => (await call('GET', '/readyz')).text.includes('; and 2 more.'))
  files.write({ [one]: files.keep(key, 'one'), [two]: absent })
  await running.service.reload()
  await until(async () => (await call('GET', '/readyz')).status === 200)
  t.strictSame(await valuesOf(running, 'cos_credentials_available'), { [one]: 1, [two]: 0 })
  t.match((await call('GET', '/readyz?verbose')).json.components, [{ account: one, state: 'ok' }, { account: two, state: 'failing' }])
  t.equal((await call('GET', at(first, ''))).status, 200)
})

t.test('a changed file adds, removes and changes accounts, and keeps the others', async t => {
  const running = await startTwo(t)
  const { call, emulator, files, keys, accounts, logs } = running
  const added = keyOf('1270000000')
  emulator.setCredentials([keys.one, keys.two, added])
  // An unchanged account keeps its credentials, although its file is now broken.
  const { path } = files.keep(keys.one, 'one')
  await until(async () => (await valuesOf(running, 'cos_credentials_available'))[one] === 1)
  const loads = () => logs().split('\n').filter(line => line.includes(`"account":"${one}"`)).length
  files.write({ [one]: accounts[one] ?? {}, 1270000000: files.keep(added, 'added') })
  await until(async () => (await call('GET', at(stranger, ''))).status === 200)
  const before = loads()
  t.match((await call('GET', at(second, ''))).json, { code: 'AccountUnknown' })
  t.strictSame(await valuesOf(running, 'cos_credentials_available'), { [one]: 1, 1270000000: 1 })
  t.strictSame(Object.keys(await reloadsOf(running)), [one, '1270000000'])
  t.equal((await call('GET', at(first, ''))).status, 200)
  t.equal(loads(), before)

  // A source that cannot be loaded keeps the previous credentials of its account.
  files.write({ [one]: { source: 'file', path: `${path}.missing` }, 1270000000: accounts[two] ?? {} })
  await running.service.reload()
  await until(async () => (await call('GET', at(stranger, ''))).status === 403)
  t.equal((await call('GET', at(first, ''))).status, 200)
  await until(async () => (await reloadsOf(running))[one] === 0)
  files.write({ [one]: files.keep(keyOf(one), 'other'), 1270000000: accounts[two] ?? {} })
  await running.service.reload()
  await until(async () => (await call('GET', at(first, ''))).status === 502)
})

t.test('a changed source forgets the list of buckets of its account', async t => {
  const running = await startTwo(t, discovering)
  const { call, emulator, files, keys, accounts } = running
  t.equal((await call('GET', at(second, ''))).status, 200)
  const replaced = keyOf(two)
  emulator.setCredentials([keys.one, replaced])
  files.write({ ...accounts, [two]: files.keep(replaced, 'replaced') })
  await running.service.reload()
  await until(async () => (await call('GET', at(second, ''))).status === 200)
  await until(async () => {
    await call('GET', at(second, ''))
    return sentWith(emulator, replaced).includes('GetService service')
  })
})

t.test('a bad accounts file keeps the previous accounts and stops a start', async t => {
  const running = await startTwo(t)
  const { call, files, emulator, logs } = running
  const isCurrent = async () => /^config_last_reload_successful\{file="COS_ACCOUNTS_FILE"\} 1$/m.test((await call('GET', '/metrics')).text)
  t.equal(await isCurrent(), true)
  files.write({ [one]: { source: 'file' } })
  await running.service.reload()
  t.equal(await isCurrent(), false)
  t.match((await call('GET', '/readyz?verbose')).json.components, [{}, {}, { name: 'accounts', state: 'outdated' }])
  t.match(logs(), /"what":"COS_ACCOUNTS_FILE","cause":"[^"]*\/accounts\/1250000000\/path is required"[^\n]*reload failed, keeping/)
  for (const bucket of [first, second]) t.equal((await call('GET', at(bucket, ''))).status, 200)
  const environment = { ...noPair, COS_ACCOUNTS_FILE: files.path, AUTH: 'required', CALLERS_FILE: '/nowhere/callers' }
  await t.rejects(startTestService(t, emulator.address, environment),
    /\/accounts\/1250000000\/path is required\n {2}- CALLERS_FILE cannot be read: ENOENT/)
})

t.test('the skew of the clock is shared by all accounts', async t => {
  const { call, emulator, keys } = await startTwo(t, { COS_MAX_ATTEMPTS: '2' })
  emulator.setClockOffset(3_600_000)
  t.equal((await call('GET', at(first, ''))).status, 200)
  t.equal((await call('GET', at(second, ''))).status, 200)
  t.strictSame([sentWith(emulator, keys.one).length, sentWith(emulator, keys.two).length], [2, 1])
})

t.test('one account of COS_CREDENTIALS is named default', async t => {
  const emulator = await startTestEmulator(t)
  const running = await startTestService(t, emulator.address)
  t.strictSame(await valuesOf(running, 'cos_credentials_available'), { default: 1 })
  t.match((await running.call('GET', '/readyz?verbose')).json.components,
    [{ name: 'credentials', account: 'default', state: 'ok' }, { name: 'accounts', state: 'disabled' }])
  t.match(running.logs(), /"account":"default","source":"env"[^\n]*new credentials for COS/)
})

t.test('an account assumes its role with the identity that its source names', async t => {
  const files = operatorFiles(t)
  const emulator = await startTestEmulator(t, { credentials: [], buckets })
  const roleArn = 'qcs::cam::uin/100000000001:roleName/inventory'
  const token = secret('webIdentityTokenOfThePod')
  const issued: Array<EmulatorCredential & { token: string }> = []
  const sts = await startStsDouble(t, {
    onSecret: secret,
    subjects: { roleArn, keys: [], providerId: 'tke', webIdentityToken: token },
    onIssued: key => {
      issued.push(key)
      // The credentials of the pod may assume the role.
      sts.subjects.keys = issued
      emulator.setCredentials(issued)
    }
  })
  const metadata = await startMetadataDouble(t, { onSecret: secret, onIssued: key => { sts.subjects.keys = [key] } })
  files.replace('token', token)
  const oidc = { source: 'oidc', region: south, providerId: 'tke', roleArn, tokenFile: files.path.replace('accounts.json', 'token') }
  const environment = { ...noPair, ...regions, STS_ENDPOINT: sts.endpoint, METADATA_ENDPOINT: metadata.endpoint }
  files.write({ [one]: { source: 'assume-role', roleArn, base: oidc } })
  const { call, logs } = await startTestService(t, emulator.address, { ...environment, COS_ACCOUNTS_FILE: files.path })
  t.equal((await call('GET', at(first, ''))).status, 200)
  t.equal(issued.length, 2, 'the credentials of the pod, and those of the role')
  t.strictSame(sentWith(emulator, issued[0] ?? keyOf(one)), [])
  t.strictSame(sentWith(emulator, issued[1] ?? keyOf(one)), [`ListBucketInventory ${first}`])
  t.match(logs(), new RegExp(`"account":"${one}","source":"assume-role"[^\\n]*new credentials for COS`))

  const alone = await startTestService(t, emulator.address,
    { ...environment, COS_CREDENTIALS: 'assume-role', COS_ROLE_BASE: 'cvm-role', COS_ROLE_ARN: roleArn })
  t.equal((await alone.call('GET', at(first, ''))).status, 200)
  t.equal(metadata.issued.length, 1)
  metadata.answer = { status: 500, body: '' }
  await alone.service.reload()
  t.match(alone.logs(), /"what":"COS_CREDENTIALS","account":"default","cause":"127\.0\.0\.1:\d+ returned 500"/)
})
