import t from 'tap'
import type { Test } from 'tap'
import { bucket, configuration } from '../start.ts'
import { countBy, createCaller, isFull, loadUntilStopped, until } from './load.ts'
import type { Caller, Reply } from './load.ts'
import { startNginx } from '../deploy/nginx.ts'
import { freePort } from '../free-port.ts'
import { requestOnce, startEmulatorProcess, startServiceProcess } from './processes.ts'
import type { EmulatorProcess, ServiceProcess } from './processes.ts'

const concurrency = 16
const rounds = isFull ? 4 : 1
/** nginx sends all requests of a bucket to one replica. With ten buckets, both replicas get some. */
const buckets = Array.from({ length: 10 }, (_, index) => `replicated-${index}-1250000000`)
const bucketOf = (number: number) => buckets[number % buckets.length] as string
const { IsEnabled: _, Schedule: __, ...job } = configuration

t.test('no request fails during a rolling restart of two replicas behind nginx', async t => {
  const { caller, emulator, errors, replicas } = await start(t)
  const work = createWork(caller)
  const load = loadUntilStopped(concurrency, work.step)
  for (let restart = 0; restart < 2 * rounds; restart++) {
    const replica = replicas[restart % 2] as Replica
    const served = load.results.length
    await until(() => load.results.length, count => count >= served + 100)
    await replica.restart()
  }
  const served = load.results.length
  await until(() => load.results.length, count => count >= served + 100)
  const replies = await load.stop()
  t.comment(`${replies.length} requests: ${JSON.stringify(countBy(replies, ({ status }) => status))}`)
  // nginx sends a request to the other replica when a connection fails.
  const proxyErrors = errors().filter(line => !line.includes('Connection refused'))
  t.strictSame(replies.filter(isFailed).map(describe), [], proxyErrors.join('\n') || 'no request failed')
  await work.check(t, emulator)
})

t.test('kill -9 of a replica fails only POST in flight and loses no acknowledged change', async t => {
  const { caller, emulator, replicas } = await start(t)
  const work = createWork(caller)
  const load = loadUntilStopped(concurrency, work.step)
  const [killed] = replicas as [Replica]
  await until(() => load.results.length, count => count >= 100)
  const inFlight = work.inFlight()
  killed.kill()
  const before = load.results.length
  await killed.ended()
  await until(() => load.results.length, count => count >= before + 300)
  const replies = await load.stop()
  const failed = replies.filter(isFailed)
  t.comment(`${replies.length} requests, ${inFlight} in flight at the kill, failed: ${JSON.stringify(failed.map(describe))}`)
  t.ok(failed.length <= inFlight, `${failed.length} failed of ${inFlight} in flight at both replicas`)
  // nginx retries idempotent methods at the other replica.
  t.strictSame(failed.filter(({ method }) => method !== 'POST').map(describe), [])
  t.strictSame(failed.filter(({ status, code }) => status !== 502 || code !== 'UpstreamUnreachable').map(describe), [])
  await work.check(t, emulator)
})

interface Replica {
  /** Stops the replica with SIGTERM, starts it again and waits until it is ready. */
  restart (): Promise<void>
  kill (): void
  ended (): Promise<void>
}

async function start (
  t: Test
): Promise<{ caller: Caller, emulator: EmulatorProcess, errors: () => string[], replicas: Replica[] }> {
  const emulator = await startEmulatorProcess(t, [bucket, ...buckets].map(name => ({ name, region: 'ap-guangzhou' })))
  await emulator.addFault({ kind: 'latency', ms: 20 })
  const ports = [await freePort(), await freePort()]
  const replicas = await Promise.all(ports.map(port => startReplica(t, emulator, port)))
  const addresses = ports.map(port => `127.0.0.1:${port}`)
  const { url, errors } = await startNginx(t, addresses)
  return { caller: createCaller(t, url), emulator, errors, replicas }
}

async function startReplica (t: Test, emulator: EmulatorProcess, port: number): Promise<Replica> {
  const begin = async (): Promise<ServiceProcess> => {
    const service = await startServiceProcess(t, emulator.address, { PORT: String(port) })
    await until(() => requestOnce(`${service.url}/readyz`), ({ status }) => status === 200)
    return service
  }
  let service = await begin()
  return {
    async restart () {
      service.process.kill('SIGTERM')
      const code = await service.exit
      if (code !== 0) throw new Error(`a replica ended with ${code}:\n${service.stdout().slice(-2000)}`)
      service = await begin()
    },
    kill: () => { service.process.kill('SIGKILL') },
    ended: async () => { await service.exit }
  }
}

/** Creates reads and changes. Each change has its own id, so that the last acknowledged change must be stored. */
function createWork (caller: Caller): {
  step: (index: number) => Promise<Reply>
  inFlight: () => number
  check: (t: Test, emulator: EmulatorProcess) => Promise<void>
} {
  const acknowledged = new Set<string>()
  const deleted = new Set<string>()
  let inFlight = 0
  const collectionOf = (number: number) => `/buckets/${bucketOf(number)}/inventories`

  async function act (index: number): Promise<Reply> {
    // At most a few hundred configurations exist at a time.
    const number = Math.floor(index / 5)
    const collection = collectionOf(number)
    const path = `${collection}/made-${number}`
    switch (index % 5) {
      case 0: {
        const reply = await caller.call('PUT', path, configuration)
        if (reply.status === 204) acknowledged.add(`made-${number}`)
        return reply
      }
      case 1:
        return await caller.call('POST', `${collection}/job-${number}`, job)
      case 2:
        return await caller.call('GET', collection)
      case 3: {
        const old = `made-${number - 50}`
        if (!acknowledged.delete(old)) return await caller.call('HEAD', `${collection}/never-there`)
        const reply = await caller.call('DELETE', `${collectionOf(number - 50)}/${old}`)
        if (reply.status === 204) deleted.add(old)
        return reply
      }
      default:
        return await caller.call('GET', `${collection}/never-there`)
    }
  }

  return {
    async step (index) {
      inFlight += 1
      return await act(index).finally(() => { inFlight -= 1 })
    },
    inFlight: () => inFlight,
    async check (t, emulator) {
      const stored = await Promise.all(buckets.map(each => emulator.configurations(each)))
      const ids = new Set(stored.flat().map(xml => /<Id>(.*?)<\/Id>/.exec(xml)?.[1]))
      t.ok(acknowledged.size > 0)
      t.strictSame([...acknowledged].filter(id => !ids.has(id)), [], 'acknowledged configurations are stored')
      t.strictSame([...deleted].filter(id => ids.has(id)), [], 'deleted configurations are not stored')
    }
  }
}

function isFailed ({ method, path, status }: Reply): boolean {
  if (path.endsWith('/never-there')) return status !== 404
  return status !== (method === 'GET' ? 200 : method === 'POST' ? 202 : 204)
}

function describe ({ method, path, status, code, failure }: Reply): string {
  return `${method} ${path}: ${status} ${code ?? failure ?? ''}`
}
