import { interleaved } from '../bench.ts'
import type { Part } from '../bench.ts'
import { closedLoop } from '../load.ts'
import { cpuMicrosOf, pin } from '../machine.ts'
import { ratio, round, spread, median, table } from '../report.ts'
import { requestsOf } from '../requests.ts'
import { service } from '../servers.ts'
import type { Server } from '../servers.ts'

const connections = 64

/** Measures whether a second replica doubles the throughput. */
export const replicas: Part = async bench => {
  const { lengths: { warmUpMs, leadMs, roundMs }, cores, upstream, servers: [first] } = bench
  const second = await service.start(upstream.address, cores?.load)
  const spreadLoad = (where: 'load' | 'both') => {
    if (cores !== undefined) for (const pid of [process.pid, upstream.pid]) pin(pid, cores[where])
  }
  const load = async (replicas: Server[], leadMs: number, measuredMs: number) => {
    const targets = await Promise.all(replicas.map(replica => requestsOf(replica, 'get')))
    // Two replicas use one core each, so the load shares both cores.
    spreadLoad(replicas.length === 1 ? 'load' : 'both')
    const pids = replicas.map(({ pid }) => pid)
    return await closedLoop(targets, { connections, leadMs, measuredMs, cpuMicrosSoFar: () => cpuMicrosOf(pids) })
      .finally(() => { spreadLoad('load') })
  }
  await load([first, second], 2 * warmUpMs, 0)
  const measured = await interleaved(bench, [[first], [first, second]], each => load(each, leadMs, roundMs))
  await second.stop()
  const figures = measured.map(({ subject, results }) => ({
    replicas: subject.length,
    perSecond: results.map(({ responses, seconds }) => responses / seconds),
    cpu: results.map(({ cpuMicros }) => cpuMicros),
    busy: results.map(({ busy }) => busy)
  }))
  const [one] = figures as [typeof figures[number]]
  return '## Replicas\n\nGET of 1,000 that do not change. Two replicas share two cores with the load and the upstream double, so compare the CPU time per ' +
    'request and the requests per core-second.\n\n' + table(
    ['replicas', 'GET/s', 'two ÷ one', 'CPU µs/request', 'GET per core-second', 'of a core'],
    figures.map(({ replicas, perSecond, cpu, busy }) => [
      String(replicas),
      spread(perSecond),
      ratio(perSecond, one.perSecond),
      spread(cpu),
      spread(cpu.map(micros => 1e6 / micros)),
      `${round(100 * median(busy))} %`
    ]))
}
