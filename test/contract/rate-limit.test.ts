import t from 'tap'
import { as, callersFile, everything, withKey } from '../callers-file.ts'
import { startRespServer } from '../doubles/resp-server.ts'
import { startRedis } from '../redis-server.ts'
import { at, bucket, start, startTestEmulator, startTestService, until } from '../start.ts'
import type { Running } from '../start.ts'

const collection = `/buckets/${bucket}/inventories`
const statuses = async ({ call }: Pick<Running, 'call'>, count: number, headers: Record<string, string> = {}) => {
  const responses = []
  for (let index = 0; index < count; index += 1) responses.push((await call('GET', collection, undefined, headers)).status)
  return responses
}

t.test('GET returns 429 and RateLimit headers by the limit of each caller', async t => {
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
  const rejected = await call('PUT', at('a'), {}, as('usual'))
  t.match(rejected, { status: 429, json: { code: 'RateLimited', detail: /limit of 3 requests per minute is exceeded/ } })
  t.match(rejected.headers, { 'retry-after': /^(60|5\d)$/, 'ratelimit-limit': '3', 'ratelimit-remaining': '0' })
  t.equal(emulator.requests.length, sent)
  t.equal((await call('GET', '/readyz')).status, 200, 'probes are not counted')
})

t.test('GET returns 429 for wrong keys by address, and 200 for a valid key from there', async t => {
  const { environment } = callersFile(t, [withKey('admin', everything)])
  const { call } = await start(t, { environment: { ...environment, RATE_LIMIT_PER_MINUTE: '10', TRUST_PROXY: '127.0.0.1' } })
  const wrong = { authorization: 'Bearer wrong' }
  t.strictSame(await statuses({ call }, 7, wrong), [401, 401, 401, 401, 401, 429, 429], 'half the limit of a caller')
  const rejected = await call('GET', collection)
  t.match(rejected, { status: 429, headers: { 'retry-after': /^\d+$/ }, json: { code: 'RateLimited', detail: /from this address/ } })
  t.equal((await call('GET', collection, undefined, as('admin'))).status, 200)
  t.strictSame(await statuses({ call }, 1, { ...wrong, 'x-forwarded-for': '192.0.2.1' }), [401], 'another address')
  const network = (last: string) => ({ ...wrong, 'x-forwarded-for': `2001:db8::${last}` })
  for (let host = 1; host <= 5; host += 1) t.strictSame(await statuses({ call }, 1, network(String(host))), [401])
  t.strictSame(await statuses({ call }, 1, network('ffff')), [429], 'an IPv6 network counts as one address')
})

t.test('X-Forwarded-For is ignored when TRUST_PROXY is not set', async t => {
  const { call } = await start(t, { environment: { RATE_LIMIT_PER_MINUTE: '2' } })
  const spoofed = async (address: string) => (await call('GET', collection, undefined, { 'x-forwarded-for': address })).status
  t.strictSame([await spoofed('192.0.2.1'), await spoofed('192.0.2.2'), await spoofed('192.0.2.3')], [200, 200, 429])
})

t.test('GET returns 200 without a limit when AUTH is none and no limit is set', async t => {
  t.strictSame((await statuses(await start(t), 700)).filter(status => status !== 200), [])
})

t.test('services share counts in one Redis, and GET returns 200 when Redis fails', async t => {
  const redis = await startRedis(t)
  const { environment } = callersFile(t, [withKey('admin', everything), withKey('other', everything)])
  const emulator = await startTestEmulator(t)
  const shared = { ...environment, RATE_LIMIT_PER_MINUTE: '6', RATE_LIMIT_REDIS_URL: redis.url, TRUST_PROXY: '127.0.0.1' }
  const one = await startTestService(t, emulator.address, shared)
  const other = await startTestService(t, emulator.address, shared)
  t.strictSame([...await statuses(one, 4, as('admin')), ...await statuses(other, 4, as('admin'))],
    [200, 200, 200, 200, 200, 200, 429, 429])
  t.strictSame(await statuses(one, 1, as('admin')), [429])
  t.strictSame([...await statuses(one, 3), ...await statuses(other, 2)], [401, 401, 401, 429, 429], 'failed attempts are shared too')

  t.strictSame(await statuses(one, 1, { 'x-forwarded-for': 'caller other' }), [429], 'an invalid address counts as that of the connection')
  t.strictSame(await statuses(one, 1, as('other')), [200], 'the invalid address does not count for a caller')
  t.match(one.audits(), [])

  await redis.kill()
  t.strictSame(await statuses(one, 12, as('admin')), Array(12).fill(200))
  t.match(one.logs(), /"level":50,[^\n]*Redis unavailable, rate limit is off/)
  t.equal(one.logs().split('Redis unavailable').length, 2, 'the failure is logged once')

  await redis.startAgain()
  while (!one.logs().includes('Redis available again')) await statuses(one, 1, as('admin'))
  t.strictSame((await statuses(one, 7, as('admin'))).at(-1), 429, 'the limit applies again')

  redis.signal('SIGSTOP')
  const startedAt = Date.now()
  t.strictSame(await statuses(one, 20, as('admin')), Array(20).fill(200), 'a Redis that never responds is unavailable too')
  t.ok(Date.now() - startedAt < 5_000, 'most requests do not wait for Redis')
  redis.signal('SIGCONT')
})

t.test('only the error code is logged when Redis does not know AUTH', async t => {
  const redis = await startRedis(t, ['--rename-command', 'AUTH', '', '--rename-command', 'HELLO', ''])
  const running = await start(t, { environment: { RATE_LIMIT_PER_MINUTE: '1', RATE_LIMIT_REDIS_URL: redis.url } })
  t.strictSame(await statuses(running, 2), [200, 200])
  t.match(running.logs(), /"cause":"ERR","msg":"Redis unavailable/)
})

t.test('the service starts when Redis is unavailable or its password is wrong', async t => {
  const redis = await startRedis(t)
  const environment = { RATE_LIMIT_PER_MINUTE: '1', RATE_LIMIT_REDIS_URL: redis.url.replace('redisPassword', 'wrongPassword') }
  const wrong = await start(t, { environment })
  t.strictSame(await statuses(wrong, 2), [200, 200])
  t.match(wrong.logs(), /Redis unavailable/)
  await redis.kill()
  t.strictSame(await statuses(await start(t, { environment }), 2), [200, 200])
})

/** Returns level, message and cause of the log lines about Redis. */
const redisLines = ({ logs }: Pick<Running, 'logs'>) => logs().split('\n').filter(line => line.includes('"Redis '))
  .map(line => JSON.parse(line) as { level: number, msg: string, cause?: string })
  .map(({ level, msg, cause }) => [level, msg, ...cause === undefined ? [] : [cause]])
const unavailable = (cause: string) => [50, 'Redis unavailable, rate limit is off', cause]
const available = [30, 'Redis available again']

/** Returns the value of `redis_up`, or undefined without the metric. */
async function redisUp ({ call }: Pick<Running, 'call'>): Promise<string | undefined> {
  return /^redis_up (.*)$/m.exec((await call('GET', '/metrics')).text)?.[1]
}

type Command = [name: string, ...args: string[]]
const maxMemory = (bytes: string): Command => ['CONFIG', 'SET', 'maxmemory', bytes]
const minReplicas = (count: string): Command => ['CONFIG', 'SET', 'min-replicas-to-write', count]
const permissions = (rule: string): Command => ['ACL', 'SETUSER', 'default', rule]
const rejections: Array<[cause: string, when: string, begin: Command, end: Command]> = [
  ['OOM', 'is full', maxMemory('1'), maxMemory('0')],
  ['NOPERM', 'forbids EVAL', permissions('-eval'), permissions('+eval')],
  ['NOPERM', 'forbids the key', permissions('resetkeys'), permissions('~cos-inventory-proxy:*')],
  ['READONLY', 'is a replica', ['REPLICAOF', '127.0.0.1', '1'], ['REPLICAOF', 'NO', 'ONE']],
  ['NOREPLICAS', 'lacks replicas', minReplicas('1'), minReplicas('0')]
]
for (const [cause, when, begin, end] of rejections) {
  t.test(`GET returns 200 and ${cause} is logged once when Redis ${when}`, async t => {
    const redis = await startRedis(t)
    const running = await start(t, { environment: { RATE_LIMIT_PER_MINUTE: '2', REDIS_URL: redis.url } })
    t.strictSame(await statuses(running, 3), [200, 200, 429])
    t.strictSame([await redisUp(running), redisLines(running)], ['1', []])
    await redis.command(...begin)
    t.strictSame(await statuses(running, 5), [200, 200, 200, 200, 200])
    t.strictSame([await redisUp(running), redisLines(running)], ['0', [unavailable(cause)]])
    await redis.command(...end)
    await until(async () => (await statuses(running, 1))[0] === 429)
    t.strictSame([await redisUp(running), redisLines(running)], ['1', [unavailable(cause), available]])
  })
}

t.test('the service logs READONLY once when Redis is a replica at the start', async t => {
  const redis = await startRedis(t, ['--replicaof', '127.0.0.1', '1'])
  const accepted = async () => Number(/total_connections_received:(\d+)/.exec(String(await redis.command('INFO', 'stats')))?.[1])
  const running = await start(t, { environment: { RATE_LIMIT_PER_MINUTE: '1', REDIS_URL: redis.url } })
  t.strictSame([await redisUp(running), redisLines(running)], ['0', [unavailable('READONLY')]])
  const before = await accepted()
  let checks = 0
  // Each check opens a connection, too.
  await until(async () => await accepted() - before - (checks += 1) >= 2)
  t.strictSame(redisLines(running), [unavailable('READONLY')], 'a connection alone does not mean availability')
  await redis.command('REPLICAOF', 'NO', 'ONE')
  await until(() => redisLines(running).length === 2)
  t.strictSame([await redisUp(running), redisLines(running)], ['1', [unavailable('READONLY'), available]], 'recovery needs no request')
  t.strictSame(await statuses(running, 2), [200, 429])
})

t.test('database 0 stays empty when the database of REDIS_URL does not exist', async t => {
  const redis = await startRedis(t, ['--databases', '1'])
  const running = await start(t, { environment: { RATE_LIMIT_PER_MINUTE: '1', REDIS_URL: `${redis.url}/5` } })
  t.strictSame(await statuses(running, 3), [200, 200, 200])
  t.strictSame([await redisUp(running), redisLines(running)], ['0', [unavailable('ERR')]])
  t.equal(await redis.command('DBSIZE'), 0)
})

t.test('GET returns 200 and NOAUTH is logged once when REDIS_URL has no password', async t => {
  const redis = await startRedis(t)
  const environment = { RATE_LIMIT_PER_MINUTE: '1', REDIS_URL: redis.url.replace(/:[^:]*@/, '') }
  const running = await start(t, { environment })
  t.strictSame(await statuses(running, 3), [200, 200, 200])
  t.strictSame([await redisUp(running), redisLines(running)], ['0', [unavailable('NOAUTH')]])
})

t.test('a window ends when its key has lost its expiry', async t => {
  const redis = await startRedis(t)
  const running = await start(t, { environment: { RATE_LIMIT_PER_MINUTE: '1', REDIS_URL: redis.url } })
  t.strictSame(await statuses(running, 1), [200])
  const key = 'cos-inventory-proxy:address 127.0.0.1'
  t.equal(await redis.command('PERSIST', key), 1)
  t.strictSame(await statuses(running, 1), [429])
  t.ok(Number(await redis.command('PTTL', key)) > 0)
})

t.test('GET returns 200 when Redis returns a malformed count', async t => {
  const redis = await startRespServer(t)
  const replies = ['$-1', '+OK', ':1', '*0', '*2\r\n:1\r\n$-1', '*2\r\n$1\r\n1\r\n:1', '*-1', '_', '%1\r\n+a\r\n:1', '#t', ',nan', '*1\r\n-ERR']
  redis.reply = command => `${command === 'EVAL' ? replies[0] : '+OK'}\r\n`
  const running = await start(t, { environment: { RATE_LIMIT_PER_MINUTE: '1', REDIS_URL: redis.url } })
  for (const reply of replies) {
    redis.reply = () => `${reply}\r\n`
    t.strictSame(await statuses(running, 2), [200, 200], reply)
  }
  t.strictSame([await redisUp(running), redisLines(running)], ['0', [unavailable('MALFORMED')]])
  redis.reply = () => '*2\r\n:2\r\n:60000\r\n'
  t.strictSame(await statuses(running, 1), [429])
  t.strictSame([await redisUp(running), redisLines(running)], ['1', [unavailable('MALFORMED'), available]])
  await running.service.app.close()
  t.equal(redisLines(running).length, 2, 'shutdown is no failure of Redis')
})

t.test('only the first word is logged when Redis rejects with a long message', async t => {
  const redis = await startRespServer(t)
  redis.reply = command => command === 'EVAL' ? '-WRONGTYPE is no-secret-at-all, said user:pass@host\r\n' : '+OK\r\n'
  const running = await start(t, { environment: { RATE_LIMIT_PER_MINUTE: '1', REDIS_URL: redis.url } })
  t.strictSame(await statuses(running, 2), [200, 200])
  t.strictSame(redisLines(running), [unavailable('WRONGTYPE')])
  t.notMatch(running.logs(), /no-secret|pass@host/)
})

t.test('the service starts when Redis closes every connection', async t => {
  const redis = await startRespServer(t)
  redis.reply = () => 'close'
  const running = await start(t, { environment: { RATE_LIMIT_PER_MINUTE: '1', REDIS_URL: redis.url } })
  t.strictSame(await statuses(running, 2), [200, 200])
  await until(() => redis.connections >= 3)
  t.equal(redisLines(running).length, 1)
})

t.test('redis_up is absent when Redis is not configured', async t => {
  t.equal(await redisUp(await start(t)), undefined)
})
