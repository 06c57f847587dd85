/**
 * No input may block the event loop of the service for long or fill its heap, with or without authentication. The short
 * form has the same inputs in each run. The full form generates its inputs from SEED.
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
const longestBlockedMs = 200
const mostGrownMiB = 100
/** A busy machine only increases a measurement, so the smallest of several counts. This cannot hide a race. */
const mostMeasurements = 3

const seed = isFull ? Number(process.env['SEED'] ?? randomInt(2 ** 31)) : 1
const draw = createRandom(seed)
const sample = <T>(values: T[], count: number): T[] => values.map(value => ({ value, rank: draw() }))
  .sort((one, other) => one.rank - other.rank).slice(0, count).map(({ value }) => value)

const emulator = await startTestEmulator(t)
const validKey = as('fuzz').authorization
const before = [undefined, 'Bearer wrong']

const openApi = JSON.parse(readFileSync(new URL('../../openapi/openapi.json', import.meta.url), 'utf8')) as
  { info: { description: string }, paths: Record<string, Record<string, { responses: object }>> }
const successes = Object.values(openApi.paths).flatMap(path => Object.values(path))
  .flatMap(({ responses }) => Object.keys(responses).map(Number)).filter(status => status < 400)
// The table of all codes. Operations name the statuses on which callers act only.
const ofProblems = [...openApi.info.description.matchAll(/^\| (\d{3}) \|/gm)].map(([, status]) => Number(status))
// Swagger UI redirects.
const documented = new Set([...successes, ...ofProblems, 302])
documented.delete(500)

type Tap = typeof t
type Service = Awaited<ReturnType<typeof startService>>
/** The service that receives most inputs. A test can replace it. */
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

/** V8 compiles frequent code, and ajv compiles a schema at its first use, so ordinary requests come first. */
async function warmUp (port: number): Promise<void> {
  const requests = [
    json('PUT', 'warm', JSON.stringify(configuration)), json('PATCH', 'warm', '{"IsEnabled":false}'),
    json('PATCH', 'warm', '{"Unknown":[1]}'), json('PUT', 'warm', '{"Filter":[]}'),
    { method: 'GET', target: '/openapi.json', headers: [], body: '' }, { method: 'GET', target: '/other?a=1', headers: [], body: '' }
  ]
  for (let round = 0; round < 20; round++) {
    for (const request of requests) await exchange(port, bytesOf(request, validKey))
  }
}

/** Returns the running service, or a new one when an input has ended it. */
async function service (): Promise<Service> {
  if (running === undefined || running.hasEnded()) running = await startService()
  return running
}

/** Resets COS and stores a configuration under the id that many inputs use. */
async function store (text: string): Promise<void> {
  emulator.reset()
  const { port } = await service()
  const [stored] = await exchange(port, bytesOf(json('PUT', 'stored', text, '?allow-unknown=true'), validKey))
  if (stored?.status !== 204) throw new Error(`not stored: ${stored?.body.slice(0, 500)}`)
}

interface Measurement extends Figures {
  /** Errors in the responses, or the reason why there are none. */
  errors: string[]
}

/** Measures an input up to three times and returns the smallest figures. */
async function measure (send: (port: number) => Promise<Response[]>, isSettled = false): Promise<Measurement> {
  const best: Measurement = { blockedMs: Infinity, grownMiB: Infinity, errors: [] }
  for (let time = 0; time < mostMeasurements && isTooMuch(best); time++) {
    const { begin, figures, port } = await service()
    try {
      await begin()
      best.errors = (await send(port)).flatMap(errorsOf)
      const { blockedMs, grownMiB } = await figures(isSettled)
      best.blockedMs = Math.min(best.blockedMs, blockedMs)
      best.grownMiB = Math.min(best.grownMiB, grownMiB)
    } catch (error) {
      return { ...best, errors: [(error as Error).message] }
    }
  }
  return best
}

const isTooMuch = ({ blockedMs, grownMiB }: Figures): boolean => blockedMs > longestBlockedMs || grownMiB > mostGrownMiB

/** An absent response is no error, because the service may close the connection. */
function errorsOf ({ status, contentType, body }: Response): string[] {
  if (!documented.has(status)) return [`status ${status}: ${body.slice(0, 300)}`]
  if (status >= 400 && !contentType.startsWith('application/problem+json')) return [`status ${status} as ${contentType}`]
  return []
}

/** Fails for each input above a limit, with the data to reproduce it. Then checks that the service still runs. */
async function check (t: Pick<Tap, 'fail' | 'comment' | 'equal'>, inputs: Input[]): Promise<void> {
  let worst: Figures = { blockedMs: 0, grownMiB: 0 }
  for (const { name, send, isSettled } of inputs) {
    const { blockedMs, grownMiB, errors } = await measure(send, isSettled)
    if (isTooMuch({ blockedMs, grownMiB }) || errors.length > 0) {
      t.fail(`${name}: ${blockedMs.toFixed()} ms, ${grownMiB.toFixed()} MiB`, { errors: errors.slice(0, 3) })
    } else {
      worst = { blockedMs: Math.max(worst.blockedMs, blockedMs), grownMiB: Math.max(worst.grownMiB, grownMiB) }
    }
    // The emulator keeps up to 1 MiB of each request.
    emulator.requests.length = 0
  }
  const { blockedMs, grownMiB } = worst
  t.comment(`${inputs.length} inputs; within the limits at most ${blockedMs.toFixed()} ms, ${grownMiB.toFixed()} MiB`)
  const [live] = await exchange((await service()).port, bytesOf({ method: 'GET', target: '/livez', headers: [], body: '' }, undefined))
  t.equal(live?.status, 200, 'the service is alive')
}

interface Input {
  /** Place, size and seed. */
  name: string
  send: (port: number) => Promise<Response[]>
  isSettled?: boolean
}

/** Returns inputs of these kinds in each of the sizes. */
function inputsOf (
  kinds: Kind[], { short, full }: { short: number[], full: number[] }, keys: Array<string | undefined>
): Input[] {
  return kinds.flatMap(kind => (isFull ? full : short).map((bytes, index) => {
    const inputSeed = seed + index
    const key = keys[Math.floor(draw() * keys.length)]
    const credential = key === undefined ? 'no key' : key === validKey ? 'valid key' : 'wrong key'
    return {
      name: `${kind.place}; ${bytes} bytes, seed ${inputSeed}, ${credential}`,
      send: port => exchange(port, bytesOf(inputOf(kind, bytes, inputSeed), key))
    }
  }))
}

const [tags = ''] = Object.values(storedConfigurations)
const small = JSON.stringify(configuration)

t.comment(`SEED=${seed}`)

t.test('service stays responsive when it gets an input that once blocked it', async t => {
  await store(tags)
  await check(t, Object.entries(counterexamples).map(([name, request]) =>
    ({ name, send: port => exchange(port, bytesOf(request, validKey)) })))
})

t.test('service stays responsive when query, path or headers are large', async t => {
  await store(small)
  await check(t, inputsOf(sample(headKinds, isFull ? Infinity : 60), sizes.head, [validKey]))
})

t.test('service stays responsive when an unauthenticated request is large', async t => {
  await check(t, inputsOf(sample(headKinds, isFull ? Infinity : 30), sizes.head, before))
  await check(t, inputsOf(sample([...bodyKinds, ...setKinds], isFull ? 300 : 20), sizes.body, before))
})

t.test('service stays responsive when the body of PUT or POST is large', async t => {
  const kinds = bodyKinds.filter(({ place }) => !place.startsWith('PATCH'))
  await check(t, inputsOf(sample(kinds, isFull ? 500 : 40), sizes.body, [validKey]))
})

for (const [name, text] of Object.entries(storedConfigurations).slice(0, isFull ? Infinity : 1)) {
  t.test(`service stays responsive when PATCH changes a large document: ${name}`, async t => {
    await store(text)
    const kinds = bodyKinds.filter(({ place }) => place.startsWith('PATCH'))
    await check(t, inputsOf(sample(kinds, isFull ? 100 : 30), sizes.body, [validKey]))
  })
}

t.test('service stays responsive when a desired set is large', async t => {
  await store(tags)
  await check(t, inputsOf(sample(setKinds, isFull ? 300 : 25), sizes.set, [validKey]))
})

t.test('service stays responsive when a proxy forwards many addresses', async t => {
  const other = running
  running = await startService('127.0.0.1')
  await check(t, inputsOf(headKinds.filter(({ place }) => place.includes('Forwarded')), sizes.head, [validKey, ...before]))
  running = other
})

const pipelines = sample(pipelinedPaths, isFull ? Infinity : 5).flatMap(path => [undefined, validKey].map(key =>
  ({ path: `${path}, ${key === undefined ? 'no key' : 'valid key'}`, bytes: pipelineOf(path, 64 * 1024, key) })))

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
