import { randomInt } from 'node:crypto'
import { readFileSync } from 'node:fs'
import t from 'tap'
import type { Fault } from '../../src/emulator/server.ts'
import { configuration } from '../start.ts'
import { closedLoop, countBy, createCaller, createRandom, isFull, until } from './load.ts'
import type { Caller, Reply } from './load.ts'
import { createEntry, none } from './model.ts'
import type { Entry, Version } from './model.ts'
import {
  bucketRegions, logOf, metric, openDescriptors, residentMiB, startEmulatorProcess, startServiceProcess
} from './processes.ts'
import type { EmulatorProcess } from './processes.ts'

// The full form exceeds the default time limit of a file.
if (isFull) t.setTimeout(600_000)

const seed = Number(process.env['SEED'] ?? randomInt(2 ** 31))
const requests = isFull ? 30_000 : 3_000
const concurrency = 32
/** The first bucket has more than one page. */
const idsOf = [130, 20, 20, 20, 20]
const regions = ['ap-guangzhou', 'ap-shanghai', 'ap-beijing']
const buckets = idsOf.map((_, index) => ({ name: `soak-${index}-1250000000`, region: regions[index % regions.length] as string }))
const environment = {
  COS_BUCKET_REGIONS: bucketRegions(buckets),
  COS_TIMEOUT_MS: '1000',
  COS_DEADLINE_MS: '4000',
  SHUTDOWN_GRACE_MS: '600000'
}

t.test(`${requests} requests give possible results under COS faults (SEED=${seed})`, async t => {
  const emulator = await startEmulatorProcess(t, buckets)
  const service = await startServiceProcess(t, emulator.address, environment)
  const idle = { descriptors: openDescriptors(service.pid) }
  const random = createRandom(seed)
  const entries = idsOf.flatMap((count, index) =>
    Array.from({ length: count }, (_, number) => createEntry(buckets[index]?.name as string, `id-${number}`)))
  const callers = { load: createCaller(t, service.url), quiet: createCaller(t, service.url) }
  const soak = createSoak(callers.load, entries, random)

  const memory: Array<{ residentMiB: number, heapMiB: number }> = []
  const chaos = createChaos(emulator, random)
  const replies = (await closedLoop(concurrency, requests, async index => {
    if (index % 60 === 0) await chaos.change()
    if (index % (requests / 60) === 0) {
      const heapMiB = await metric(service.url, 'nodejs_heap_size_used_bytes') / 2 ** 20
      memory.push({ residentMiB: residentMiB(service.pid), heapMiB })
    }
    return await soak.step()
  })).flat()
  await chaos.end()

  t.comment(`responses: ${JSON.stringify(countBy(replies, ({ status, code }) => `${status} ${code ?? ''}`))}`)
  t.strictSame(soak.contradictions, [], 'every response was possible')
  const problems = replies.filter(({ status, method }) => status >= 400 && method !== 'HEAD')
  t.strictSame(problems.flatMap(violationsOf), [], 'every error is a problem document with a documented code')
  t.ok(problems.length < replies.length / 2, 'most requests succeeded, so other failures would be visible')

  await t.test('acknowledged changes are stored in COS and returned by GET', async t => {
    // One call at a time probes an unresponsive host, so wait until each host responds.
    for (const { name } of buckets) {
      await until(() => callers.load.call('GET', `/buckets/${name}/inventories`), ({ status }) => status === 200)
    }
    const seen = await closedLoop(8, entries.length, async index => {
      const entry = entries[index] as Entry
      return { entry, reply: await callers.load.call('GET', pathOf(entry)) }
    })
    const stored = new Map(await Promise.all(buckets.map(async ({ name }) =>
      [name, new Map((await emulator.configurations(name)).map(versionOfXml))] as const)))
    for (const { entry, reply } of seen) {
      const { bucket, id } = entry
      const found = stored.get(bucket)?.get(id) ?? none
      if (versionOf(reply) === found && entry.possible().has(found)) continue
      t.fail(`${bucket} ${id}: COS has ${found}, the service says ${versionOf(reply)}, possible ${[...entry.possible()].join(' or ')}`)
    }
    t.equal(seen.length, entries.length)
  })

  await t.test('log has no errors and one audit line for each change', async t => {
    const lines = logOf(service)
    t.strictSame(lines.filter(({ level }) => level >= 50), [], 'no line at level error')
    const audits = countBy(lines.filter(({ type }) => type === 'audit'), line => line['requestId'] as string)
    const changes = replies.filter(({ method, status }) => ['PUT', 'POST', 'DELETE'].includes(method) && status !== 0)
    t.strictSame(changes.filter(({ headers }) => audits[String(headers['x-request-id'])] !== 1), [])
    t.equal(service.stderr(), '')
  })

  await t.test('memory, connections and file descriptors are released', async t => {
    // The first third is warm-up: code is compiled, pools and caches are filled.
    const [middle, last] = [memory.slice(20, 40), memory.slice(40)]
    const most = (samples: typeof memory) => Math.max(...samples.map(each => each.residentMiB))
    const least = (samples: typeof memory) => Math.min(...samples.map(each => each.heapMiB))
    t.comment(`resident at most ${most(middle).toFixed()} then ${most(last).toFixed()} MiB; ` +
      `heap at least ${least(middle).toFixed()} then ${least(last).toFixed()} MiB`)
    // A request uses about 10 KiB, so a leak would add 100 MiB in the last ten thousand requests. Other differences are
    // garbage. The short form detects only large leaks.
    t.ok(least(last) < least(middle) + 32, 'the heap has stopped growing')
    t.ok(most(last) < most(middle) + 64, 'resident memory has stopped growing')

    await callers.load.close()
    const open = () => metric(service.url, 'cos_connections', { state: 'open' })
    // One connection reads the metrics; the other descriptors are those of the idle process.
    const known = async () => ({ descriptors: openDescriptors(service.pid), allowed: idle.descriptors + await open() })
    await until(known, ({ descriptors, allowed }) => descriptors <= allowed)
    t.equal(await metric(service.url, 'cos_connections', { state: 'busy' }), 0)
    t.equal(await metric(service.url, 'cos_calls_in_flight'), 0)
    t.equal(await metric(service.url, 'cos_calls_waiting'), 0)
    // The service keeps connections to COS as long as COS announces.
    await emulator.stop()
    const descriptors = await until(() => openDescriptors(service.pid), count => count <= idle.descriptors)
    t.ok(descriptors <= idle.descriptors, `${descriptors} descriptors, ${idle.descriptors} before`)
  })

  await t.test('SIGTERM ends the process within 2.5 s', async t => {
    const startedAt = performance.now()
    service.process.kill('SIGTERM')
    t.equal(await service.exit, 0)
    const ms = performance.now() - startedAt
    t.ok(ms < 60_000, `it took ${ms.toFixed()} ms`)
    t.equal(service.stderr(), '')
  })
})

/** Sends random requests, each compared with the model. */
function createSoak (caller: Caller, entries: Entry[], random: () => number): {
  step: () => Promise<Reply[]>
  contradictions: string[]
} {
  const contradictions: string[] = []
  let lastVersion: Version = none
  let lastJob = 0

  const check = (reply: Reply, entry: Entry, found: Version | undefined, allowed: ReadonlySet<Version>) => {
    if (found === undefined || allowed.has(found)) return
    contradictions.push(`${reply.method} ${reply.path} ${reply.status}: ${entry.id} has ${found}, allowed ${[...allowed].join(' or ')}`)
  }

  async function read (entry: Entry, method: 'GET' | 'HEAD', signal?: AbortSignal): Promise<Reply> {
    const reading = entry.read()
    const reply = await caller.call(method, pathOf(entry), undefined, signal)
    const allowed = reading.end()
    if (method === 'GET') check(reply, entry, versionOf(reply), allowed)
    else if (reply.status === 404) check(reply, entry, none, allowed)
    else if (reply.status === 200 && [...allowed].every(each => each === none)) check(reply, entry, -1, allowed)
    return reply
  }

  async function list (bucket: string, isWhole: boolean): Promise<Reply> {
    const readings = entries.filter(entry => entry.bucket === bucket).map(entry => ({ entry, ...entry.read() }))
    const reply = await caller.call('GET', `/buckets/${bucket}/inventories${isWhole ? '?all=true' : ''}`)
    const ended = readings.map(({ entry, end }) => ({ entry, allowed: end() }))
    if (reply.status !== 200) return reply
    const page = JSON.parse(reply.text) as { InventoryConfigurations: Document[], IsTruncated: boolean }
    const found = new Map(page.InventoryConfigurations.map(each => [each.Id, versionOfDocument(each)]))
    for (const { entry, allowed } of ended) {
      // A configuration missing on the first page may be on the next one.
      if (found.has(entry.id) || !page.IsTruncated) check(reply, entry, found.get(entry.id) ?? none, allowed)
    }
    return reply
  }

  async function write (entry: Entry, isPut: boolean, signal?: AbortSignal): Promise<Reply> {
    const version = isPut ? ++lastVersion : none
    const writing = entry.write(version)
    const body = isPut ? bodyOf(entry.bucket, version) : undefined
    const reply = await caller.call(isPut ? 'PUT' : 'DELETE', pathOf(entry), body, signal)
    // After a disconnect, the end of the write is unknown to the caller.
    if (reply.status === 0) entry.isRetired = true
    if (reply.status === 204) writing.acknowledge()
    else if (isRejected(reply)) writing.reject()
    else writing.lose()
    return reply
  }

  async function post (bucket: string): Promise<Reply[]> {
    const path = `/buckets/${bucket}/inventories/job-${++lastJob}`
    const { IsEnabled: _, Schedule: __, ...job } = bodyOf(bucket, 1)
    const first = await caller.call('POST', path, job)
    const second = await caller.call('POST', path, job)
    const wasStarted = first.status === 202
    const isStarted = second.status === 202
    if ((wasStarted && isStarted) || first.status === 409) {
      contradictions.push(`POST ${path}: ${first.status}, and again ${second.status}`)
    }
    return [first, second]
  }

  return {
    contradictions,
    async step () {
      const entry = entries[Math.floor(random() * entries.length)] as Entry
      const bucket = buckets[Math.floor(random() * buckets.length)]?.name as string
      const choice = random()
      const mayWrite = !entry.isBeingWritten && !entry.isRetired
      if (choice < 0.05) return [await list(bucket, choice < 0.02)]
      if (choice < 0.10) return await post(bucket)
      if (choice < 0.12) return [await caller.call('PUT', pathOf(entry), { IsEnabled: 'perhaps' })]
      if (choice < 0.15) return [await read(entry, 'GET', AbortSignal.timeout(Math.floor(random() * 30)))]
      if (choice < 0.153 && mayWrite) return [await write(entry, true, AbortSignal.timeout(Math.floor(random() * 30)))]
      if (choice < 0.40 && mayWrite) return [await write(entry, true)]
      if (choice < 0.52 && mayWrite) return [await write(entry, false)]
      return [await read(entry, choice < 0.60 ? 'HEAD' : 'GET')]
    }
  }
}

/** Switches injected faults on and off. */
function createChaos (
  emulator: EmulatorProcess, random: () => number
): { change: () => Promise<void>, end: () => Promise<void> } {
  const pick = <T>(choices: readonly T[]): T => choices[Math.floor(random() * choices.length)] as T
  // Latency stays far below COS_TIMEOUT_MS. A write that ends after its response is not part of this test.
  const latency = (): Fault => ({ kind: 'latency', ms: Math.floor(random() * 40) })
  const error = (): Fault => ({
    kind: 'error',
    ...pick([
      { status: 503, code: 'ServiceUnavailable' }, { status: 503, code: 'SlowDown', headers: { 'Retry-After': '1' } },
      { status: 500, code: 'InternalError' }, { status: 502, code: 'Bad', form: 'html' }, { status: 504, code: 'Bad', form: 'empty' },
      { status: 429, code: 'SlowDown', form: 'json' }, { status: 403, code: 'AccessDenied' },
      { status: 503, code: 'ServiceUnavailable', form: 'header-only' }, { status: 400, code: 'RequestTimeout' }
    ] as const)
  })
  const loss = (): Fault => ({
    kind: pick(['reset', 'reset-mid-answer', 'cut', 'garbage', 'hang']), after: pick(['before', 'effect'])
  })
  const drip = (): Fault => ({ kind: 'drip', ms: pick([1, 10]) })
  return {
    async change () {
      await emulator.clearFaults()
      await emulator.setClockOffset(random() < 0.1 ? pick([-1, 1]) * 9 * 3_600_000 : 0)
      for (let count = Math.floor(random() * 3); count > 0; count--) {
        const isForOne = random() < 0.7
        // Some faults stay until the next change.
        const isLasting = random() < 0.3
        await emulator.addFault({
          ...pick([latency, error, loss, loss, drip])(),
          ...(isForOne && { match: { bucket: pick(buckets).name } }),
          ...(!isLasting && { times: 1 + Math.floor(random() * 10) })
        })
      }
    },
    async end () {
      await emulator.clearFaults()
      await emulator.setClockOffset(0)
    }
  }
}

interface Document { Id: string, Filter?: { Prefix?: string } }

function pathOf ({ bucket, id }: Entry): string {
  return `/buckets/${bucket}/inventories/${id}`
}

function bodyOf (bucket: string, version: Version): typeof configuration {
  const region = buckets.find(({ name }) => name === bucket)?.region
  const destination = { ...configuration.Destination.COSBucketDestination, Bucket: `qcs::cos:${region}::reports-1250000000` }
  return { ...configuration, Filter: { Prefix: `v${version}` }, Destination: { COSBucketDestination: destination } }
}

function versionOfDocument ({ Filter }: Document): Version {
  return Number(Filter?.Prefix?.slice(1))
}

function versionOfXml (xml: string): [id: string, version: Version] {
  return [/<Id>(.*?)<\/Id>/.exec(xml)?.[1] ?? '', Number(/<Prefix>v(\d+)<\/Prefix>/.exec(xml)?.[1])]
}

/** Returns the version that a GET found; undefined when it is unknown. */
function versionOf ({ status, code, text }: Reply): Version | undefined {
  if (status === 200) return versionOfDocument(JSON.parse(text) as Document)
  return status === 404 && code === 'InventoryConfigurationNotFoundError' ? none : undefined
}

/**
 * Returns whether an error means that the change was not made. The service reports when an earlier attempt may have
 * made it.
 */
function isRejected ({ code, text }: Reply): boolean {
  return (code === 'Overloaded' || code === 'AccessDenied') && !/ is not known/.test(text)
}

/** The documented errors: status and code of every error of the service, and the codes of COS. */
const ours = new Set(rowsOf('../../docs/errors.md').map(([status, code]) => `${status} ${code}`))
const ofCos = new Set([...rowsOf('../../src/emulator/README.md').map(([, code]) => code), 'SlowDown', 'ServiceUnavailable', 'RequestTimeout'])

function rowsOf (path: string): Array<[status: string, code: string]> {
  const text = readFileSync(new URL(path, import.meta.url), 'utf8')
  return [...text.matchAll(/^\| (\d{3}) \| `(\w+)` \|/gm)].map(([, status = '', code = '']) => [status, code])
}

function violationsOf (reply: Reply): string[] {
  const { method, path, status, headers, text } = reply
  const problem = JSON.parse(text) as { code: string, status: number, requestId: string }
  const result = `${status} ${problem.code}`
  const violations = [
    headers['content-type'] !== 'application/problem+json' && 'is not a problem document',
    !ours.has(result) && !(ofCos.has(problem.code) && [400, 403, 404, 409, 412, 502, 503].includes(status)) && 'is not documented',
    (problem.requestId === undefined || problem.requestId !== headers['x-request-id']) && 'has another request id',
    problem.status !== status && 'has another status',
    status === 503 && headers['retry-after'] === undefined && 'has no Retry-After',
    result === '500 InternalError' && 'is an internal error'
  ]
  return violations.filter(each => each !== false).map(each => `${method} ${path}: ${result} ${each}`)
}
