/**
 * `npm run bench`: compares this service with peers that do the same work or less, and prints markdown. Each file in
 * `parts` describes its measurement.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { fullLengths, shortLengths } from './bench.ts'
import type { Bench, Part } from './bench.ts'
import { build } from './build.ts'
import { checkPeers } from './peer-check.ts'
import { describeMachine, findCores, pin, watchDisturbance } from './machine.ts'
import { afterStart } from './parts/after-start.ts'
import { eventLoop } from './parts/event-loop.ts'
import { latency } from './parts/latency.ts'
import { memory, memoryOver, measureMemory } from './parts/memory.ts'
import { replicas } from './parts/replicas.ts'
import { rows } from './parts/rows.ts'
import { slow } from './parts/slow.ts'
import { start } from './parts/start.ts'
import { throughput } from './parts/throughput.ts'
import { tls } from './parts/tls.ts'
import { hasNginx, kinds, service, startUpstream } from './servers.ts'
import type { Kind, Server } from './servers.ts'

const single = { connections: 64, warmUps: 10_000 }
const page = { connections: 16, warmUps: 400 }
const parts: Record<string, Part> = {
  get: throughput('get', 'GET of one configuration, of 1,000 that do not change', single),
  changed: throughput('changed', 'GET of one configuration that changes every time', single),
  put: throughput('put', 'PUT of one configuration', single),
  list: throughput('list', 'LIST of 100 configurations, of 1,000 that do not change', page),
  changedList: throughput('changedList', 'LIST of 100 configurations that change every time', page),
  latency,
  eventLoop,
  start,
  getAfterStart: afterStart('get', 'GET of one configuration, of 1,000 that do not change'),
  changedAfterStart: afterStart('changed', 'GET of one configuration that changes every time'),
  putAfterStart: afterStart('put', 'PUT of one configuration'),
  slow,
  replicas,
  rows,
  tls
}
const partNames = [...Object.keys(parts), 'memory']

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => { process.exit(1) })
// The exit ends all started processes.
await main().then(() => process.exit(0), (error: unknown) => {
  console.error(error)
  process.exit(1)
})

async function main (): Promise<void> {
  const { isShort, isMillion, only, names, rounds } = readArguments()
  const chosen = isMillion ? [service] : kinds.filter(({ name }) => names.includes(name) && (name !== 'nginx' || hasNginx()))
  const lengths = { ...isShort ? shortLengths : fullLengths, ...rounds !== undefined && { rounds } }
  await build()
  if (!isMillion) await checkPeers(chosen)
  const cores = findCores()
  if (cores !== undefined) pin(process.pid, cores.load)
  const upstream = await startUpstream(cores?.load)
  console.log(['# Benchmark', '', ...describeMachine(cores), ...chosen.map(({ name, description }) => `- ${name}: ${description}`)].join('\n'))
  const print = (markdown: string) => { console.log(`\n${markdown}`) }
  if (isMillion) {
    const server = await service.start(upstream.captured, cores?.server)
    await memoryOver(server, 1_000_000, 50_000, console.log)
    await Promise.all([upstream, server].map(each => each.stop()))
    return
  }
  const servers = await startAll(chosen, upstream.captured, cores?.server)
  await sleep(lengths.idleMs)
  const idle = measureMemory(servers)
  const disturbance = watchDisturbance()
  const { captured: address, pid } = upstream
  const bench: Bench = { lengths, cores, disturbance, upstream: { address, pid }, servers }
  for (const [name, part] of Object.entries(parts)) if (only.includes(name)) print(await part(bench))
  if (only.includes('memory')) print(memory(servers, idle))
  print(disturbance.verdict())
  await Promise.all([upstream, ...servers].map(each => each.stop()))
}

async function startAll (chosen: Kind[], upstream: string, cores: string | undefined): Promise<[Server, ...Server[]]> {
  const servers: Server[] = []
  for (const kind of chosen) servers.push(await kind.start(upstream, cores))
  return servers as [Server, ...Server[]]
}

/** @throws {Error} when an argument or its value is invalid */
function readArguments () {
  const { values } = parseArgs({
    options: {
      short: { type: 'boolean', default: false },
      million: { type: 'boolean', default: false },
      only: { type: 'string', default: partNames.join(',') },
      peers: { type: 'string', default: kinds.map(({ name }) => name).join(',') },
      rounds: { type: 'string' }
    }
  })
  if (values.million && process.argv.length > 3) throw new Error('--million allows no other argument')
  const rounds = values.rounds === undefined ? undefined : Number(values.rounds)
  if (rounds !== undefined && !(Number.isInteger(rounds) && rounds > 0)) throw new Error('--rounds must be a number, 1 or more')
  return {
    isShort: values.short,
    isMillion: values.million,
    only: listOf('--only', values.only, partNames),
    // All results are relative to the service.
    names: ['service', ...listOf('--peers', values.peers, kinds.map(({ name }) => name))],
    rounds
  }
}

function listOf (option: string, text: string, known: string[]): string[] {
  const names = text.split(',')
  const unknown = names.filter(name => !known.includes(name))
  if (unknown.length > 0) throw new Error(`${option}: unknown ${unknown.join(', ')}; known are ${known.join(', ')}`)
  return names
}
