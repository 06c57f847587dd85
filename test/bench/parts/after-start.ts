import { quantile } from '../../faults/load.ts'
import { interleaved } from '../bench.ts'
import type { Bench, Part } from '../bench.ts'
import { sendAll } from '../load.ts'
import { cpuMicrosOf } from '../machine.ts'
import { ratio, round, spread, table } from '../report.ts'
import { requestsOf } from '../requests.ts'
import type { Operation, Requests } from '../requests.ts'
import { kinds } from '../servers.ts'
import type { Kind } from '../servers.ts'

/** With few connections, latency is not mostly queueing. */
const connections = 8

interface Subject {
  kind: Kind
  requests: Requests
}

interface Section {
  cpuMicros: number
  p50: number
  p99: number
}

/**
 * Measures the first requests of new processes, from request 1 on, for one kind of request. Servers that translate
 * are compared. Each round starts a new process of each server.
 */
export function afterStart (operation: Operation, title: string): Part {
  return async bench => {
    const { lengths: { firstRequests } } = bench
    const subjects = await subjectsOf(bench, operation)
    const measured = await interleaved(bench, subjects, subject => measure(bench, subject))
    const rows = firstRequests.flatMap((end, index) => {
      const all = measured.map(({ subject: { kind: { name } }, results }) => ({ name, ...figuresOf(results, index) }))
      const [service] = all as [typeof all[number]]
      const requests = `${round((firstRequests[index - 1] ?? 0) + 1)}-${round(end)}`
      return all.map(({ name, cpu, p50, p99 }) => [
        name, requests, spread(cpu), spread(p50, 1), spread(p99, 1),
        ratio(service.cpu, cpu), ratio(service.p50, p50), ratio(service.p99, p99)
      ])
    })
    return `## ${title}, after a start, ${connections} callers\n\n` +
      `New processes of each server: ${measured[0]?.results.length}. The first request is the first one a process receives.\n\n` +
      table(['server', 'requests', 'CPU µs/request', 'p50 ms', 'p99 ms',
        'service ÷ server: CPU', 'service ÷ server: p50', 'service ÷ server: p99'], rows)
  }
}

/** Running servers define the correct responses, so that a new process needs no request for that. */
async function subjectsOf ({ servers }: Bench, operation: Operation): Promise<Subject[]> {
  const subjects: Subject[] = []
  for (const server of servers) {
    const kind = kinds.find(({ name, format }) => name === server.name && format === 'json')
    if (kind !== undefined) subjects.push({ kind, requests: await requestsOf(server, operation) })
  }
  return subjects
}

async function measure ({ lengths: { firstRequests }, cores, upstream }: Bench, { kind, requests }: Subject) {
  const server = await kind.start(upstream.address, cores?.server)
  const sections: Section[] = []
  let from = 0
  for (const end of firstRequests) {
    const before = cpuMicrosOf([server.pid])
    const latencies = await sendAll({ ...requests, origin: server.origin }, connections, from, end)
    const cpuMicros = (cpuMicrosOf([server.pid]) - before) / (end - from)
    sections.push({ cpuMicros, p50: quantile(latencies, 0.5), p99: quantile(latencies, 0.99) })
    from = end
  }
  await server.stop()
  return sections
}

/** Returns the figures of one section, one per round. */
function figuresOf (rounds: Section[][], index: number) {
  const sections = rounds.map(sections => sections[index] as Section)
  return {
    cpu: sections.map(({ cpuMicros }) => cpuMicros),
    p50: sections.map(({ p50 }) => p50),
    p99: sections.map(({ p99 }) => p99)
  }
}
