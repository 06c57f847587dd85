import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { createInventoryClient, InventoryError } from '../../src/client/index.ts'
import type { ClientOptions, Configuration, ConfigurationInput, InventoryClient, SetProgress } from '../../src/client/index.ts'
import { callersFile, everything, keyOf, withKey } from '../callers-file.ts'
import { startLossyProxy } from '../doubles/lossy-proxy.ts'
import type { LossyProxy } from '../doubles/lossy-proxy.ts'
import { bucket, configuration as stored, otherBucket, start } from '../start.ts'
import type { Running, Test } from '../start.ts'

const input: ConfigurationInput = stored
const { IsEnabled, Schedule, ...job } = stored
const missing = { status: 404, code: 'InventoryConfigurationNotFoundError' }
const invalid = { name: 'InventoryError', status: 400 }
const conflict = { status: 412, code: 'PreconditionFailed' }
const setOf = (...ids: string[]) => ({ InventoryConfigurations: ids.map(Id => ({ ...input, Id })) })

type Options = Partial<ClientOptions>
interface ClientRunning extends Running { client: InventoryClient }

/** Starts service and emulator, with a client that has no rate limit. */
async function startClient (
  t: Test, options: Options = {}, environment: Record<string, string> = {}
): Promise<ClientRunning> {
  const running = await start(t, { environment: { RATE_LIMIT_PER_MINUTE: '0', ...environment } })
  return { ...running, client: createInventoryClient({ url: running.url, bucket, ...options }) }
}

/** Starts a client whose requests pass a proxy. */
async function startBehindProxy (t: Test, options: Options = {}): Promise<ClientRunning & { proxy: LossyProxy }> {
  const running = await startClient(t)
  const proxy = await startLossyProxy(t, running.url)
  return { ...running, proxy, client: createInventoryClient({ url: proxy.url, bucket, ...options }) }
}

async function all<T> (items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = []
  for await (const item of items) found.push(item)
  return found
}

/** Returns the first item and ends the iteration, as `break` does. */
async function firstOf<T> (items: AsyncIterable<T>): Promise<T> {
  const iterator = items[Symbol.asyncIterator]()
  const { value } = await iterator.next()
  await iterator.return?.()
  return value as T
}

const methods = ({ seen }: LossyProxy) => seen.splice(0).map(line => line.split(' ')[0])

t.test('client creates, reads, changes and deletes a configuration', async t => {
  const { client, emulator } = await startClient(t)
  const { etag } = await client.put('daily', input, { ifNoneMatch: '*' })
  await t.rejects(client.put('daily', input, { ifNoneMatch: '*' }), { name: 'InventoryError', ...conflict })
  const read = await client.get('daily')
  t.strictSame(read, { configuration: { Id: 'daily', ...stored }, etag })
  t.strictSame(await client.find('daily'), read)
  t.equal(await client.getIfChanged('daily', etag), undefined)
  t.strictSame(await client.getIfChanged('daily', '"another"'), read)

  const patched = await client.patch('daily', { IsEnabled: false, Filter: null }, { ifMatch: etag })
  t.equal(patched.configuration.IsEnabled, false)
  t.notOk('Filter' in patched.configuration)
  await t.rejects(client.patch('daily', { IsEnabled: true }, { ifMatch: etag }), conflict)
  await t.rejects(client.delete('daily', { ifMatch: etag }), conflict)
  await client.delete('daily', { ifMatch: patched.etag })
  t.strictSame(emulator.configurations(bucket), [])
  await client.delete('daily')
  t.equal(await client.find('daily'), undefined)
  await t.rejects(client.get('daily'), missing)
})

t.test('client returns what GET returns to PUT', async t => {
  const { client } = await startClient(t)
  await client.put('daily', input)
  const { configuration, etag } = await client.get('daily')
  t.equal((await client.put('daily', configuration)).etag, etag)
})

t.test('error has status, code, problem and message', async t => {
  const { client } = await startClient(t)
  const error = await client.put('daily', { ...input, Schedule: { Frequency: 'Hourly' } }).catch((reason: unknown) => reason)
  t.ok(error instanceof InventoryError)
  t.match(error, {
    status: 400,
    code: 'ValidationFailed',
    retryAfterMs: undefined,
    problem: { errors: [{ in: 'body', pointer: '/Schedule/Frequency' }], requestId: /.+/ },
    message: /^400 ValidationFailed: body \/Schedule\/Frequency must be one of/
  })
  await t.rejects(client.find('%'), invalid, 'find returns undefined for 404 of the configuration only')
})

t.test('preview returns XML, and start returns the job and warnings', async t => {
  const { client, emulator } = await startClient(t)
  t.match(await client.preview('daily', input), /^<InventoryConfiguration><Id>daily<\/Id>/)
  t.match(await client.preview('once', job), /^<InventoryConfiguration>/)
  t.match(await client.start('once', job), { jobId: /.+/, warnings: [] })
  t.strictSame(emulator.configurations(bucket), [])

  const monthly = { ...input, Schedule: { Frequency: 'Monthly', MonthlyDate: 31 } }
  const { warnings } = await client.put('monthly', monthly, { preflight: 'warn' })
  t.match(warnings, [{ code: 'MonthWithoutDate', pointer: '/Schedule/MonthlyDate', detail: /.+/ }])
  await t.rejects(client.put('monthly', monthly, { preflight: 'enforce' }), invalid)
  const unknown = { ...input, Future: 'x' } as ConfigurationInput
  await t.rejects(client.put('future', unknown), invalid)
  await client.put('future', unknown, { allowUnknown: true })
  t.match((await client.get('future')).configuration, { Future: 'x' })
})

t.test('set of 250 is planned, applied and listed over all pages', async t => {
  const { client, emulator } = await startClient(t)
  const ids = Array.from({ length: 250 }, (_, index) => `id-${index}`)
  const set = setOf(...ids)
  t.match(await client.plan(set), { Created: { length: 250 }, Failed: [] })
  t.equal(emulator.configurations(bucket).length, 0)
  t.match(await client.apply(set), { Created: { length: 250 }, Failed: [] })
  t.match(await client.plan(set), { Created: [], Unchanged: { length: 250 } })

  emulator.requests.splice(0)
  const listed = await all(client.list())
  t.strictSame(listed.map(({ Id }) => Id).sort(), [...ids].sort())
  t.equal(emulator.requests.length, 3)
  t.equal(typeof (await firstOf(client.list())).Id, 'string')
  t.equal(emulator.requests.length, 4, 'pages are read when they are needed')

  // A list is a set.
  const copy: Configuration[] = listed.slice(1)
  t.match(await client.plan({ InventoryConfigurations: copy }, { prune: true }), { Deleted: [listed[0]?.Id] })
})

t.test('progress of a set is one outcome for each configuration', async t => {
  const { client, emulator } = await startClient(t)
  await client.put('old', input)
  emulator.addFault({ kind: 'error', status: 403, code: 'AccessDenied', match: { operation: 'PutBucketInventory' }, times: 1 })
  const progress = await all<SetProgress>(client.applying(setOf('a', 'b'), { prune: true }))
  t.strictSame(progress.map(({ Outcome }) => Outcome).sort(), ['Created', 'Deleted', 'Failed'])
  t.equal(progress.find(({ Outcome }) => Outcome === 'Failed')?.problem?.code, 'AccessDenied')
  await t.rejects(all(client.applying({ InventoryConfigurations: [{ Id: 'a' } as never] })), invalid)
})

t.test('four concurrent updates all take effect', async t => {
  const { client } = await startClient(t)
  await client.put('daily', { ...input, OptionalFields: { Field: ['Size'] } })
  const fields = ['ETag', 'StorageClass', 'Tag', 'Crc64']
  await Promise.all(fields.map(field => client.update('daily', current => ({
    ...current, OptionalFields: { Field: [...current.OptionalFields?.Field ?? [], field] }
  }))))
  const { configuration } = await client.get('daily')
  t.strictSame([...configuration.OptionalFields?.Field ?? []].sort(), ['Size', ...fields].sort())
})

t.test('update writes nothing when there is nothing to do, and passes errors on', async t => {
  const { client, emulator } = await startClient(t)
  await client.put('daily', input)
  emulator.requests.splice(0)
  await client.update('daily', () => undefined)
  t.strictSame(emulator.requests.map(({ method }) => method), ['GET'])
  await t.rejects(client.update('no-such-id', current => current), missing)
  await t.rejects(client.update('daily', current => ({ ...current, Schedule: { Frequency: 'Hourly' } })), invalid)
})

t.test('update gives up when the condition never holds', async t => {
  const { client, proxy } = await startBehindProxy(t)
  await client.put('daily', input)
  const problem = { type: 'about:blank', title: '', status: 412, detail: '', code: 'PreconditionFailed', requestId: '1' }
  const headers = { 'content-type': 'application/problem+json' }
  proxy.decide = ({ method }) => method === 'PUT' ? { status: 412, headers, body: JSON.stringify(problem) } : 'pass'
  methods(proxy)
  await t.rejects(client.update('daily', current => current), conflict)
  t.equal(methods(proxy).length, 40)
})

t.test('request is retried after Retry-After when the service is overloaded', async t => {
  const { client, emulator } = await startClient(t)
  emulator.addFault({ kind: 'error', status: 503, code: 'SlowDown', headers: { 'retry-after': '1' }, times: 1 })
  const startedAt = performance.now()
  await client.put('daily', input, { ifNoneMatch: '*' })
  t.ok(performance.now() - startedAt >= 990)
  t.equal(emulator.configurations(bucket).length, 1)

  emulator.addFault({ kind: 'error', status: 503, code: 'SlowDown' })
  const hurried = { ...missing, status: 503, code: 'SlowDown' }
  await t.rejects(client.start('once', job), { ...hurried, retryAfterMs: 1000 })
})

t.test('retry is not awaited when Retry-After exceeds the longest pause', async t => {
  const { url } = await startClient(t, {}, { RATE_LIMIT_PER_MINUTE: '1' })
  const client = createInventoryClient({ url, bucket, maxPauseMs: 0 })
  await client.find('daily')
  const error = await client.find('daily').catch((reason: unknown) => reason as InventoryError)
  t.match(error, { status: 429, code: 'RateLimited', retryAfterMs: Number })
})

t.test('lost response is retried for GET, PUT and DELETE without a condition only', async t => {
  const { client, proxy, emulator } = await startBehindProxy(t)
  const loseOne = () => {
    let lost = false
    proxy.seen.splice(0)
    proxy.decide = () => {
      if (lost) return 'pass'
      lost = true
      return 'lose'
    }
  }
  const { etag } = await client.put('daily', input)
  const retried = [
    () => client.get('daily'), () => client.put('other', input), () => client.delete('other'), () => client.apply(setOf('daily')),
    () => client.getIfChanged('daily', etag)
  ]
  for (const request of retried) {
    loseOne()
    await request()
    t.equal(proxy.seen.length, 2, proxy.seen.join())
  }
  const notRetried = [
    () => client.put('new', input, { ifNoneMatch: '*' }), () => client.put('daily', input, { ifMatch: etag }),
    () => client.delete('daily', { ifMatch: etag }), () => client.patch('new', { IsEnabled: false }), () => client.start('once', job),
    () => client.preview('daily', input)
  ]
  for (const request of notRetried) {
    loseOne()
    await t.rejects(async () => { await request() }, { name: 'TypeError' })
    t.equal(proxy.seen.length, 1, proxy.seen.join())
  }
  t.match(emulator.configurations(bucket), { length: 1 }, 'lost changes were made')

  proxy.decide = () => 'lose'
  proxy.seen.splice(0)
  await t.rejects(client.get('daily'), { name: 'TypeError' })
  t.equal(proxy.seen.length, 3, 'three attempts in all')
})

t.test('response is lost when its body breaks off', async t => {
  const { client, proxy } = await startBehindProxy(t)
  await client.put('daily', input)
  let count = 0
  proxy.decide = () => {
    count += 1
    return count === 1 ? 'cut' : 'pass'
  }
  t.equal((await client.get('daily')).configuration.Id, 'daily')
  t.equal(count, 2)
})

t.test('response of a gateway is an error with status and without code', async t => {
  const { client, proxy } = await startBehindProxy(t)
  proxy.decide = () => ({ status: 502, headers: { 'content-type': 'text/html' }, body: '<h1>Bad Gateway</h1>' })
  await t.rejects(client.get('daily'), { name: 'InventoryError', status: 502, code: undefined, problem: undefined })
  proxy.decide = () => ({ status: 307, headers: { location: 'http://127.0.0.1:1/' } })
  await t.rejects(client.put('daily', input), { status: 307, code: undefined })
  proxy.decide = () => ({ status: 200, body: '<h1>Log in</h1>' })
  await t.rejects(client.get('daily'), { status: 200, code: undefined })
  proxy.decide = () => ({ status: 200, body: '{}' })
  await t.rejects(client.get('daily'), { name: 'InventoryError', status: 200 }, 'a configuration without ETag')
  t.equal(proxy.seen.length, 4)
})

t.test('signal cancels a request and the pause before a retry', async t => {
  const { client, proxy } = await startBehindProxy(t)
  await t.rejects(client.get('daily', { signal: AbortSignal.abort() }), { name: 'AbortError' })
  t.equal(proxy.seen.length, 0)
  const controller = new AbortController()
  proxy.decide = () => {
    setImmediate(() => { controller.abort(new Error('enough')) })
    return { status: 503, headers: { 'retry-after': '60' } }
  }
  await t.rejects(client.get('daily', { signal: controller.signal }), { message: 'enough' })
  t.equal(proxy.seen.length, 1)
})

t.test('client sends the region and the key of the caller', async t => {
  const { environment } = callersFile(t, [withKey('client', everything)])
  const { url, emulator } = await startClient(t, {}, environment)
  const client = createInventoryClient({ url: `${url}/`, bucket: otherBucket, region: 'ap-shanghai', token: keyOf('client') })
  const { COSBucketDestination: destination } = input.Destination
  const Bucket = 'qcs::cos:ap-shanghai::logs-1250000000'
  await client.put('daily', { ...input, Destination: { COSBucketDestination: { ...destination, Bucket } } })
  t.equal(emulator.configurations(otherBucket).length, 1)
  await t.rejects(createInventoryClient({ url, bucket }).get('daily'), { status: 401, code: 'Unauthenticated' })
})

t.test('reports are listed and their rows streamed', async t => {
  const { client, emulator } = await startClient(t, {}, { REPORTS: 'true' })
  await client.put('daily', { ...input, IncludedObjectVersions: 'Current' })
  await emulator.deliverReport({ bucket, id: 'daily', count: 3000, date: '20261120' })
  const { Reports, IsTruncated } = await client.reports('daily', { limit: 1 })
  t.match(Reports, [{ Id: 'daily', Date: '20261120' }])
  t.equal(IsTruncated, false)
  t.strictSame((await client.reports('daily', { from: '20270101', to: '20270131' })).Reports, [])

  const rows = await all(client.rows('daily'))
  t.equal(rows.length, 3000)
  const some = await all(client.rows('daily', { date: '20261120', fields: ['Key', 'Size'], limit: 2, file: 0, keyPrefix: '' }))
  t.strictSame(some.map(row => Object.keys(row)), [['Key', 'Size'], ['Key', 'Size']])
  t.equal(typeof (await firstOf(client.rows('daily'))).Key, 'string')
  await t.rejects(all(client.rows('once')), missing)
  const elsewhere = { destination: bucket, prefix: 'list1', limit: 1 }
  t.equal((await all(client.rows('daily', elsewhere))).length, 1)
})

t.test('rows that break off are an error', async t => {
  const { url, client: direct, emulator } = await startClient(t, {}, { REPORTS: 'true' })
  await direct.put('daily', { ...input, IncludedObjectVersions: 'Current' })
  await emulator.deliverReport({ bucket, id: 'daily', count: 3000 })
  const proxy = await startLossyProxy(t, url)
  const client = createInventoryClient({ url: proxy.url, bucket })
  proxy.decide = () => 'cut'
  let count = 0
  await t.rejects(async () => { for await (const row of client.rows('daily')) count += Number('Key' in row) }, { name: 'TypeError' })
  t.ok(count < 3000)
  t.equal(proxy.seen.length, 1, 'rows that began are not retried')
})

t.test('rows that end within a line or a character are an error', async t => {
  const bodies = ['{"Key":"a"}\n{"Key":"b"}', '{"Key":"a"}\nno JSON\n', Buffer.from([0x7B, 0x80, 0x0A])]
  const server = createServer((_, response) => { response.end(bodies.shift()) }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => { server.close() })
  const client = createInventoryClient({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, bucket })
  await t.rejects(all(client.rows('daily')), { message: 'The response ends within a line. Send the request again.' })
  await t.rejects(all(client.rows('daily')), { name: 'SyntaxError' })
  await t.rejects(all(client.rows('daily')), { name: 'TypeError' })
})
