import { mock } from 'node:test'
import t from 'tap'
import { errorOf, InventoryError } from '../../src/client/error.ts'
import { createInventoryClient } from '../../src/client/index.ts'
import { backoffMs, pause, retryPauseMs } from '../../src/client/retry.ts'
import { secret } from '../secrets.ts'

interface Case {
  method: string
  isConditional?: boolean
  count?: number
  /** Status of the response; absent for a lost one. */
  status?: number
  outcome?: 'unknown'
  /** Whether a gateway sent the response. */
  isFromGateway?: boolean
  retryAfterMs?: number
}

/** Returns the pause after the first of three attempts: a number, `backoff`, or undefined. */
function decide ({ method, isConditional = false, count = 1, status, outcome, isFromGateway, retryAfterMs }: Case) {
  const problem = { type: 'about:blank', title: '', detail: '', requestId: '', code: 'Overloaded' }
  const sent = isFromGateway === true ? undefined : { ...problem, status: status ?? 0, ...outcome && { outcome } }
  const error = status === undefined ? undefined : new InventoryError(status, sent, retryAfterMs)
  const pauseMs = retryPauseMs({ method, isConditional, count, error }, 3)
  if (pauseMs === undefined || error?.retryAfterMs !== undefined) return pauseMs
  return pauseMs >= 100 * 2 ** (count - 1) && pauseMs < 200 * 2 ** (count - 1) ? 'backoff' : pauseMs
}

const cases: Record<string, Array<[Case, number | 'backoff' | undefined]>> = {
  '429 and 503 are retried as Retry-After says': [
    [{ method: 'GET', status: 503, retryAfterMs: 2000 }, 2000],
    [{ method: 'GET', status: 429, retryAfterMs: 42_000 }, 42_000],
    [{ method: 'PUT', status: 503, retryAfterMs: 0 }, 0],
    [{ method: 'PUT', status: 503, isConditional: true, retryAfterMs: 1000 }, 1000],
    [{ method: 'PATCH', status: 429, retryAfterMs: 1000 }, 1000],
    [{ method: 'PATCH', status: 503, isConditional: true, retryAfterMs: 1000 }, 1000],
    [{ method: 'DELETE', status: 503 }, 'backoff']
  ],
  'change is not retried when its outcome is unknown': [
    [{ method: 'PUT', status: 503, outcome: 'unknown', retryAfterMs: 1000 }, undefined],
    [{ method: 'DELETE', status: 503, outcome: 'unknown' }, undefined],
    [{ method: 'PATCH', status: 503, outcome: 'unknown' }, undefined]
  ],
  'lost response is retried when a second request has the effect of one': [
    [{ method: 'GET' }, 'backoff'],
    [{ method: 'GET', count: 2 }, 'backoff'],
    [{ method: 'HEAD' }, 'backoff'],
    [{ method: 'GET', isConditional: true }, 'backoff'],
    [{ method: 'PUT' }, 'backoff'],
    [{ method: 'DELETE' }, 'backoff'],
    [{ method: 'PUT', isConditional: true }, undefined],
    [{ method: 'DELETE', isConditional: true }, undefined],
    [{ method: 'PATCH' }, undefined],
    [{ method: 'PATCH', isConditional: true }, undefined]
  ],
  '503 of a gateway counts as a lost response': [
    [{ method: 'GET', status: 503, isFromGateway: true }, 'backoff'],
    [{ method: 'GET', status: 429, isFromGateway: true, retryAfterMs: 3000 }, 3000],
    [{ method: 'PUT', status: 503, isFromGateway: true }, 'backoff'],
    [{ method: 'PUT', status: 503, isFromGateway: true, isConditional: true }, undefined],
    [{ method: 'PATCH', status: 503, isFromGateway: true }, undefined]
  ],
  'POST is never retried': [
    [{ method: 'POST' }, undefined],
    [{ method: 'POST', status: 429, retryAfterMs: 1000 }, undefined],
    [{ method: 'POST', status: 503 }, undefined],
    [{ method: 'POST', status: 503, isFromGateway: true }, undefined]
  ],
  'other statuses are not retried': [400, 401, 403, 404, 409, 412, 500, 502, 504].map(status =>
    [{ method: 'GET', status, retryAfterMs: 1000 }, undefined]),
  'last attempt is not retried': [
    [{ method: 'GET', count: 3 }, undefined],
    [{ method: 'GET', count: 3, status: 503, retryAfterMs: 0 }, undefined]
  ]
}

for (const [title, each] of Object.entries(cases)) {
  t.test(title, async t => {
    for (const [given, expected] of each) t.equal(decide(given), expected, JSON.stringify(given))
  })
}

t.test('backoff doubles with each attempt', async t => {
  mock.method(Math, 'random', () => 0.5)
  t.teardown(() => { mock.restoreAll() })
  t.strictSame([1, 2, 3].map(backoffMs), [150, 300, 600])
})

t.test('pause ends early when its signal aborts', async t => {
  const controller = new AbortController()
  const waiting = pause(2 ** 30, controller.signal)
  controller.abort(new Error('enough'))
  await t.rejects(waiting, { message: 'enough' })
  await pause(0, undefined)
  await pause(0, new AbortController().signal)
})

t.test('Retry-After is read as seconds or as a date', async t => {
  const waitOf = async (value?: string) => {
    const headers: Record<string, string> = value === undefined ? {} : { 'retry-after': value }
    return (await errorOf(new Response('', { status: 503, headers }))).retryAfterMs
  }
  t.equal(await waitOf('7'), 7000)
  t.equal(await waitOf(), undefined)
  t.equal(await waitOf('soon'), undefined)
  t.equal(await waitOf('Thu, 01 Jan 1970 00:00:00 GMT'), 0)
  const inAMinute = await waitOf(new Date(Date.now() + 60_000).toUTCString())
  t.ok(inAMinute !== undefined && inAMinute > 30_000 && inAMinute <= 60_000)
})

t.test('error of a gateway has status and no code', async t => {
  const ofService = { 'content-type': 'application/problem+json; charset=utf-8' }
  const json = { 'content-type': 'application/json' }
  const others: Array<[body: string, headers: Record<string, string>]> = [
    ['<html>', ofService], ['null', ofService], ['{}', ofService], ['{"code":1}', ofService], ['{"code":"NotFound"}', ofService],
    ['{"code":"503","requestId":"a"}', json], ['', {}]
  ]
  for (const [body, headers] of others) {
    t.match(await errorOf(new Response(body, { status: 502, headers })), { name: 'InventoryError', status: 502, code: undefined, problem: undefined })
  }
})

t.test('responses of a gateway are errors, and a change with a condition is sent once', async t => {
  const replies: Response[] = []
  let sent: RequestInit[] = []
  const client = createInventoryClient({
    url: 'http://127.0.0.1',
    bucket: 'examplebucket-1250000000',
    fetch: async (_, init = {}) => {
      sent.push(init)
      return (replies.shift() as Response).clone()
    }
  })
  const html = () => new Response('<h1>Log in</h1>', { headers: { 'content-type': 'text/html' } })
  const unavailable = new Response('{"code":"503","message":"timeout"}', { status: 503, headers: { 'content-type': 'application/json' } })
  replies.push(html(), html(), unavailable)
  await t.rejects(client.delete('a'), { status: 200, code: undefined })
  await t.rejects(client.preview('a', {} as never), { status: 200, code: undefined })
  await t.rejects(client.put('a', {} as never, { ifMatch: '' }), { status: 503, code: undefined })
  t.equal(sent.length, 3)
  t.equal(new Headers(sent[2]?.headers).get('if-match'), '', 'an empty condition is sent, so that the service rejects it')
  sent = []
  replies.push(new Response('{}', { headers: { etag: 'W/"a"' } }))
  t.equal((await client.get('a')).etag, '"a"', 'compression makes the tag weak, not the configuration')
})

t.test('client sends no request to another resource, and no secret to a message', async t => {
  const bucket = 'examplebucket-1250000000'
  const sent: string[] = []
  const send: typeof fetch = async url => {
    sent.push(String(url))
    return new Response(null, { status: 204, headers: { etag: '"a"' } })
  }
  const client = createInventoryClient({ url: 'http://gateway/inventory', bucket, fetch: send })
  for (const id of ['', '.', '..']) await t.rejects(client.delete(id), { name: 'TypeError', message: `"${id}" is no bucket, id or date.` })
  await client.delete('a/../b?c#d')
  t.strictSame(sent, [`http://gateway/inventory/buckets/${bucket}/inventories/a%2F..%2Fb%3Fc%23d`])

  const token = secret('to ken-0123456789')
  const password = secret('pass-0123456789')
  const messages = await Promise.all([
    createInventoryClient({ url: 'http://gateway', bucket, token, fetch: send }).get('a').catch(String),
    new Promise(resolve => {
      try {
        createInventoryClient({ url: `http://user:${password}@gateway`, bucket })
      } catch (error) {
        resolve(String(error))
      }
    })
  ])
  t.strictSame(messages, [
    'TypeError: The token has characters that no token has.',
    'TypeError: The URL must not have a user or password. Use token.'
  ])
  t.throws(() => createInventoryClient({ url: 'nowhere', bucket }), TypeError)
})

t.test('token function is called for each attempt', async t => {
  const tokens = ['first', 'second']
  const seen: Array<string | null> = []
  const client = createInventoryClient({
    url: 'http://gateway',
    bucket: 'examplebucket-1250000000',
    token: async () => tokens.shift() as string,
    fetch: async (_, init) => {
      seen.push(new Headers(init?.headers).get('authorization'))
      if (seen.length === 1) throw new TypeError('lost')
      return new Response(null, { status: 204 })
    }
  })
  await client.delete('a')
  t.strictSame(seen, ['Bearer first', 'Bearer second'])
})
