import { once } from 'node:events'
import t from 'tap'
import { dial } from '../raw-connection.ts'
import { at, bucket, configuration, start, until } from '../start.ts'
import type { Running } from '../start.ts'

const get = (id: string) => `GET ${at(id)} HTTP/1.1\r\nhost: x\r\n\r\n`
const inFlight = async ({ call }: Running) =>
  /^http_requests_in_flight (\d+)$/m.exec((await call('GET', '/metrics')).text)?.[1]

t.test('requests that wait in a connection end with it, the ones whose turn had not come too', async t => {
  const running = await start(t)
  const { emulator, logs, call } = running
  emulator.addFault({ kind: 'hang' })
  const socket = await dial(t, running.url)
  socket.write(get('a') + get('b') + get('c'))
  await until(() => emulator.requests.length === 3)
  socket.destroy()
  await until(() => logs().split('"caller left"').length === 4)
  t.equal(await inFlight(running), '1', 'which is the one that asks')
  const { text } = await call('GET', '/metrics')
  t.match(text, /^cos_calls_total\{operation="GetBucketInventory",class="cancelled"\} 3$/m)
  t.match(text, /^cos_calls_in_flight 0$/m)
  t.match(text, /^http_requests_total\{method="GET",route="\/buckets\/:bucket\/inventories\/:id",status="499"\} 3$/m)
})

t.test('many requests on one connection leave nothing behind on it', async t => {
  const running = await start(t)
  const warnings: string[] = []
  const warn = ({ message }: Error) => { warnings.push(message) }
  process.on('warning', warn)
  t.teardown(() => process.off('warning', warn))
  const socket = await dial(t, running.url)
  let received = ''
  socket.on('data', (data: Buffer) => { received += data.toString() })
  socket.write(get('a').repeat(50))
  await until(() => received.split('HTTP/1.1 404').length === 51)
  t.equal(await inFlight(running), '1')
  t.strictSame(warnings, [])
})

t.test('a change whose caller has left is in the audit, also when the service stops meanwhile', async t => {
  for (const [fault, outcome] of [
    [{ kind: 'error', status: 503, code: 'SlowDown', headers: { 'retry-after': '1' }, times: 1 }, 'success'],
    [{ kind: 'hang', after: 'effect' }, 'unknown']
  ] as const) {
    const { emulator, service, url, audits } = await start(t, { environment: { COS_MAX_ATTEMPTS: '2', COS_TIMEOUT_MS: '500' } })
    emulator.addFault(fault)
    const socket = await dial(t, url)
    const body = JSON.stringify(configuration)
    socket.write(`PUT ${at('a')} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`)
    await until(() => emulator.requests.length === 1)
    socket.destroy()
    t.ok(await service.stop())
    t.match(audits(), [{ outcome, id: 'a', action: 'cos:PutBucketInventory' }])
    t.equal(audits().length, 1)
    t.equal(emulator.configurations(bucket).length, 1)
  }
})

t.test('half a head does not hold the stop, on a connection that is new or that has been used', async t => {
  const { service, url } = await start(t, { environment: { SHUTDOWN_GRACE_MS: '60000' } })
  const [fresh, used] = [await dial(t, url), await dial(t, url)]
  fresh.write('GET /livez HTTP/1.1\r\nhos')
  used.write('GET /livez HTTP/1.1\r\nhost: x\r\n\r\nGET /li')
  await once(used, 'data')
  t.ok(await service.stop(), 'and nothing was cut')
})

t.test('a body that drips is no silence of its host, and a deadline below the time of an attempt no reason not to see one', async t => {
  const { emulator, call } = await start(t, { environment: { COS_TIMEOUT_MS: '300' } })
  await call('PUT', at('a'), configuration)
  const silent = async (url = '/metrics') => /^cos_silent_hosts (\d+)$/m.exec((await call('GET', url)).text)?.[1]
  emulator.addFault({ kind: 'drip', ms: 50, times: 1 })
  t.equal((await call('GET', at('a'))).json.code, 'UpstreamTimeout')
  t.equal(await silent(), '0')
  emulator.addFault({ kind: 'hang', times: 1 })
  t.equal((await call('GET', at('a'))).json.code, 'UpstreamTimeout')
  t.equal(await silent(), '1')
  t.equal((await call('GET', at('a'))).status, 200)
  t.equal(await silent(), '0')
  const hasty = await start(t, { environment: { COS_DEADLINE_MS: '300' } })
  hasty.emulator.addFault({ kind: 'hang', times: 1 })
  t.equal((await hasty.call('GET', at('a'))).json.code, 'UpstreamTimeout')
  t.match((await hasty.call('GET', '/metrics')).text, /^cos_silent_hosts 1$/m)
})

t.test('what COS says is one line, also in a log for people', async t => {
  const { emulator, call, logs } = await start(t)
  emulator.addFault({ kind: 'error', status: 500, code: 'InternalError', message: 'first\n[12:00:00] INFO: a line of its own', times: 1 })
  t.match((await call('GET', at('a'))).json.detail, 'first [12:00:00] INFO: a line of its own')
  t.notMatch(logs(), 'first\\n')
})
