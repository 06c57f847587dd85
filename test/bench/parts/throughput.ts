import { interleaved } from '../bench.ts'
import type { Part } from '../bench.ts'
import { closedLoop, sendAll } from '../load.ts'
import { cpuMicrosOf } from '../machine.ts'
import { ratio, round, spread, median, table } from '../report.ts'
import { requestsOf } from '../requests.ts'
import type { Operation } from '../requests.ts'

/** Requests whose documents are not the same twice, which is nothing to those who do not read them. */
const ofReaders: readonly Operation[] = ['changed', 'changedList']

/**
 * Requests a second and CPU time a request, of each server, for one kind of request.
 *
 * @param connections callers at once: enough to keep a server busy, few enough that each has many answers in a round
 * @param warmUps requests that each server answers before: what takes more code takes longer until V8 is done with it
 */
export function throughput (
  operation: Operation, title: string, { connections, warmUps }: { connections: number, warmUps: number }
): Part {
  return async bench => {
    const { lengths: { warmUp, leadMs, roundMs }, servers } = bench
    const subjects = []
    for (const server of servers) {
      if (server.speaks !== 'json' && ofReaders.includes(operation)) continue
      const requests = await requestsOf(server, operation)
      const load = (leadMs: number, measuredMs: number) => closedLoop(
        [requests], { connections, leadMs, measuredMs, cpuMicrosSoFar: () => cpuMicrosOf([server.pid]) })
      await sendAll(requests, connections, 0, warmUps * warmUp)
      subjects.push({ name: server.name, load })
    }
    const measured = await interleaved(bench, subjects, ({ load }) => load(leadMs, roundMs))
    const figures = measured.map(({ subject: { name }, results }) => ({
      name,
      perSecond: results.map(({ answers, seconds }) => answers / seconds),
      cpu: results.map(({ cpuMicros }) => cpuMicros),
      busy: results.map(({ busy }) => busy)
    }))
    const [service] = figures as [typeof figures[number]]
    const rows = figures.map(({ name, perSecond, cpu, busy }) => [
      name, spread(perSecond), spread(cpu), `${round(100 * median(busy))} %`, ratio(service.perSecond, perSecond), ratio(service.cpu, cpu)
    ])
    return `## ${title}, ${connections} callers\n\n` + table(
      ['server', 'requests/s', 'CPU µs/request', 'of a core', 'service ÷ it: requests/s', 'service ÷ it: CPU'], rows)
  }
}
