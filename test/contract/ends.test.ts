import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import t from 'tap'
import { attemptMs, controlTime, longTimeouts } from '../doubles/time.ts'
import { dial } from '../raw-connection.ts'
import { at, bucket, configuration, start, until } from '../start.ts'
import type { Running } from '../start.ts'

const get = (id: string) => `GET ${at(id)} HTTP/1.1\r\nhost: x\r\n\r\n`
const inFlight = async ({ call }: Running) =>
  /^http_requests_in_flight (\d+)$/m.exec((await call('GET', '/metrics')).text)?.[1]

t.test('pipelined requests end with 499 when their connection closes', async t => {
  const running = await start(t)
  const { emulator, logs, call } = running
  emulator.addFault({ kind: 'hang' })
  const socket = await dial(t, running.url)
  socket.write(get('a') + get('b') + get('c'))
  await until(() => emulator.requests.length === 3)
  socket.destroy()
  await until(() => logs().split('"caller disconnected"').length === 4)
  t.equal(await inFlight(running), '1', 'only the scrape is in flight')
  const { text } = await call('GET', '/metrics')
  t.match(text, /^cos_calls_total\{operation="GetBucketInventory",class="cancelled"\} 3$/m)
  t.match(text, /^cos_calls_in_flight 0$/m)
  t.match(text, /^http_requests_total\{method="GET",route="\/buckets\/:bucket\/inventories\/:id",status="499"\} 3$/m)
})

t.test('the process emits no warning after 50 requests on one connection', async t => {
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

t.test('PUT is audited when its caller disconnects and the service stops', async t => {
  const time = controlTime(t)
  for (const [fault, outcome] of [
    [{ kind: 'error', status: 503, code: 'SlowDown', headers: { 'retry-after': '1' }, times: 1 }, 'success'],
    [{ kind: 'hang', after: 'effect' }, 'unknown']
  ] as const) {
    const { emulator, service, url, audits } = await start(t, { environment: { COS_MAX_ATTEMPTS: '2', SHUTDOWN_GRACE_MS: '600000', ...longTimeouts } })
    emulator.addFault(fault)
    const socket = await dial(t, url)
    const body = JSON.stringify(configuration)
    socket.write(`PUT ${at('a')} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`)
    await until(() => emulator.requests.length === 1)
    socket.destroy()
    const stopped = service.stop()
    for (let attempt = 1; fault.kind === 'hang' && attempt <= 2; attempt++) {
      await until(() => emulator.requests.length === attempt)
      time.expire(attemptMs)
    }
    t.ok(await stopped)
    t.match(audits(), [{ outcome, id: 'a', action: 'cos:PutBucketInventory' }])
    t.equal(audits().length, 1)
    t.equal(emulator.configurations(bucket).length, 1)
  }
})

t.test('shutdown does not wait when a connection has sent half a request head', async t => {
  const { service, url } = await start(t, { environment: { SHUTDOWN_GRACE_MS: '60000' } })
  const [fresh, used] = [await dial(t, url), await dial(t, url)]
  fresh.write('GET /livez HTTP/1.1\r\nhos')
  used.write('GET /livez HTTP/1.1\r\nhost: x\r\n\r\nGET /li')
  await once(used, 'data')
  t.ok(await service.stop(), 'no request was cut off')
})

t.test('a host is unresponsive when it sends no response, not when its body is slow', async t => {
  const time = controlTime(t)
  const { emulator, call } = await start(t, { environment: longTimeouts })
  await call('PUT', at('a'), configuration)
  const unresponsiveHosts = async (url = '/metrics') => /^cos_unresponsive_hosts (\d+)$/m.exec((await call('GET', url)).text)?.[1]
  let hasHead = false
  const onHead = (message: unknown) => {
    const { request } = message as { request: { origin: string } }
    if (String(request.origin).includes('.cos.')) hasHead = true
  }
  subscribe('undici:request:headers', onHead)
  t.teardown(() => unsubscribe('undici:request:headers', onHead))
  emulator.addFault({ kind: 'drip', ms: 50, times: 1 })
  const slow = call('GET', at('a'))
  await until(() => hasHead)
  time.expire(attemptMs)
  t.equal((await slow).json.code, 'UpstreamTimeout')
  t.equal(await unresponsiveHosts(), '0')
  emulator.addFault({ kind: 'hang', times: 1 })
  emulator.requests.length = 0
  const withoutResponse = call('GET', at('a'))
  await until(() => emulator.requests.length === 1)
  time.expire(attemptMs)
  t.equal((await withoutResponse).json.code, 'UpstreamTimeout')
  t.equal(await unresponsiveHosts(), '1')
  t.equal((await call('GET', at('a'))).status, 200)
  t.equal(await unresponsiveHosts(), '0')
  const impatient = await start(t, { environment: { ...longTimeouts, COS_DEADLINE_MS: '30000' } })
  impatient.emulator.addFault({ kind: 'hang', times: 1 })
  const late = impatient.call('GET', at('a'))
  await until(() => impatient.emulator.requests.length === 1)
  time.expire(30_000)
  t.equal((await late).json.code, 'UpstreamTimeout')
  t.match((await impatient.call('GET', '/metrics')).text, /^cos_unresponsive_hosts 1$/m)
})

t.test('line breaks in a message of COS are replaced in details and logs', async t => {
  const { emulator, call, logs } = await start(t)
  emulator.addFault({ kind: 'error', status: 500, code: 'InternalError', message: 'first\n[12:00:00] INFO: a line of its own', times: 1 })
  t.match((await call('GET', at('a'))).json.detail, 'first [12:00:00] INFO: a line of its own')
  t.notMatch(logs(), 'first\\n')
})
