/**
 * No input may hold the event loop of the service for long, or make its heap grow by much: neither before nor after
 * authentication. The short form is the same in each run. The full form draws its inputs from SEED.
 */
import { randomInt } from 'node:crypto'
import { readFileSync } from 'node:fs'
import t from 'tap'
import { as, callersFile, everything, withKey } from '../callers-file.ts'
import { createRandom, isFull } from '../faults/load.ts'
import { bucket, configuration, secrets, startTestEmulator } from '../start.ts'
import { exchange, sendWithoutReading } from './exchange.ts'
import type { Response } from './exchange.ts'
import {
  bodyKinds, bytesOf, counterexamples, headKinds, inputOf, pipelinedPaths, pipelineOf, setKinds, sizes,
  storedConfigurations
} from './inputs.ts'
import type { Kind, Request } from './inputs.ts'
import { startMeasuredService } from './service.ts'
import type { Figures } from './service-child.ts'

t.setTimeout(isFull ? 1_800_000 : 600_000)

/** Milliseconds of wall time. */
const longestHeldMs = 200
const mostGrownMiB = 100
/** A busy machine only adds to a figure, so the smallest of several is the measurement. This hides no race. */
const mostMeasurements = 3

const seed = isFull ? Number(process.env['SEED'] ?? randomInt(2 ** 31)) : 1
const draw = createRandom(seed)
const sample = <T>(values: T[], count: number): T[] => values.map(value => ({ value, rank: draw() }))
  .sort((one, other) => one.rank - other.rank).slice(0, count).map(({ value }) => value)

const emulator = await startTestEmulator(t)
const right = as('fuzz').authorization
const before = [undefined, 'Bearer wrong']

const openApi = JSON.parse(readFileSync(new URL('../../openapi/openapi.json', import.meta.url), 'utf8')) as
  { paths: Record<string, Record<string, { responses?: Record<string, unknown> }>> }
const documented = new Set(Object.values(openApi.paths).flatMap(path => Object.values(path))
  .flatMap(({ responses = {} }) => Object.keys(responses).map(Number)))
// Those of the router and the parser belong to no operation; Swagger UI redirects.
for (const status of [302, 404, 405, 414, 431]) documented.add(status)
documented.delete(500)

type Tap = typeof t
type Service = Awaited<ReturnType<typeof startService>>
/** The one that most inputs go to. A test can put another one in its place. */
let running: Service | undefined

async function startService (trustProxy = 'false') {
  const service = await startMeasuredService(t, {
    ...callersFile(t, [withKey('fuzz', everything)]).environment,
    PORT: '0',
    COS_SECRET_ID: secrets.secretId,
    COS_SECRET_KEY: secrets.secretKey,
    COS_TOKEN: secrets.token,
    COS_SCHEME: 'http',
    COS_CONNECT_TO: emulator.address,
    COS_REGION: 'ap-guangzhou',
    RATE_LIMIT_PER_MINUTE: '1000000',
    TRUST_PROXY: trustProxy
  })
  await warmUp(service.port)
  return service
}

const json = (method: string, id: string, body: string, query = ''): Request => ({
  method,
  target: `/buckets/${bucket}/inventories/${id}${query}`,
  headers: [['Content-Type', method === 'PATCH' ? 'application/merge-patch+json' : 'application/json']],
  body
})

/** V8 compiles what runs often, and ajv compiles a schema at its first use: ordinary requests come first. */
async function warmUp (port: number): Promise<void> {
  const requests = [
    json('PUT', 'warm', JSON.stringify(configuration)), json('PATCH', 'warm', '{"IsEnabled":false}'),
    json('PATCH', 'warm', '{"Unknown":[1]}'), json('PUT', 'warm', '{"Filter":[]}'),
    { method: 'GET', target: '/openapi.json', headers: [], body: '' }, { method: 'GET', target: '/other?a=1', headers: [], body: '' }
  ]
  for (let round = 0; round < 20; round++) {
    for (const request of requests) await exchange(port, bytesOf(request, right))
  }
}

/** A service that runs: the one of before, unless an input ended it. */
async function service (): Promise<Service> {
  if (running === undefined || running.hasEnded()) running = await startService()
  return running
}

/** Stores a configuration under the id that many inputs are about, and nothing else. */
async function store (text: string): Promise<void> {
  emulator.reset()
  const { port } = await service()
  const [stored] = await exchange(port, bytesOf(json('PUT', 'stored', text, '?allow-unknown=true'), right))
  if (stored?.status !== 204) throw new Error(`not stored: ${stored?.body.slice(0, 500)}`)
}

interface Measurement extends Figures {
  /** What is wrong with the responses, or why there are none. */
  faults: string[]
}

/** Measures an input up to three times, and gives the smallest figures. */
async function measure (send: (port: number) => Promise<Response[]>, isSettled = false): Promise<Measurement> {
  const best: Measurement = { heldMs: Infinity, grownMiB: Infinity, faults: [] }
  for (let time = 0; time < mostMeasurements && isTooMuch(best); time++) {
    const { begin, figures, port } = await service()
    try {
      await begin()
      best.faults = (await send(port)).flatMap(faultsOf)
      const { heldMs, grownMiB } = await figures(isSettled)
      best.heldMs = Math.min(best.heldMs, heldMs)
      best.grownMiB = Math.min(best.grownMiB, grownMiB)
    } catch (error) {
      return { ...best, faults: [(error as Error).message] }
    }
  }
  return best
}

const isTooMuch = ({ heldMs, grownMiB }: Figures): boolean => heldMs > longestHeldMs || grownMiB > mostGrownMiB

/** No response at all is none: the service may close the connection. */
function faultsOf ({ status, contentType, body }: Response): string[] {
  if (!documented.has(status)) return [`status ${status}: ${body.slice(0, 300)}`]
  if (status >= 400 && !contentType.startsWith('application/problem+json')) return [`status ${status} as ${contentType}`]
  return []
}

/** Fails once for each input that is too much, with all that makes it again. Then the service must be alive. */
async function check (t: Pick<Tap, 'fail' | 'comment' | 'equal'>, inputs: Input[]): Promise<void> {
  let worst: Figures = { heldMs: 0, grownMiB: 0 }
  for (const { name, send, isSettled } of inputs) {
    const { heldMs, grownMiB, faults } = await measure(send, isSettled)
    if (isTooMuch({ heldMs, grownMiB }) || faults.length > 0) {
      t.fail(`${name}: ${heldMs.toFixed()} ms, ${grownMiB.toFixed()} MiB`, { faults: faults.slice(0, 3) })
    } else {
      worst = { heldMs: Math.max(worst.heldMs, heldMs), grownMiB: Math.max(worst.grownMiB, grownMiB) }
    }
    // It keeps up to a mebibyte of each request.
    emulator.requests.length = 0
  }
  const { heldMs, grownMiB } = worst
  t.comment(`${inputs.length} inputs; within the limits at most ${heldMs.toFixed()} ms, ${grownMiB.toFixed()} MiB`)
  const [live] = await exchange((await service()).port, bytesOf({ method: 'GET', target: '/livez', headers: [], body: '' }, undefined))
  t.equal(live?.status, 200, 'the service is alive')
}

interface Input {
  /** Place, size, seed. */
  name: string
  send: (port: number) => Promise<Response[]>
  isSettled?: boolean
}

/** Inputs of these kinds at each of the sizes. */
function inputsOf (
  kinds: Kind[], { short, full }: { short: number[], full: number[] }, keys: Array<string | undefined>
): Input[] {
  return kinds.flatMap(kind => (isFull ? full : short).map((bytes, index) => {
    const inputSeed = seed + index
    const key = keys[Math.floor(draw() * keys.length)]
    const credential = key === undefined ? 'no key' : key === right ? 'right key' : 'wrong key'
    return {
      name: `${kind.place}; ${bytes} bytes, seed ${inputSeed}, ${credential}`,
      send: port => exchange(port, bytesOf(inputOf(kind, bytes, inputSeed), key))
    }
  }))
}

const [tags = ''] = Object.values(storedConfigurations)
const small = JSON.stringify(configuration)

t.comment(`SEED=${seed}`)

t.test('service stays responsive when it gets an input that once held it', async t => {
  await store(tags)
  await check(t, Object.entries(counterexamples).map(([name, request]) =>
    ({ name, send: port => exchange(port, bytesOf(request, right)) })))
})

t.test('service stays responsive when query, path or headers are large', async t => {
  await store(small)
  await check(t, inputsOf(sample(headKinds, isFull ? Infinity : 60), sizes.head, [right]))
})

t.test('service stays responsive when an unauthenticated request is large', async t => {
  await check(t, inputsOf(sample(headKinds, isFull ? Infinity : 30), sizes.head, before))
  await check(t, inputsOf(sample([...bodyKinds, ...setKinds], isFull ? 300 : 20), sizes.body, before))
})

t.test('service stays responsive when the body of PUT or POST is large', async t => {
  const kinds = bodyKinds.filter(({ place }) => !place.startsWith('PATCH'))
  await check(t, inputsOf(sample(kinds, isFull ? 500 : 40), sizes.body, [right]))
})

for (const [name, text] of Object.entries(storedConfigurations).slice(0, isFull ? Infinity : 1)) {
  t.test(`service stays responsive when PATCH meets a large configuration: ${name}`, async t => {
    await store(text)
    const kinds = bodyKinds.filter(({ place }) => place.startsWith('PATCH'))
    await check(t, inputsOf(sample(kinds, isFull ? 100 : 30), sizes.body, [right]))
  })
}

t.test('service stays responsive when a desired set is large', async t => {
  await store(tags)
  await check(t, inputsOf(sample(setKinds, isFull ? 300 : 25), sizes.set, [right]))
})

t.test('service stays responsive when a proxy forwards many addresses', async t => {
  const other = running
  running = await startService('127.0.0.1')
  await check(t, inputsOf(headKinds.filter(({ place }) => place.includes('Forwarded')), sizes.head, [right, ...before]))
  running = other
})

const pipelines = sample(pipelinedPaths, isFull ? Infinity : 5).flatMap(path => [undefined, right].map(key =>
  ({ path: `${path}, ${key === undefined ? 'no key' : 'right key'}`, bytes: pipelineOf(path, 64 * 1024, key) })))

t.test('service stays responsive when requests are pipelined', async t => {
  await store(small)
  await check(t, pipelines.map(({ path, bytes }) =>
    ({ name: `pipelined requests of ${path}; 64 KiB`, send: port => exchange(port, bytes) })))
})

t.test('service stays responsive when a client does not read', async t => {
  await store(small)
  await check(t, pipelines.map(({ path, bytes }) => ({
    name: `unread responses of ${path}; 64 KiB`,
    isSettled: true,
    async send (port) {
      t.teardown(await sendWithoutReading(port, bytes))
      return []
    }
  })))
})
