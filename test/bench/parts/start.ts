import { interleaved } from '../bench.ts'
import type { Part } from '../bench.ts'
import { ratio, spread, table } from '../report.ts'
import { requestsOf } from '../requests.ts'
import { bareFastify, service } from '../servers.ts'
import type { Kind } from '../servers.ts'

/** Measures the time from the start of the process to the first response that needs the upstream. */
export const start: Part = async bench => {
  const { lengths: { starts }, cores, upstream } = bench
  const timeToStart = async ({ start }: Kind): Promise<number> => {
    const startedAt = performance.now()
    const server = await start(upstream.address, cores?.server)
    await requestsOf(server, 'get')
    const ms = performance.now() - startedAt
    await server.stop()
    return ms
  }
  const measured = await interleaved(bench, [service, bareFastify], timeToStart, starts)
  const [own] = measured as [typeof measured[number]]
  return '## Start\n\nFrom the start of the process to the first response with a configuration.\n\n' + table(
    ['server', 'ms', 'service ÷ server'],
    measured.map(({ subject: { name }, results }) => [name, spread(results), ratio(own.results, results)]))
}
