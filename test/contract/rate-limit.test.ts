import t from 'tap'
import { as, callersFile, everything, withKey } from '../callers-file.ts'
import { startRedis } from '../redis-server.ts'
import { at, bucket, start, startTestEmulator, startTestService } from '../start.ts'
import type { Running } from '../start.ts'

const collection = `/buckets/${bucket}/inventories`
const statuses = async ({ call }: Pick<Running, 'call'>, count: number, headers: Record<string, string> = {}) => {
  const answers = []
  for (let index = 0; index < count; index += 1) answers.push((await call('GET', collection, undefined, headers)).status)
  return answers
}

t.test('each caller has a limit of its own, and is told how much of it is left', async t => {
  const { environment } = callersFile(t, [
    withKey('usual', everything), withKey('large', everything, { rateLimitPerMinute: 5 }),
    withKey('unlimited', everything, { rateLimitPerMinute: 0 })
  ])
  const { call, emulator } = await start(t, { environment: { ...environment, RATE_LIMIT_PER_MINUTE: '3' } })
  const first = await call('GET', collection, undefined, as('usual'))
  t.match(first.headers, { 'ratelimit-limit': '3', 'ratelimit-remaining': '2', 'ratelimit-reset': /^(60|59)$/ })
  t.strictSame(await statuses({ call }, 3, as('usual')), [200, 200, 429])
  t.strictSame(await statuses({ call }, 6, as('large')), [200, 200, 200, 200, 200, 429])
  const unlimited = await call('GET', collection, undefined, as('unlimited'))
  t.strictSame([unlimited.status, unlimited.headers['ratelimit-limit']], [200, undefined])
  t.strictSame(await statuses({ call }, 9, as('unlimited')), Array(9).fill(200))
  const sent = emulator.requests.length
  const refused = await call('PUT', at('a'), {}, as('usual'))
  t.match(refused, { status: 429, json: { code: 'RateLimited', detail: /More than 3 requests in a minute/ } })
  t.match(refused.headers, { 'retry-after': /^(60|5\d)$/, 'ratelimit-limit': '3', 'ratelimit-remaining': '0' })
  t.equal(emulator.requests.length, sent)
  t.equal((await call('GET', '/readyz')).status, 200, 'probes are not counted')
})

t.test('wrong keys are limited by address, and a right one from there gets in all the same', async t => {
  const { environment } = callersFile(t, [withKey('admin', everything)])
  const { call } = await start(t, { environment: { ...environment, RATE_LIMIT_PER_MINUTE: '10', TRUST_PROXY: '127.0.0.1' } })
  const wrong = { authorization: 'Bearer wrong' }
  t.strictSame(await statuses({ call }, 7, wrong), [401, 401, 401, 401, 401, 429, 429], 'half of what a caller has')
  const refused = await call('GET', collection)
  t.match(refused, { status: 429, headers: { 'retry-after': /^\d+$/ }, json: { code: 'RateLimited', detail: /from this address/ } })
  t.equal((await call('GET', collection, undefined, as('admin'))).status, 200)
  t.strictSame(await statuses({ call }, 1, { ...wrong, 'x-forwarded-for': '192.0.2.1' }), [401], 'another address')
  const network = (last: string) => ({ ...wrong, 'x-forwarded-for': `2001:db8::${last}` })
  for (let host = 1; host <= 5; host += 1) t.strictSame(await statuses({ call }, 1, network(String(host))), [401])
  t.strictSame(await statuses({ call }, 1, network('ffff')), [429], 'an IPv6 network counts as one address')
})

t.test('X-Forwarded-For is believed of nobody unless told so', async t => {
  const { call } = await start(t, { environment: { RATE_LIMIT_PER_MINUTE: '2' } })
  const spoofed = async (address: string) => (await call('GET', collection, undefined, { 'x-forwarded-for': address })).status
  t.strictSame([await spoofed('192.0.2.1'), await spoofed('192.0.2.2'), await spoofed('192.0.2.3')], [200, 200, 429])
})

t.test('with AUTH=none there is a limit by address for those who set one', async t => {
  t.strictSame((await statuses(await start(t), 700)).filter(status => status !== 200), [])
})

t.test('services on one Redis count together, and without it requests pass', async t => {
  const redis = await startRedis(t)
  const { environment } = callersFile(t, [withKey('admin', everything), withKey('other', everything)])
  const emulator = await startTestEmulator(t)
  const shared = { ...environment, RATE_LIMIT_PER_MINUTE: '6', RATE_LIMIT_REDIS_URL: redis.url, TRUST_PROXY: '127.0.0.1' }
  const one = await startTestService(t, emulator.address, shared)
  const other = await startTestService(t, emulator.address, shared)
  t.strictSame([...await statuses(one, 4, as('admin')), ...await statuses(other, 4, as('admin'))],
    [200, 200, 200, 200, 200, 200, 429, 429])
  t.strictSame(await statuses(one, 1, as('admin')), [429])
  t.strictSame([...await statuses(one, 3), ...await statuses(other, 2)], [401, 401, 401, 429, 429], 'failed attempts as well')

  t.strictSame(await statuses(one, 1, { 'x-forwarded-for': 'caller other' }), [429], 'an address that is none counts as that of the connection')
  t.strictSame(await statuses(one, 1, as('other')), [200], 'and as nobody else')
  t.match(one.audits(), [])

  await redis.kill()
  t.strictSame(await statuses(one, 12, as('admin')), Array(12).fill(200))
  t.match(one.logs(), /"level":50,[^\n]*Redis is away: requests pass/)
  t.equal(one.logs().split('Redis is away').length, 2, 'said once')

  await redis.startAgain()
  while (!one.logs().includes('Redis is back')) await statuses(one, 1, as('admin'))
  t.strictSame((await statuses(one, 7, as('admin'))).at(-1), 429, 'and it counts again')

  redis.signal('SIGSTOP')
  const startedAt = Date.now()
  t.strictSame(await statuses(one, 20, as('admin')), Array(20).fill(200), 'a Redis that hangs is away as well')
  t.ok(Date.now() - startedAt < 5_000, 'and not everybody waits for it')
  redis.signal('SIGCONT')
})

t.test('what Redis says of a password it does not understand is not logged', async t => {
  const redis = await startRedis(t, ['--rename-command', 'AUTH', '', '--rename-command', 'HELLO', ''])
  const running = await start(t, { environment: { RATE_LIMIT_PER_MINUTE: '1', RATE_LIMIT_REDIS_URL: redis.url } })
  t.strictSame(await statuses(running, 2), [200, 200])
  t.match(running.logs(), /"cause":"ERR","msg":"Redis is away/)
})

t.test('a service starts without its Redis, and with a wrong password for it', async t => {
  const redis = await startRedis(t)
  const environment = { RATE_LIMIT_PER_MINUTE: '1', RATE_LIMIT_REDIS_URL: redis.url.replace('redisPassword', 'wrongPassword') }
  const wrong = await start(t, { environment })
  t.strictSame(await statuses(wrong, 2), [200, 200])
  t.match(wrong.logs(), /Redis is away/)
  await redis.kill()
  t.strictSame(await statuses(await start(t, { environment }), 2), [200, 200])
})
