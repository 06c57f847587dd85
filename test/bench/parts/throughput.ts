import { interleaved } from '../bench.ts'
import type { Part } from '../bench.ts'
import { closedLoop, sendAll } from '../load.ts'
import { cpuMicrosOf } from '../machine.ts'
import { ratio, round, spread, median, table } from '../report.ts'
import { requestsOf } from '../requests.ts'
import type { Operation } from '../requests.ts'

/** Requests for changing documents. They make no difference to peers that do not parse them. */
const changing: readonly Operation[] = ['changed', 'changedList']

/**
 * Measures requests per second and CPU time per request of each server, for one kind of request.
 *
 * @param connections concurrent callers: enough to keep a server busy, few enough for many responses of each in a round
 * @param warmUps unmeasured requests for each server; requests with more code need more of them
 */
export function throughput (
  operation: Operation, title: string, { connections, warmUps }: { connections: number, warmUps: number }
): Part {
  return async bench => {
    const { lengths: { warmUp, leadMs, roundMs }, servers } = bench
    const subjects = []
    for (const server of servers) {
      if (server.format !== 'json' && changing.includes(operation)) continue
      const requests = await requestsOf(server, operation)
      const load = (leadMs: number, measuredMs: number) => closedLoop(
        [requests], { connections, leadMs, measuredMs, cpuMicrosSoFar: () => cpuMicrosOf([server.pid]) })
      await sendAll(requests, connections, 0, warmUps * warmUp)
      subjects.push({ name: server.name, load })
    }
    const measured = await interleaved(bench, subjects, ({ load }) => load(leadMs, roundMs))
    const figures = measured.map(({ subject: { name }, results }) => ({
      name,
      perSecond: results.map(({ responses, seconds }) => responses / seconds),
      cpu: results.map(({ cpuMicros }) => cpuMicros),
      busy: results.map(({ busy }) => busy)
    }))
    const [service] = figures as [typeof figures[number]]
    const rows = figures.map(({ name, perSecond, cpu, busy }) => [
      name, spread(perSecond), spread(cpu), `${round(100 * median(busy))} %`, ratio(service.perSecond, perSecond), ratio(service.cpu, cpu)
    ])
    return `## ${title}, ${connections} callers\n\n` + table(
      ['server', 'requests/s', 'CPU µs/request', 'of a core', 'service ÷ server: requests/s', 'service ÷ server: CPU'], rows)
  }
}
